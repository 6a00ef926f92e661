"""The fleet at a moment, read in one go, and whether it may have changed since."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.model.board import Board, Line, LiveAlert, Waiting
from rmm.tiers.fleet_sqlite.database import Place, Question, Row, place_of

MOST_ENDPOINTS, MOST_ALERTS = 200_000, 50_000
BUSY_S = 1.0  # how long a locked file is waited for
REFUSALS = 3  # the schema that has them
DELIVERY = 5  # and the one that has what waits for channels


_alert = msgspec.json.Decoder(LiveAlert)


class BoardFile:
    """Reads the database anew only when it has changed. It is open for the length of one reading alone."""

    def __init__(self, where: Path | Place) -> None:
        self._place = place_of(where)

    def state(self) -> Hashable:
        """Equal to an earlier one as long as nothing was written in between; may be unequal without a reason."""
        return self._place.state()

    def read(self) -> Board:
        """The board; empty where there is nothing yet. Raises TierError: damaged, locked, of a newer rmm."""
        rows, found, waiting, refused = self._place.ask(
            Question("board.endpoints", (MOST_ENDPOINTS + 1,)), Question("board.alerts", (MOST_ALERTS + 1,)),
            Question("board.waiting", (), DELIVERY), Question("board.refused", (), REFUSALS), wait_s=BUSY_S,
        )  # fmt: skip
        try:
            return Board(
                [_line(row) for row in rows[:MOST_ENDPOINTS]],
                [_numbered(row) for row in found[:MOST_ALERTS]],
                [Waiting(row[0], bool(row[1]), *tuple(row)[2:]) for row in waiting],
                refused[0][0] if refused else 0,
                len(rows) > MOST_ENDPOINTS or len(found) > MOST_ALERTS,
            )
        except (msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise self._place.failed(error) from error


def _numbered(row: Row) -> LiveAlert:
    return msgspec.structs.replace(_alert.decode(row[2]), number=row[0], state=row[1])


def _line(row: Row) -> Line:
    return Line(
        id=row[0], name=row[1], site=row[2], status=row[3], fault=row[4],
        at=datetime.fromisoformat(row[5]).timestamp(), duration_s=float(row[6]), score=int(row[7]), health=row[8],
        reasons=row[9], facts=row[10],
    )  # fmt: skip
