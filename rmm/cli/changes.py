"""`rmm changes`: what has changed in inventories: what, when, from, to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.model.collector import Collector

app = typer.Typer(rich_markup_mode=None)

COLUMNS = {
    "at": "AT", "endpoint": "ENDPOINT", "collector": "COLLECTOR", "what": "WHAT", "row": "ROW", "field": "FIELD",
    "from": "FROM", "to": "TO",
}  # fmt: skip
SHOWN = 60  # characters of a value in a table
Row = dict[str, Any]


@app.command()
def changes(
    endpoint: Annotated[str, typer.Argument(help="Id or name; without: the whole fleet.")] = "",
    config: Config = None,
    since: Annotated[str, typer.Option(help="How far back (24h, 7d, 4w) or an ISO time.")] = "7d",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    collector: Annotated[list[str] | None, typer.Option(help="Only this collector; may be repeated.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="States that come and go too, such as those of services, and times.")
    ] = False,
    most: Annotated[int, typer.Option(min=0, help="At most so many rows, the newest; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """Show what has changed in inventories: hardware, software, accounts, settings.

    What a collector says for the first time is no change. `identity` tells which other machine was accepted for an
    endpoint, by whom and why.
    """
    from rmm.changes_view import changed

    checked_output(output)
    application = open_app(config)
    wanted = _wanted(application.catalog, collector or (), everything=everything)
    end = time_of(until) if until else datetime.now(UTC)
    begin = time_of(since, end)
    if site:
        application.known_site(site)
    chosen = application.targets.matching([endpoint] if endpoint else [], site=site, group=group)
    rows = changed(
        application.data,
        chosen,
        wanted,
        begin,
        end,
        everything=everything,
        identity=not collector,
        where=application.fleet,
    )
    left_out = max(0, len(rows) - most) if most else 0
    _show(rows[left_out:], output, f"nothing has changed since {begin:%Y-%m-%d %H:%M} UTC")
    if left_out and output == "table":
        print(f"... and {left_out} older ones; --most 0 shows all")


def _wanted(catalog: Mapping[str, Collector], named: Sequence[str], *, everything: bool) -> dict[str, Collector]:
    """The collectors whose changes are shown. Raises ConfigError for a name that is none."""
    from rmm.core.change import is_inventory

    if unknown := sorted(set(named) - set(catalog)):
        raise ConfigError(f"there is no collector {unknown[0]!r}", hint="See `rmm collector list`.")
    if named:
        return {name: catalog[name] for name in named}
    return {name: one for name, one in catalog.items() if everything or is_inventory(one.manifest)}


def _show(rows: Sequence[Row], output: str, empty: str) -> None:
    shown = [_short(row) for row in rows] if output == "table" else rows
    show(shown, COLUMNS, output, empty=empty)


def _short(row: Row) -> Row:
    to = row["to"]
    text = ", ".join(f"{name} {clean(value)}" for name, value in to.items()) if isinstance(to, dict) else clean(to)
    cut = {name: _cut(value) for name, value in (("from", clean(row["from"])), ("to", text))}
    return {**row, "at": row["at"][:16].replace("T", " "), **cut}


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
