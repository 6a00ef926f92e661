"""The loop of the live view: look for what has changed, draw, heed keys, until somebody ends it."""

from __future__ import annotations

import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

from rich.console import Console
from rich.live import Live

from rmm.core.board import fleet_line, rows
from rmm.core.console import Seen, View, order_of, press
from rmm.errors import RmmError
from rmm.live.cells import NO_DATA, about, collectors
from rmm.live.keys import Keys, keyboard
from rmm.live.screen import Content, picture
from rmm.live.source import Source

TICK_S = 0.25  # how soon a changed size of the terminal shows


class Screen:
    """What is on the terminal. The rows of a page are sorted anew only when board, page, order or words change."""

    def __init__(self, source: Source, console: Console, view: View) -> None:
        self.source = source
        self.view = view
        self.seen = Seen()
        self._console = console
        self._made: dict[str, tuple[Any, Any, Any]] = {}

    def drawn(self, now: float) -> Any:
        """The picture for the terminal as large as it is now."""
        width, height = self._console.size
        shown, self.seen = picture(self._content(now), self.view, width, height)
        return shown

    def _content(self, now: float) -> Content:
        board, view = self.source.board, self.view
        pages = ("sites", "alerts", "slow") if view.page == "overview" else (view.page,)
        return Content(
            fleet=self._kept("fleet", int(now // 10), lambda: fleet_line(board.endpoints, board.alerts, now)),
            board=board,
            pages={page: self._rows(page, now) for page in pages},
            written=self.source.written,
            notes=self._notes(now),
            opened=self._opened(now) if view.opened else None,
            now=now,
        )

    def _rows(self, page: str, now: float) -> Sequence[Any]:
        order, reverse = order_of(self.view, page)
        wanted, board = self.view.wanted, self.source.board
        # What is stale changes with the time alone; once in ten seconds is often enough.
        asked = (order, reverse, wanted, int(now // 10) if page == "sites" else 0)
        found: Sequence[Any] = self._kept(
            page, asked, lambda: rows(page, board, order, reverse=reverse, wanted=wanted, now=now)
        )
        return found

    def _kept(self, name: str, asked: Any, make: Callable[[], Any]) -> Any:
        """What was made of this board when the same was asked, or made now."""
        made = self._made.get(name)
        if made is None or made[0] is not self.source.board or made[1] != asked:
            made = self._made[name] = (self.source.board, asked, make())
        return made[2]

    def _notes(self, now: float) -> list[str]:
        notes = []
        if self.source.trouble is not None:
            notes.append(f"{self.source.trouble} ({self.source.trouble.code}); shown is what was read before")
        elif not any(line.at for line in self.source.board.endpoints):
            notes.append(NO_DATA)
        if self.source.board.cut:
            notes.append("there is more than can be shown: some endpoints or alerts are left out")
        return notes

    def _opened(self, now: float) -> tuple[str, Sequence[tuple[str, ...]]]:
        try:
            state = self.source.hot(self.view.opened)
        except RmmError as error:
            return str(error), []
        if state is None:
            return f"the hot tier has nothing to read of {self.view.opened}", []
        return about(state, now), collectors(state, now)


def watch(source: Source, view: View, *, console: Console | None = None, keys: Keys | None = None) -> None:
    """Show the fleet until q, Ctrl-C or SIGTERM; the terminal is then as it was.

    Raises KeyboardInterrupt for Ctrl-C and RmmError for SIGTERM.
    """
    shown = console or Console()
    with _Signals() as signals, _without_log(), _keyboard(keys) as pressed:
        screen = Screen(source, shown, view)
        source.refresh()
        with Live(screen.drawn(time.time()), console=shown, screen=True, auto_refresh=False) as live:
            _loop(screen, pressed, live, shown, signals)
    if signals.received == signal.SIGTERM:
        raise RmmError("stopped by SIGTERM", code="terminated", hint="")
    if signals.received:
        raise KeyboardInterrupt


@contextmanager
def _keyboard(keys: Keys | None) -> Iterator[Keys]:
    if keys is not None:
        yield keys
        return
    with keyboard() as real:
        yield real


def _loop(screen: Screen, keys: Keys, live: Live, console: Console, signals: _Signals) -> None:
    due, drawn = time.monotonic() + screen.view.interval, console.size
    while not (screen.view.over or signals.received):
        pressed = keys.wait(max(0.0, min(TICK_S, due - time.monotonic())))
        for key in pressed:
            screen.view = press(screen.view, key, screen.seen)
        if "+" in pressed or "-" in pressed:
            due = time.monotonic() + screen.view.interval
        looks = time.monotonic() >= due
        if looks:
            due = time.monotonic() + screen.view.interval
            if not screen.view.paused:
                screen.source.refresh()
        if pressed or looks or console.size != drawn:
            drawn = console.size
            live.update(screen.drawn(time.time()), refresh=True)


@contextmanager
def _without_log() -> Iterator[None]:
    """What is logged to the same terminal would be written over the screen."""
    if not sys.stderr.isatty():
        yield
        return
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


class _Signals:
    """SIGINT and SIGTERM end the loop at its next turn: raised in the midst of drawing they would leave our screen.

    A second one is raised at once, for a disk that does not answer.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._heed)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _heed(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = number
