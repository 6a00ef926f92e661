"""Spool, hot and cold of one shard tied together: what is acknowledged is in all of them, sooner or later.

Order matters: spool (acknowledged), then cold, then hot, then release. The hot state says which values the cold tier
has already stored, so it must never be ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.core.merge import merge
from rmm.errors import TierError
from rmm.model.observation import Observation, decode_observation, encode_observation
from rmm.model.state import EndpointState
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.series import CollectorFields, change_digest
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.spool import Spool

log = logging.getLogger(__name__)

BATCH = 64  # observations per transaction of the cold tier
MOST_QUEUED = 4 * BATCH  # the poller waits when the cold tier is further behind than that


class ShardStore:
    """`ports.ShardStore`. Use `open_shard`."""

    def __init__(
        self,
        data: Path,
        site: str,
        shard: int,
        *,
        spool: Spool,
        cold: ColdTier,
        fields: Mapping[str, CollectorFields],
        now: Callable[[], datetime],
    ) -> None:
        self._data = data
        self._site = site
        self._shard = shard
        self._spool = spool
        self._cold = cold
        self._fields = fields
        self._now = now
        self._states = hot_json.load(data, site, shard)
        self._pending: list[bytes] = []
        self._queue: list[tuple[Observation, frozenset[str]]] = []
        self._draining: asyncio.Task[None] | None = None
        self._error: TierError | None = None
        self._changed = False

    async def recover(self) -> None:
        """Fold what the last process left in the spool into hot and cold, and keep it for the coordinator."""
        for record in self._spool.replay():
            try:
                observation = decode_observation(record)
            except msgspec.DecodeError as error:
                log.warning("a spooled observation of shard %s/%d is unreadable: %s", self._site, self._shard, error)
                continue
            self._pending.append(record)
            self._fold(observation, None)
            if len(self._queue) >= BATCH:
                await self._drain()
        if self._pending:
            log.info("shard %s/%d: %d observations recovered", self._site, self._shard, len(self._pending))
            await self.flush()

    def state(self, endpoint: str) -> EndpointState | None:
        """The last state, including what was acknowledged a moment ago."""
        return self._states.get(endpoint)

    def states(self) -> Mapping[str, EndpointState]:
        """All last states of this shard."""
        return self._states

    def pending(self) -> list[bytes]:
        """Encoded observations found at opening."""
        return self._pending

    async def acknowledge(self, observation: Observation, not_before: datetime | None) -> bytes:
        """Durable in the spool on return; returns the encoded observation."""
        if self._error is not None:
            raise self._error
        record = encode_observation(observation)
        await self._spool.append(record)
        self._fold(observation, not_before)
        if len(self._queue) >= BATCH:
            if self._draining is None:
                self._draining = asyncio.create_task(self._drain_quietly())
            elif len(self._queue) >= MOST_QUEUED:
                await asyncio.wait([self._draining])
        return record

    def _fold(self, observation: Observation, not_before: datetime | None) -> None:
        before = self._states.get(observation.endpoint)
        digests: dict[str, str] = {}
        unchanged: set[str] = set()
        for name, result in observation.collectors.items():
            fields = self._fields.get(name)
            if fields and fields.changes and result.outcome in ("ok", "partial"):
                digests[name] = change_digest(result.readings, fields)
                known = before.collectors.get(name) if before else None
                if known and known.digest == digests[name] and known.at and known.at <= observation.observed_at:
                    unchanged.add(name)
        self._queue.append((observation, frozenset(unchanged)))
        self._states[observation.endpoint] = merge(before, observation, not_before, digests)
        self._changed = True

    async def _drain_quietly(self) -> None:
        try:
            await self._drain()
        except TierError as error:
            self._error = error
        finally:
            self._draining = None

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            await self._cold.store([observation for observation, _ in batch], [same for _, same in batch])

    async def flush(self) -> None:
        """Hot and cold hold all that was acknowledged. Raises TierError; the spool then still has it."""
        if self._draining is not None:
            await asyncio.wait([self._draining])
        if self._error is not None:
            raise self._error
        await self._drain()
        if self._changed:
            await asyncio.to_thread(
                hot_json.write, self._data, self._site, self._shard, dict(self._states), self._now()
            )
            self._changed = False

    async def release(self) -> None:
        """Everything is in the tiers and with the coordinator: the spool may forget it."""
        await self.flush()
        await self._spool.release()
        self._pending = []


@asynccontextmanager
async def open_shard(
    data: Path, site: str, shard: int, *, fields: Mapping[str, CollectorFields], now: Callable[[], datetime]
) -> AsyncIterator[ShardStore]:
    """The store of one shard, for the holder of its lease; replays what a crash left."""
    async with (
        Spool(data / "spool" / site / str(shard)) as spool,
        ColdTier(path_of(data, site, shard), fields) as cold,
    ):
        store = ShardStore(data, site, shard, spool=spool, cold=cold, fields=fields, now=now)
        await store.recover()
        yield store
