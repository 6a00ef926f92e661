"""Samples of one field of every row of every endpoint, and of them only the hours that matter: for trying rules."""

from __future__ import annotations

import contextlib
import json
import math
import sqlite3
import struct
from bisect import bisect_left
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from rmm.core.columns import Number
from rmm.tiers.cold_sqlite.asking import Part, in_order, opened, version_of
from rmm.tiers.cold_sqlite.everyone import SiteHistory
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, PLACE, folder_of, sealed_files
from rmm.tiers.cold_sqlite.segment import RolledSegment, Segment
from rmm.tiers.cold_sqlite.series import stored_names
from rmm.tiers.cold_sqlite.writer import micros
from rmm.tiers.migrations import tier_error

Hours = dict[str, dict[str, set[int]]]  # endpoint -> row -> hours since 1970
Parts = dict[str, dict[str, list[Part]]]  # endpoint -> row -> samples
Samples = tuple[list[int], list[Number]]  # microseconds since 1970, values


class Bounds(NamedTuple):
    """Samples matter that are at `low` or below it, or at `high` or above it."""

    low: float
    high: float


class Past(NamedTuple):
    """Of one endpoint: samples by row key, complete in the `hours` of the row; elsewhere nothing of it matters.

    Where all samples were asked for, `hours` are empty, and `read` has the times of all of them.
    """

    rows: dict[str, Samples]
    hours: dict[str, set[int]]
    read: list[int]


class SitePast(SiteHistory):
    """`SiteHistory`, and what asks for a field of all rows. Raises TierError."""

    def past(
        self, metric: tuple[str, str], *, since: datetime, until: datetime, touched: Bounds | None, wanted: set[str]
    ) -> Iterator[tuple[str, Past]]:
        """Each endpoint of `wanted` with samples of a (collector, field) in hours that are `touched`; without: all.

        The hour with samples that follows such a one is there too, so that it can be seen how it ends. Hours of merged
        history are judged by their rollups, so of them only the days of touched ones are read.
        """
        first, last = micros(since), micros(until)
        self._places: dict[bytes | None, list[tuple[int, str]]] = {}
        self._number: dict[bytes | None, int] = {}
        parts: Parts = {}
        for path in self._files():
            self._raw(path, metric, first, last, wanted, parts)
            judged = self._judged(path, metric, first, last, wanted, touched) if touched else None
            self._days(path, metric, (first, last), wanted, judged, parts)
        for endpoint in sorted(parts):
            yield endpoint, _of(parts[endpoint], first, last, touched)

    def _of_field(self, series: bytes | None, metric: tuple[str, str]) -> list[tuple[int, str]]:
        """(place, row key) of a field's series in a layout; a damaged one has none."""
        if series not in self._places:
            names: list[list[str]] = []
            with self._damage():
                names = stored_names(series)
            found = [(place, row) for place, (name, row, field) in enumerate(names) if (name, field) == metric]
            self._places[series] = found
            self._number[series] = len(names)
        return self._places[series]

    def _raw(self, path: Path, metric: tuple[str, str], first: int, last: int, wanted: set[str], parts: Parts) -> None:
        """What is not merged yet: rows, and sealed hours."""
        taken: dict[tuple[str, str], Part] = {}
        for endpoint, series, at, packed, _ in self._everyones(path, "rows", first, last):
            if endpoint in wanted:
                for place, row in self._of_field(series, metric):
                    value = struct.unpack_from("<d", packed, 8 * place)[0] if 8 * place < len(packed) else math.nan
                    if not math.isnan(value):
                        part = taken.setdefault((endpoint, row), ([], []))
                        part[0].append(at)
                        part[1].append(value)
        for (endpoint, row), part in taken.items():
            parts.setdefault(endpoint, {}).setdefault(row, []).append(part)
        for endpoint, series, data in self._everyones(path, "hours", first // HOUR, last // HOUR):
            if endpoint in wanted:
                self._segment(endpoint, series, data, metric, parts)

    def _segment(self, endpoint: str, series: bytes | None, data: bytes, metric: tuple[str, str], parts: Parts) -> None:
        places = self._of_field(series, metric)
        if places:
            with self._damage():
                segment = Segment(data, self._number[series])
                for place, row in places:
                    parts.setdefault(endpoint, {}).setdefault(row, []).append(segment.one(place))

    def _judged(
        self, path: Path, metric: tuple[str, str], first: int, last: int, wanted: set[str], touched: Bounds
    ) -> Hours:
        """The hours of merged history that matter, and the next ones."""
        found: Hours = {}
        low, high = touched
        for endpoint, series, data in self._merged(path, "hourly", first // DAY, last // DAY):
            if endpoint not in wanted:
                continue
            for place, row in self._of_field(series, metric):
                with self._damage():
                    spans, least, most = RolledSegment(data, self._number[series]).extremes(place)
                    hits = [n for n, one in enumerate(most) if one >= high] if high < math.inf else []
                    hits += [n for n, one in enumerate(least) if one <= low] if low > -math.inf else []
                    near = {min(n + 1, len(spans) - 1) for n in hits} | set(hits)
                    more = {spans[-1] + 1} if len(spans) - 1 in hits else set[int]()
                    if hits:
                        own = found.setdefault(endpoint, {}).setdefault(row, set())
                        own.update({spans[n] for n in near} | more)
        return found

    def _days(
        self, path: Path, metric: tuple[str, str], span: tuple[int, int], wanted: set[str], judged: Hours | None,
        parts: Parts,
    ) -> None:  # fmt: skip
        """The merged days of samples that hold such hours, or all of them."""
        first, last = span[0] // DAY, span[1] // DAY
        days = {
            endpoint: {hour * HOUR // DAY for hours in rows.values() for hour in hours}
            for endpoint, rows in (judged or {}).items()
        }
        for file in sealed_files(folder_of(path), "raw"):
            if not (file.first <= last and first < file.end):
                continue
            if judged is None:
                found = self._everyones(file.path, "segments", first, last)
            else:
                found = self._at(file.path, days, file.first, file.end)
            for endpoint, series, data in found:
                if endpoint in wanted:
                    self._segment(endpoint, series, data, metric, parts)

    def _at(self, path: Path, days: dict[str, set[int]], first: int, end: int) -> list[tuple[Any, ...]]:
        """Segments of these endpoints and days. Raises TierError."""
        try:
            with contextlib.closing(opened(path)) as connection:
                if not version_of(connection):  # only just made
                    return []
                numbers = dict(connection.execute(self._sealed_sql["numbers"]).fetchall())
                places = [
                    numbers[endpoint] * PLACE + day
                    for endpoint, own in days.items()
                    if endpoint in numbers
                    for day in own
                    if first <= day < end
                ]
                return connection.execute(self._sealed_sql["segments_at"], (json.dumps(places),)).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error


def _of(rows: dict[str, list[Part]], first: int, last: int, touched: Bounds | None) -> Past:
    samples: dict[str, Samples] = {}
    hours: dict[str, set[int]] = {}
    read: set[int] = set()
    for row, parts in rows.items():
        at, values = in_order(parts)
        if at and (at[0] < first or at[-1] > last):
            kept = [n for n, moment in enumerate(at) if first <= moment <= last]
            at, values = [at[n] for n in kept], [values[n] for n in kept]
        samples[row] = at, values
        if touched is None:
            read.update(at)
        else:
            hours[row] = _near(at, values, touched)
    return Past(samples, hours, sorted(read))


def _near(at: list[int], values: list[Number], touched: Bounds) -> set[int]:
    """The hours with a sample that matters, and the next hour with samples after each of them."""
    low, high = touched
    hits = [n for n, value in enumerate(values) if value >= high or value <= low]
    hours = {at[n] // HOUR for n in hits}
    for hour in tuple(hours):
        following = bisect_left(at, (hour + 1) * HOUR)
        if following < len(at):
            hours.add(at[following] // HOUR)
    return hours
