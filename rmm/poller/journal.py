"""Which endpoints of a shard may hold shells of ours: a small file that outlives a crash, for the next start to read.

A visit is noted when it begins and when it has left nothing behind. The notes are appended without fsync: they are for
the process that dies, and after a power failure the endpoints' idle timeout ends what was left. The file belongs to the
holder of the shard's lease.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from pathlib import Path

from rmm.durable import replace_file
from rmm.errors import TierError

BEGUN, LEFT = "+", "-"
LARGE = 64 << 10  # bytes after which the file is emptied, at a moment when nothing is open


def installation(data: Path) -> str:
    """What tells this data folder's shells on endpoints from everybody else's: random, made once."""
    path = data / "installation"
    with contextlib.suppress(OSError):
        known = path.read_text(encoding="ascii", errors="replace").strip()
        if re.fullmatch("[0-9a-f]{16}", known):
            return known
    fresh = secrets.token_hex(8)
    with contextlib.suppress(TierError):  # a disk that is full or read-only is told by the stores
        replace_file(path, f"{fresh}\n".encode())
    return fresh


class VisitJournal:
    """The notes of one shard; use it as a context manager while the shard's lease is held."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._size = 0
        self._open: set[str] = set()
        self.unclean: set[str] = set()  # endpoint ids that an earlier process may have left shells on

    def __enter__(self) -> VisitJournal:
        with contextlib.suppress(OSError):
            self.unclean = _open_visits(self._path.read_text(encoding="utf-8", errors="replace"))
            self._open = set(self.unclean)
        # A disk that is full or read-only is told by the stores; what was noted before stays then, as it is.
        with contextlib.suppress(OSError, TierError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self.unclean:  # a crash in the middle leaves the old notes or the new ones
                replace_file(self._path, "".join(f"{BEGUN}{one}\n" for one in sorted(self.unclean)).encode())
        with contextlib.suppress(OSError):
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if not self.unclean:
                os.ftruncate(self._file, 0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file < 0:
            return
        with contextlib.suppress(OSError):
            if not self._open:
                os.ftruncate(self._file, 0)
        os.close(self._file)
        self._file = -1

    def begun(self, endpoint: str) -> None:
        """A visit begins."""
        if endpoint not in self._open:
            self._open.add(endpoint)
            self._note(BEGUN, endpoint)

    def left(self, endpoint: str) -> None:
        """A visit ended and nothing of ours is on the endpoint."""
        self.unclean.discard(endpoint)
        if endpoint in self._open:
            self._open.discard(endpoint)
            self._note(LEFT, endpoint)

    def _note(self, sign: str, endpoint: str) -> None:
        if self._file < 0:
            return
        line = f"{sign}{endpoint}\n".encode()
        with contextlib.suppress(OSError):
            if self._size > LARGE and not self._open:
                os.ftruncate(self._file, 0)
                self._size = 0
            self._size += os.write(self._file, line)


def _open_visits(text: str) -> set[str]:
    """The endpoints whose visits have no end; a line that a crash cut short stands for none."""
    found: set[str] = set()
    for line in text.splitlines():
        if line[:1] == BEGUN:
            found.add(line[1:])
        elif line[:1] == LEFT:
            found.discard(line[1:])
    return found
