"""Read-only access to the history of a site: all its shard files, since an endpoint may have moved."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rmm.tiers.cold_sqlite.series import metric_parts
from rmm.tiers.cold_sqlite.writer import SQL, micros
from rmm.tiers.migrations import named, tier_error


class ColdReader:
    """Opens a file for the length of one question; a writer may be at work meanwhile."""

    def __init__(self, data: Path, site: str) -> None:
        self._folder = data / "cold" / site
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))

    def _files(self) -> Iterator[tuple[sqlite3.Connection, Path]]:
        for path in sorted(self._folder.glob("*.sqlite")):
            try:
                connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
                try:
                    yield connection, path
                finally:
                    connection.close()
            except sqlite3.Error as error:
                raise tier_error(path, error) from error

    def _ask(
        self, endpoint: str, statement: str, *arguments: Any
    ) -> Iterator[tuple[sqlite3.Connection, int, list[Any]]]:
        for connection, _ in self._files():
            found = connection.execute(self._sql["endpoint_no"], (endpoint,)).fetchone()
            if found is not None:
                yield connection, found[0], connection.execute(self._sql[statement], (found[0], *arguments)).fetchall()

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Samples of one metric, oldest first; null samples are left out.

        A metric without a row key means the only row, or `_Total` where there are several.

        Raises:
            ValueError: when `metric` is not of the form `collector.field` or `collector.field[key]`.
        """
        collector, field, key = metric_parts(metric)
        span = (micros(since), micros(until))
        samples: list[tuple[int, float]] = []
        for connection, number, rows in self._ask(endpoint, "observations", *span):
            layouts = connection.execute(self._sql["layout_series"], (number, *span)).fetchall()
            places = {no: _place(json.loads(text), collector, field, key) for no, text in layouts}
            for at, layout, packed in rows:
                place = places.get(layout, -1)
                if place >= 0:
                    value = struct.unpack_from("<d", packed, 8 * place)[0]
                    if not math.isnan(value):
                        samples.append((at, value))
        return [(_moment(at), value) for at, value in sorted(samples)]

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time."""
        span = (micros(since), micros(until))
        names: set[str] = set()
        for connection, number, _ in self._ask(endpoint, "statuses", *span):
            for _no, text in connection.execute(self._sql["layout_series"], (number, *span)):
                names.update(
                    f"{name}.{field}[{key}]" if key else f"{name}.{field}" for name, key, field in json.loads(text)
                )
        return sorted(names)

    def statuses(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every observation: at, status, fault code, duration_ms."""
        found = [row for *_, rows in self._ask(endpoint, "statuses", micros(since), micros(until)) for row in rows]
        return [
            dict(zip(("at", "status", "fault", "duration_ms"), (_moment(r[0]), *r[1:]), strict=True))
            for r in sorted(found)
        ]

    def changes(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every stored change: at, collector, row key, field, value. The first value of a field counts as one."""
        found = [row for *_, rows in self._ask(endpoint, "changes", micros(since), micros(until)) for row in rows]
        return [
            {"at": _moment(at), "collector": name, "key": key, "field": field, "value": json.loads(value)}
            for name, key, field, at, value in sorted(found, key=lambda row: row[3])
        ]


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
