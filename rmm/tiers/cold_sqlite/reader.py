"""Read-only access to the history of a site: all its shard files, since an endpoint may have moved."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.series import metric_parts
from rmm.tiers.cold_sqlite.writer import SQL, micros
from rmm.tiers.migrations import named, tier_error

log = logging.getLogger(__name__)

Change = dict[str, Any]


class ColdReader:
    """Opens a file for the length of one question; a writer may be at work meanwhile.

    Raises TierError where a file cannot be read.
    """

    def __init__(self, data: Path, site: str) -> None:
        self._folder = data / "cold" / site
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))

    def _ask(self, endpoint: str, statement: str, *arguments: Any) -> Iterator[tuple[dict[int, str], list[Any]]]:
        """Per file that knows the endpoint: its layouts (for spans of time) and the rows of the statement."""
        for path in sorted(self._folder.glob("*.sqlite")):
            try:
                with contextlib.closing(_open(path)) as connection:
                    if connection.execute("PRAGMA user_version").fetchone() == (0,):
                        continue  # its writer has only just made it
                    found = connection.execute(self._sql["endpoint_no"], (endpoint,)).fetchone()
                    if found is None:
                        continue
                    place = (found[0], *arguments)
                    layouts = connection.execute(self._sql["layout_series"], place) if len(arguments) == 2 else ()
                    yield dict(layouts), connection.execute(self._sql[statement], place).fetchall()
            except (sqlite3.Error, UnicodeDecodeError) as error:
                raise tier_error(path, error) from error

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Samples of one metric, oldest first; null samples are left out.

        A metric without a row key means the only row, or `_Total` where there are several.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        collector, field, key = metric_parts(metric)
        samples: dict[int, float] = {}  # by time, so that one that two files hold counts once
        for layouts, rows in self._ask(endpoint, "observations", micros(since), micros(until)):
            places = {no: _place(json.loads(text), collector, field, key) for no, text in layouts.items()}
            for at, layout, packed in rows:
                place = places.get(layout, -1)
                if 0 <= place < len(packed) // 8:
                    value = struct.unpack_from("<d", packed, 8 * place)[0]
                    if not math.isnan(value):
                        samples[at] = value
        return [(_moment(at), value) for at, value in sorted(samples.items())]

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time."""
        names: set[str] = set()
        for layouts, _ in self._ask(endpoint, "statuses", micros(since), micros(until)):
            for text in layouts.values():
                names.update(
                    f"{name}.{field}[{key}]" if key else f"{name}.{field}" for name, key, field in json.loads(text)
                )
        return sorted(names)

    def statuses(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every observation: at, status, fault code, duration_ms."""
        found = {
            tuple(row) for _, rows in self._ask(endpoint, "statuses", micros(since), micros(until)) for row in rows
        }
        return [
            dict(zip(("at", "status", "fault", "duration_ms"), (_moment(row[0]), *row[1:]), strict=True))
            for row in sorted(found)
        ]

    def changes(self, endpoint: str, *, since: datetime, until: datetime) -> list[Change]:
        """Every change: at, collector, key (of the row), field, before, value, first.

        The field '' tells that a row came (value True) or went (value None). `first`: nothing was known of this
        collector before.
        """
        first = micros(since)
        return [change for at, change in self._told(endpoint, until) if at >= first]

    def changed(self, *, since: datetime, until: datetime) -> dict[str, set[str]]:
        """Endpoint -> collectors of which something was stored in this time, over all files of the site."""
        found: dict[str, set[str]] = {}
        for path in sorted(self._folder.glob("*.sqlite")):
            try:
                with contextlib.closing(_open(path)) as connection:
                    if connection.execute("PRAGMA user_version").fetchone() == (0,):
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
                yield at, {"at": _moment(at), **told, "first": first}


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _connected(uri)
    except sqlite3.OperationalError:
        # SQLite makes an index of the WAL beside the file, also to read. Where that is not allowed (read-only disk,
        # another user's folder), a file without a WAL can be read as one that nobody changes.
        if path.with_name(path.name + "-wal").exists():
            raise
        return _connected(uri + "&immutable=1")


def _connected(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=10)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").close()
    except BaseException:
        connection.close()
        raise
    return connection


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
