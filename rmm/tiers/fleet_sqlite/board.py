"""The fleet at a moment, read from `data/fleet.sqlite` in one go, and whether it may have changed since."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rmm.model.board import Board, Line, LiveAlert, Waiting
from rmm.tiers.fleet_sqlite.writer import SQL, path_of
from rmm.tiers.migrations import named, tier_error

MOST_ENDPOINTS, MOST_ALERTS = 200_000, 50_000
BUSY_S = 1.0  # how long a locked file is waited for
YOUNG_S = 2.0  # a file that was written so shortly before it was read may change without looking different
REFUSALS = 3  # the schema that has them
DELIVERY = 5  # and the one that has what waits for channels

State = tuple[Any, ...]

_alert = msgspec.json.Decoder(LiveAlert)


class BoardFile:
    """Reads the file anew only when it has changed. It is open for the length of one reading alone.

    A connection that stays open would know of changes for certain (`PRAGMA data_version`), but keep a damaged file from
    being moved aside on Windows; so it is the file's and its WAL's size and time that count.
    """

    def __init__(self, data: Path) -> None:
        self._path = path_of(data)
        self._sql = named((SQL / "board.sql").read_text(encoding="utf-8"))

    def state(self) -> State:
        """Equal to an earlier one as long as nothing was written in between; unequal to any while it is young."""
        found: list[Any] = []
        for path in (self._path, self._path.with_name(self._path.name + "-wal")):
            try:
                stat = path.stat()
            except OSError:
                found.append(None)
                continue
            if not stat.st_size:  # a WAL that a reader has made
                found.append(None)
                continue
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            if abs(time.time() - stat.st_mtime) < YOUNG_S:
                found.append(time.monotonic_ns())
        return tuple(found)

    def read(self) -> Board:
        """The board; empty where there is no file yet. Raises TierError: damaged, locked, of a newer rmm."""
        if not self._path.exists():
            return Board([], [], [])
        try:
            with self._open() as connection:
                return self._board(connection)
        except (sqlite3.Error, msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise tier_error(self._path, error) from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        try:
            connection.isolation_level = None
            connection.execute("BEGIN")  # all answers are of one moment
            yield connection
        finally:
            connection.close()

    def _board(self, connection: sqlite3.Connection) -> Board:
        schema = connection.execute("PRAGMA user_version").fetchone()[0]
        if schema < 1:
            return Board([], [], [])  # only just made
        rows = connection.execute(self._sql["endpoints"], (MOST_ENDPOINTS + 1,))
        endpoints = [_line(row) for row in rows]
        found = connection.execute(self._sql["alerts"], (MOST_ALERTS + 1,))
        alerts = [msgspec.structs.replace(_alert.decode(row[2]), number=row[0], state=row[1]) for row in found]
        asked = connection.execute(self._sql["waiting"]) if schema >= DELIVERY else ()  # else the next round tells
        waiting = [Waiting(row[0], bool(row[1]), *row[2:]) for row in asked]
        refused = connection.execute(self._sql["refused"]).fetchone()[0] if schema >= REFUSALS else 0
        cut = len(endpoints) > MOST_ENDPOINTS or len(alerts) > MOST_ALERTS
        return Board(endpoints[:MOST_ENDPOINTS], alerts[:MOST_ALERTS], waiting, refused, cut)


def _line(row: tuple[Any, ...]) -> Line:
    return Line(
        id=row[0], name=row[1], site=row[2], status=row[3], fault=row[4],
        at=datetime.fromisoformat(row[5]).timestamp(), duration_s=float(row[6]), score=int(row[7]), health=row[8],
        reasons=row[9], facts=row[10],
    )  # fmt: skip
