"""`rmm store`: what the data folder holds, whether it is sound, and copies of it."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import SOME_FAILED
from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import show
from rmm.core.budget import sized as size
from rmm.errors import LeaseLost

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.core.budget import Forecast
    from rmm.tiers.store.check import Finding

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="What the data folder holds, whether it is sound, and copies of it.",
)

COLUMNS = {
    "site": "SITE", "shard": "SHARD", "kind": "KIND", "files": "FILES", "size": "SIZE", "rows": "ROWS",
    "segments": "SEGMENTS", "first": "FIRST", "last": "LAST", "bytes_per_sample": "B/SAMPLE", "schema": "SCHEMA",
    "damaged": "DAMAGED", "error": "ERROR",
}  # fmt: skip
FINDINGS = {"severity": "", "file": "FILE", "what": "WHAT", "fix": "WHAT TO DO"}


def _elsewhere(application: App, what: str) -> None:
    """PostgreSQL is not part of the data folder: say what was not done there, and what to do."""
    if application.fleet_server:
        print(f"note: the fleet's database is in PostgreSQL, {application.fleet_server}, {what}", file=sys.stderr)


@app.command()
def status(config: Config = None, output: Output = "table") -> None:
    """Show what lies in the data folder, how it grows, and when its budget or its disk is reached.

    json gives `lines` (one for each site, shard and kind of file), `forecast` and `sqlite`. Nothing is locked.
    """
    from rmm.tiers.migrations import verdict
    from rmm.tiers.store.status import lines, outlook

    checked_output(output)
    application = open_app(config)
    settings = application.settings
    rows = [{name: getattr(line, name) for name in line.__struct_fields__[:-1]} for line in lines(application.data)]
    told = outlook(application.data, datetime.now(UTC), settings.retention, settings.disk)
    if output == "json":
        document = {"data": str(application.data), "lines": rows, "forecast": told._asdict(), "sqlite": verdict()}
        document["postgres"] = application.fleet_server
        print(json.dumps(document, ensure_ascii=False, indent=1))
        return
    shown = [{name: _shown(name, value) for name, value in row.items()} | {"size": size(row["bytes"])} for row in rows]
    show(shown if output == "table" else rows, COLUMNS, output, empty="the data folder holds nothing yet")
    if output == "table":
        print(f"\n{_sentence(application, told)}")
        if verdict():
            print(f"warning: {verdict()}")
        _elsewhere(application, "and none of these figures has it")


def _shown(name: str, value: Any) -> Any:
    if name in ("first", "last"):
        return str(value)[:16].replace("T", " ")
    return "" if value is None or value == -1 or (name == "damaged" and not value) else value


def _sentence(application: App, told: Forecast) -> str:
    disk = application.settings.disk
    if told.growth is None:
        said = [f"{size(told.total)} in {application.data}; after two days of history it is told how that grows"]
    else:
        level = "grows for ever" if told.levels_out is None else f"levels out at {size(told.levels_out)}"
        said = [f"{size(told.total)} in {application.data}, {size(told.growth)} more a day now; it {level}"]
    said.append(f"the disk has {size(told.free)} free, {_days(told.disk_days, f'the last {size(told.kept)}')}")
    if disk.budget_gb:
        said.append(_days(told.budget_days, f"the budget of {disk.budget_gb:g} GB"))
    return "\n".join(said + ([f"warning: {told.trouble}"] if told.trouble else []))


def _days(days: int, what: str) -> str:
    if days < 0:
        return f"{what} will not be reached in ten years"
    return f"{what} will be reached in {days} days" if days else f"{what} is reached"


@app.command()
def check(
    config: Config = None,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Also print a checksum over all history of each site.")
    ] = False,
    output: Output = "table",
) -> None:
    """Read everything in the data folder and say what is wrong with it; exit code 3 when something is.

    SQLite's own check of every file, every segment decoded, hot files and spools read. Nothing is changed, and a poll
    may be at work meanwhile.
    """
    from rmm.tiers.store.check import Finding
    from rmm.tiers.store.check import check as checking

    checked_output(output)
    application = open_app(config)
    findings: list[Finding] = []
    files = 0
    for one in checking(application.data):
        if isinstance(one, Finding):
            findings.append(one)
        else:
            files += 1
            _progress(str(one.path))
    _progress("")
    rows = [
        {"severity": one.severity, "file": _short(application, one.path), "what": one.what, "fix": one.fix}
        for one in findings
    ]
    bad = sum(one.severity == "damaged" for one in findings)
    if rows or output != "table":
        show(rows, FINDINGS, output)
    if output == "table":
        print(f"{files} files read, {bad or 'nothing'} damaged")
    if checksum:
        _print_checksums(application, output)
    _elsewhere(application, "and not part of this check: `pg_amcheck` checks it")
    raise typer.Exit(SOME_FAILED if bad else 0)


def _print_checksums(application: App, output: str) -> None:
    from rmm.tiers.cold_sqlite.whole import SiteSamples

    for path in sorted((application.data / "cold").glob("*")):
        if path.is_dir():
            site = SiteSamples(application.data, path.name)
            print(f"{site.checksum()}  {path.name}", file=sys.stdout if output == "table" else sys.stderr)
            if days := site.unread():
                print(f"warning: {path.name}: without {days} archived days, as DuckDB is missing", file=sys.stderr)


def _short(application: App, path: Path) -> str:
    with contextlib.suppress(ValueError):
        return path.relative_to(application.data).as_posix()
    return str(path)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text[-100:]}\x1b[K", end="", file=sys.stderr, flush=True)


@app.command()
def repair(config: Config = None, output: Output = "table") -> None:
    """Put aside what is damaged, save what can be read of it, and tidy up. Nothing is deleted that holds readings.

    Each shard's lease is taken, so a shard that is being polled is left alone: exit code 3.
    """
    from rmm.tiers.migrations import warn_once
    from rmm.tiers.store import places
    from rmm.tiers.store.repair import repair_fleet, repair_shard

    checked_output(output)
    application = open_app(config)
    data = application.data
    warn_once(data)
    rows: list[dict[str, Any]] = []
    held = 0
    for site, shard in places.shards_of(data):
        try:
            with places.lease(data, site, shard):
                rows += [{"file": _short(application, d.path), "what": d.what} for d in repair_shard(data, site, shard)]
        except LeaseLost as error:
            held += 1
            print(f"left alone: {error}", file=sys.stderr)
    if not held:  # what lies beside files may belong to a poll that is at work
        with places.fleet_lease(data):
            rows += [{"file": _short(application, done.path), "what": done.what} for done in repair_fleet(data)]
    show(rows, {"file": "FILE", "what": "WHAT WAS DONE"}, output, empty="nothing to repair")
    _elsewhere(application, "and was left alone: repair it with PostgreSQL's own means, or restore it from a dump")
    raise typer.Exit(SOME_FAILED if held else 0)


@app.command()
def vacuum(
    config: Config = None,
    every: Annotated[bool, typer.Option("--all", help="Also files with few free pages.")] = False,
    output: Output = "table",
) -> None:
    """Give the room of what was forgotten back to the disk: rewrite files with many free pages.

    Each shard's lease is taken, so a shard that is being polled is left alone: exit code 3.
    """
    from rmm.tiers.migrations import warn_once
    from rmm.tiers.store import places
    from rmm.tiers.store.vacuum import vacuum as one_file

    checked_output(output)
    application = open_app(config)
    warn_once(application.data)
    rows: list[dict[str, Any]] = []
    held = 0
    for file in places.store_files(application.data):
        if file.kind not in places.SQLITE:
            continue
        fleet = file.kind == places.FLEET
        lease = places.fleet_lease(application.data) if fleet else places.lease(application.data, file.site, file.shard)
        try:
            with lease:
                done = one_file(file, every=every)
        except LeaseLost as error:
            held += 1
            print(f"left alone: {error}", file=sys.stderr)
            continue
        row = {"file": _short(application, done.path), "before": done.before, "after": done.after, "why": done.why}
        rows.append(row if output != "table" else row | {"before": size(done.before), "after": size(done.after)})
    columns = {"file": "FILE", "before": "BEFORE", "after": "AFTER", "why": "LEFT ALONE"}
    show(rows, columns, output, empty="the data folder holds nothing yet")
    raise typer.Exit(SOME_FAILED if held else 0)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="A folder that does not exist yet, or an empty one.")],
    config: Config = None,
    archive: Annotated[
        bool,
        typer.Option("--archive/--no-archive", help="Copy the archive too; it has samples that the store has not."),
    ] = True,
    output: Output = "table",
) -> None:
    """Copy the data folder while everything runs, and the configuration with its sealed vault; verified at the end.

    The folder is complete or not there. It holds no password in plain: the vault needs its passphrase, which is not
    copied. Files are readable by the account that made them alone.
    """
    from rmm.tiers.store.backup import backup as copy
    from rmm.tiers.store.restore import check_restored

    checked_output(output)
    application = open_app(config)
    check_restored(application.data)
    made = copy(application.data, Path(application.settings.folder), folder, archive=archive, told=_progress)
    _progress("")
    total = sum(one.bytes for one in made.files)
    if output == "table":
        seconds = (made.ended - made.began).total_seconds()
        print(f"{len(made.files)} files, {size(total)}, in {seconds:.1f} s: {folder}")
        if not archive and any((application.data / "archive").rglob("*.parquet")):
            print("the archive is not in it, and with it samples that are nowhere else")
    else:
        print(json.dumps({"folder": str(folder), "files": len(made.files), "bytes": total}))
    _elsewhere(application, "and not in this backup: dump it at the same time, with `pg_dump --format=custom`")


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A folder that `rmm store backup` has made.")],
    config: Config = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also where there is a store already; it is kept aside in the data folder.")
    ] = False,
) -> None:
    """Put a backup into the data folder. The backup is verified first, and nothing is changed if it is not whole.

    The configuration is not touched: copy what you need from `config` in the backup. No poll may be at work.
    """
    from rmm.tiers.store.restore import restore as put

    application = open_app(config)
    shards = [(site.id, shard) for site in application.settings.sites.values() for shard in range(site.shards)]
    manifest, aside = put(folder, application.data, shards, force=force, told=_progress)
    _progress("")
    print(f"{application.data} is as it was at {manifest.began:%Y-%m-%d %H:%M:%S} UTC")
    if aside is not None:
        print(f"what was there is in {aside}; delete it when you do not need it any more")
    _elsewhere(application, "and was not restored: `pg_restore` its dump of about the same time")
