"""`rmm health`: the health of the fleet, of sites, groups or endpoints, what takes points, and how it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import figure, show, sparkline
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

BY = ("fleet", "site", "group", "endpoint")
COLUMNS = {
    "name": "NAME", "status": "STATUS", "score": "HEALTH", "endpoints": "ENDPOINTS", "known": "KNOWN",
    "Healthy": "HEALTHY", "Warning": "WARNING", "Critical": "CRITICAL", "Offline": "OFFLINE",
    "why": "WHAT TAKES POINTS",
}  # fmt: skip
OF_ONE = {"name": "NAME", "status": "STATUS", "score": "HEALTH", "why": "WHAT TAKES POINTS"}
TREND = {"day": "DAY", "endpoints": "ENDPOINTS", "score": "HEALTH", "lowest": "LOWEST"}
MOST_REASONS = 3


@app.command()
def health(
    config: Config = None,
    by: Annotated[str, typer.Option(help="fleet, site, group or endpoint.")] = "fleet",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    trend: Annotated[bool, typer.Option("--trend", help="Day by day instead of now.")] = False,
    since: Annotated[str, typer.Option("--since", "--last", help="Of the trend: how far back, or a time.")] = "30d",
    until: Annotated[str, typer.Option(help="Of the trend: an ISO time; without: now.")] = "",
    output: Output = "table",
) -> None:
    """Show health: the mean score of the endpoints of which something is known, and what takes points from it."""
    from rmm.report_view import ReportView

    checked_output(output)
    if by not in BY:
        raise ConfigError(f"--by {by}: there are {', '.join(BY)}", hint="Choose one of them.")
    view = ReportView(open_app(config), site=site, group=group)
    if trend:
        end = time_of(until) if until else datetime.now(UTC)
        days = [one._asdict() for one in view.health_days(time_of(since, end), end)]
        if days and output == "table":
            print(sparkline([one["score"] for one in days], 60))
        show(days, TREND, output, empty="no day is known of this time: health is kept from round to round")
        return
    rows = [_row(name, one, people=output == "table") for name, one in view.health(by)]
    rows.sort(key=lambda row: (row["score"] is None, row["score"], row["name"]))
    show(rows, OF_ONE if by == "endpoint" else COLUMNS, output, empty="no endpoints")


def _row(name: str, one: Any, *, people: bool) -> dict[str, Any]:
    words = {word: one.words.get(word, 0) for word in ("Healthy", "Warning", "Critical", "Offline")}
    row = {
        "name": name, "status": one.status, "score": one.score, "endpoints": one.endpoints, "known": one.known, **words
    }  # fmt: skip
    if people:
        told = [f"{reason.what} -{figure(reason.points)} ({reason.endpoints})" for reason in one.reasons]
        return {**row, "why": ", ".join(told[:MOST_REASONS]) + (" ..." if len(told) > MOST_REASONS else "")}
    reasons = [{"what": r.what, "endpoints": r.endpoints, "points": r.points} for r in one.reasons]
    return {**row, "reasons": reasons}
