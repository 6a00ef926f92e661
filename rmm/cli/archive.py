"""`rmm archive`: one Parquet file per day and site, for what the store need not keep."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import SOME_FAILED
from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.tiers.archive.archiver import Archived
    from rmm.tiers.archive.upkeep import Looked

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Days of samples as Parquet files: write, check, query."
)

Sites = Annotated[list[str] | None, typer.Option("--site", help="Only this site; may be repeated.")]
Days = Annotated[list[str] | None, typer.Argument(help="Days, such as 2026-11-24.")]

_LISTED = {
    "site": "SITE", "day": "DAY", "endpoints": "ENDPOINTS", "observations": "OBSERVATIONS", "samples": "SAMPLES",
    "bytes": "BYTES", "bytes_per_sample": "B/SAMPLE", "left_out": "LEFT OUT", "state": "STATE",
}  # fmt: skip


@app.command()
def run(
    until: Annotated[str, typer.Option(help="Up to this day; without: as `archive.after_days` says.")] = "",
    site: Sites = None,
    config: Config = None,
) -> None:
    """Archive every day that is merged and due. What is archived already is left as it is."""
    from rmm.tiers.archive import archiver, files

    application = open_app(config)
    after = application.settings.archive.after_days
    if not until and not after:
        raise ConfigError(
            "archive.after_days is 0: nothing is archived", hint="Set it in rmm.yaml, or name a day with --until."
        )
    today = files.day_of(datetime.now(UTC).date().isoformat())
    before = files.day_of(until) + 1 if until else today - after + 1

    for name in _sites(application, site):

        def tell(one: Archived, name: str = name) -> None:
            print(f"{name} {files.told(one.day)}: {one.proof.samples} samples, {one.bytes} bytes", flush=True)
            if one.proof.damaged:
                _warn(name, files.told(one.day), one.proof.damaged)

        if not archiver.run(application.data, name, min(before, today), tell=tell):
            print(f"{name}: nothing to archive before {files.told(before)}")


@app.command("list")
def list_days(site: Sites = None, config: Config = None, output: Output = "table") -> None:
    """List the archived days by what their files say of themselves; `verify` reads them."""
    from rmm.tiers.archive import upkeep

    checked_output(output)
    application = open_app(config)
    rows = [_row(name, one) for name in _sites(application, site) for one in upkeep.listed(application.data, name)]
    show(rows, _LISTED, output, empty="nothing is archived")
    _warn_of(rows)


@app.command()
def verify(days: Days = None, site: Sites = None, config: Config = None, output: Output = "table") -> None:
    """Read days whole and compare them with their checksums; what is damaged is set aside.

    Exit code 0: all are as they were written; 3: some are damaged; 4: the site is being archived just now.
    """
    from rmm.tiers.archive import upkeep

    checked_output(output)
    application = open_app(config)
    wanted = _days(days)
    rows: list[dict[str, Any]] = []
    for name in _sites(application, site):
        rows += [_row(name, one) for one in upkeep.verify(application.data, name, wanted)]
    show(rows, _LISTED, output, empty="nothing is archived")
    _warn_of(rows)
    if any(row["state"] != "ok" for row in rows):
        raise typer.Exit(SOME_FAILED)


@app.command()
def restore(
    days: Days = None,
    remove: Annotated[bool, typer.Option("--remove", help="Delete all restored days; the archive keeps them.")] = False,
    site: Sites = None,
    config: Config = None,
) -> None:
    """Bring days back into the store, where they stay until --remove: to read them without DuckDB."""
    from rmm.tiers.archive import upkeep
    from rmm.tiers.migrations import warn_once

    application = open_app(config)
    wanted = _days(days)
    if remove == bool(wanted):
        raise ConfigError("name days, or --remove", hint="See `rmm archive restore --help`.")
    warn_once(application.data)
    for name in _sites(application, site):
        if remove:
            print(
                f"{name}: restored days deleted" if upkeep.forget_restored(application.data, name) else f"{name}: none"
            )
            continue
        for path in upkeep.restore(application.data, name, wanted):
            print(f"{name}: {path}")


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over `samples` and `observations`.")],
    since: Annotated[str, typer.Option(help="Only the files of this day and later.")] = "",
    until: Annotated[str, typer.Option(help="Only the files of this day and earlier.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000_000, help="Rows.")] = 10_000,
    memory_mb: Annotated[int, typer.Option(min=64, help="Memory, in 10^6 bytes.")] = 1000,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds.")] = 60.0,
    site: Sites = None,
    config: Config = None,
    output: Output = "table",
) -> None:
    """Ask the archive in SQL (DuckDB). It reads the archive's files and nothing else, and writes nothing.

    samples: site, endpoint, collector, key, field, time (UTC), value, exact (whole numbers, to the last digit).
    observations: site, endpoint, time, epoch, seq, status, fault, duration_ms.
    """
    from rmm.tiers.archive import files
    from rmm.tiers.archive.sql import Limits, query

    checked_output(output)
    application = open_app(config)
    first, last = (files.day_of(text) if text else None for text in (since, until))
    paths: dict[str, list[Path]] = {}
    for name in _sites(application, site):
        here = files.days(files.folder_of(application.data, name))
        paths[name] = [
            path for day, path in here.items() if (first is None or day >= first) and (last is None or day <= last)
        ]
    answer = query(sql, paths, Limits(limit, f"{memory_mb}MB", timeout))
    rows = [dict(zip(answer.columns, map(_plain, row), strict=True)) for row in answer.rows]
    show(rows, {name: name.upper() for name in answer.columns}, output, empty="no rows")
    if answer.more:
        print(f"there are more than {limit} rows; --limit shows more", file=sys.stderr)


def _warn_of(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if row.get("left_out"):
            _warn(row["site"], row["day"], row["left_out"])


def _warn(site: str, day: str, damaged: int) -> None:
    print(
        f"warning: {site} {day}: {damaged} segments of the store could not be read and are not in the "
        "archive; the file that has them is kept, see `rmm store check`",
        file=sys.stderr,
    )


def _plain(value: Any) -> Any:
    """As it is printed: decimals of whole numbers as such, times as ISO texts."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value.isoformat() if hasattr(value, "isoformat") else value


def _sites(application: App, wanted: list[str] | None) -> list[str]:
    for name in wanted or ():
        application.known_site(name)
    return wanted or list(application.settings.sites)


def _days(texts: list[str] | None) -> list[int]:
    from rmm.tiers.archive import files

    return [files.day_of(text) for text in texts or ()]


def _row(site: str, one: Looked) -> dict[str, Any]:
    from rmm.tiers.archive import files

    proof = one.proof
    counts: dict[str, Any] = {}
    if proof is not None:
        counts = {"endpoints": proof.endpoints, "observations": proof.observations, "samples": proof.samples}
        if proof.damaged:
            counts["left_out"] = proof.damaged
        if proof.samples:
            counts["bytes_per_sample"] = round(one.bytes / proof.samples, 3)
    row = {"site": site, "day": files.told(one.day), **counts, "bytes": one.bytes, "state": one.state}
    return {**row, **({"why": one.why, "file": one.path.name} if one.state != "ok" else {})}
