"""Keys, as they are pressed, with the standard library alone: termios here, msvcrt on Windows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

# What terminals send, after the escape character.
_SEQUENCES = {
    "[A": "up", "[B": "down", "[C": "right", "[D": "left", "OA": "up", "OB": "down", "OC": "right", "OD": "left",
    "[5~": "pageup", "[6~": "pagedown", "[H": "home", "[F": "end", "OH": "home", "OF": "end", "[1~": "home",
    "[4~": "end", "[7~": "home", "[8~": "end", "[Z": "backtab",
}  # fmt: skip
_PLAIN = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace", "\x1b": "escape"}
# Of Windows' consoles, after 00 or E0.
_CODES = {"H": "up", "P": "down", "K": "left", "M": "right", "I": "pageup", "Q": "pagedown", "G": "home", "O": "end"}


class Keys(Protocol):
    """Keys that wait to be heeded."""

    def wait(self, seconds: float) -> list[str]:
        """The keys that were pressed, in order; after so many seconds none."""
        ...


def named(text: str) -> list[str]:
    """The keys in what a terminal has sent. What is no key that we know is left out."""
    keys, place = [], 0
    while place < len(text):
        if text[place] == "\x1b" and text[place + 1 : place + 2] in ("[", "O"):
            end = place + 2
            while end < len(text) and not "@" <= text[end] <= "~":
                end += 1
            keys.append(_SEQUENCES.get(text[place + 1 : end + 1], ""))
            place = end + 1
            continue
        keys.append(_PLAIN.get(text[place], text[place] if text[place].isprintable() else ""))
        place += 1
    return [key for key in keys if key]


class NoKeys:
    """Where no keyboard is."""

    def wait(self, seconds: float) -> list[str]:
        """Nothing ever comes."""
        time.sleep(seconds)
        return []


if sys.platform == "win32":
    import msvcrt

    class _Console:
        """The keyboard of a Windows console."""

        def wait(self, seconds: float) -> list[str]:
            """See Keys. A console's keys cannot be waited for, only asked for."""
            until = time.monotonic() + seconds
            while not msvcrt.kbhit():
                if time.monotonic() > until:
                    return []
                time.sleep(0.05)
            return [key for key in (self._next(),) if key]

        def _next(self) -> str:
            character = msvcrt.getwch()
            if character in ("\x00", "\xe0"):
                return _CODES.get(msvcrt.getwch(), "")
            if character == "\x03":
                raise KeyboardInterrupt
            return "".join(named(character)[:1])

    @contextmanager
    def keyboard() -> Iterator[Keys]:
        """The keyboard, while this lasts; no keys where standard input is no console."""
        yield _Console() if sys.stdin.isatty() else NoKeys()

else:
    import select
    import termios
    import tty

    class _Terminal:
        """The keyboard of a terminal that gives each key at once."""

        def __init__(self, descriptor: int) -> None:
            self._descriptor = descriptor
            self._gone = False

        def wait(self, seconds: float) -> list[str]:
            """See Keys."""
            if self._gone:
                return NoKeys().wait(seconds)
            ready, _, _ = select.select([self._descriptor], [], [], seconds)
            if not ready:
                return []
            try:
                data = os.read(self._descriptor, 1024)
            except OSError:
                data = b""
            if not data:  # the terminal was closed; SIGHUP ends us, unless somebody wanted otherwise
                self._gone = True
                return ["q"]
            return named(data.decode("utf-8", "replace"))

    @contextmanager
    def keyboard() -> Iterator[Keys]:
        """The keyboard, while this lasts; no keys where standard input is no terminal."""
        if not sys.stdin.isatty():
            yield NoKeys()
            return
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
        try:
            tty.setcbreak(descriptor)
            # No Ctrl-Z: the shell would be left with our screen.
            mode = termios.tcgetattr(descriptor)
            mode[6][termios.VSUSP] = os.fpathconf(descriptor, "PC_VDISABLE").to_bytes(1, "little")
            termios.tcsetattr(descriptor, termios.TCSANOW, mode)
            yield _Terminal(descriptor)
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
