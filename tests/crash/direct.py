"""For the judge, which opens and reads thousands of stores in which nothing else is at work: the product's own work in
its order, without threads, and a file that nobody writes is opened once.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
from aiosqlite.context import contextmanager

from rmm.tiers import migrations, spool
from rmm.tiers.cold_sqlite import reader

T = TypeVar("T")


class Cursor:
    """What the product uses of `aiosqlite.Cursor`."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    async def fetchone(self) -> Any:
        return self._cursor.fetchone()

    async def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    async def close(self) -> None:
        self._cursor.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for row in self._cursor:
            yield row


class Direct:
    """What the product uses of `aiosqlite.Connection`; anything else is an AttributeError, not a silent difference."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def in_transaction(self) -> bool:
        return self._connection.in_transaction

    @contextmanager
    async def execute(self, sql: str, parameters: Iterable[Any] = ()) -> Cursor:
        return Cursor(self._connection.execute(sql, tuple(parameters)))

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Cursor:
        return Cursor(self._connection.executemany(sql, [tuple(one) for one in parameters]))

    async def execute_fetchall(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        return self._connection.execute(sql, tuple(parameters)).fetchall()

    async def rollback(self) -> None:
        self._connection.rollback()

    async def close(self) -> None:
        self._connection.close()


class _Module:
    Connection = aiosqlite.Connection  # for annotations alone

    @staticmethod
    async def connect(path: Path, **options: Any) -> Direct:
        return Direct(sqlite3.connect(path, **options))


async def _at_once(work: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return work(*arguments, **options)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """The product's writers work so for the length of it, and the spool does not wait for company."""
    real = migrations.aiosqlite, asyncio.to_thread, spool.GATHER_S  # type: ignore[attr-defined]
    migrations.aiosqlite, asyncio.to_thread, spool.GATHER_S = _Module, _at_once, 0.0  # type: ignore[attr-defined,assignment]
    try:
        yield
    finally:
        migrations.aiosqlite, asyncio.to_thread, spool.GATHER_S = real  # type: ignore[attr-defined]


class _Kept:
    """A connection that stays open when who asked for it is done."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.execute = connection.execute

    def close(self) -> None:
        """Not before the end of `reading`."""


@contextlib.contextmanager
def reading() -> Iterator[None]:
    """The product's reader keeps its connections meanwhile; for stores that nobody writes."""
    real, kept = reader.opened, dict[Path, sqlite3.Connection]()  # type: ignore[attr-defined]

    def opened(path: Path) -> Any:
        if path not in kept:
            kept[path] = real(path)
        return _Kept(kept[path])

    reader.opened = opened  # type: ignore[attr-defined]
    try:
        yield
    finally:
        reader.opened = real  # type: ignore[attr-defined]
        for connection in kept.values():
            connection.close()
