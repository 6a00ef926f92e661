"""All samples of a site, endpoint by endpoint and day by day: for the archive, for checks, to compare two stores."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from rmm.core.columns import Number
from rmm.errors import TierError
from rmm.tiers.archive import files as archive
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.asking import opened, version_of
from rmm.tiers.cold_sqlite.reader import ColdReader
from rmm.tiers.cold_sqlite.sealed import DAY, PLACE, folder_of, names_of, sealed_files
from rmm.tiers.cold_sqlite.sealing import samples_of
from rmm.tiers.cold_sqlite.segment import Name, Samples, Segment
from rmm.tiers.migrations import tier_error

BLOCK = 200  # endpoints

_encode = msgspec.msgpack.Encoder().encode


class SiteSamples(ColdReader):
    """`ColdReader`, with what asks for everything. Raises TierError."""

    def endpoints(self) -> list[str]:
        """The ids of all endpoints that any file of the site knows."""
        found: set[str] = set()
        for path in self._files():
            found.update(row[0] for row in self._all(path, self._sql["ids"]))
            for file in sealed_files(folder_of(path), "raw"):
                found.update(row[0] for row in self._all(file.path, self._sealed_sql["ids"]))
        return sorted(found)

    def days(self) -> list[int]:
        """The days since 1970 that may have samples, by growing time."""
        found: set[int] = set()
        for path in self._files():
            for statement, unit in (("range_of_rows", DAY), ("range_of_hours", 24)):
                for low, high in self._all(path, self._sql[statement]):
                    if low is not None:
                        found.update(range(low // unit, high // unit + 1))
            for file in sealed_files(folder_of(path), "raw"):
                found.update(range(file.first, file.end))
        return sorted(found)

    def day(self, endpoint: str, day: int) -> Samples:
        """Everything of one endpoint and day, each observation once."""
        parts: list[Samples] = []
        hours: list[tuple[bytes | None, bytes]] = []
        first, last = day * DAY, (day + 1) * DAY - 1
        for path in self._files():
            with self._known(path, endpoint) as (connection, number, version):
                rows = connection.execute(self._sql["day_rows"], (number, first, last)).fetchall() if number else []
                hours += self._hours(connection, number, version, first, last)
            layouts: dict[int, list[Name]] = {row[6]: [] for row in rows}
            for layout, series in {row[6]: row[9] for row in rows}.items():
                with self._damage():
                    layouts[layout] = names_of(series)
            parts.append(samples_of(rows, layouts))
        for series, data in chain(hours, self._segments(endpoint, "raw", day, day)):
            with self._damage():
                names = names_of(series)
                parts.append(Segment(data, len(names)).samples(names))
        return segment.join(parts)

    def aside(self, day: int) -> int:
        """How many segments of a day are kept aside, or are of an endpoint that nobody knows."""
        found = 0
        for path in self._files():
            found += self._count(path, self._sql["aside"], day * 24, day * 24 + 23)
            for file in sealed_files(folder_of(path), "raw"):
                if file.first <= day < file.end:
                    found += self._count(file.path, self._sealed_sql["aside"], day, day)
        return found

    def _count(self, path: Path, statement: str, *span: int) -> int:
        try:
            return sum(row[0] for row in self._all(path, statement, *span))
        except TierError as error:
            if "no such table" in str(error):  # of the first schema, which nobody has opened to write since
                return 0
            raise

    def checksum(self) -> str:
        """Equal for two sites that hold the same observations, samples and changes, however they are stored.

        In the archive too, but for what `unread` tells.
        """
        total = blake2b(digest_size=16)
        known = set(self.endpoints())
        archived = self._recall.days(0, PLACE)
        for day in sorted({*self.days(), *archived}):
            for endpoint, samples in self._everything(day, known, archived=day in archived):
                for seen, values in segment.scattered(samples):
                    said = sorted((name, _plain(value)) for name, value in values.items())
                    total.update(_encode((endpoint, seen, said)))
        for endpoint in sorted(known):
            for change in self.all_changes(endpoint):
                total.update(_encode((endpoint, change)))
        return total.hexdigest()

    def unread(self) -> int:
        """How many archived days no reader sees, because DuckDB is not installed."""
        return 0 if archive.available() else len(archive.days(self._recall.folder))

    def _everything(self, day: int, known: set[str], *, archived: bool) -> Iterator[tuple[str, Samples]]:
        """By growing endpoint; portion by portion, as an archived file is read."""
        names = sorted({*known, *(self._recall.endpoints(day) if archived else ())})
        for first in range(0, len(names), BLOCK):
            block = names[first : first + BLOCK]
            there = self._recall.together(day, block) if archived else {}
            for endpoint in block:
                parts = [self.day(endpoint, day)] + ([there[endpoint]] if endpoint in there else [])
                yield endpoint, segment.join(parts)

    def _all(self, path: Path, statement: str, *given: int) -> list[tuple[Any, ...]]:
        try:
            with contextlib.closing(opened(path)) as connection:
                return connection.execute(statement, given).fetchall() if version_of(connection) else []
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error


def _plain(value: Number) -> Number:
    """A whole number as int: rows hold it as float64, segments do not."""
    return int(value) if value.__class__ is float and value.is_integer() and abs(value) < 2**53 else value
