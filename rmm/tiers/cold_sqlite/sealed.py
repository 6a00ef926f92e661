"""Files of merged history beside a shard's own: which there are, and the one writer of each.

    <shard>/raw-2026-W48.sqlite      days of samples, a file per ISO week
    <shard>/hourly-2026-11.sqlite    rollups by hour, a file for the weeks whose Monday is in that month
    <shard>/daily.sqlite             rollups by day
    restored/raw-2026-W48.sqlite     days that were brought back from the archive, until somebody takes them away

Those of a shard belong to the holder of the shard's lease, as the shard's own file does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import Sequence
from datetime import date, timedelta
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import aiosqlite
import msgspec

from rmm.errors import TierError
from rmm.tiers.cold_sqlite.segment import Name
from rmm.tiers.cold_sqlite.series import digest, stored_names
from rmm.tiers.migrations import named, open_writer, tier_error

SQL = files("rmm.tiers.cold_sqlite") / "sealed_sql"
# Measured: pages of 16 kB leave 10 % more of a file of days unused, of 1 kB 2 % less and take twice the time to read.
PAGE = 2_048
RESTORED = "restored"
PLACE = 1 << 24  # endpoint number * PLACE + time: the place of a segment
HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
EPOCH = date(1970, 1, 1)
MONDAY = 3  # days from a Monday to 1970-01-01

_NAME = re.compile(r"(raw|hourly)-(\d{4})-(?:W)?(\d\d)\.sqlite\Z|(daily)\.sqlite\Z")
_encode = msgspec.json.Encoder().encode


class SealedFile(NamedTuple):
    """A file of merged history: its kind, and the days since 1970 that it may hold."""

    path: Path
    kind: str
    first: int
    end: int


class Found(NamedTuple):
    """A segment as it is stored: digest and stored form of the names of its series, None where they are gone."""

    digest: bytes | None
    series: bytes | None
    data: bytes


def folder_of(shard_file: Path) -> Path:
    """Where the merged history of a shard is."""
    return shard_file.with_suffix("")


def raw_path(folder: Path, day: int) -> Path:
    """The file of a day's samples."""
    year, week, _ = (EPOCH + timedelta(days=day)).isocalendar()
    return folder / f"raw-{year}-W{week:02}.sqlite"


def hourly_path(folder: Path, day: int) -> Path:
    """The file of a day's rollups by hour."""
    monday = EPOCH + timedelta(days=day - (day + MONDAY) % 7)
    return folder / f"hourly-{monday.year}-{monday.month:02}.sqlite"


def daily_path(folder: Path) -> Path:
    """The file of all rollups by day."""
    return folder / "daily.sqlite"


def week_of(day: int) -> int:
    """The weeks since 1970, from Monday to Sunday, to a day."""
    return (day + MONDAY) // 7


def month_of(day: int) -> int:
    """The months since 1970 to a day."""
    at = EPOCH + timedelta(days=day)
    return (at.year - 1970) * 12 + at.month - 1


def day_of_week(week: int) -> int:
    """The first day of a week, as `week_of` counts them."""
    return week * 7 - MONDAY


def day_of_month(month: int) -> int:
    """The first day of a month, as `month_of` counts them."""
    return (date(1970 + month // 12, month % 12 + 1, 1) - EPOCH).days


def sealed_files(folder: Path, kind: str = "") -> list[SealedFile]:
    """The files of one kind, or all, by time."""
    found = [file for name in named_in(folder) if (file := _named(folder, name, kind)) is not None]
    return sorted(found, key=lambda file: (file.kind, file.first))


def named_in(folder: Path) -> list[str]:
    """The names in a folder, none where it is not there; `Path.glob` takes ten times as long."""
    try:
        return os.listdir(folder)  # noqa: PTH208
    except FileNotFoundError:
        return []


def _named(folder: Path, name: str, wanted: str) -> SealedFile | None:
    match = _NAME.match(name)
    if match is None or wanted not in ("", kind := match[1] or match[4]):
        return None
    path = folder / name
    try:
        if kind == "daily":
            return SealedFile(path, kind, 0, PLACE)
        if kind == "raw":
            first = (date.fromisocalendar(int(match[2]), int(match[3]), 1) - EPOCH).days
            return SealedFile(path, kind, first, first + 7)
        month = date(int(match[2]), int(match[3]), 1)
        first = (month - EPOCH).days + (-month.weekday()) % 7
        after = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        return SealedFile(path, kind, first, (after - EPOCH).days + (-after.weekday()) % 7)
    except ValueError:  # no such week or month
        return None


class SealedWriter:
    """The one writer of such a file; an async context manager. Raises TierError.

    Where SQLite finds the file damaged, it is rebuilt, at the latest when it is left.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
        self._layouts: dict[tuple[Name, ...], int] = {}
        self._damage = ""  # what SQLite found; then it is rebuilt when it is closed
        self._db: aiosqlite.Connection

    def __str__(self) -> str:
        return str(self._path)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    async def __aenter__(self) -> SealedWriter:
        try:
            self._db = await open_writer(self._path, SQL, page_size=PAGE)
        except TierError as error:
            if error.code != "tier.damaged":
                raise
            await self._rebuild(str(error))
            self._db = await open_writer(self._path, SQL, page_size=PAGE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Without a WAL a file takes readers a third of the time to open. Where one of them is at work just now it
            # stays as it is, until the next time.
            await self._db.execute("PRAGMA busy_timeout = 0")
            await self._db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.DatabaseError:
            pass
        finally:
            await self._db.close()
            if self._damage:
                await self._rebuild(self._damage)

    def _failed(self, error: sqlite3.Error) -> TierError:
        failure = tier_error(self._path, error)
        if failure.code == "tier.damaged":
            self._damage = str(failure)
        return failure

    async def _rebuild(self, why: str) -> None:
        """A new file with what can be read of a damaged one, which is kept aside."""
        from rmm.tiers.store.repair import rebuild

        found = _named(self._path.parent, self._path.name, "")
        await asyncio.to_thread(rebuild, self._path, found.kind if found else "raw", why)

    async def get(self, endpoint: str, time: int) -> Found | None:
        """The segment of an endpoint at this time."""
        try:
            rows = await self._db.execute_fetchall(self._sql["endpoint_no"], (endpoint,))
            for (number,) in rows:
                for row in await self._db.execute_fetchall(self._sql["segment"], (number * PLACE + time,)):
                    return Found(*row)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return None

    async def put_right(self, digest: bytes, series: bytes) -> None:
        """The names of a layout that was damaged."""
        try:
            await self._db.execute(self._sql["add_layout"], (digest, series.decode()))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def set_aside(self, endpoint: str, time: int, why: str) -> None:
        """Move a segment that cannot be read out of the way."""
        try:
            ((number,),) = await self._db.execute_fetchall(self._sql["endpoint_no"], (endpoint,))
            await self._db.execute("BEGIN IMMEDIATE")
            await self._db.execute(self._sql["set_aside"], (number * PLACE + time, why))
            await self._db.execute(self._sql["drop_segment"], (number * PLACE + time,))
            await self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def compact(self) -> None:
        """Write the file anew without gaps."""
        try:
            await self._db.execute("VACUUM")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    async def put(self, segments: Sequence[tuple[str, int, tuple[Name, ...], bytes]]) -> None:
        """Store segments (endpoint, time, names, data) in one transaction; durable on return."""
        db = self._db
        try:
            await db.execute("BEGIN IMMEDIATE")
            await db.executemany(self._sql["add_endpoint"], [(endpoint,) for endpoint, *_ in segments])
            rows = []
            for endpoint, time, names, data in segments:
                ((number,),) = await db.execute_fetchall(self._sql["endpoint_no"], (endpoint,))
                rows.append((number * PLACE + time, await self._layout(names), data))
            await db.executemany(self._sql["put_segment"], rows)
            await db.execute("COMMIT")
        except BaseException as error:
            self._layouts.clear()
            if db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    await db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise self._failed(error) from error
            raise

    async def _layout(self, names: tuple[Name, ...]) -> int:
        known = self._layouts.get(names)
        if known is None:
            stored = _encode(names)
            name = digest(stored)
            await self._db.execute(self._sql["add_layout"], (name, stored.decode()))
            ((known,),) = await self._db.execute_fetchall(self._sql["layout_no"], (name,))
            self._layouts[names] = known
        return known


def names_of(series: bytes | None) -> list[Name]:
    """The names of a layout's series, from its stored form. Raises DamagedSegment."""
    return [(collector, key, field) for collector, key, field in stored_names(series)]
