"""What the readers of the cold tier share: opening a file to read, and finding one metric in what is stored."""

from __future__ import annotations

import logging
import math
import sqlite3
import struct
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, pairwise
from pathlib import Path

from rmm.core import rollup
from rmm.core.columns import Number
from rmm.core.rollup import Rollups, roll
from rmm.model.rollup import Rollup
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import DAY
from rmm.tiers.cold_sqlite.segment import Name
from rmm.tiers.cold_sqlite.series import exact_values, metric_parts, stored_names

log = logging.getLogger(__name__)

MOST_OPEN = 48  # files
READ_S = 120.0  # how long a question may read a file: as long as that, its writer's WAL only grows

Part = tuple[list[int], list[Number]]  # times and values of one file, by time


def opened(path: Path) -> sqlite3.Connection:
    """A file to be read, for at most READ_S seconds; its caller closes it. Raises sqlite3.Error."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _connected(uri)
    except sqlite3.OperationalError:
        # SQLite makes an index of the WAL beside the file, also to read. Where that is not allowed (read-only disk,
        # another user's folder), a file without a WAL can be read as one that nobody changes.
        if path.with_name(path.name + "-wal").exists():
            raise
        return _connected(uri + "&immutable=1")


def version_of(connection: sqlite3.Connection) -> int:
    """The schema; 0 for a file that its writer has only just made. A reader may be the first to meet an older one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=10)
    try:
        connection.execute("PRAGMA user_version").close()
    except BaseException:
        connection.close()
        raise
    bound(connection)
    return connection


def bound(connection: sqlite3.Connection) -> None:
    """From now on it may be read for READ_S seconds."""
    until = time.monotonic() + READ_S
    connection.set_progress_handler(lambda: time.monotonic() > until, 200_000)


class OpenFiles:
    """Files that stay open between questions which follow one another at once: a page, a report, a list of endpoints.

    One that is open and not read keeps nothing from its writer but from ending without a WAL; what was replaced since
    is opened anew.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Path, tuple[int, sqlite3.Connection]] = OrderedDict()

    def get(self, path: Path) -> sqlite3.Connection:
        """Raises sqlite3.Error, also where there is no such file any more."""
        try:
            file = path.stat().st_ino
        except OSError:
            file = 0
        known = self._open.pop(path, None)
        if known is not None and known[0] != file:
            known[1].close()
            known = None
        connection = known[1] if known is not None else opened(path)
        bound(connection)
        self._open[path] = file, connection
        if len(self._open) > MOST_OPEN:
            self._open.popitem(last=False)[1][1].close()
        return connection

    def close(self) -> None:
        """All of them."""
        while self._open:
            self._open.popitem()[1][1].close()


def rolled(at: list[int], values: list[Number], span: int) -> Iterator[tuple[int, Rollup]]:
    """Rollups of samples, day by day as they are merged, so that both are equal to the last bit."""
    for day in sorted({moment // DAY for moment in at}):
        part = slice(bisect_left(at, day * DAY), bisect_left(at, (day + 1) * DAY))
        yield from told(roll(at[part], values[part], span)[0], span)


class Wanted:
    """A metric that is looked for. Raises ValueError when the text is none."""

    def __init__(self, metric: str) -> None:
        self._parts = self.collector, self.field, _ = metric_parts(metric)
        self._known: dict[bytes | None, tuple[int, int]] = {}  # by the stored form of a layout

    def place_in(self, series: bytes | None) -> tuple[int, int]:
        """Its place in a layout, -1 where it is not, and how many series that has. Damaged ones have none."""
        if series not in self._known:
            names: list[list[str]] = []
            try:
                names = stored_names(series)
            except DamagedSegment as error:
                log.warning("a segment cannot be read, and is left out: %s", error)
            self._known[series] = _place(names, *self._parts), len(names)
        return self._known[series]

    def name_in(self, names: Iterable[Name]) -> Name | None:
        """Its name of these, None where it is none of them."""
        series = [[*name] for name in names]
        place = _place(series, *self._parts)
        return (series[place][0], series[place][1], series[place][2]) if place >= 0 else None

    def take(self, part: Part, series: bytes | None, at: int, packed: bytes, exact: bytes | None) -> None:
        """Add what an observation's row has of it."""
        place = self.place_in(series)[0]
        if 0 <= place < len(packed) // 8:
            value = struct.unpack_from("<d", packed, 8 * place)[0]
            if not math.isnan(value):
                part[0].append(at)
                part[1].append(exact_values(exact).get(place, value) if exact else value)


def in_order(parts: list[tuple[list[int], list[Number]]]) -> tuple[list[int], list[Number]]:
    """Samples of several files by time; one that two of them hold counts once."""
    parts = sorted(part for part in parts if part[0])
    if all(one[0][-1] < two[0][0] for one, two in pairwise(parts)):
        return [*chain.from_iterable(part[0] for part in parts)], [*chain.from_iterable(part[1] for part in parts)]
    found = {moment: value for part in parts for moment, value in zip(*part, strict=True)}
    at = sorted(found)
    return at, [found[moment] for moment in at]


def told(rollups: Rollups, span: int) -> Iterator[tuple[int, Rollup]]:
    for number, samples, *values in rollup.told(rollups):
        yield number, Rollup(moment_of(number * span), samples, *values)


def _place(series: list[list[str]], collector: str, field: str, key: str) -> int:
    """Index of the wanted series; -1 when it is not in this layout."""
    found = [(index, row) for index, (name, row, f) in enumerate(series) if name == collector and f == field]
    for wanted in (key,) if key else ("", "_Total"):
        for index, row in found:
            if row == wanted:
                return index
    return found[0][0] if len(found) == 1 and not key else -1


def moment_of(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
