"""`rmm top`: the fleet as it is now, on a terminal."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import csv_text, table
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.core.board import SiteLine
    from rmm.live.source import Source

app = typer.Typer(rich_markup_mode=None)


@app.command()
def top(
    config: Config = None,
    page: Annotated[str, typer.Option(help="Begin with overview, sites, alerts, endpoints or slow.")] = "overview",
    sort: Annotated[str, typer.Option(help="Order of that page; a wrong word shows which there are.")] = "",
    reverse: Annotated[bool, typer.Option("--reverse", help="In the other direction.")] = False,
    words: Annotated[str, typer.Option("--filter", help="Only rows with all of these words.")] = "",
    interval: Annotated[float, typer.Option(min=0.5, max=3600.0, help="Seconds between two looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print what is so now, as text, and end.")] = False,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="Printed: at most so many rows of each table.")] = 20,
    output: Output = "table",
) -> None:
    """Show fleet, sites, alerts and slow endpoints, again and again, until q or Ctrl-C; ? shows the keys.

    In a pipe, with --once and with another --output than table it prints one moment and ends. csv is one page's rows.
    """
    from rmm.core.console import View
    from rmm.live.source import Source

    checked_output(output)
    _check(page, sort, output)
    application = open_app(config)
    source = Source(application.data, application.settings.endpoints, application.fleet)
    orders = {page: (sort or _first(page), reverse)} if page != "overview" else {}
    view = View(page=page, orders=orders, wanted=words, interval=interval)
    if once or output != "table" or not sys.stdout.isatty():
        _print(source, view, most, output)
        return
    from rmm.live.console import watch

    watch(source, view)


def _first(page: str) -> str:
    from rmm.core.board import SORTS

    return next(iter(SORTS[page]))


def _check(page: str, sort: str, output: str) -> None:
    from rmm.core.board import SORTS
    from rmm.core.console import PAGES

    if page not in PAGES:
        raise ConfigError(f"--page {page}: there are {', '.join(PAGES)}")
    if page == "overview" and sort:
        raise ConfigError("--sort is of one page", hint=f"Add --page: {', '.join(PAGES[1:])}.")
    if sort and sort not in SORTS[page]:
        raise ConfigError(f"--sort {sort}: the page {page} has {', '.join(SORTS[page])}")
    if output == "csv" and page == "overview":
        raise ConfigError("csv is one table", hint=f"Add --page: {', '.join(PAGES[1:])}.")


def _print(source: Source, view: Any, most: int, output: str) -> None:
    """One moment. Raises TierError where the store cannot be read."""
    from rmm.core.board import fleet_line, rows
    from rmm.core.console import order_of

    source.refresh()
    if source.trouble is not None:
        raise source.trouble
    now, board = time.time(), source.board
    fleet = fleet_line(board.endpoints, board.alerts, now)
    pages = {}
    for page in ("sites", "alerts", "slow") if view.page == "overview" else (view.page,):
        order, reverse = order_of(view, page)
        found = rows(page, board, order, reverse=reverse, wanted=view.wanted, now=now)
        pages[page] = (len(found), found[:most])
    if output in ("json", "ndjson"):
        document = _document(source, fleet, pages, now)
        print(json.dumps(document, ensure_ascii=False, indent=1 if output == "json" else None))
    else:
        _text(source, fleet, pages, now, output)


def _text(source: Source, fleet: SiteLine, pages: dict[str, tuple[int, list[Any]]], now: float, output: str) -> None:
    from rmm.core.board import WORDS
    from rmm.live.cells import COLUMNS, NO_DATA, cells

    tables = {
        page: [dict(zip(COLUMNS[page], cells(row, page, now, source.written), strict=True)) for row in found]
        for page, (_, found) in pages.items()
    }
    if output == "csv":
        for page, lines in tables.items():
            print(csv_text(lines, COLUMNS[page]), end="")
        return
    words = ", ".join(f"{fleet.words[word]} {word}" for word in WORDS if fleet.words.get(word))
    score = "-" if fleet.score is None else fleet.score
    print(f"{fleet.endpoints} endpoints: {words or 'none'}; fleet health {score} of 100; {fleet.stale} stale")
    print(f"alerts: {fleet.critical} critical, {fleet.warning} warning")
    if not any(line.at for line in source.board.endpoints):
        print(NO_DATA)
    for page, lines in tables.items():
        whole = pages[page][0]
        print(f"\n{page}: {whole}" + (f", the first {len(lines)}" if len(lines) < whole else ""))
        if lines:
            table(lines, {name: name for name in COLUMNS[page]})


def _document(source: Source, fleet: SiteLine, pages: dict[str, tuple[int, list[Any]]], now: float) -> dict[str, Any]:
    """The same for programs. Times are seconds since 1970, 0 for never; tables are cut as the text's are."""
    import msgspec

    board = source.board
    return {
        "at": now,
        "fleet": _plain(fleet),
        "waiting": [one._asdict() for one in board.waiting],
        "refused": board.refused,
        "rows": {page: count for page, (count, _) in pages.items()},
        **{
            page: [_plain(row) if isinstance(row, tuple) else msgspec.to_builtins(row) for row in found]
            for page, (_, found) in pages.items()
        },
    }


def _plain(row: Any) -> dict[str, Any]:
    made: dict[str, Any] = dict(row._asdict())
    for name in ("reasons", "facts"):
        if name in made:
            made[name] = json.loads(made[name])
    if "words" in made:
        made["words"] = dict(made["words"])
    return made
