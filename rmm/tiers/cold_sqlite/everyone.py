"""Questions about all endpoints of a site at once, in one pass over its files."""

from __future__ import annotations

import contextlib
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from rmm.model.rollup import Rollup
from rmm.tiers.cold_sqlite.asking import Part, Wanted, in_order, opened, rolled, version_of
from rmm.tiers.cold_sqlite.reader import STEPS, TIMES, ColdReader
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, folder_of, sealed_files
from rmm.tiers.cold_sqlite.segment import Segment
from rmm.tiers.cold_sqlite.writer import micros
from rmm.tiers.migrations import tier_error


class SiteHistory(ColdReader):
    """`ColdReader`, and what asks for everyone. Raises TierError."""

    def everyones(
        self, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> dict[str, list[Rollup]]:
        """`rollups` of every endpoint of the site that has any, in one pass over its files."""
        span, kind = STEPS[step]
        first, last = micros(since) // span, micros(until) // span
        wanted, parts = Wanted(metric), dict[str, list[Part]]()
        stored = dict[str, dict[int, Rollup]]()
        for path in self._files():
            for endpoint, part in self._unmerged(path, wanted, first * span, (last + 1) * span - 1):
                parts.setdefault(endpoint, []).append(part)
            for endpoint, series, data in self._merged(path, kind, first * span // DAY, last * span // DAY):
                stored.setdefault(endpoint, {}).update(self._stored(wanted, series, data, span))
        found = {}
        for endpoint in sorted(parts.keys() | stored.keys()):
            at, values = in_order(parts.get(endpoint, []))
            known = stored.get(endpoint, {})
            if any(moment // span in known for moment in at):  # something came late: what it comes to is in two places
                rollups = self.rollups(endpoint, metric, since=since, until=until, step=step)
            else:
                known.update(rolled(at, values, span))
                rollups = [known[number] for number in sorted(known) if first <= number <= last]
            if rollups:
                found[endpoint] = rollups
        return found

    def outcomes(self, *, since: datetime, until: datetime) -> Iterator[tuple[str, list[int], list[str] | str]]:
        """What became of every poll, in pieces: (endpoint, microseconds in order, the status of each, or one of all).

        Pieces of an endpoint come in no certain order, and what is merged at this moment may be in two of them. Days
        that the archive alone has are not asked for.
        """
        first, last = micros(since), micros(until)
        for path in self._files():
            rows: dict[str, list[tuple[int, str]]] = {}
            for endpoint, at, status in self._everyones(path, "statuses", first, last):
                rows.setdefault(endpoint, []).append((at, status))
            for endpoint, found in rows.items():
                found.sort()
                yield endpoint, [at for at, _ in found], [status for _, status in found]
            hours = self._everyones(path, "hours", first // HOUR, last // HOUR)
            for endpoint, _, data in chain(hours, self._merged(path, "raw", first // DAY, last // DAY)):
                with self._damage():
                    at, statuses = Segment(data, 0).outcomes()
                    low, high = bisect_left(at, first), bisect_right(at, last)
                    if low < high:
                        of_all = isinstance(statuses, str) or (low, high) == (0, len(at))
                        yield endpoint, at[low:high], statuses if of_all else statuses[low:high]

    def _unmerged(self, path: Path, wanted: Wanted, first: int, last: int) -> Iterator[tuple[str, Part]]:
        """The wanted samples of the rows and of the sealed hours of a shard's file, by endpoint."""
        taken: dict[str, Part] = {}
        for endpoint, series, *row in self._everyones(path, "rows", first, last):
            wanted.take(taken.setdefault(endpoint, ([], [])), series, *row)
        yield from taken.items()
        for endpoint, series, data in self._everyones(path, "hours", first // HOUR, last // HOUR):
            place, names = wanted.place_in(series)
            if place >= 0:
                with self._damage():
                    yield endpoint, Segment(data, names).one(place)

    def _merged(self, path: Path, kind: str, first: int, last: int) -> Iterator[tuple[Any, ...]]:
        for file in sealed_files(folder_of(path), kind):
            if file.first <= last and first < file.end:
                yield from self._everyones(file.path, "segments", TIMES[kind](first), TIMES[kind](last))

    def _everyones(self, path: Path, what: str, low: int, high: int) -> list[tuple[Any, ...]]:
        """Rows, sealed hours or segments of all endpoints of a file. Raises TierError."""
        sql = self._sealed_sql if what == "segments" else self._sql
        try:
            with contextlib.closing(opened(path)) as connection:
                version = version_of(connection)
                if not version or (version == 1 and what == "hours"):
                    return []
                statement = sql[f"everyones_{what}"]
                if version == 1 and what == "rows":
                    statement = statement.replace("o.exact", "NULL")
                return connection.execute(statement, (low, high)).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error
