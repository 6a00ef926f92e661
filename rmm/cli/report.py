"""`rmm report`: what a manager reads."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmm.cli.options import Config, PassphraseFile, open_app, time_of
from rmm.cli.printing import lines, table
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App

app = typer.Typer(rich_markup_mode=None)

RUN = "run"


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Which report; without: what there is; `run`: what is scheduled.")] = "",
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    format: Annotated[str, typer.Option("--format", "-f", help="html, pdf, xlsx, csv or json; without: html.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; - for standard output.")] = None,
    since: Annotated[
        str, typer.Option("--since", "--last", help="How far back (7d, 30d, 90d) or an ISO time.")
    ] = "30d",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    due: Annotated[bool, typer.Option("--due", help="With `run`: what is due by schedule.")] = False,
    schedule: Annotated[str, typer.Option(help="With `run`: this schedule now, whether it is due or not.")] = "",
) -> None:
    """Write a report of the fleet, of a site or of a group; docs/reports.md shows them."""
    from rmm.report_run import asked_for, compose, render
    from rmm.settings.reports import FORMATS, report_names

    if name == RUN:
        _run(open_app(config, passphrase_file), due=due, schedule=schedule)
        return
    if due or schedule:
        raise ConfigError("--due and --schedule belong to `rmm report run`", hint="Write `rmm report run --due`.")
    if not name:
        _list()
        return
    if name not in report_names():
        reason = f"there is no report {name!r}; there are {', '.join(report_names())}"
        raise ConfigError(reason, hint="`rmm report` lists them.")
    wanted = format or (out.suffix.removeprefix(".").lower() if out and out.suffix else FORMATS[0])
    if wanted not in FORMATS:
        raise ConfigError(f"there is no format {wanted}; there are {', '.join(FORMATS)}", hint="Choose with --format.")
    now = datetime.now(UTC)
    end = time_of(until) if until else now
    asked = asked_for(now, time_of(since, end), end, site, group)
    if asked.since >= asked.until:
        raise ConfigError("the time is over before it begins", hint="--since must be before --until.")
    document = compose(open_app(config), name, asked)
    data = render(document, wanted)
    if str(out) == "-":
        sys.stdout.buffer.write(data)
        return
    _write(out or Path(f"{name}-{now:%Y-%m-%d}.{wanted}"), data, document.title)


def _write(path: Path, data: bytes, title: str) -> None:
    from rmm.durable import make_folder, replace_file

    make_folder(path.absolute().parent)
    replace_file(path, data)
    print(f"{title}: {path.resolve()}")


def _list() -> None:
    from rmm.plugins import build
    from rmm.settings.reports import FORMATS, report_names

    rows = [{"name": one, "title": build("reports", one).title} for one in report_names()]
    table(rows, {"name": "NAME", "title": "TITLE"})
    print(f"formats: {', '.join(FORMATS)}")


def _run(application: App, *, due: bool, schedule: str) -> None:
    from rmm.report_run import run_due, run_one

    now = datetime.now(UTC)
    if due == bool(schedule):
        raise ConfigError("say what to run: --due, or --schedule ID", hint="docs/reports.md explains schedules.")
    if due:
        lines(run_due(application, now) or ["nothing is due"])
        return
    known = {one.id: one for one in application.settings.reports.schedules}
    if schedule not in known:
        reason = f"there is no schedule {schedule!r}; there are {', '.join(known) or 'none'}"
        raise ConfigError(reason, hint="They are in rmm.yaml under `reports.schedules`.")
    lines([f"{schedule}: {run_one(application, known[schedule], now, now)}"])
