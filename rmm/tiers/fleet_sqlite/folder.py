"""The fleet's database as a file of the data folder: `data/fleet.sqlite`, written by one process at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Hashable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite

from rmm.durable import hold
from rmm.errors import LeaseLost, TierError
from rmm.tiers.fleet_sqlite.database import NO_ROOM, SQL, UNFIT, Place, Question, Row, place_of, statements
from rmm.tiers.migrations import bounded_wal, open_writer, set_aside, tier_error, warn_once

log = logging.getLogger(__name__)

LOCK_S = 30.0
MOST_WAL = 256 << 20  # bytes
YOUNG_S = 2.0  # a file that was written so shortly before it was read may change without looking different


def path_of(data: Path) -> Path:
    """`data/fleet.sqlite`."""
    return data / "fleet.sqlite"


def alone(where: Path | Place) -> contextlib.AbstractAsyncContextManager[None]:
    """Hold the lock of a fleet's database: see `Place.alone`."""
    return place_of(where).alone()


class InFolder:
    """`Place` in a data folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._path = path_of(data)
        self._sql = statements()

    def failed(self, error: Exception) -> TierError:
        """The TierError of a foreign error."""
        return tier_error(self._path, error)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold the lock of the fleet's database, for which others in this process or elsewhere are waited for LOCK_S.

        An SQLite with the WAL-reset bug needs that also for checkpoints. Not to be entered twice. Raises LeaseLost and
        TierError.
        """
        deadline = asyncio.get_running_loop().time() + LOCK_S
        while True:
            lock = hold(self._data / "locks" / "fleet.lock", "the fleet's database")
            try:
                lock.__enter__()
                break
            except LeaseLost:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.02)
        try:
            yield
        finally:
            lock.__exit__(None, None, None)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[SqliteDatabase]:
        """The file, migrated; closed at the end."""
        warn_once(self._data)
        connection = await self._opened()
        file = self._path.stat().st_ino
        database = SqliteDatabase(self._path, connection, self._sql)
        try:
            yield database
        finally:
            # The last one to close writes the WAL back into the file: alone, as for a transaction.
            async with contextlib.AsyncExitStack() as lock:
                held = False
                with contextlib.suppress(LeaseLost, TierError):
                    await lock.enter_async_context(self.alone())
                    held = True
                await connection.close()
                if database.damaged and held and self._path.stat().st_ino == file:  # nobody else was first
                    log.warning("%s is damaged; kept as %s, it begins anew", self._path, set_aside(self._path).name)

    async def _opened(self) -> aiosqlite.Connection:
        """The file, or a new one where it is damaged: alerts fire again, which is better than none for ever.

        Alone, as opening may make the file, turn it to WAL or migrate it.
        """
        async with self.alone():
            try:
                return await open_writer(self._path, SQL)
            except TierError as error:
                if error.code != "tier.damaged":
                    raise
                log.warning("%s; kept as %s, it begins anew", error, set_aside(self._path).name)
                return await open_writer(self._path, SQL)

    def ask(self, *questions: Question, wait_s: float = 10.0) -> list[Sequence[Row]]:
        """Answers of one moment; the file is open for the length of them.

        A connection that stays open would keep a damaged file from being moved aside on Windows.
        """
        if not self._path.exists():
            return [[] for _ in questions]
        try:
            with self._reading(wait_s) as connection:
                if len(questions) > 1:
                    connection.execute("BEGIN")  # all answers are of one moment
                schema = connection.execute("PRAGMA user_version").fetchone()[0]
                # A schema that is too old: only just made, or of an older rmm, and the next round brings it up to date.
                return [
                    connection.execute(self._sql[one.statement], _bound(one.arguments)).fetchall()
                    if schema >= one.schema else []
                    for one in questions
                ]  # fmt: skip
        except (sqlite3.Error, ValueError) as error:  # text that is none
            raise self.failed(error) from error

    @contextmanager
    def _reading(self, wait_s: float) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(uri, uri=True, timeout=wait_s, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()

    def state(self) -> Hashable:
        """The file's and its WAL's size and time; unequal to any while it is young.

        A connection that stays open would know of changes for certain (`PRAGMA data_version`): see `ask`.
        """
        found: list[Any] = []
        for path in (self._path, self._path.with_name(self._path.name + "-wal")):
            try:
                stat = path.stat()
            except OSError:
                found.append(None)
                continue
            if not stat.st_size:  # a WAL that a reader has made
                found.append(None)
                continue
            found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
            if abs(time.time() - stat.st_mtime) < YOUNG_S:
                found.append(time.monotonic_ns())
        return tuple(found)


class SqliteDatabase:
    """`Database` on one file."""

    def __init__(self, path: Path, connection: aiosqlite.Connection, sql: dict[str, str]) -> None:
        self._path = path
        self._db = connection
        self._sql = sql
        self.damaged = False  # found to be so; then it is moved aside when it is closed

    def failed(self, error: Exception) -> TierError:
        """The TierError of a foreign error; remembers that the file is damaged."""
        failure = tier_error(self._path, error)
        self.damaged = self.damaged or failure.code == "tier.damaged"
        return failure

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing; durable on leaving, and for the holder of `alone`.

        Raises TierError, also (tier.held) while a reader that does not let go has made the WAL as large as it may be:
        observations stay in the spool then, and who can be told without this file, is told.
        """
        try:
            await bounded_wal(self._db, self._path, MOST_WAL)
            try:
                await _whole(self._db.execute("BEGIN IMMEDIATE"))
                yield
            except BaseException:
                if self._db.in_transaction:  # some failures, such as a full disk, roll back by themselves
                    await _whole(self._db.execute("ROLLBACK"))
                raise
            await _whole(self._db.execute("COMMIT"))
        except sqlite3.Error as error:
            raise self.failed(error) from error

    async def execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        """A statement that answers nothing."""
        try:
            await self._db.execute(self._sql[statement], _bound(arguments))
        except sqlite3.Error as error:
            raise self.failed(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise _unfit(self._path, error) from error

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same once for each of these arguments, which have no lists."""
        try:
            await self._db.executemany(self._sql[statement], rows)
        except sqlite3.Error as error:
            raise self.failed(error) from error
        except (OverflowError, UnicodeEncodeError) as error:
            raise _unfit(self._path, error) from error

    async def fetch(self, statement: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """All rows of a statement."""
        try:
            return list(await self._db.execute_fetchall(self._sql[statement], _bound(arguments)))
        except (sqlite3.Error, ValueError) as error:
            raise self.failed(error) from error

    async def version(self) -> int:
        """SQLite's own count."""
        rows = list(await self._db.execute_fetchall("PRAGMA data_version"))
        return int(rows[0][0])


def _unfit(path: Path, error: Exception) -> TierError:
    return TierError(f"{path}: {error}", code=UNFIT, hint=NO_ROOM)


def _bound(arguments: Sequence[Any]) -> Sequence[Any]:
    return [json.dumps(one) if isinstance(one, list) else one for one in arguments]


async def _whole(statement: Awaitable[Any]) -> None:
    """A statement to its end, also when the caller is cancelled.

    It runs in the connection's thread all the same, and a transaction that began when nobody waited for it any more
    would keep every other process from writing.
    """
    running = asyncio.ensure_future(statement)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((running,))
        running.exception()  # seen, or asyncio complains
        raise
