"""Spool, hot and cold of one shard tied together: what is acknowledged is in all of them, sooner or later.

Order matters: spool (acknowledged), then cold, then hot, then release. The hot state says which values the cold tier
has already stored, so it must never be ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rmm.core import clock
from rmm.core.clock import brought_back, is_ahead
from rmm.core.merge import merge
from rmm.durable import tidy
from rmm.errors import TierError
from rmm.model.observation import Observation, decode_observation, encode_observation
from rmm.model.settings import Retention
from rmm.model.state import EndpointState
from rmm.tiers import hot_json
from rmm.tiers.archive.files import released
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.sealed import SealedFile
from rmm.tiers.cold_sqlite.series import CollectorFields, change_digest
from rmm.tiers.cold_sqlite.writer import Hint, path_of
from rmm.tiers.spool import Spool

log = logging.getLogger(__name__)

BATCH = 16  # observations per transaction of the cold tier
MOST_BYTES = 8 << 20  # of the spool that is replayed, in memory until history has it
MOST_QUEUED = 2 * BATCH  # the poller waits when the cold tier is further behind than that

SEALED_AFTER = timedelta(minutes=15)  # the end of an hour: what is polled late is still in rows then
MERGED_AFTER = timedelta(hours=2)  # the end of a day

WRITING = threading.Lock()
"""Whoever writes a hot file: a file in the making takes as much memory as its shard, so that is done one by one."""

POSTPONING = frozenset({"disk.full", "tier.held"})
"""Codes of errors for which history waits: what is acknowledged meanwhile stays in the spool, for a later opening."""

Queued = tuple[Observation, Hint]


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
        room: Callable[[], None] = lambda: None,
    ) -> None:
        self._data = data
        self._site = site
        self._shard = shard
        self._spool = spool
        self._cold = cold
        self._fields = fields
        self._now = now
        tidy(hot_json.path_of(data, site, shard).parent, f"{shard}.json")
        found, self._days = hot_json.load_with_days(data, site, shard)
        self._states = {name: brought_back(state, now()) for name, state in found.items()}
        self._room = room
        self.postponed: TierError | None = None
        self._left = 0  # how many observations the last process left in the spool, in segments up to
        self._left_up_to = 0
        self._unusable: set[int] = set()  # checksums of what is none
        self._queue: list[Queued] = []
        self._draining: asyncio.Task[None] | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._error: TierError | None = None
        self._acknowledged: set[str] = set()  # endpoints, since the opening or the last rest
        self._unwritten: set[str] = set()  # whose states the hot file does not have yet
        self._away: set[str] = set()  # whose states the hot file alone has
        self._doubt_digests(name for name, one in found.items() if not cold.knows(name, one.observed_at))
        self._mark = 0  # what a release may forget: in hot and cold since the last flush

    async def recover(self) -> None:
        """Fold what the last process left in the spool into hot and cold, and keep it for the coordinator."""
        self._left_up_to = self._spool.mark
        self._left = await self._replay(self._spool, self._spool.replay())
        for name in [name for name, state in self._states.items() if is_ahead(state.observed_at, self._now())]:
            self._states[name] = brought_back(self._states[name], self._now())
            self._unwritten.add(name)
        if self._left:
            log.info("shard %s/%d: %d observations recovered", self._site, self._shard, self._left)
        if self._left or self._unwritten:
            await self.flush()

    async def take_over(self, spool: Spool, up_to: int) -> int:
        """Fold what another spool of this shard holds up to a mark; returns how many observations that were.

        After a `flush` that did not postpone it, that spool may release it. Raises TierError.
        """
        return await self._replay(spool, spool.replay(up_to))

    async def _replay(self, spool: Spool, records: Iterator[bytes]) -> int:
        """Fold records of a spool into hot and cold; returns how many could be read."""
        missing, size, count = 0, 0, 0
        for record in records:
            if spool.missing > missing:  # cold may have stored what hot does not know of
                missing = spool.missing
                self._doubt_digests(self._states)
            try:
                observation = decode_observation(record)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                log.warning("a spooled observation of shard %s/%d is unreadable: %s", self._site, self._shard, error)
                spool.set_aside(record)
                self._unusable.add(zlib.crc32(record))
                continue
            count += 1
            self._fold(observation, None)
            size += len(record)
            if len(self._queue) >= BATCH or size >= MOST_BYTES:
                await self._drain()
                size = 0
        if spool.missing > missing:
            self._doubt_digests(self._states)
        return count

    def _doubt_digests(self, endpoints: Iterable[str]) -> None:
        """Do not believe what hot says that cold has: it has other values, or lacks some, of these endpoints.

        Because the spool lost something, history began anew, or a damaged WAL lost its end.
        """
        doubted = [name for name in list(endpoints) if hot_json.has_digests(self._states[name])]
        if doubted:
            log.warning(
                "shard %s/%d: history is not as %d endpoints' last states say; their next readings are kept whole",
                *(self._site, self._shard, len(doubted)),
            )
        self._states |= {name: hot_json.without_digests(self._states[name]) for name in doubted}
        self._unwritten |= set(doubted)

    def state(self, endpoint: str) -> EndpointState | None:
        """The last state, including what was acknowledged a moment ago."""
        if endpoint in self._away:  # it is polled again within one opening, which rounds do not do
            self._away.discard(endpoint)
            found = hot_json.load(self._data, self._site, self._shard).get(endpoint)
            if found is not None:
                self._states[endpoint] = found
        return self._states.get(endpoint)

    def pending(self) -> Iterator[bytes]:
        """Encoded observations found at opening, until they are released; read as they are asked for.

        Raises TierError where the spool cannot be read.
        """
        if self._left:
            yield from (one for one in self._spool.again(self._left_up_to) if zlib.crc32(one) not in self._unusable)

    @property
    def damaged(self) -> int:
        """Spooled records that could not be read at opening; they are kept beside the spool."""
        return self._spool.damaged

    async def acknowledge(self, observation: Observation, not_before: datetime | None) -> bytes:
        """Durable in the spool on return; returns the encoded observation.

        Waits while the cold tier is far behind. Raises TierError, and then nothing is promised.
        """
        if len(self._queue) >= MOST_QUEUED and self._draining is not None:
            await asyncio.wait([self._draining])
        if self._error is not None:
            raise self._error
        record = encode_observation(observation)
        await self._spool.append(record)
        # No await from here on: what the spool counts as returned is folded.
        self._fold(observation, not_before)
        if len(self._queue) >= BATCH and self._draining is None:
            self._draining = asyncio.create_task(self._drain_quietly())
        return record

    def _fold(self, observation: Observation, not_before: datetime | None) -> None:
        before = self.state(observation.endpoint)
        self._acknowledged.add(observation.endpoint)
        digests: dict[str, str] = {}
        unchanged: set[str] = set()
        anew: set[str] = set()
        newer: dict[str, datetime] = {}
        for name, result in observation.collectors.items():
            fields = self._fields.get(name)
            if fields and fields.changes and result.outcome in ("ok", "partial"):
                digests[name] = change_digest(result.readings, fields)
                known = before.collectors.get(name) if before else None
                times = list(_newest(before, name))
                if times and max(times) > observation.observed_at:
                    newer[name] = max(times)
                if known is None or not known.digest:
                    anew.add(name)
                elif known.digest == digests[name] and len(times) == 1 and name not in newer:
                    unchanged.add(name)
        self._queue.append((observation, Hint(frozenset(unchanged), frozenset(anew), newer)))
        after = merge(before, observation, not_before, digests)
        if after is not before:
            self._states[observation.endpoint] = after
            self._unwritten.add(observation.endpoint)

    async def _drain_quietly(self) -> None:
        try:
            await self._drain()
        except TierError:
            pass  # kept in `_error`, for the next acknowledge or flush
        finally:
            self._draining = None

    async def _drain(self) -> None:
        """Store what is queued. An error is kept: from then on nothing is released, and the spool has it all."""
        while self._queue:
            if self.postponed is not None:
                self._queue = []
                return
            if self._error is not None:
                raise self._error
            batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
            try:
                self._room()
                await self._store(batch)
            except TierError as error:
                if error.code in POSTPONING:
                    self.postponed = error
                    continue
                self._error = error
                raise
            except asyncio.CancelledError:
                self._error = TierError(
                    "storing was interrupted; the spool has what is missing", code="tier.interrupted"
                )
                raise

    async def _store(self, batch: list[Queued]) -> None:
        try:
            await self._cold.store([observation for observation, _ in batch], [hint for _, hint in batch])
        except TierError:
            raise
        except Exception:
            if len(batch) > 1:
                for item in batch:
                    await self._store([item])
                return
            # One observation that cannot be stored must not keep the whole shard from being polled for ever.
            log.exception("observation %s cannot be stored in the cold tier", batch[0][0].id)
            self._spool.set_aside(encode_observation(batch[0][0]))

    async def flush(self) -> None:
        """Hot and cold hold all that was acknowledged, or it is `postponed`. Raises TierError; the spool still has it.

        A cancelled caller does not break it off: leaving the store waits for it.
        """
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        self._flushing = asyncio.create_task(self._flush())
        await asyncio.shield(self._flushing)

    async def _flush(self) -> None:
        try:
            mark = self._spool.seal()
            if self._draining is not None:
                await asyncio.wait([self._draining])
            if self._error is not None:
                raise self._error
            await self._drain()
            if self.postponed is not None:
                return
            if self._unwritten:
                written, self._unwritten = self._unwritten, set()
                try:
                    await asyncio.to_thread(self._write, dict(self._states), self._now(), merged=bool(self._away))
                except BaseException as error:
                    self._unwritten |= written
                    if isinstance(error, TierError) and error.code in POSTPONING:
                        self.postponed = error
                        return
                    raise
            self._mark = mark
        finally:
            self._flushing = None

    def _write(self, states: dict[str, EndpointState], now: datetime, *, merged: bool) -> None:
        """Replace the hot file; `merged` with what it alone has."""
        with WRITING:
            if merged:
                states = hot_json.load(self._data, self._site, self._shard) | states
            self._days = clock.noted(self._days, _day(now))
            hot_json.write(self._data, self._site, self._shard, states, now, self._days)

    async def rest(self) -> None:
        """Flush, and let the hot file alone have what was acknowledged and is in it.

        The states of a shard take 12 to 25 MB, and a shard may wait minutes for its last endpoints.
        """
        await self.flush()
        for name in self._acknowledged - self._unwritten:
            if self._states.pop(name, None) is not None:
                self._away.add(name)
        self._acknowledged = set()

    async def release(self) -> None:
        """The coordinator committed all that was acknowledged before the last flush: the spool may forget it."""
        self._spool.release(self._mark)
        self._left = 0

    def settled(self) -> bool:
        """Whether the clock has been where it is for more than a day, so that things may be forgotten for their age."""
        if clock.settled(self._days, _day(self._now())):
            return True
        log.info("shard %s/%d: nothing is forgotten before it has run for a day", self._site, self._shard)
        return False

    async def look_after(self, keep: Retention, may_go: Callable[[SealedFile], bool] | None = None) -> None:
        """Forget what is too old, which makes room; seal and merge where there is some."""
        try:
            if self.settled():
                await self._cold.expire(self._now(), keep, may_go)
            self._room()
            if self.postponed is None:
                await self._cold.seal(self._now() - SEALED_AFTER)
                await self._cold.merge(self._now() - MERGED_AFTER)
        except TierError as error:
            if error.code == "tier.busy":  # somebody reads a file of merged history, which has no WAL
                log.warning("sealing and merging wait for the next round: %s", error)
            elif error.code in POSTPONING:
                self.postponed = self.postponed or error
            else:
                raise

    def let_go(self) -> None:
        """It is closed: whoever still has a reference to it, such as a task that ended, keeps no states alive."""
        self._states, self._queue = {}, []

    async def settle(self) -> None:
        """Wait for what is at work in the background; it ends with its error, if any, kept."""
        tasks = [task for task in (self._draining, self._flushing) if task is not None]
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)


def _newest(state: EndpointState | None, collector: str) -> Iterator[datetime]:
    """The times of the newest readings that are known of one collector."""
    if state is not None:
        known = state.collectors.get(collector)
        if known is not None and known.at is not None:
            yield known.at
        if collector in state.ahead:
            yield state.ahead[collector]


def _day(at: datetime) -> int:
    return int(at.timestamp() // 86_400)


@asynccontextmanager
async def open_shard(
    data: Path,
    site: str,
    shard: int,
    *,
    fields: Mapping[str, CollectorFields],
    now: Callable[[], datetime],
    keep: Retention | None = None,
    room: Callable[[], None] = lambda: None,
    archiving: bool = False,
) -> AsyncIterator[ShardStore]:
    """The store of one shard, for the holder of its lease; replays what a crash left.

    On leaving without an error, where `keep` is given: what is older than that is forgotten, though not while the
    clock may have been set (`ShardStore.settled`), and hours and days that are over are sealed and merged. `room`
    raises TierError when history has to wait. `archiving`: samples go only when the archive has them.
    """
    async with (
        Spool(data / "spool" / site / str(shard)) as spool,
        ColdTier(path_of(data, site, shard), fields) as cold,
    ):
        store = ShardStore(data, site, shard, spool=spool, cold=cold, fields=fields, now=now, room=room)
        try:
            await store.recover()
            yield store
        finally:
            await store.settle()
            store.let_go()
        if keep is not None:
            await store.look_after(keep, released(data, site, shard) if archiving else None)
