"""Read-only access to the history of a site: all its shard files, since an endpoint may have moved."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rmm.core.columns import Number
from rmm.model.rollup import Rollup
from rmm.tiers.archive import files as archive
from rmm.tiers.archive.recall import Recall, series_of
from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.asking import OpenFiles, Part, Wanted, in_order, moment_of, opened, rolled, told, version_of
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import (
    DAY,
    HOUR,
    PLACE,
    RESTORED,
    folder_of,
    month_of,
    named_in,
    sealed_files,
    week_of,
)
from rmm.tiers.cold_sqlite.sealed import SQL as SEALED_SQL
from rmm.tiers.cold_sqlite.segment import RolledSegment, Samples, Segment
from rmm.tiers.cold_sqlite.series import metric_parts, stored_names
from rmm.tiers.cold_sqlite.writer import SQL, micros
from rmm.tiers.migrations import named, tier_error

log = logging.getLogger(__name__)

Change = dict[str, Any]
_Segment = tuple[bytes | None, bytes]  # series of its layout, data
_Timed = tuple[int, _Segment]
_Read = dict[Path, set[int]]  # a shard's own file -> the days of an endpoint of which it has a merged segment


class _Own(NamedTuple):
    """What a shard's own file has of an endpoint and some time."""

    layouts: dict[int, bytes]
    rows: list[Any]
    hours: list[_Segment]


STEPS = {"hour": (HOUR, "hourly"), "day": (DAY, "daily")}

TIMES: dict[str, Callable[[int], int]] = {"raw": int, "hourly": week_of, "daily": month_of}


class ColdReader:
    """Opens a file for the length of one question, or of `kept_open`; a writer may be at work meanwhile.

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
        self._kept: OpenFiles | None = None
        self.damaged = 0

    @contextlib.contextmanager
    def kept_open(self) -> Iterator[None]:
        """Files stay open while this lasts: for questions that follow one another at once, from one thread."""
        files = self._kept = OpenFiles()
        try:
            yield
        finally:
            self._kept = None
            files.close()

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[sqlite3.Connection]:
        if self._kept is not None:
            yield self._kept.get(path)
            return
        with contextlib.closing(opened(path)) as connection:
            yield connection

    def _files(self) -> list[Path]:
        return [self._folder / name for name in sorted(named_in(self._folder)) if name.endswith(".sqlite")]

    @contextlib.contextmanager
    def _known(self, path: Path, endpoint: str) -> Iterator[tuple[sqlite3.Connection, int, int]]:
        """A shard's own file, the number of the endpoint in it (0 where it does not know it), and its schema."""
        try:
            with self._opened(path) as connection:
                number, version = 0, version_of(connection)
                if version:
                    found = connection.execute(self._sql["endpoint_no"], (endpoint,)).fetchone()
                    number = found[0] if found else 0
                yield connection, number, version
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error

    def _own(self, endpoint: str, statement: str, first: int, last: int) -> list[_Own]:
        """Per shard's own file that knows the endpoint, what is not merged of these microseconds."""
        found = []
        for path in self._files():
            with self._known(path, endpoint) as (connection, number, version):
                if number:
                    place = number, first, last
                    if statement == "observations" and version == 1:
                        statement = "observations_1"
                    layouts = dict(connection.execute(self._sql["layout_series"], place).fetchall())
                    rows = connection.execute(self._sql[statement], place).fetchall()
                    # Behind the rows: what is sealed between the two questions is in both answers and counts once.
                    found.append(_Own(layouts, rows, self._hours(connection, number, version, first, last)))
        return found

    def _hours(self, db: sqlite3.Connection, number: int, version: int, first: int, last: int) -> list[_Segment]:
        """The sealed hours of these microseconds."""
        if not number or version == 1:
            return []
        hours = db.execute(self._sql["hours"], (number * PLACE + first // HOUR, number * PLACE + last // HOUR))
        return [(series, data) for _, _, series, data in hours.fetchall()]

    def _segments(
        self, endpoint: str, kind: str, first: int, last: int, read: _Read | None = None
    ) -> Iterator[_Segment]:
        """The merged segments of these days; `read` is told which there were."""
        for path in self._files():
            for time, found in self._sealed(folder_of(path), kind, endpoint, first, last):
                if read is not None:
                    read.setdefault(path, set()).add(time)
                yield found
        if kind == "raw":
            yield from (found for _, found in self._sealed(self._folder / RESTORED, kind, endpoint, first, last))

    def _sealed(self, folder: Path, kind: str, endpoint: str, first: int, last: int) -> Iterator[_Timed]:
        low, high = TIMES[kind](first), TIMES[kind](last)
        for file in sealed_files(folder, kind):
            if file.first <= last and first < file.end:
                yield from self._of_file(file.path, endpoint, low, high)

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
            with self._known(path, endpoint) as (_, number, _):
                if number or path in read:
                    kept.append(read.get(path, set()))
        if kept:
            days = {day for day in days if not all(day in one for one in kept)}
        return self._recall.samples(endpoint, days, collector, field)

    def _of_file(self, path: Path, endpoint: str, low: int, high: int) -> Iterator[_Timed]:
        if not path.exists():  # retention took it
            return
        try:
            with self._opened(path) as connection:
                statement, place = self._sealed_sql["segments_of"], (endpoint, low, high)
                try:
                    found = connection.execute(statement, place).fetchall()
                except sqlite3.OperationalError:
                    # Only just made, perhaps between that question and this one.
                    found = connection.execute(statement, place).fetchall() if version_of(connection) else []
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error
        # Behind the file's closing: who asked may take its time, and would keep the writer's WAL from beginning anew.
        yield from ((place % PLACE, (series, data)) for place, series, data in found)

    def samples(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime
    ) -> tuple[list[int], list[Number]]:
        """Samples of one metric, oldest first: (microseconds since 1970, values); null samples are left out.

        A metric without a row key means the only row, or `_Total` where there are several.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        return self._samples(endpoint, Wanted(metric), micros(since), micros(until))

    def _samples(
        self, endpoint: str, wanted: Wanted, first: int, last: int, *, merged: bool = True
    ) -> tuple[list[int], list[Number]]:
        parts: list[Part] = []
        own, read = self._own(endpoint, "observations", first, last), _Read()
        for layouts, rows, _ in own:
            parts.append(([], []))
            for at, layout, packed, exact in rows:
                wanted.take(parts[-1], layouts.get(layout), at, packed, exact)
        days = self._segments(endpoint, "raw", first // DAY, last // DAY, read) if merged else ()
        for series, data in chain(_sealed_hours(own), days):
            place, names = wanted.place_in(series)
            if place >= 0:
                with self._damage():
                    parts.append(Segment(data, names).one(place))
        if merged:
            recalled = self._recalled(endpoint, first // DAY, last // DAY, read, wanted.collector, wanted.field)
            named = [(samples, wanted.name_in(samples.series)) for samples in recalled]
            parts += [series_of(samples, name) for samples, name in named if name is not None]
        at, values = in_order(parts)
        within = slice(bisect_left(at, first), bisect_right(at, last))
        return at[within], values[within]

    def rollups(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> list[Rollup]:
        """Rollups of one metric by "hour" or "day" (UTC), oldest first; the first and the last are whole ones too.

        Merged days have them stored, for longer than their samples; those of later days are made of the samples.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        span, kind = STEPS[step]
        first, last = micros(since) // span, micros(until) // span
        wanted, found = Wanted(metric), dict[int, Rollup]()
        # What is not merged yet, late samples too, is asked for first; it may be merged a moment later.
        at, values = self._samples(endpoint, wanted, first * span, (last + 1) * span - 1, merged=False)
        for series, data in self._segments(endpoint, kind, first * span // DAY, last * span // DAY):
            found.update(self._stored(wanted, series, data, span))
        fresh = {moment // span for moment in at}
        if fresh & found.keys():
            at, values = self._samples(endpoint, wanted, min(fresh) * span, (last + 1) * span - 1)
        found.update(item for item in rolled(at, values, span) if item[0] in fresh)
        return [found[number] for number in sorted(found) if first <= number <= last]

    def _stored(self, wanted: Wanted, series: bytes | None, data: bytes, span: int) -> list[tuple[int, Rollup]]:
        """Stored rollups of the wanted series, by their numbers."""
        place, names = wanted.place_in(series)
        found: list[tuple[int, Rollup]] = []
        if place >= 0:
            with self._damage():
                found.extend(told(RolledSegment(data, names).one(place), span))
        return found

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
        return [(moment_of(moment), value) for moment, value in zip(at, values, strict=True)]

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time; of merged days, on one of its days."""
        first, last = micros(since), micros(until)
        own, read = self._own(endpoint, "statuses", first, last), _Read()
        stored: set[bytes | None] = {series for one in own for series in one.layouts.values()}
        days = self._segments(endpoint, "raw", first // DAY, last // DAY, read)
        stored.update(series for series, _ in chain(_sealed_hours(own), days))
        names: set[tuple[str, ...]] = set()
        for series in stored:
            with self._damage():
                names.update(map(tuple, stored_names(series)))
        for samples in self._recalled(endpoint, first // DAY, last // DAY, read):
            names.update(samples.series)
        return sorted(f"{name}.{field}[{key}]" if key else f"{name}.{field}" for name, key, field in names if field)

    def statuses(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every observation: at, status, fault code, duration_ms."""
        first, last = micros(since), micros(until)
        own, read = self._own(endpoint, "statuses", first, last), _Read()
        found = {tuple(row) for one in own for row in one.rows}
        days = self._segments(endpoint, "raw", first // DAY, last // DAY, read)
        for series, data in chain(_sealed_hours(own), days):
            with self._damage():
                seen = Segment(data, len(stored_names(series))).seen()
                found.update((one.at, one.status, one.fault, one.duration_ms) for one in seen)
        for samples in self._recalled(endpoint, first // DAY, last // DAY, read):
            found.update((one.at, one.status, one.fault, one.duration_ms) for one in samples.seen)
        return [
            dict(zip(("at", "status", "fault", "duration_ms"), (moment_of(row[0]), *row[1:]), strict=True))
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
                    if not version_of(connection):
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
        rows: list[Any] = []
        for path in self._files():
            with self._known(path, endpoint) as (connection, number, _):
                if number:
                    rows += connection.execute(self._sql["changes"], (number, micros(until))).fetchall()
        known: dict[str, changes.Values] = {}
        lost: set[str] = set()  # collectors of which a change cannot be read: what stood after it is not told
        for collector, at, whole, data in sorted(rows, key=lambda row: (row[1], row[0])):
            before, first = known.get(collector, {}), collector not in known
            if collector in lost and not whole:
                continue
            try:
                known[collector] = after = changes.apply(before, changes.unpack(data), whole=bool(whole))
                lost.discard(collector)
            except changes.DamagedChange as error:
                log.warning("%s: a change of %s cannot be read (%s)", endpoint, collector, error)
                lost.add(collector)
                continue
            for key, field, old, value in changes.told(before, after):
                told = {"collector": collector, "key": key, "field": field, "before": old, "value": value}
                yield at, {"at": moment_of(at), **told, "first": first}


def _sealed_hours(own: list[_Own]) -> Iterator[_Segment]:
    return chain.from_iterable(one.hours for one in own)
