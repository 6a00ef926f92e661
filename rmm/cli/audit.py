"""`rmm audit`: what people decided, and what was told to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import show

app = typer.Typer(rich_markup_mode=None)

COLUMNS = {"at": "AT", "who": "WHO", "what": "WHAT", "about": "ABOUT", "why": "WHY"}


@app.command()
def audit(
    config: Config = None,
    since: Annotated[str, typer.Option("--since", "--last", help="How far back (7d, 30d) or an ISO time.")] = "7d",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    most: Annotated[int, typer.Option(min=0, help="At most so many rows, the newest; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """Show what the store knows of decisions and notifications, oldest first."""
    from rmm.report_view import ReportView

    checked_output(output)
    view = ReportView(open_app(config), site=site, group=group)
    end = time_of(until) if until else datetime.now(UTC)
    rows = view.audit(time_of(since, end), end)
    left_out = max(0, len(rows) - most) if most else 0
    show(rows[left_out:], COLUMNS, output, empty="nothing was recorded in this time")
    if left_out and output == "table":
        print(f"... and {left_out} older ones; --most 0 shows all")
