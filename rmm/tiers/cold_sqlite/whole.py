"""All samples of a site, endpoint by endpoint and day by day: for the archive, for checks, to compare two stores."""

from __future__ import annotations

import contextlib
import sqlite3
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from rmm.core.columns import Number
from rmm.errors import TierError
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.asking import opened
from rmm.tiers.cold_sqlite.reader import ColdReader
from rmm.tiers.cold_sqlite.sealed import DAY, folder_of, names_of, sealed_files
from rmm.tiers.cold_sqlite.sealing import samples_of
from rmm.tiers.cold_sqlite.segment import Name, Samples, Segment
from rmm.tiers.migrations import tier_error

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
        """How many segments of a day are kept aside, or are of an endpoint that nobody knows: `day` has none of them."""
        found = 0
        for path in self._files():
            found += self._count(path, self._sql["aside"], day * 24, day * 24 + 23)
            for file in sealed_files(folder_of(path), "raw"):
                if file.first <= day < file.end:
                    found += self._count(file.path, self._sealed_sql["aside"], day, day)
        return found

    def _count(self, path: Path, statement: str, *span: int) -> int:
        try:
            return int(self._all(path, statement, *span)[0][0])
        except TierError as error:
            if "no such table" in str(error):  # of the first schema, which nobody has opened to write since
                return 0
            raise

    def checksum(self) -> str:
        """Equal for two sites that hold the same observations, samples and changes, however they are stored."""
        total = blake2b(digest_size=16)
        for endpoint in self.endpoints():
            total.update(_encode(endpoint))
            for day in self.days():
                for seen, values in segment.scattered(self.day(endpoint, day)):
                    total.update(_encode((seen, sorted((name, _plain(value)) for name, value in values.items()))))
            for change in self.all_changes(endpoint):
                total.update(_encode(change))
        return total.hexdigest()

    def _all(self, path: Path, statement: str, *given: int) -> list[tuple[Any, ...]]:
        try:
            with contextlib.closing(opened(path)) as connection:
                return connection.execute(statement, given).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise tier_error(path, error) from error


def _plain(value: Number) -> Number:
    """A whole number as int: rows hold it as float64, segments do not."""
    return int(value) if value.__class__ is float and value.is_integer() and abs(value) < 2**53 else value
