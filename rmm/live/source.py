"""Where the live view has the fleet from: its database and the hot tier, each read only when it has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rmm.core.board import with_unpolled
from rmm.errors import RmmError
from rmm.model.board import Board
from rmm.model.endpoint import Endpoint
from rmm.model.state import EndpointState
from rmm.tiers import hot_json
from rmm.tiers.fleet_sqlite import BoardFile, Place
from rmm.tiers.hot_files import hot_files, written


class Source:
    """The newest board that could be read, and why there is no newer one."""

    def __init__(self, data: Path, listed: Sequence[Endpoint], where: Place | None = None) -> None:
        self._data = data
        self._listed = listed
        self._file = BoardFile(where or data)
        self._state: Any = None
        self._hot: tuple[Any, EndpointState | None] = (None, None)
        self.board = Board(with_unpolled((), listed), [], [])
        self.written: Mapping[str, float] = {}  # site -> when its hot tier was written, seconds since 1970
        self.trouble: RmmError | None = None

    def refresh(self) -> bool:
        """Read what has changed; returns whether there is a new board. What hinders it is in `trouble`."""
        self.written = written(self._data)
        state = self._file.state()
        if state == self._state:
            return False
        try:
            board = self._file.read()
        except RmmError as error:
            self.trouble, self._state = error, None
            return False
        self.trouble, self._state = None, state
        self.board = board._replace(endpoints=with_unpolled(board.endpoints, self._listed))
        return True

    def hot(self, endpoint: str) -> EndpointState | None:
        """The last state of one endpoint; None where the hot tier has none. Raises TierError."""
        site = next((line.site for line in self.board.endpoints if line.id == endpoint), "")
        if not site:
            return None
        state = (endpoint, hot_files(self._data / "hot" / site))
        if state != self._hot[0]:
            self._hot = (state, hot_json.read_endpoint(self._data, site, endpoint))
        return self._hot[1]


class Part(msgspec.Struct):
    """What the view shows of a collector's kept result."""

    outcome: str = ""
    gather_ms: float = 0.0
    bytes: int = 0


_part = msgspec.json.Decoder(Part | None)


def part(result: bytes) -> Part:
    """That of a result; an empty one of none, or of one that is damaged."""
    try:
        return _part.decode(result) or Part()
    except msgspec.DecodeError:
        return Part()
