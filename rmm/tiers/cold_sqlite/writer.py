"""The one writer of a shard's history."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any

import aiosqlite
import msgspec

from rmm.model.observation import Observation
from rmm.tiers.cold_sqlite import series
from rmm.tiers.cold_sqlite.series import CollectorFields
from rmm.tiers.migrations import named, open_writer, tier_error

PAGE = 16_384
SQL = files("rmm.tiers.cold_sqlite") / "sql"
MOST_LAYOUTS_CACHED = 4096

_encode = msgspec.json.Encoder().encode


def path_of(data: Path, site: str, shard: int) -> Path:
    """`data/cold/<site>/<shard>.sqlite`."""
    return data / "cold" / site / f"{shard}.sqlite"


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1_000_000)


class ColdTier:
    """`ports.Tier` over SQLite; an async context manager that owns its connection."""

    def __init__(self, path: Path, fields: Mapping[str, CollectorFields]) -> None:
        self._path = path
        self._fields = fields
        self._db: aiosqlite.Connection | None = None
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
        self._endpoints: dict[str, int] = {}
        self._layouts: dict[series.Shape, int] = {}

    async def __aenter__(self) -> ColdTier:
        self._db = await open_writer(self._path, SQL, page_size=PAGE)
        try:
            self._endpoints = {row[0]: row[1] for row in await self._db.execute_fetchall(self._sql["endpoints"])}
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; idempotent."""
        if self._db is not None:
            db, self._db = self._db, None
            await db.close()

    async def store(
        self, observations: Sequence[Observation], unchanged: Sequence[frozenset[str]] | None = None
    ) -> None:
        """Store in one transaction; durable on return, redelivery changes nothing.

        `unchanged[i]` names collectors of observation i whose changing values are known to be stored already.
        """
        if self._db is None:
            raise tier_error(self._path, sqlite3.ProgrammingError("the tier is closed"))
        if not observations:
            return
        try:
            await self._db.execute("BEGIN IMMEDIATE")
            try:
                await self._insert(self._db, observations, unchanged or [frozenset()] * len(observations))
            except BaseException:
                await self._db.execute("ROLLBACK")
                self._endpoints.clear()
                self._layouts.clear()
                raise
            await self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise tier_error(self._path, error) from error

    async def _insert(
        self, db: aiosqlite.Connection, observations: Sequence[Observation], unchanged: Sequence[frozenset[str]]
    ) -> None:
        await self._know_endpoints(db, {observation.endpoint for observation in observations})
        rows: list[tuple[Any, ...]] = []
        changes: list[tuple[Any, ...]] = []
        for observation, same in zip(observations, unchanged, strict=True):
            number, at = self._endpoints[observation.endpoint], micros(observation.observed_at)
            shape, samples = series.samples_of(observation, self._fields)
            layout = await self._layout(db, shape)
            fault = observation.fault.code if observation.fault else ""
            rows.append(
                (
                    *(number, at, observation.epoch, observation.seq, observation.status, fault),
                    *(round(observation.duration_s * 1000, 3), layout, samples),
                )
            )
            for name, result in observation.collectors.items():
                known = self._fields.get(name)
                if known and known.changes and name not in same and result.outcome in ("ok", "partial"):
                    changes += await self._changes(db, number, at, name, result.readings, known)
        await db.executemany(self._sql["add_observation"], rows)
        if changes:
            await db.executemany(self._sql["add_change"], changes)

    async def _know_endpoints(self, db: aiosqlite.Connection, names: set[str]) -> None:
        new = [(name,) for name in sorted(names) if name not in self._endpoints]
        if new:
            await db.executemany(self._sql["add_endpoint"], new)
            self._endpoints = {row[0]: row[1] for row in await db.execute_fetchall(self._sql["endpoints"])}

    async def _layout(self, db: aiosqlite.Connection, shape: series.Shape) -> int:
        number = self._layouts.get(shape)
        if number is not None:
            return number
        stored = series.series_of(shape, self._fields)
        name = series.digest(stored)
        await db.execute(self._sql["add_layout"], (name, stored.decode()))
        known = {row[0]: row[1] for row in await db.execute_fetchall(self._sql["layouts"])}
        if len(self._layouts) >= MOST_LAYOUTS_CACHED:
            self._layouts.clear()
        self._layouts[shape] = number = int(known[name])
        return number

    async def _changes(
        self,
        db: aiosqlite.Connection,
        number: int,
        at: int,
        name: str,
        rows: Sequence[dict[str, Any]],
        fields: CollectorFields,
    ) -> list[tuple[Any, ...]]:
        """What differs from the values known before `at`, rows that vanished included."""
        found = await db.execute_fetchall(self._sql["latest_changes"], (number, name, at))
        before = {(row[0], row[1]): row[2] for row in found}
        now: dict[tuple[str, str], str] = {}
        for key, values in series.changing(rows[: series.MOST_SERIES], fields):
            now[(key, "")] = "true"  # the row exists
            for field, value in zip(fields.changes, values, strict=True):
                now[(key, field)] = _encode(value).decode()
        gone = {place: "null" for place in before if place not in now and place[1] == "" and before[place] != "null"}
        return [
            (number, name, key, field, at, value)
            for (key, field), value in {**now, **gone}.items()
            if before.get((key, field)) != value
        ]

    async def expire(self, before: datetime, *, slice_rows: int = 5000) -> int:
        """Delete observations older than `before` in short transactions; returns how many."""
        assert self._db is not None
        total = 0
        while True:
            cursor = await self._db.execute(self._sql["expire_observations"], (micros(before), slice_rows))
            total += cursor.rowcount
            if cursor.rowcount < slice_rows:
                return total
