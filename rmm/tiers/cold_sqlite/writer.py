"""The one writer of a shard's history."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import aiosqlite

from rmm.errors import TierError
from rmm.model.observation import CollectorResult, Observation
from rmm.model.settings import Retention
from rmm.tiers.archive import files as archive
from rmm.tiers.cold_sqlite import changes, retention, sealing, series
from rmm.tiers.cold_sqlite.following import read_after
from rmm.tiers.cold_sqlite.merging import Merger, Sealed
from rmm.tiers.cold_sqlite.sealed import DAY, PLACE, SealedFile, folder_of, week_of
from rmm.tiers.cold_sqlite.series import CollectorFields
from rmm.tiers.migrations import bounded_wal, named, open_writer, set_aside, tier_error

log = logging.getLogger(__name__)

PAGE = 16_384
SQL = files("rmm.tiers.cold_sqlite") / "sql"
MOST_LAYOUTS_CACHED = 4096
MOST_WAL = 256 << 20  # bytes: no transaction begins behind a reader that keeps the WAL from beginning anew
MOST_MERGED = 20  # endpoints whose day is merged in one transaction

T = TypeVar("T")
ChangeRow = tuple[int, str, int, int, bytes]  # endpoint, collector, at, whole, value


def path_of(data: Path, site: str, shard: int) -> Path:
    """`data/cold/<site>/<shard>.sqlite`."""
    return data / "cold" / site / f"{shard}.sqlite"


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return round(at.timestamp() * 1_000_000)


class Hint(NamedTuple):
    """What is known of an observation's values that are stored when they change."""

    unchanged: frozenset[str] = frozenset()  # collectors of which everything is stored already
    anew: frozenset[str] = frozenset()  # collectors of which everything is to be stored, also what did not change here
    newer: Mapping[str, datetime] = {}  # collectors of which a newer reading has come already, and when that was made


class ColdTier:
    """`ports.Tier` over SQLite; an async context manager that owns its connection.

    One transaction at a time, and a cancelled caller does not break it off in the middle.
    """

    def __init__(self, path: Path, fields: Mapping[str, CollectorFields]) -> None:
        self._path = path
        self._fields = fields
        self._db: aiosqlite.Connection | None = None
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
        self._turn = asyncio.Lock()
        self._damaged = False
        self._newest: dict[str, int] = {}
        self._forget()

    def _forget(self) -> None:
        """Drop what was remembered of a transaction that was rolled back."""
        self._endpoints: dict[str, int] = {}
        self._layouts: dict[series.Shape, tuple[int, int]] = {}  # number, when its use was last noted
        # Endpoint numbers given by this process, and the newest observation of a collector that this process stored:
        # an endpoint that is new and was not seen with a collector has no changes to look up.
        self._new: set[int] = set()
        self._seen: dict[tuple[int, str], int] = {}

    async def __aenter__(self) -> ColdTier:
        try:
            self._db = await open_writer(self._path, SQL, page_size=PAGE)
        except TierError as error:
            if error.code != "tier.damaged":
                raise
            # History is worth less than monitoring: what cannot be read is kept for a person, and a new file begins.
            log.warning("%s; kept as %s, history begins anew", error, set_aside(self._path).name)
            self._db = await open_writer(self._path, SQL, page_size=PAGE)
        try:
            await self._load_endpoints(self._db)
            self._newest = {
                row[0]: row[1] or 0 for row in await self._db.execute_fetchall(self._sql["newest_observations"])
            }
        except BaseException as error:
            failure = tier_error(self._path, error) if isinstance(error, sqlite3.Error | UnicodeDecodeError) else None
            self._damaged = failure is not None and failure.code == "tier.damaged"
            await self.aclose()
            if failure is not None:
                raise failure from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection after the transaction that is at work; idempotent. A damaged file is moved aside."""
        async with self._turn:
            if self._db is not None:
                db, self._db = self._db, None
                await db.close()
                if self._damaged:
                    log.warning(
                        "%s is damaged; kept as %s, history begins anew", self._path, set_aside(self._path).name
                    )

    def knows(self, endpoint: str, at: datetime) -> bool:
        """Whether this file held, when it was opened, an observation of the endpoint that is as new as this."""
        return self._newest.get(endpoint, -1) >= micros(at)

    async def store(self, observations: Sequence[Observation], hints: Sequence[Hint] | None = None) -> None:
        """Store in one transaction; durable on return, redelivery changes nothing.

        `hints[i]` is what the caller knows about the changing values of observation i.
        Raises TierError, and then nothing of this call is stored.
        """
        if observations:
            known = hints or [Hint()] * len(observations)
            await asyncio.shield(self._transaction(lambda db: self._insert(db, observations, known)))

    async def expire(self, now: datetime, keep: Retention, may_go: Callable[[SealedFile], bool] | None = None) -> int:
        """Forget what `keep` does not keep, in short transactions; returns how many observations in rows went.

        Of values that are stored when they change, the one that stood then is kept. What is merged goes by whole files,
        as soon as all of a file is too old and, for samples, `may_go` lets it: with an archive, when that has it. Then
        rows and sealed hours do not go by their age either, but by way of these files.
        """
        today, at = micros(now) // DAY, micros(now)
        folder = folder_of(self._path)
        if keep.samples:
            asked = () if may_go is None else (may_go,)
            await asyncio.to_thread(retention.forget_files, folder, "raw", today - keep.samples, *asked)
        for kind, days in (("hourly", keep.hourly), ("daily", keep.daily)):
            if days:
                await asyncio.to_thread(retention.forget_files, folder, kind, today - days)
        samples, changed = (at - days * DAY if days else 0 for days in (keep.samples, keep.changes))
        if may_go is not None:
            samples = 0
        total, more = 0, True
        while more:
            gone = await asyncio.shield(
                self._transaction(lambda db: retention.slice_of(db, self._sql, samples, changed))
            )
            total, more = total + gone.observations, gone.more
        self._layouts.clear()
        return total

    async def seal(self, before: datetime) -> None:
        """Seal the hours that end at or before this time, in short transactions."""
        limit, more = micros(before), True
        while more:
            more = await asyncio.shield(self._transaction(lambda db: sealing.slice_of(db, self._sql, limit)))

    async def merge(self, before: datetime) -> int:
        """Merge the sealed hours of the days that end at or before this time into their files.

        Returns how many days, of one endpoint each, that were.
        """
        limit, merged, sundays = micros(before) // DAY, 0, False
        archived = archive.folder_of(self._path.parents[2], self._path.parent.name)
        async with Merger(folder_of(self._path), archived) as merger:
            while due := await asyncio.shield(self._transaction(lambda db: self._due(db, limit))):
                day = due[0][1].day
                await asyncio.shield(merger.merge(day, [sealed for _, sealed in due]))
                await asyncio.shield(self._transaction(lambda db: self._drop(db, due)))
                merged += len(due)
                sundays |= week_of(day) != week_of(day + 1)
            if sundays:
                await asyncio.shield(merger.compact())
        return merged

    async def _due(self, db: aiosqlite.Connection, limit: int) -> list[tuple[int, Sealed]]:
        """The oldest day that is to be merged, of up to MOST_MERGED endpoints, with their numbers."""
        oldest = [
            (place % PLACE // 24, number, endpoint)
            for number, endpoint, place in await db.execute_fetchall(self._sql["oldest_hours"])
            if place is not None and place % PLACE // 24 < limit
        ]
        day = min(oldest)[0] if oldest else 0
        return [
            (number, Sealed(endpoint, day, await sealing.hours_of(db, self._sql, number, day)))
            for found, number, endpoint in [one for one in oldest if one[0] == day][:MOST_MERGED]
        ]

    async def _drop(self, db: aiosqlite.Connection, merged: list[tuple[int, Sealed]]) -> None:
        places = [number * PLACE + sealed.day * 24 for number, sealed in merged]
        await db.executemany(self._sql["drop_hours"], [(place, place + 23) for place in places])

    async def _transaction(self, work: Callable[[aiosqlite.Connection], Awaitable[T]]) -> T:
        async with self._turn:
            if self._db is None:
                raise TierError(f"{self._path}: the tier is closed", code="tier.closed")
            db = self._db
            try:
                await bounded_wal(db, self._path, MOST_WAL)
                await db.execute("BEGIN IMMEDIATE")
                try:
                    result = await work(db)
                    await db.execute("COMMIT")
                except BaseException:
                    self._forget()
                    if db.in_transaction:  # some failures, such as a full disk, roll back by themselves
                        await db.execute("ROLLBACK")
                    await self._load_endpoints(db)
                    raise
            except TierError:  # of a file beside this one
                raise
            except (sqlite3.Error, UnicodeDecodeError) as error:
                failure = tier_error(self._path, error)
                self._damaged = self._damaged or failure.code == "tier.damaged"
                raise failure from error
            return result

    async def _load_endpoints(self, db: aiosqlite.Connection) -> None:
        self._endpoints = {row[0]: row[1] for row in await db.execute_fetchall(self._sql["endpoints"])}

    async def _insert(
        self, db: aiosqlite.Connection, observations: Sequence[Observation], hints: Sequence[Hint]
    ) -> None:
        await self._know_endpoints(db, {observation.endpoint for observation in observations})
        rows: list[tuple[Any, ...]] = []
        pending: list[ChangeRow] = []
        # Oldest first: the changes of one observation are told from those before it.
        order = sorted(zip(observations, hints, strict=True), key=lambda item: item[0].observed_at)
        for observation, _ in order:
            number, at = self._endpoints[observation.endpoint], micros(observation.observed_at)
            shape, samples, exact = series.samples_of(observation, self._fields)
            fault = observation.fault.code if observation.fault else ""
            rows.append(
                (
                    *(number, at, observation.epoch, observation.seq, observation.status, fault),
                    *(round(observation.duration_s * 1000, 3), await self._layout(db, shape, at), samples, exact),
                )
            )
        await db.executemany(self._sql["add_observation"], rows)
        newest = {row[0]: row[1] for row in rows}  # they are by time
        await db.executemany(self._sql["note_newest"], [(at, number) for number, at in newest.items()])
        for observation, hint in order:
            number, at = self._endpoints[observation.endpoint], micros(observation.observed_at)
            for name, result in observation.collectors.items():
                if name in hint.unchanged:
                    self._see((number, name), at)
                else:
                    await self._note(db, (number, name), at, result, pending, name in hint.anew, hint.newer.get(name))
        await self._write_changes(db, pending)

    async def _know_endpoints(self, db: aiosqlite.Connection, names: set[str]) -> None:
        new = sorted(name for name in names if name not in self._endpoints)
        if new:
            await db.executemany(self._sql["add_endpoint"], [(name,) for name in new])
            await self._load_endpoints(db)
            self._new.update(self._endpoints[name] for name in new)

    async def _layout(self, db: aiosqlite.Connection, shape: series.Shape, at: int) -> int:
        known = self._layouts.get(shape)
        if known is not None and at < known[1] + DAY:
            return known[0]
        stored = series.series_of(shape, self._fields)
        name = series.digest(stored)
        await db.execute(self._sql["add_layout"], (name, stored.decode(), at))
        ((number,),) = await db.execute_fetchall(self._sql["layout_no"], (name,))
        if len(self._layouts) >= MOST_LAYOUTS_CACHED:
            self._layouts.clear()
        self._layouts[shape] = int(number), at
        return int(number)

    async def _note(
        self,
        db: aiosqlite.Connection,
        place: tuple[int, str],
        at: int,
        result: CollectorResult,
        pending: list[ChangeRow],
        anew: bool,
        newer: datetime | None,
    ) -> None:
        """Queue what has changed in one collector's reading since the one before it."""
        fields = self._fields.get(place[1])
        if fields is None or not fields.changes or result.outcome not in ("ok", "partial"):
            return
        seen = self._see(place, at)
        after = changes.values_of(result.readings, fields)
        if seen is None and newer is None and place[0] in self._new:
            pending.append((*place, at, 1, changes.pack(after)))
            return
        await self._write_changes(db, pending)
        before, deltas, stored = await self._known(db, place, at)
        delta = changes.difference(before, after)
        if not delta and (stored or not anew):
            return
        whole = anew or stored or not deltas or deltas >= changes.DELTAS
        row = (*place, at, int(whole), changes.pack(after if whole else delta))
        if stored:  # what was said behind a late reading, at a time whose own reading comes only now
            await db.execute(self._sql["put_change"], row)
        else:
            pending.append(row)
        newest = max(seen or 0, micros(newer) if newer else 0)
        if at < newest:
            pending += await self._late(db, place, at, newest, before)

    def _see(self, place: tuple[int, str], at: int) -> int | None:
        """Note that a collector was observed; returns when this process last saw it before, None for never."""
        seen = self._seen.get(place)
        self._seen[place] = max(at, seen or 0)
        return seen

    async def _known(
        self, db: aiosqlite.Connection, place: tuple[int, str], at: int
    ) -> tuple[changes.Values, int, bool]:
        """(values as of `at`, rows they were read from, whether one of them is of exactly this time)."""
        found = list(await db.execute_fetchall(self._sql["changes_back"], (*place, at)))
        values, known = changes.folded(found)
        if not known:
            log.warning("%s: a change of %s cannot be read; the next reading is kept whole", self._path, place[1])
            return {}, 0, found[-1][0] == at
        return values, len(found), bool(found) and found[-1][0] == at

    async def _late(
        self, db: aiosqlite.Connection, place: tuple[int, str], at: int, seen: int, before: changes.Values
    ) -> list[ChangeRow]:
        """A reading came after newer ones, the newest at `seen`: what those told was told from `before`.

        So say that anew behind it, at the reading that follows.
        """
        following_at = await read_after(db, self._sql, folder_of(self._path), place, at)
        then = min(following_at or seen, seen)
        following = list(await db.execute_fetchall(self._sql["change_after"], (*place, at)))
        if not following or then < following[0][0]:
            return [(*place, then, 1, changes.pack(before))] if before else []
        then, whole, data = following[0]
        if whole:
            return []
        with contextlib.suppress(changes.DamagedChange):  # then nobody knows what stood behind it
            values = changes.apply(before, changes.unpack(data), whole=False)
            await db.execute(self._sql["put_change"], (*place, then, 1, changes.pack(values)))
        return []

    async def _write_changes(self, db: aiosqlite.Connection, pending: list[ChangeRow]) -> None:
        if pending:
            await db.executemany(self._sql["add_change"], pending)
            pending.clear()
