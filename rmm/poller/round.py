"""One round over some shards: bounded fan-out, one observation per endpoint, everything kept before it is shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from asyncio_pool import AioPool

from rmm.core import schedule
from rmm.core.coerce import shown
from rmm.durable import hold
from rmm.errors import RmmError
from rmm.model.endpoint import Endpoint
from rmm.model.observation import COLLECTOR_FAULT, TIMEOUT, Fault, Observation
from rmm.model.state import EndpointState
from rmm.poller.journal import VisitJournal
from rmm.poller.lanes import SlowLane, open_files, sizes
from rmm.poller.tally import Tally
from rmm.poller.visit import Kit, Visitor
from rmm.poller.watch import STALLED, Watch
from rmm.ports import Outlet, ShardStore

log = logging.getLogger(__name__)

STOP_S = 1.2  # how long cancelled visits may take to delete their shells

OpenStore = Callable[[str, int], AbstractAsyncContextManager[ShardStore]]


class ShardWork(msgspec.Struct, frozen=True):
    """One shard of one site with the endpoints to visit."""

    site: str
    shard: int
    endpoints: tuple[Endpoint, ...]


class Round:
    """Polls shards one after the other, overlapping where the pool has free slots."""

    def __init__(
        self,
        kit: Kit,
        *,
        data: Path,
        open_store: OpenStore,
        outlet: Outlet,
        on_observation: Callable[[Observation], None],
        mode: str,
    ) -> None:
        self._kit = kit
        self._visitor = Visitor(kit)
        self._data = data
        self._open_store = open_store
        self._outlet = outlet
        self._on_observation = on_observation
        self._mode = mode
        self._journals: dict[tuple[str, int], VisitJournal] = {}
        self._visits: set[asyncio.Task[Observation]] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._stopping = False
        self._spawning: asyncio.Future[object] | None = None
        self._fast, slow = sizes(kit.poll.concurrency, open_files())
        self._slow = SlowLane(slow)
        self._aside: set[asyncio.Task[None]] = set()  # jobs that left the fast lane
        self._watch = Watch(kit.clock)
        self.tally = Tally()

    async def run(self, work: Sequence[ShardWork]) -> None:
        """Visit every endpoint of `work` once.

        Raises LeaseLost when another process holds one of the shards (nothing was polled then), and TierError when
        something could not be stored. On cancellation running visits are stopped and what was acknowledged is kept.
        """
        async with self._watch.running():
            await self._run(work)
        self.tally.faults = self._watch.faults()

    async def _run(self, work: Sequence[ShardWork]) -> None:
        concurrency = self._fast
        with contextlib.ExitStack() as locks:
            for shard in work:
                path = self._data / "locks" / f"{shard.site}-{shard.shard}.lock"
                locks.enter_context(hold(path, f"shard {shard.shard} of site {shard.site}"))
                journal = VisitJournal(path.with_suffix(".visits"))
                self._journals[shard.site, shard.shard] = locks.enter_context(journal)
            pool: AioPool = AioPool(size=concurrency)
            largest = max((len(shard.endpoints) for shard in work), default=1)
            room = asyncio.Semaphore(1 + -(-concurrency // max(1, largest)))
            try:
                for shard in work:
                    await room.acquire()
                    self._raise_failure()
                    await self._feed(shard, pool, room)
                failed = asyncio.create_task(self._failed.wait())
                try:
                    while self._closing and self._failure is None:
                        await asyncio.wait([failed, *self._closing], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    failed.cancel()
                self._raise_failure()
            finally:
                await self._stop()

    async def _feed(self, shard: ShardWork, pool: AioPool, room: asyncio.Semaphore) -> None:
        """Open the shard, hand its endpoints to the pool, and leave its closing to a task."""
        ready: asyncio.Future[ShardStore] = asyncio.get_running_loop().create_future()
        finished = asyncio.Event()
        closing = asyncio.create_task(self._keep(shard, ready, finished, room))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda task: self._note_failure(task, ready))
        store = await ready
        left = _Countdown(finished)
        try:
            starts = schedule.spread((endpoint.id for endpoint in shard.endpoints), self._kit.poll.stagger)
            endpoints = {endpoint.id: endpoint for endpoint in shard.endpoints}
            began = asyncio.get_running_loop().time()
            for seq, (offset, name) in enumerate(starts, start=1):
                self._raise_failure()
                endpoint = endpoints[name]
                state = store.state(endpoint.id)
                due = self._due(endpoint, state)
                if not due:
                    self.tally.skipped += 1
                    continue
                await asyncio.sleep(max(0.0, began + offset - asyncio.get_running_loop().time()))
                left.add()
                if _was_slow(state) and self._slow.enter():
                    self._set_aside(self._job(endpoint, shard, seq, due, state, store, left, slow=True))
                    continue
                # asyncio-pool swallows a cancellation while it waits for a slot, so it waits in a task of its own.
                self._spawning = asyncio.ensure_future(
                    pool.spawn(self._job(endpoint, shard, seq, due, state, store, left))
                )
                await asyncio.shield(self._spawning)
        finally:
            left.close()

    def _due(self, endpoint: Endpoint, state: EndpointState | None) -> tuple[str, ...]:
        now = self._kit.clock.now()
        if schedule.held_back(state, now, mode=self._mode):
            return ()
        intervals = self._visitor.intervals(endpoint, self._kit.transport_of(endpoint), state)
        return schedule.due(intervals, state, now, mode=self._mode, endpoint=endpoint.id)

    async def _keep(
        self, shard: ShardWork, ready: asyncio.Future[ShardStore], finished: asyncio.Event, room: asyncio.Semaphore
    ) -> None:
        """Own the shard's store from opening to release."""
        try:
            async with self._open_store(shard.site, shard.shard) as store:
                for data in store.pending():
                    await self._outlet.publish(shard.site, shard.shard, data)
                ready.set_result(store)
                try:
                    await finished.wait()
                finally:
                    await store.flush()
                if await self._outlet.committed(shard.site, shard.shard):
                    await store.release()
        finally:
            room.release()

    async def _job(
        self,
        endpoint: Endpoint,
        shard: ShardWork,
        seq: int,
        due: tuple[str, ...],
        state: EndpointState | None,
        store: ShardStore,
        left: _Countdown,
        *,
        slow: bool = False,
    ) -> None:
        """One endpoint, from its place in a lane to its acknowledgement.

        It never raises: asyncio-pool would keep the slot.
        """
        if self._stopping:
            left.done()
            return
        began = self._kit.clock.monotonic()
        journal = self._journals[shard.site, shard.shard]
        journal.begun(endpoint.id)
        orphans = endpoint.id in journal.unclean
        visit = asyncio.create_task(self._visitor.visit(endpoint, shard.shard, seq, due, state, orphans=orphans))
        self._visits.add(visit)

        async def finish() -> None:
            try:
                observation = await self._outcome(visit, endpoint, shard, seq)
                if observation is not None and _left_clean(observation, orphans=orphans):
                    journal.left(endpoint.id)
                if observation is not None:
                    await self._keep_one(self._judged(observation, began), state, store, shard)
            except RmmError as error:
                self._fail(error)
            finally:
                self._visits.discard(visit)
                left.done()

        if not slow and await self._slow.outlasts(visit):
            self._set_aside(finish())
        else:
            await finish()

    def _set_aside(self, job: Coroutine[Any, Any, None]) -> None:
        """Go on outside of the fast lane; its place in the slow one is given back at the end."""
        task = asyncio.create_task(job)
        self._aside.add(task)

        def ended(one: asyncio.Task[None]) -> None:
            self._aside.discard(one)
            self._slow.leave()

        task.add_done_callback(ended)

    async def _keep_one(
        self, observation: Observation, state: EndpointState | None, store: ShardStore, shard: ShardWork
    ) -> None:
        data = await store.acknowledge(observation, self._not_before(observation, state))
        self._on_observation(observation)
        await self._outlet.publish(shard.site, shard.shard, data)

    def _judged(self, observation: Observation, began: float) -> Observation:
        """A timeout while the collector itself stood still is the collector's."""
        if observation.fault is None:
            self._slow.note(observation.duration_s)
            return observation
        if observation.status != TIMEOUT and observation.fault.code != "tcp.timeout":
            return observation
        if not self._watch.stalled(began, self._kit.clock.monotonic()):
            return observation
        fault = Fault(STALLED, "R0", "The site collector stood still meanwhile.", observation.fault.message)
        return msgspec.structs.replace(observation, status=COLLECTOR_FAULT, fault=fault)

    async def _outcome(
        self, visit: asyncio.Task[Observation], endpoint: Endpoint, shard: ShardWork, seq: int
    ) -> Observation | None:
        try:
            return await visit
        except asyncio.CancelledError:
            return None
        except Exception as error:
            # A defect of ours must cost one observation, not the round; it is logged with its traceback.
            log.exception("poll of %s failed inside rmm", endpoint.id)
            return Observation(
                endpoint=endpoint.id,
                name=endpoint.name,
                site=shard.site,
                shard=shard.shard,
                observed_at=self._kit.clock.now(),
                duration_s=0.0,
                status=COLLECTOR_FAULT,
                fault=Fault("internal", "R0", RmmError.hint, shown(f"{type(error).__name__}: {error}", 500)),
                collectors={},
                epoch=self._kit.epoch,
                seq=seq,
            )

    def _not_before(self, observation: Observation, state: EndpointState | None) -> datetime | None:
        if observation.fault is None:
            return None
        failures = (state.failures if state else 0) + 1
        wait = schedule.backoff(failures, random.random())
        asked = min(observation.telemetry.get("retry_after_s", 0.0), schedule.BACKOFF_CAP_S)
        return observation.observed_at + max(wait, timedelta(seconds=asked))

    def _note_failure(self, task: asyncio.Task[None], ready: asyncio.Future[ShardStore]) -> None:
        if task.cancelled():
            ready.cancel()
            return
        error = task.exception()
        if error is None:
            return
        self._fail(error)
        if not ready.done():
            ready.set_exception(error)

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._failed.set()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    async def _stop(self) -> None:
        """Cancel what still runs; visits get a moment to delete their shells, shards to write what they hold."""
        self._stopping = True
        for visit in list(self._visits):
            visit.cancel()
        if self._visits:
            await asyncio.wait(list(self._visits), timeout=STOP_S)
        if self._aside:
            await asyncio.wait(list(self._aside), timeout=STOP_S)
        if self._spawning is not None and not self._spawning.done():
            await asyncio.wait([self._spawning], timeout=STOP_S)
        closing = list(self._closing)
        for task in closing:
            task.cancel()
        if closing:
            await asyncio.wait(closing)


def _left_clean(observation: Observation, *, orphans: bool) -> bool:
    """Whether no shell of ours can be left: those of this visit are deleted, those of an earlier process too."""
    telemetry = observation.telemetry
    return not telemetry.get("shells_left") and (not orphans or "shells_reaped" in telemetry)


def _was_slow(state: EndpointState | None) -> bool:
    """Whether the last poll ran out of time after it was connected."""
    return state is not None and state.status == TIMEOUT


class _Countdown:
    """Sets `finished` when it is closed and all that was added is done."""

    def __init__(self, finished: asyncio.Event) -> None:
        self._finished = finished
        self._open = 1

    def add(self) -> None:
        self._open += 1

    def done(self) -> None:
        self._open -= 1
        if self._open == 0:
            self._finished.set()

    close = done
