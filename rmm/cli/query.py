"""`rmm query`: a question over the last state of the whole fleet."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import figure, show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

HEADINGS = {"endpoint.name": "ENDPOINT", "endpoint.site": "SITE"}
MOST_LINES = 1_000_000
NONE = "no row of the last readings meets this"


@app.command()
def query(
    condition: Annotated[str, typer.Argument(help="Such as 'volumes.used_pct > 90 and endpoint.site == \"hq\"'.")],
    config: Config = None,
    columns: Annotated[str, typer.Option(help="Fields to show, separated by commas; `endpoint` is its name.")] = "",
    sort: Annotated[str, typer.Option(help="Fields to sort by, separated by commas; -FIELD: highest first.")] = "",
    count: Annotated[
        bool, typer.Option("--count", help="Only how many; with --columns: on how many endpoints each line is.")
    ] = False,
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    most: Annotated[int, typer.Option(min=0, help="At most so many rows; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """Show which rows of the last readings meet a condition, over the whole fleet.

    docs/query.md explains the language.
    """
    from rmm.core.query.answer import answer
    from rmm.fleet_view import FleetView

    checked_output(output)
    application = open_app(config)
    if site:
        application.known_site(site)
    view = FleetView(application)
    asked = view.compiled(condition, columns=_split(columns), sort=_split(sort))
    if count and not columns:
        _totals(Counter(endpoint.id for endpoint, _ in view.lines(asked, site=site)), output)
        return
    found = list(islice(view.lines(asked, site=site), MOST_LINES + 1))
    if len(found) > MOST_LINES:
        raise ConfigError(f"there are more than {MOST_LINES} rows", hint="Ask for less, or for --count.")
    rows = answer(asked, found, count=count, sorted_by=bool(sort))
    shown = [{name: _readable(value) for name, value in row.items()} for row in rows] if output == "table" else rows
    names = [column.name for column in asked.columns]
    headings = {name: HEADINGS.get(name, name.upper()) for name in names} | (
        {"endpoints": "ENDPOINTS"} if count else {}
    )
    show(shown[:most] if most else shown, headings, output, empty=NONE)
    if most and len(shown) > most and output == "table":
        print(f"... and {len(shown) - most} more; --most 0 shows all")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _totals(rows: Counter[str], output: str) -> None:
    totals = {"rows": rows.total(), "endpoints": len(rows)}
    if output == "table":
        print(f"{totals['rows']} rows of {totals['endpoints']} endpoints")
    elif output == "json":
        print(json.dumps(totals))
    else:
        show([totals], {name: name.upper() for name in totals}, output)


def _readable(value: Any) -> Any:
    """For people a number with the digits that it needs."""
    return figure(value) if isinstance(value, float) else value
