"""`rmm query`: a question over the last state of the whole fleet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import figure, show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

Line = tuple[Any, ...]
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
    found.sort(key=lambda item: item[0].name.casefold())
    names = [column.name for column in asked.columns]
    if count:
        rows = [(line, len(ids)) for line, ids in _endpoints_of(found).items()]
        if not sort:
            rows.sort(key=lambda item: -item[1])
        rows = asked.sorted(rows, lambda item: item[0])
        shown = [{**_row(names, line, output), "endpoints": many} for line, many in rows]
    else:
        lines = dict.fromkeys(line for _, line in found)  # each once, also where no column tells endpoints apart
        shown = [_row(names, line, output) for line in asked.sorted(lines, lambda line: line)]
    headings = {name: HEADINGS.get(name, name.upper()) for name in names} | (
        {"endpoints": "ENDPOINTS"} if count else {}
    )
    show(shown[:most] if most else shown, headings, output, empty=NONE)
    if most and len(shown) > most and output == "table":
        print(f"... and {len(shown) - most} more; --most 0 shows all")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _endpoints_of(found: Sequence[tuple[Any, Line]]) -> dict[Line, set[str]]:
    lines: dict[Line, set[str]] = {}
    for endpoint, line in found:
        lines.setdefault(line, set()).add(endpoint.id)
    return lines


def _totals(rows: Counter[str], output: str) -> None:
    totals = {"rows": rows.total(), "endpoints": len(rows)}
    if output == "table":
        print(f"{totals['rows']} rows of {totals['endpoints']} endpoints")
    elif output == "json":
        print(json.dumps(totals))
    else:
        show([totals], {name: name.upper() for name in totals}, output)


def _row(names: Sequence[str], line: Line, output: str) -> dict[str, Any]:
    return {name: _plain(value, people=output == "table") for name, value in zip(names, line, strict=True)}


def _plain(value: Any, *, people: bool) -> Any:
    """A time as readings have it, and for people a number with the digits that it needs."""
    from rmm.core.coerce import stamp

    if isinstance(value, datetime):
        return stamp(value)
    return figure(value) if people and isinstance(value, float) else value
