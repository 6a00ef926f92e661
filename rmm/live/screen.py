"""One picture of the live view, for rich. It never asks for anything: what it shows is given to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rmm.core.board import WORDS, SiteLine
from rmm.core.console import PAGES, Seen, View
from rmm.core.harmless import clean
from rmm.live.cells import COLUMNS, DROPPED, NUMBERS, cells
from rmm.model.board import Board, Line, LiveAlert

LEAST_WIDTH, LEAST_HEIGHT = 40, 8
LEAST_TEXT = 20  # columns of a text that has the room which is left
COLOURS = {
    "OK": "green", "Healthy": "green", "ok": "green", "PARTIAL": "yellow", "Warning": "yellow", "warning": "yellow",
    "Critical": "red", "critical": "red", "Offline": "red", "Unknown": "dim", "firing": "red", "pending": "dim",
    "never polled": "dim", "fault": "red",
}  # fmt: skip
WIDE = frozenset({"WHAT", "WHY", "FAULT"})
KEYS = "1-5 pages  s order  r reverse  / words  enter open  p pause  +- pace  ? help  q quit"
HELP = """1 overview  2 sites  3 alerts  4 endpoints  5 slow endpoints   (or tab)

s           the next order of this page        r   reversed
/           words that a row must have         escape   all rows again
up, down, page up, page down, home, end        move the mark
enter       what the hot tier has of the endpoint on the marked row; escape goes back
p           stand still and go on
+ -         look more often, less often
q, Ctrl-C   end

SCORE is the mean of the endpoints of which something is known. STALE endpoints were not observed for 15 minutes.
WRITTEN is when the site's hot tier was written. POLL S is how many seconds the newest poll took."""


class Picture(NamedTuple):
    """What is drawn and what keys may refer to in it."""

    shown: RenderableType
    seen: Seen


class Content(NamedTuple):
    """What the picture is of. `pages`: page -> its rows, in order. `opened`: a line on an endpoint, its collectors."""

    fleet: SiteLine
    board: Board
    pages: Mapping[str, Sequence[Any]]
    written: Mapping[str, float]
    notes: Sequence[str]  # what hinders
    opened: tuple[str, Sequence[tuple[str, ...]]] | None
    now: float


def picture(content: Content, view: View, width: int, height: int) -> Picture:
    """Never larger than the terminal."""
    if width < LEAST_WIDTH or height < LEAST_HEIGHT:
        text = f"{width} x {height} is too small: {LEAST_WIDTH} x {LEAST_HEIGHT} at least. q ends"
        return Picture(Text(text[: max(1, width * height - 1)]), Seen())
    head = _head(content, view)
    room = height - len(head) - 1
    seen = Seen()
    if view.help:
        body: list[RenderableType] = [_line(text) for text in HELP.splitlines()[:room]]
    elif content.opened is not None:
        about, found = content.opened
        body = [_line(about, "bold"), _table("collectors", found[: room - 2], -1, width)]
    elif view.page == "overview":
        body = _overview(content, room, width)
    else:
        body, seen = _page(content, view, room, width)
    foot = _line(f"/{view.typing}_   enter takes it, escape does not" if view.typing is not None else KEYS, "reverse")
    # The body is as high as there is room, so that the keys stay at the bottom.
    return Picture(Group(*head, _filled(body, room), foot), seen)


def _filled(body: Sequence[RenderableType], room: int) -> RenderableType:
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True)
    for one in body:
        grid.add_row(one)
    used = sum(one.row_count + 1 if isinstance(one, Table) else 1 for one in body)
    for _ in range(room - used):
        grid.add_row("")
    return grid


def _head(content: Content, view: View) -> list[Text]:
    fleet, alerts = content.fleet, content.board.alerts
    first = Text(no_wrap=True, overflow="ellipsis")
    first.append("rmm top  ", "bold")
    first.append(f"{fleet.endpoints} endpoints  ")
    first.append(f"score {'-' if fleet.score is None else fleet.score}  ", "bold")
    pending = sum(alert.state == "pending" for alert in alerts)
    first.append(f"alerts: {fleet.critical} critical, {fleet.warning} warning, {pending} pending  ")
    for word in WORDS:
        if count := fleet.words.get(word, 0):
            first.append(f"{count} {word}  ", COLOURS[word])
    clock = datetime.fromtimestamp(content.now).astimezone().strftime("%H:%M:%S")
    order, reverse = view.order
    said = [f"{clock}  page {PAGES.index(view.page) + 1} {view.page}"]
    said += [f"by {order}{' reversed' if reverse else ''}"] if order else []
    said += [f"with {view.wanted!r}"] if view.wanted else []
    said += [f"{fleet.stale} stale"] if fleet.stale else []
    waiting = sum(one.number for one in content.board.waiting)
    said += [f"{waiting} notifications wait"] if waiting else []
    said.append("standing still" if view.paused else f"every {view.interval:g} s")
    return [first, _line("   ".join(said), "dim"), *(_line(note, "bold red") for note in content.notes[:2])]


def _overview(content: Content, room: int, width: int) -> list[RenderableType]:
    """Sites, alerts and slow endpoints, one above the other; what one does not need, the others have."""
    pages = content.pages
    left = room
    body: list[RenderableType] = []
    for place, page in enumerate(("sites", "alerts", "slow")):
        share = left // (3 - place)
        fit = max(0, min(len(pages[page]), share - 2))
        if share < 1:
            continue
        title = f"{page}: {len(pages[page])}" + (f", the first {fit}" if 0 < fit < len(pages[page]) else "")
        body.append(_line(title, "bold"))
        left -= 1
        if fit:
            texts = [cells(row, page, content.now, content.written) for row in pages[page][:fit]]
            body.append(_table(page, texts, -1, width))
            left -= fit + 1
    return body


def _page(content: Content, view: View, room: int, width: int) -> tuple[list[RenderableType], Seen]:
    rows = content.pages[view.page]
    fit = max(1, room - 2)
    mark = min(view.mark, max(0, len(rows) - 1))
    first = max(0, min(mark - fit // 2, len(rows) - fit))
    shown = rows[first : first + fit]
    title = f"{view.page}: {first + 1 if rows else 0} to {first + len(shown)} of {len(rows)}"
    texts = [cells(row, view.page, content.now, content.written) for row in shown]
    row = rows[mark] if rows else None
    marked = row.id if isinstance(row, Line) else row.endpoint if isinstance(row, LiveAlert) else ""
    return [_line(title, "bold"), _table(view.page, texts, mark - first, width)], Seen(len(rows), fit, marked)


def _table(page: str, texts: Sequence[tuple[str, ...]], mark: int, width: int) -> Table:
    made = Table(box=None, pad_edge=False, header_style="underline", expand=True)
    places = _fitting(page, texts, width)
    for place in places:
        name = COLUMNS[page][place]
        ratio = 1 if name in WIDE or place == places[-1] else None
        justify: Literal["left", "right"] = "right" if name in NUMBERS else "left"
        made.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify, ratio=ratio)
    for number, line in enumerate(texts):
        shown = (Text(line[place], COLOURS.get(line[place], "")) for place in places)
        made.add_row(*shown, style="reverse" if number == mark else "")
    return made


def _fitting(page: str, texts: Sequence[tuple[str, ...]], width: int) -> list[int]:
    """The places of the columns that fit side by side; the first column stays, and what says why."""
    names = COLUMNS[page]
    widths = {
        place: LEAST_TEXT if name in WIDE else max([len(name), *(cell_len(line[place]) for line in texts)])
        for place, name in enumerate(names)
    }
    for name in DROPPED:
        if sum(widths.values()) + 2 * (len(widths) - 1) <= width:
            break
        if name in names[1:]:
            widths.pop(names.index(name), None)
    return list(widths)


def _line(text: str, style: str = "") -> Text:
    return Text(clean(text), style, no_wrap=True, overflow="ellipsis")
