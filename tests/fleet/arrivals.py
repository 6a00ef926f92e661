"""When the hub had what: its numbers of committed entries are looked at all the time, beside the logs of the sites."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from rmm.core.marks import covers
from rmm.core.outgoing import number_of
from rmm.errors import TierError
from rmm.model.envelope import OBSERVATION, Marks
from rmm.tiers.fleet_sqlite import FleetFile, Place
from rmm.tiers.fleet_sqlite.sites import SitesFile
from rmm.tiers.outgoing.sqlite import SqliteShelf, path_of

LOOK_S = 0.5
LATE_S = 30.0  # from a site's log to the hub's database; of a site whose link holds it is a second or two
PAGE = 256
EVER = datetime(2000, 1, 1, tzinfo=UTC)


class Delay(NamedTuple):
    """How a site's observations came to the hub."""

    late: int  # more than LATE_S after they were written
    slowest_s: float


class Arrivals:
    """Looks at the hub's database in a thread, until `close`."""

    def __init__(self, hub: Path | Place) -> None:
        self._file = SitesFile(FleetFile(hub))
        self._grew: dict[tuple[str, str], list[tuple[float, Marks]]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            self._look()

    def _look(self) -> None:
        try:
            marks = self._file.marks(EVER)
        except (TierError, OSError):  # the database is away, or is being restored
            return
        now = time.time()
        for one in marks:
            known = self._grew.setdefault((one.site, one.epoch), [])
            if not known or known[-1][1] != one.marks:
                known.append((now, one.marks))

    def close(self) -> None:
        """Look for the last time."""
        self._over.set()
        self._thread.join(30)
        self._look()

    def delay(self, site: str, folders: Iterable[Path]) -> Delay:
        """Of the observations that the outgoing logs of a site's collectors have, and the hub has."""
        delays = [
            at - written
            for data in folders
            for epoch, number, written in _written(data, site)
            if (at := self._arrived(site, epoch, number)) is not None
        ]
        return Delay(sum(one > LATE_S for one in delays), max(delays, default=0.0))

    def _arrived(self, site: str, epoch: str, number: int) -> float | None:
        return next((at for at, marks in self._grew.get((site, epoch), ()) if covers(marks, number)), None)


def _written(data: Path, site: str) -> Iterator[tuple[str, int, float]]:
    """Epoch, number and time of the observations of an outgoing log."""
    if not path_of(data, site).exists():
        return
    shelf = SqliteShelf(path_of(data, site), readonly=True)
    try:
        names, after = shelf.books().names, 0
        while page := shelf.rows(after, PAGE):
            after = page[-1].place
            for one in shelf.read([row.place for row in page]):
                if one.kind == OBSERVATION:
                    epoch, number = number_of(one.row.place)
                    yield names[epoch], number, one.row.at
    finally:
        shelf.close()
