"""`Database` on one connection to PostgreSQL, which is made again when the server has gone meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from rmm.errors import LeaseLost, TierError
from rmm.tiers.fleet_postgres import dialect
from rmm.tiers.fleet_postgres.address import Address
from rmm.tiers.fleet_postgres.dialect import Statement
from rmm.tiers.fleet_postgres.errors import FOREIGN, refused, tier_error
from rmm.tiers.fleet_postgres.migrations import LOCK, STATE, migrate, newer
from rmm.tiers.fleet_sqlite.database import Row

log = logging.getLogger(__name__)
T = TypeVar("T")

LOCK_S = 30.0  # how long others are waited for
CLOSE_S = 5.0
LONGEST = 1000  # bytes of a text that is part of an index, of which two have 2700
_BEGIN = f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {LOCK}"
_FACTS = """
SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
  current_setting('default_transaction_read_only') = 'on' AS read_only, current_setting('server_encoding') AS encoding,
  current_schema() AS schema, current_setting('synchronous_commit') AS commits, current_setting('fsync') AS fsync
"""
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")  # in JSON


async def opened(address: Address) -> Any:
    """A connection for one who writes, to a database at the newest schema. Raises TierError and ConfigError."""
    connection = None
    try:
        connection = await address.connect(lock_s=LOCK_S)
        facts = await connection.fetchrow(_FACTS)
        if (why := refused(address.name, facts)) is not None:
            raise why
        if facts["commits"] == "off":  # what is committed is durable here, whatever is usual in this database
            await connection.execute("SET synchronous_commit = on")
        if facts["fsync"] == "off":
            log.warning("%s: the server has fsync off: what is committed may be lost with its machine", address.name)
        await migrate(connection, address.name)
    except BaseException as error:
        if connection is not None:
            connection.terminate()
        if isinstance(error, FOREIGN):
            raise tier_error(address.name, error) from error
        raise
    return connection


class PostgresDatabase:
    """One user at a time, as of any `Database`. A transaction takes the database's lock and keeps it to its end."""

    def __init__(self, address: Address, sql: Mapping[str, Statement]) -> None:
        self._address = address
        self._sql = sql
        self._connection: Any = None
        self._inside = False  # of a transaction
        self._wrote = False
        self._foreign = 0  # commits of others, as the newest transaction has seen them
        self._own = 0
        self._connections = 0
        self._one = asyncio.Lock()  # statement on the connection

    def failed(self, error: Exception) -> TierError:
        """The TierError of a foreign error."""
        return tier_error(self._address.name, error)

    @property
    def inside(self) -> bool:
        """Whether a transaction is open."""
        return self._inside

    async def connect(self) -> None:
        """Now, and not at the first statement."""
        async with self._one:
            await self._live()

    async def close(self) -> None:
        """Give the connection back, in CLOSE_S."""
        if self._connection is None:
            return
        try:
            await self._connection.close(timeout=CLOSE_S)
        except FOREIGN:
            self._connection.terminate()

    async def _live(self) -> Any:
        """The connection; a new one where it is gone, but not within a transaction."""
        if not self._inside and (self._connection is None or self._connection.is_closed()):
            self._connection = await opened(self._address)
            self._connections += 1
        return self._connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing; durable on leaving. Waits LOCK_S for others who are within one, and raises LeaseLost then."""
        if self._inside:
            raise TierError(f"{self._address.name}: is within a transaction already", code="database")
        try:
            await self._begin()
            yield
            await _whole(self._end())
        except BaseException:
            if self.inside:
                await _whole(self._roll_back())
            raise

    async def _begin(self) -> None:
        async with self._one:
            connection = await self._live()
            self._inside, self._wrote = True, False
            try:
                await connection.execute(_BEGIN)
                schema, changes = await connection.fetchrow(STATE)
            except asyncpg.LockNotAvailableError as error:
                raise LeaseLost(
                    f"{self._address.name}: is held by another process", hint="Wait for its round to end."
                ) from error
            except FOREIGN as error:
                raise self.failed(error) from error
        self._foreign = self._version_of(changes)
        if schema != dialect.newest():
            raise newer(self._address.name, schema)

    async def _end(self) -> None:
        change = "UPDATE rmm_database SET changes = changes + 1; " if self._wrote else ""
        async with self._one:
            try:
                await self._connection.execute(f"{change}COMMIT")
            except FOREIGN as error:
                raise self.failed(error) from error
            self._inside = False
            self._own += self._wrote

    async def _roll_back(self) -> None:
        """Nothing stays open: a connection that does not say so in CLOSE_S is given up, and the server ends it."""
        async with self._one:
            try:
                await asyncio.wait_for(self._connection.execute("ROLLBACK"), CLOSE_S)
            except FOREIGN:  # TimeoutError is one
                self._connection.terminate()
            self._inside = False

    async def execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        """A statement that answers nothing."""
        self._wrote = True
        own = self._sql[statement]
        await self._ask("execute", own.text, *bound(own, arguments))

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same once for each of these arguments, in few round trips."""
        own = self._sql[statement]
        found = [bound(own, row) for row in rows]
        if found:
            self._wrote = True
            await self._ask("executemany", own.text, found)

    async def fetch(self, statement: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """All rows of a statement."""
        own = self._sql[statement]
        if not own.text.startswith("SELECT"):
            self._wrote = True
        found: Sequence[Row] = await self._ask("fetch", own.text, *bound(own, arguments))
        return found

    async def version(self) -> int:
        """Commits of others; after a new connection something else, whatever it is."""
        if not self._inside:
            (row,) = await self._ask("fetch", STATE)
            return self._version_of(row["changes"])
        return self._foreign

    def _version_of(self, changes: int) -> int:
        return changes - self._own + (self._connections << 48)

    async def _ask(self, method: str, *arguments: Any) -> Any:
        async with self._one:
            connection = await self._live()
            try:
                return await getattr(connection, method)(*arguments)
            except FOREIGN as error:
                raise self.failed(error) from error


def bound(statement: Statement, arguments: Sequence[Any]) -> list[Any]:
    """Arguments as PostgreSQL takes them: see `_bound`."""
    return [_bound(one, number in statement.whole) for number, one in enumerate(arguments, 1)]


def _bound(value: Any, whole: bool) -> Any:
    """It has no NUL in texts and none that JSON names, and no room in an index for what is longer than some KB.

    An endpoint can have both in the keys of its alerts: a NUL is shown as what it is, of a long text that is not stored
    `whole` the beginning stays, with a hash of all of it.
    """
    if isinstance(value, str):
        if "\0" in value:
            value = value.replace("\0", "␀")
        if "\\u0000" in value:
            value = _NUL.sub(r"\1\\u2400", value)
        return value if whole or len(value) <= LONGEST // 4 else _short(value)
    return [_bound(one, whole) for one in value] if isinstance(value, list) else value


def _short(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= LONGEST:
        return text
    return f"{encoded[: LONGEST - 64].decode(errors='ignore')}…{hashlib.sha256(encoded).hexdigest()[:32]}"


async def _whole(work: Awaitable[T]) -> T:
    """To its end, also when the caller is cancelled: what the server does is not half known."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((running,))
        running.exception()  # seen, or asyncio complains
        raise
