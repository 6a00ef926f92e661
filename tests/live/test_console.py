"""What keys do, and what terminals send for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.board import SORTS
from rmm.core.console import INTERVALS, MOST_TYPED, PAGES, Seen, View, press
from rmm.live.keys import named

SEEN = Seen(rows=50, fit=10, marked="srv-1")
KEYS = [
    "up", "down", "pageup", "pagedown", "home", "end", "left", "right", "enter", "escape", "backspace", "tab",
    "backtab", *"0123456789srp/?hq+-=xäé ", "\x1b", "",
]  # fmt: skip


def pressed(*keys: str, view: View | None = None, seen: Seen = SEEN) -> View:
    made = view or View()
    for key in keys:
        made = press(made, key, seen)
    return made


def test_pages() -> None:
    assert [pressed(str(n)).page for n in range(1, 6)] == list(PAGES)
    assert pressed(*["tab"] * len(PAGES)).page == "overview"
    assert pressed("backtab").page == "slow"
    assert pressed("9").page == pressed("0").page == "overview"
    assert pressed("3", "down", "4").mark == 0


def test_orders_are_of_their_page() -> None:
    view = pressed("3", "s")
    assert view.order == ("newest", False)
    assert pressed("r", view=view).order == ("newest", True)
    assert pressed("4", view=view).order == ("health", False)
    assert pressed("4", "3", view=view).order == ("newest", False)
    assert pressed("3", *["s"] * len(SORTS["alerts"])).order == ("severity", False)
    assert pressed("s", "r") == View()  # the overview has no order


def test_marks_stay_within_the_rows() -> None:
    assert pressed("down", "down", "up").mark == 1
    assert pressed("up").mark == 0
    assert pressed("end").mark == 49
    assert pressed("end", "pageup").mark == 40
    assert pressed("pagedown").mark == 9
    assert pressed("end", "home").mark == 0
    assert pressed("down", seen=Seen()).mark == 0


def test_words_are_typed() -> None:
    view = pressed("/", *"q1s", "backspace", " ")
    assert (view.typing, view.wanted, view.over) == ("q1 ", "", False)
    assert pressed("enter", view=view).wanted == "q1"
    assert pressed("escape", view=view)[:4] == View()[:4]
    assert pressed("enter", "escape", view=view).wanted == ""
    assert pressed("/", *"x" * 100).typing == "x" * MOST_TYPED
    assert pressed("/", "up", "\x1b", "").typing == ""


def test_an_endpoint_is_opened_and_closed() -> None:
    assert pressed("enter").opened == "srv-1"
    assert pressed("enter", "escape").opened == ""
    assert pressed("enter", "?", "escape").opened == "srv-1"  # the help is closed first
    assert pressed("enter", seen=Seen()).opened == ""


def test_pace_and_pause() -> None:
    assert pressed("p").paused
    assert not pressed("p", "p").paused
    assert pressed("+").interval == 1.0
    assert pressed(*"+" * 20).interval == INTERVALS[0]
    assert pressed(*"-" * 20).interval == INTERVALS[-1]
    assert pressed("-", view=View(interval=3600.0)).interval == INTERVALS[-1]
    assert pressed("q").over


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 60), st.integers(1, 40)), max_size=60))
def test_nothing_that_is_pressed_leaves_a_view_that_cannot_be_shown(keys: list[tuple[str, int, int]]) -> None:
    view = View()
    for key, count, fit in keys:
        view = press(view, key, Seen(count, fit, "srv-1" if count else ""))
        assert view.page in PAGES
        assert view.mark >= 0
        assert view.interval in INTERVALS
        assert not view.order[0] or view.order[0] in SORTS[view.page]
        assert view.typing is None or view.typing.isprintable()
        assert view.wanted.isprintable()


@pytest.mark.parametrize(
    ("sent", "keys"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        ("\x1b[5~\x1b[6~x", ["pageup", "pagedown", "x"]),
        ("\x1b[H\x1b[1~\x1b[F\x1b[4~", ["home", "home", "end", "end"]),
        ("\x1b[Z\t", ["backtab", "tab"]),
        ("\x1b", ["escape"]),
        ("\x1b\x1b", ["escape", "escape"]),
        ("\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("\x1b[1;5A\x1b[200~\x1b[M", []),  # with Ctrl, a paste, a mouse: not known, and not taken for letters
        ("\x1b[", []),
        ("\x01\x02ä", ["ä"]),
    ],
)
def test_what_terminals_send(sent: str, keys: list[str]) -> None:
    assert named(sent) == keys


@given(st.text(max_size=60))
def test_whatever_is_sent_is_keys(sent: str) -> None:
    for key in named(sent):
        assert key.isprintable()
        assert key
