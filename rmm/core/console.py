"""What a key does to the live view: its state machine. Pure.

key                      does
1..5, tab, shift-tab     another page
s, r                     the next order, reversed
/                        type words that a row must have: enter takes them, escape leaves them as they were
escape                   closes what is open: the help, an endpoint, the words
up, down, pages, ends    moves the mark
enter                    opens the endpoint on the marked row
p, + and -               stands still, more often, less often
q                        ends
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rmm.core.board import SORTS

PAGES = ("overview", "sites", "alerts", "endpoints", "slow")
INTERVALS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds
MOST_TYPED = 60


class View(NamedTuple):
    """What is shown. `mark` is the place of a row; `opened` the id of an endpoint."""

    page: str = "overview"
    orders: Mapping[str, tuple[str, bool]] = {}  # page -> (order, reversed), where another than the first is asked for
    wanted: str = ""
    typing: str | None = None  # what is being typed
    mark: int = 0
    opened: str = ""
    help: bool = False
    paused: bool = False
    interval: float = 2.0
    over: bool = False

    @property
    def order(self) -> tuple[str, bool]:
        """The order of this page."""
        return order_of(self, self.page)


def order_of(view: View, page: str) -> tuple[str, bool]:
    """(name, reversed) of the order of a page."""
    return view.orders.get(page, (next(iter(SORTS[page]), ""), False)) if page in SORTS else ("", False)


class Seen(NamedTuple):
    """What a key may refer to: the number of rows, how many of them fit, and the endpoint of each row's mark."""

    rows: int = 0
    fit: int = 1
    marked: str = ""


def press(view: View, key: str, seen: Seen) -> View:
    """The view after a key."""
    if view.typing is not None:
        return _typed(view, view.typing, key)
    if key in ("up", "down", "pageup", "pagedown", "home", "end"):
        return view._replace(mark=_moved(view.mark, key, seen))
    if key == "escape":
        return _closed(view)
    if key in ("tab", "backtab") or (key.isdigit() and 1 <= int(key) <= len(PAGES)):
        return _turned(view, key)
    if key in ("s", "r"):
        return _ordered(view, key)
    return _switched(view, key, seen)


def _switched(view: View, key: str, seen: Seen) -> View:
    if key == "/":
        return view._replace(typing=view.wanted, opened="", help=False)
    if key == "p":
        return view._replace(paused=not view.paused)
    if key in ("?", "h"):
        return view._replace(help=not view.help)
    if key in ("+", "-", "="):
        return view._replace(interval=_paced(view.interval, faster=key != "-"))
    if key == "enter" and seen.marked:
        return view._replace(opened=seen.marked, help=False)
    return view._replace(over=True) if key == "q" else view


def _typed(view: View, text: str, key: str) -> View:
    if key == "enter":
        return view._replace(wanted=text.strip(), typing=None, mark=0)
    if key == "escape":
        return view._replace(typing=None)
    if key == "backspace":
        return view._replace(typing=text[:-1])
    if len(key) == 1 and key.isprintable() and len(text) < MOST_TYPED:
        return view._replace(typing=text + key)
    return view


def _moved(mark: int, key: str, seen: Seen) -> int:
    last = max(0, seen.rows - 1)
    page = max(1, seen.fit - 1)
    places = {
        "up": mark - 1, "down": mark + 1, "pageup": mark - page, "pagedown": mark + page, "home": 0, "end": last,
    }  # fmt: skip
    return min(max(0, places[key]), last)


def _closed(view: View) -> View:
    if view.help:
        return view._replace(help=False)
    if view.opened:
        return view._replace(opened="")
    return view._replace(wanted="", mark=0)


def _turned(view: View, key: str) -> View:
    place = PAGES.index(view.page)
    place = int(key) - 1 if key.isdigit() else (place + (1 if key == "tab" else -1)) % len(PAGES)
    return view._replace(page=PAGES[place], mark=0, opened="", help=False)


def _ordered(view: View, key: str) -> View:
    if view.page not in SORTS:
        return view
    name, reverse = view.order
    if key == "s":
        names = list(SORTS[view.page])
        name, reverse = names[(names.index(name) + 1) % len(names)], False
    else:
        reverse = not reverse
    return view._replace(orders={**view.orders, view.page: (name, reverse)}, mark=0)


def _paced(interval: float, *, faster: bool) -> float:
    if faster:
        return max((one for one in INTERVALS if one < interval), default=INTERVALS[0])
    return min((one for one in INTERVALS if one > interval), default=INTERVALS[-1])
