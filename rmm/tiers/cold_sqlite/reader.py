"""Read-only access to the history of a site: all its shard files, since an endpoint may have moved."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.core import rollup
from rmm.core.columns import Number
from rmm.core.rollup import Rollups, roll
from rmm.tiers.archive import files as archive
from rmm.tiers.archive.recall import Recall, series_of
from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, PLACE, RESTORED, folder_of, month_of, sealed_files, week_of
from rmm.tiers.cold_sqlite.sealed import SQL as SEALED_SQL
from rmm.tiers.cold_sqlite.segment import DamagedSegment, Name, RolledSegment, Samples, Segment
from rmm.tiers.cold_sqlite.series import exact_values, metric_parts
from rmm.tiers.cold_sqlite.writer import SQL, micros
from rmm.tiers.migrations import named, tier_error

log = logging.getLogger(__name__)

Change = dict[str, Any]
_Stored = tuple[int, tuple[str, bytes]]  # time, (series of its layout, data) of a segment
_Read = dict[Path, set[int]]  # a shard's own file -> the days of an endpoint of which it has a merged segment

_TIMES: dict[str, Callable[[int], int]] = {"raw": int, "hourly": week_of, "daily": month_of}


class Rollup(NamedTuple):
    """What an hour or a day of one metric comes to. `at`: its beginning, UTC. `samples`: how many."""

    at: datetime
    samples: int
    min: float
    mean: float
    max: float
    last: float


class ColdReader:
    """Opens a file for the length of one question; a writer may be at work meanwhile.

    A question looks into the shards' own files first and into those of merged history after that: what is merged
    between is in both for a while, and what is found twice counts once. Days that are no longer there come from the
    archive. A segment that cannot be read is left out, told in the log and counted in `damaged`.

    Raises TierError where a file cannot be read.
    """

    def __init__(self, data: Path, site: str) -> None:
        self._folder = data / "cold" / site
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
        self._sealed_sql = named((SEALED_SQL / "statements.sql").read_text(encoding="utf-8"))
        self._recall = Recall(archive.folder_of(data, site))
        self.damaged = 0

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("*.sqlite"))

    @contextlib.contextmanager
    def _known(self, path: Path, sql: Mapping[str, str], endpoint: str) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A file and the number of the endpoint in it; 0 where it does not know it."""
        try:
            with contextlib.closing(opened(path)) as connection:
                number = 0
                if _version(connection):
                    found = connection.execute(sql["endpoint_no"], (endpoint,)).fetchone()
                    number = found[0] if found else 0
                yield connection, number
        except sqlite3.Error as error:
            raise tier_error(path, error) from error

    def _ask(self, endpoint: str, statement: str, *arguments: Any) -> Iterator[tuple[dict[int, str], list[Any]]]:
        """Per shard's file that knows the endpoint: its layouts (for spans of time) and the rows of the statement."""
        for path in self._files():
            with self._known(path, self._sql, endpoint) as (connection, number):
                if number:
                    place = (number, *arguments)
                    if statement == "observations" and _version(connection) == 1:
                        statement = "observations_1"
                    layouts = connection.execute(self._sql["layout_series"], place) if len(arguments) == 2 else ()
                    yield dict(layouts), connection.execute(self._sql[statement], place).fetchall()

    def _segments(
        self, endpoint: str, kind: str, first: int, last: int, read: _Read | None = None
    ) -> Iterator[tuple[str, bytes]]:
        """(series of its layout, data) of the segments of these days: sealed hours, or merged history, or both.

        `kind`: "" for sealed hours alone, "raw" for them and the merged samples, otherwise rollups.
        `read` is told which merged segments there were.
        """
        for path in self._files():
            if kind in ("", "raw"):
                hours = self._of_file(path, self._sql, "hours", endpoint, first * 24, last * 24 + 23)
                yield from (found for _, found in hours)
            if kind:
                for time, found in self._sealed(folder_of(path), kind, endpoint, first, last):
                    if read is not None:
                        read.setdefault(path, set()).add(time)
                    yield found
        if kind == "raw":
            yield from (found for _, found in self._sealed(self._folder / RESTORED, kind, endpoint, first, last))

    def _sealed(self, folder: Path, kind: str, endpoint: str, first: int, last: int) -> Iterator[_Stored]:
        low, high = _TIMES[kind](first), _TIMES[kind](last)
        for file in sealed_files(folder, kind):
            if file.first <= last and first < file.end:
                yield from self._of_file(file.path, self._sealed_sql, "segments", endpoint, low, high)

    def _recalled(
        self, endpoint: str, first: int, last: int, read: _Read, collector: str = "", field: str = ""
    ) -> list[Samples]:
        """Of these days what the archive has, but for those that were read in every shard that knows the endpoint.

        A merged day of an endpoint is complete where it is, so nothing is asked of the archive for days that are kept.
        """
        days = self._recall.days(first, last)
        if not days:
            return []
        kept: list[set[int]] = []
        for path in self._files():
            with self._known(path, self._sql, endpoint) as (_, number):
                if number or path in read:
                    kept.append(read.get(path, set()))
        if kept:
            days = {day for day in days if not all(day in one for one in kept)}
        return self._recall.samples(endpoint, days, collector, field)

    def _of_file(
        self, path: Path, sql: Mapping[str, str], statement: str, endpoint: str, low: int, high: int
    ) -> Iterator[_Stored]:
        if not path.exists():  # retention took it
            return
        with self._known(path, sql, endpoint) as (connection, number):
            if number and (statement != "hours" or _version(connection) > 1):
                places = number * PLACE + low, number * PLACE + high
                yield from ((row[0] % PLACE, row[2:]) for row in connection.execute(sql[statement], places))

    def samples(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime
    ) -> tuple[list[int], list[Number]]:
        """Samples of one metric, oldest first: (microseconds since 1970, values); null samples are left out.

        A metric without a row key means the only row, or `_Total` where there are several.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        return self._samples(endpoint, _Wanted(metric), micros(since), micros(until))

    def _samples(
        self, endpoint: str, wanted: _Wanted, first: int, last: int, *, merged: bool = True
    ) -> tuple[list[int], list[Number]]:
        parts: list[tuple[list[int], list[Number]]] = []
        for layouts, rows in self._ask(endpoint, "observations", first, last):
            found: tuple[list[int], list[Number]] = [], []
            parts.append(found)
            for at, layout, packed, exact in rows:
                place = wanted.place_in(layouts[layout])[0]
                if 0 <= place < len(packed) // 8:
                    value = struct.unpack_from("<d", packed, 8 * place)[0]
                    if not math.isnan(value):
                        found[0].append(at)
                        found[1].append(exact_values(exact).get(place, value) if exact else value)
        read: _Read = {}
        for series, data in self._segments(endpoint, "raw" if merged else "", first // DAY, last // DAY, read):
            place, names = wanted.place_in(series)
            if place >= 0:
                with self._damage():
                    parts.append(Segment(data, names).one(place))
        if merged:
            days = self._recalled(endpoint, first // DAY, last // DAY, read, wanted.collector, wanted.field)
            named = [(samples, wanted.name_in(samples.series)) for samples in days]
            parts += [series_of(samples, name) for samples, name in named if name is not None]
        at, values = _in_order(parts)
        within = slice(bisect_left(at, first), bisect_right(at, last))
        return at[within], values[within]

    def rollups(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: str = "hour"
    ) -> list[Rollup]:
        """Rollups of one metric by "hour" or "day" (UTC), oldest first; the first and the last are whole ones too.

        Merged days have them stored, for longer than their samples; those of later days are made of the samples.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        span, kind = (HOUR, "hourly") if step == "hour" else (DAY, "daily")
        first, last = micros(since) // span, micros(until) // span
        wanted, found = _Wanted(metric), dict[int, Rollup]()
        # What is not merged yet, late samples too, is asked for first; it may be merged a moment later.
        at, values = self._samples(endpoint, wanted, first * span, (last + 1) * span - 1, merged=False)
        for series, data in self._segments(endpoint, kind, first * span // DAY, last * span // DAY):
            place, names = wanted.place_in(series)
            if place >= 0:
                with self._damage():
                    found.update(_told(RolledSegment(data, names).one(place), span))
        fresh = {moment // span for moment in at}
        if fresh & found.keys():
            at, values = self._samples(endpoint, wanted, min(fresh) * span, (last + 1) * span - 1)
        for day in {moment // DAY for moment in at}:  # one by one, as they are merged: equal to the last bit
            part = slice(bisect_left(at, day * DAY), bisect_left(at, (day + 1) * DAY))
            told = _told(roll(at[part], values[part], span)[0], span)
            found.update(item for item in told if item[0] in fresh)
        return [found[number] for number in sorted(found) if first <= number <= last]

    @contextlib.contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except DamagedSegment as error:
            self.damaged += 1
            log.warning("%s: a segment cannot be read, and is left out: %s", self._folder, error)

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Samples of one metric, oldest first; see `samples`."""
        at, values = self.samples(endpoint, metric, since=since, until=until)
        return [(_moment(moment), value) for moment, value in zip(at, values, strict=True)]

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time; of merged days, on one of its days."""
        first, last = micros(since), micros(until)
        stored: set[str] = set()
        for layouts, _ in self._ask(endpoint, "statuses", first, last):
            stored.update(layouts.values())
        read: _Read = {}
        stored.update(series for series, _ in self._segments(endpoint, "raw", first // DAY, last // DAY, read))
        names = {tuple(name) for text in stored for name in json.loads(text)}
        for samples in self._recalled(endpoint, first // DAY, last // DAY, read):
            names.update(samples.series)
        return sorted(f"{name}.{field}[{key}]" if key else f"{name}.{field}" for name, key, field in names)

    def statuses(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every observation: at, status, fault code, duration_ms."""
        first, last = micros(since), micros(until)
        found = {tuple(row) for _, rows in self._ask(endpoint, "statuses", first, last) for row in rows}
        read: _Read = {}
        for series, data in self._segments(endpoint, "raw", first // DAY, last // DAY, read):
            with self._damage():
                seen = Segment(data, len(json.loads(series))).seen()
                found.update((one.at, one.status, one.fault, one.duration_ms) for one in seen)
        for samples in self._recalled(endpoint, first // DAY, last // DAY, read):
            found.update((one.at, one.status, one.fault, one.duration_ms) for one in samples.seen)
        return [
            dict(zip(("at", "status", "fault", "duration_ms"), (_moment(row[0]), *row[1:]), strict=True))
            for row in sorted(found)
            if first <= row[0] <= last
        ]

    def changes(self, endpoint: str, *, since: datetime, until: datetime) -> list[Change]:
        """Every change: at, collector, key (of the row), field, before, value, first.

        The field '' tells that a row came (value True) or went (value None). `first`: nothing was known of this
        collector before.
        """
        first = micros(since)
        return [change for at, change in self._told(endpoint, until) if at >= first]

    def all_changes(self, endpoint: str) -> list[tuple[int, str, str, str, Any]]:
        """(microseconds, collector, row key, field, value) of every change, in order."""
        told = self._told(endpoint, datetime.max.replace(tzinfo=UTC))
        return [(at, one["collector"], one["key"], one["field"], one["value"]) for at, one in told]

    def changed(self, *, since: datetime, until: datetime) -> dict[str, set[str]]:
        """Endpoint -> collectors of which something was stored in this time, over all files of the site."""
        found: dict[str, set[str]] = {}
        for path in sorted(self._folder.glob("*.sqlite")):
            try:
                with contextlib.closing(opened(path)) as connection:
                    if not _version(connection):
                        continue
                    for endpoint, collector in connection.execute(self._sql["changed"], (micros(since), micros(until))):
                        found.setdefault(endpoint, set()).add(collector)
            except sqlite3.Error as error:
                raise tier_error(path, error) from error
        return found

    def values(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, Any]]:
        """What a text, state, boolean or time was: the value that stood at `since`, then each that differs.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        collector, field, key = metric_parts(metric)
        first = micros(since)
        found: list[tuple[datetime, Any]] = []
        for at, change in self._told(endpoint, until):
            gone = change["field"] == "" and change["value"] is None
            if change["collector"] != collector or change["key"] != key or not (gone or change["field"] == field):
                continue
            if at <= first:
                found.clear()
            found.append((change["at"], change["value"]))
        return found

    def _told(self, endpoint: str, until: datetime) -> Iterator[tuple[int, Change]]:
        """All changes up to `until`, over all files, in order of time."""
        rows = [row for _, found in self._ask(endpoint, "changes", micros(until)) for row in found]
        known: dict[str, changes.Values] = {}
        for collector, at, whole, data in sorted(rows, key=lambda row: (row[1], row[0])):
            before, first = known.get(collector, {}), collector not in known
            try:
                known[collector] = after = changes.apply(before, changes.unpack(data), whole=bool(whole))
            except (zlib.error, msgspec.DecodeError) as error:
                raise tier_error(self._folder, error) from error
            for key, field, old, value in changes.told(before, after):
                told = {"collector": collector, "key": key, "field": field, "before": old, "value": value}
                yield at, {"at": _moment(at), **told, "first": first}


def opened(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _connected(uri)
    except sqlite3.OperationalError:
        # SQLite makes an index of the WAL beside the file, also to read. Where that is not allowed (read-only disk,
        # another user's folder), a file without a WAL can be read as one that nobody changes.
        if path.with_name(path.name + "-wal").exists():
            raise
        return _connected(uri + "&immutable=1")


def _version(connection: sqlite3.Connection) -> int:
    """The schema; 0 for a file that its writer has only just made. A reader may be the first to meet an older one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=10)
    try:
        connection.execute("PRAGMA user_version").close()
    except BaseException:
        connection.close()
        raise
    return connection


class _Wanted:
    """A metric that is looked for. Raises ValueError when the text is none."""

    def __init__(self, metric: str) -> None:
        self._parts = self.collector, self.field, _ = metric_parts(metric)
        self._known: dict[str, tuple[int, int]] = {}  # by the stored form of a layout

    def place_in(self, series: str) -> tuple[int, int]:
        """Its place in a layout, -1 where it is not, and how many series that has."""
        if series not in self._known:
            names = json.loads(series)
            self._known[series] = _place(names, *self._parts), len(names)
        return self._known[series]

    def name_in(self, names: Iterable[Name]) -> Name | None:
        """Its name of these, None where it is none of them."""
        series = [[*name] for name in names]
        place = _place(series, *self._parts)
        return (series[place][0], series[place][1], series[place][2]) if place >= 0 else None


def _in_order(parts: list[tuple[list[int], list[Number]]]) -> tuple[list[int], list[Number]]:
    """Samples of several files by time; one that two of them hold counts once."""
    parts = sorted(part for part in parts if part[0])
    if all(one[0][-1] < two[0][0] for one, two in pairwise(parts)):
        return [*chain.from_iterable(part[0] for part in parts)], [*chain.from_iterable(part[1] for part in parts)]
    found = {moment: value for part in parts for moment, value in zip(*part, strict=True)}
    at = sorted(found)
    return at, [found[moment] for moment in at]


def _told(rollups: Rollups, span: int) -> Iterator[tuple[int, Rollup]]:
    for number, samples, *values in rollup.told(rollups):
        yield number, Rollup(_moment(number * span), samples, *values)


def _place(series: list[list[str]], collector: str, field: str, key: str) -> int:
    """Index of the wanted series; -1 when it is not in this layout."""
    found = [(index, row) for index, (name, row, f) in enumerate(series) if name == collector and f == field]
    for wanted in (key,) if key else ("", "_Total"):
        for index, row in found:
            if row == wanted:
                return index
    return found[0][0] if len(found) == 1 and not key else -1


def _moment(at: int) -> datetime:
    return datetime.fromtimestamp(at / 1_000_000, UTC)
