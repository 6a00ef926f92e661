"""Where a fleet's database is when PostgreSQL keeps it: `rmm.tiers.fleet_sqlite.database.Place`."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeVar

from rmm.errors import RmmError, TierError
from rmm.model.endpoint import Secret
from rmm.tiers.fleet_postgres import dialect
from rmm.tiers.fleet_postgres.address import Address
from rmm.tiers.fleet_postgres.database import PostgresDatabase, bound
from rmm.tiers.fleet_postgres.errors import FOREIGN, tier_error
from rmm.tiers.fleet_postgres.migrations import EXISTS, STATE
from rmm.tiers.fleet_sqlite.database import Question, Row

T = TypeVar("T")


class Server:
    """`Place` in PostgreSQL."""

    def __init__(self, url: str, password: Secret | None = None) -> None:
        """`url`: postgresql://...; `password` goes before one that the URL has. Raises ConfigError."""
        self._address = Address(url, password)
        self._sql = dialect.statements()

    def __repr__(self) -> str:
        return f"Server({self._address.name})"

    @property
    def name(self) -> str:
        """Database and host, for people."""
        return self._address.name

    def failed(self, error: Exception) -> TierError:
        """The TierError of a foreign error."""
        return tier_error(self._address.name, error)

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Nothing: a transaction takes the lock itself, and the server gives it back with the end of it."""
        return nullcontext()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[PostgresDatabase]:
        """A connection at the newest schema; closed at the end."""
        database = PostgresDatabase(self._address, self._sql)
        await database.connect()
        try:
            yield database
        finally:
            await database.close()

    def ask(self, *questions: Question, wait_s: float = 10.0) -> list[Sequence[Row]]:
        """Answers of one moment, by a connection of their own."""
        return _here(self._answers(questions, wait_s))

    async def _answers(self, questions: Sequence[Question], wait_s: float) -> list[Sequence[Row]]:
        try:
            connection = await self._address.connect(wait_s, lock_s=wait_s)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    schema = await connection.fetchval(STATE) if await connection.fetchval(EXISTS) else 0
                    return [await self._answer(connection, one) if schema >= one.schema else [] for one in questions]
            finally:
                await connection.close(timeout=wait_s)
        except FOREIGN as error:
            raise self.failed(error) from error

    async def _answer(self, connection: Any, question: Question) -> Sequence[Row]:
        statement = self._sql[question.statement]
        found: Sequence[Row] = await connection.fetch(statement.text, *bound(statement, question.arguments))
        return found

    def state(self) -> Hashable:
        """The number of its changes; something new each time while it cannot be asked."""
        try:
            return _here(self._changes())
        except RmmError:
            return time.monotonic_ns()  # who reads it is told why

    async def _changes(self) -> Hashable:
        try:
            connection = await self._address.connect(2.0, lock_s=2.0)
            try:
                return tuple(await connection.fetchrow(STATE)) if await connection.fetchval(EXISTS) else ()
            finally:
                await connection.close(timeout=2.0)
        except FOREIGN as error:
            raise self.failed(error) from error


def _here(work: Coroutine[Any, Any, T]) -> T:
    """The result of something asynchronous, for one who is not, or not by this event loop: in a thread of its own."""
    result: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(asyncio.run(work))
        except BaseException as error:  # it is raised where it belongs
            failure.append(error)

    thread = threading.Thread(target=run, name="rmm-postgres", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
