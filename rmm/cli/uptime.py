"""`rmm uptime`: how long endpoints were up, and of how much of the time nothing is known."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

COLUMNS = {
    "endpoint": "ENDPOINT", "uptime_pct": "UPTIME %", "outages": "OUTAGES", "up_h": "UP H", "down_h": "DOWN H",
    "unobserved_h": "NOT OBSERVED H", "maintenance_h": "MAINTENANCE H",
}  # fmt: skip
_UNITS = {"s": 1, "m": 60, "h": 3600}


@app.command()
def uptime(
    config: Config = None,
    since: Annotated[str, typer.Option("--since", "--last", help="How far back (7d, 30d) or an ISO time.")] = "30d",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    gap: Annotated[
        str, typer.Option(help="After how long without a poll nothing is known (30m, 1h); without: as rmm.yaml says.")
    ] = "",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    most: Annotated[int, typer.Option(min=0, help="At most so many rows, the worst; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """Show uptime, worst first: up while an endpoint answered, down while it did not, neither where nobody looked."""
    from rmm.core.availability import together
    from rmm.report_view import ReportView
    from rmm.reports.uptime import order, row_of

    checked_output(output)
    view = ReportView(open_app(config), site=site, group=group)
    end = time_of(until) if until else datetime.now(UTC)
    found = view.uptime(time_of(since, end), end, _seconds(gap) if gap else view.gap_s)
    names = view.names()
    rows = sorted((row_of(names[one], time) for one, time in found.items()), key=order)
    if output == "table":
        whole = row_of("", together(found.values()))
        percent = whole["uptime_pct"]
        told = f"{percent} % up" if percent is not None else "nothing was observed"
        print(f"{len(rows)} endpoints: {told}; {whole['outages']} outages; {whole['unobserved_h']} h not observed")
        rows = [{**row, "uptime_pct": "" if row["uptime_pct"] is None else f"{row['uptime_pct']:.4f}"} for row in rows]
    show(rows[:most] if most else rows, COLUMNS, output, empty="")
    if most and len(rows) > most and output == "table":
        print(f"... and {len(rows) - most} more; --most 0 shows all")


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d{1,6})([smh])", text)
    if not found or int(found[1]) == 0:
        raise ConfigError(f"{text!r} is no time", hint="Write 30m or 1h.")
    return int(found[1]) * _UNITS[found[2]]
