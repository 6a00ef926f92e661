"""One round over some shards: bounded fan-out, one observation per endpoint, everything kept before it is shown."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from asyncio_pool import AioPool

from rmm.core import schedule
from rmm.durable import hold
from rmm.errors import RmmError
from rmm.model.endpoint import Endpoint
from rmm.model.observation import COLLECTOR_FAULT, TIMEOUT, Fault, Observation
from rmm.model.state import EndpointState
from rmm.poller.due import Due, ShardWork, broken, was_slow
from rmm.poller.fencing import Fencing, marked
from rmm.poller.journal import VisitJournal
from rmm.poller.kit import Kit
from rmm.poller.lanes import Countdown, SlowLane, open_files, sizes
from rmm.poller.tally import Tally
from rmm.poller.visit import Visitor, shells_left
from rmm.poller.watch import STALLED, Watch, postponed
from rmm.ports import Fence, Outlet, ShardStore

log = logging.getLogger(__name__)

STOP_S = 1.2  # how long cancelled visits may take to delete their shells
MOST_TAILS = 4  # shards that stay open for their slow endpoints alone, beside those that are being polled; at rest

TIMED = frozenset({"tcp.timeout", "dns.failure"})  # beside the status TIMEOUT: what a clock of ours may have decided

OpenStore = Callable[[str, int], AbstractAsyncContextManager[ShardStore]]


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
        fence: Fence | None = None,
    ) -> None:
        self._kit = kit
        self._fencing = Fencing(fence, self._dropped)
        self._visitor = Visitor(kit)
        self._data = data
        self._open_store = open_store
        self._outlet = outlet
        self._on_observation = on_observation
        self._mode = mode
        self._journals: dict[tuple[str, int], VisitJournal] = {}
        self._visits: dict[asyncio.Task[Observation], tuple[str, int]] = {}  # and the shard of each
        self._closing: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._postponed: RmmError | None = None
        self._failed = asyncio.Event()
        self._stopping = False
        self._spawning: asyncio.Future[object] | None = None
        self._files = open_files()
        self._fast, slow = sizes(kit.poll.concurrency, self._files)
        self._slow = SlowLane(slow)
        self._aside: set[asyncio.Task[None]] = set()  # jobs outside of the fast lane ...
        self._queued: set[asyncio.Task[Any]] = set()  # ... and those of them that wait for a place
        self._tails = asyncio.Semaphore(MOST_TAILS)
        self._watch = Watch(kit.clock)
        self.tally = Tally()

    async def run(self, work: Sequence[ShardWork]) -> None:
        """Visit every endpoint of `work` once.

        Raises LeaseLost when another process holds one of the shards (nothing was polled then), and TierError when
        something could not be stored. On cancellation running visits are stopped and what was acknowledged is kept.
        """
        async with self._watch.running():
            await self._run(work)
        self.tally.faults = (*self._watch.faults(), *self._too_few_files(), *postponed(self._postponed))

    def _too_few_files(self) -> tuple[Fault, ...]:
        wanted = self._kit.poll.concurrency
        if self._fast >= wanted:
            return ()
        text = f"{self._fast} endpoints were polled at once, not {wanted}: the process may open {self._files} files"
        hint = "Raise its limit of open files (LimitNOFILE, ulimit -n), or lower poll.concurrency."
        return (Fault("collector.sockets", "R0", hint, text),)

    async def _run(self, work: Sequence[ShardWork]) -> None:
        concurrency = self._fast
        with contextlib.ExitStack() as locks:
            for shard in work:
                path = self._data / "locks" / f"{shard.site}-{shard.shard}.lock"
                locks.enter_context(hold(path, f"shard {shard.shard} of site {shard.site}"))
                journal = VisitJournal(path.with_suffix(".visits"))
                self._journals[shard.key] = locks.enter_context(journal)
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
        fast, all_done = Countdown(), Countdown()
        closing = asyncio.create_task(self._keep(shard, ready, fast.finished, all_done.finished, room))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda task: self._note_failure(task, ready))
        store = await ready
        slow: list[Due] = []
        try:
            async for one in self._started(shard, store, fast, all_done):
                all_done.add()
                if was_slow(one.state):
                    slow.append(one)
                    continue
                fast.add()
                # asyncio-pool swallows a cancellation while it waits for a slot, so it waits in a task of its own.
                self._spawning = asyncio.ensure_future(pool.spawn(self._job(one)))
                await asyncio.shield(self._spawning)
            for one in slow:
                self._set_aside(self._slowly(one))
        finally:
            fast.close()
            all_done.close()

    async def _started(
        self, shard: ShardWork, store: ShardStore, fast: Countdown, all_done: Countdown
    ) -> AsyncIterator[Due]:
        """The shard's endpoints on which something is due, each when its turn comes."""
        starts = schedule.spread((endpoint.id for endpoint in shard.endpoints), self._kit.poll.stagger)
        endpoints = {endpoint.id: endpoint for endpoint in shard.endpoints}
        began = asyncio.get_running_loop().time()
        for seq, (offset, name) in enumerate(starts, start=1):
            self._raise_failure()
            state = store.state(name)
            due = self._due(endpoints[name], state)
            if not due:
                self.tally.skipped += 1
                continue
            await asyncio.sleep(max(0.0, began + offset - asyncio.get_running_loop().time()))
            if not self._fencing.may(*shard.key):
                return
            turn = self._kit.clock.monotonic()
            yield Due(endpoints[name], shard, seq, due, state, store, fast, all_done, turn, [])

    def _due(self, endpoint: Endpoint, state: EndpointState | None) -> tuple[str, ...]:
        now = self._kit.clock.now()
        accepted = self._visitor.accepted(endpoint)
        since = accepted.at if accepted else None
        changed_at = max((at for at in (self._kit.changed_at, since) if at), default=None)
        if schedule.held_back(state, now, mode=self._mode, changed_at=changed_at):
            return ()
        intervals = self._visitor.intervals(endpoint, self._kit.transport_of(endpoint), state)
        return schedule.due(intervals, state, now, mode=self._mode, endpoint=endpoint.id, since=since)

    async def _keep(
        self,
        shard: ShardWork,
        ready: asyncio.Future[ShardStore],
        fast: asyncio.Event,
        all_done: asyncio.Event,
        room: asyncio.Semaphore,
    ) -> None:
        """Own the shard's store from opening to release."""
        # Until its store is closed a shard has a place: among those that are being polled, or among the tails. What an
        # open store holds (12 to 25 MB for 250 endpoints) is most of this process's memory; at rest it holds little.
        async with contextlib.AsyncExitStack() as tail, contextlib.AsyncExitStack() as place:
            place.callback(room.release)
            async with self._open_store(shard.site, shard.shard) as store:
                for data in store.pending():
                    if self._fencing.may(*shard.key):
                        await self._outlet.publish(*shard.key, data)
                ready.set_result(store)
                try:
                    await fast.wait()
                    if not all_done.is_set():
                        # Its slow endpoints must not keep the next shard waiting.
                        await tail.enter_async_context(self._tails)
                        await store.rest()
                        await place.aclose()
                        await all_done.wait()
                finally:
                    await store.flush()
                # Of a shard that was lost the spool may have what was not handed over: it is, when it is held again.
                if self._fencing.may(*shard.key) and await self._outlet.committed(*shard.key):
                    await store.release()
            if store.postponed is not None:
                self._postponed = store.postponed

    async def _job(self, one: Due) -> None:
        """One endpoint in the fast lane. It never raises: asyncio-pool would keep the slot."""
        if self._stopping or not self._fencing.may(*one.shard.key):
            one.all_done.done()
        else:
            visit, began = self._begin(one)
            if await self._slow.outlasts(visit):
                self._set_aside(self._finish(visit, began, one)).add_done_callback(lambda _: self._slow.leave())
            else:
                await self._finish(visit, began, one)
        one.fast.done()

    async def _slowly(self, one: Due) -> None:
        """One endpoint that was slow before: in the slow lane from the beginning."""
        task = asyncio.current_task()
        assert task is not None
        self._queued.add(task)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._slow.known())
            except asyncio.CancelledError:
                one.all_done.done()
                raise
            finally:
                self._queued.discard(task)
            if self._fencing.may(*one.shard.key):
                await self._finish(*self._begin(one), one)
            else:
                one.all_done.done()

    def _begin(self, one: Due) -> tuple[asyncio.Task[Observation], float]:
        """Start a visit; returns it with the time at which it began."""
        journal = self._journal_of(one)
        journal.begun(one.endpoint.id)
        orphans, began = one.endpoint.id in journal.unclean, self._kit.clock.monotonic()
        visiting = self._visitor.visit(
            one.endpoint, one.shard.shard, one.seq, one.collectors, one.state,
            orphans=orphans, waited_s=began - one.turn, opened=one.sessions,
        )  # fmt: skip
        visit = asyncio.create_task(visiting, context=self._fencing.context(*one.shard.key))
        self._visits[visit] = one.shard.key
        return visit, began

    def _journal_of(self, one: Due) -> VisitJournal:
        return self._journals[one.shard.key]

    async def _finish(self, visit: asyncio.Task[Observation], began: float, one: Due) -> None:
        """From the end of a visit to its acknowledgement."""
        try:
            observation = await self._outcome(visit, one)
            if self._left_clean(observation, one):
                self._journal_of(one).left(one.endpoint.id)
            if observation is not None:
                await self._keep_one(self._judged(observation, began), one)
        except Exception as error:  # also a defect of ours: who waits for this endpoint's end would wait for ever
            self._fail(error)
        finally:
            self._visits.pop(visit, None)
            one.all_done.done()

    def _left_clean(self, observation: Observation | None, one: Due) -> bool:
        """Whether no shell of ours can be left: those of this visit are deleted, those of an earlier process too."""
        orphans = one.endpoint.id in self._journal_of(one).unclean
        reaped = observation is not None and "shells_reaped" in observation.telemetry
        return not shells_left(one.sessions) and (reaped or not orphans)

    def _set_aside(self, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Go on outside of the fast lane."""
        task = asyncio.create_task(job)
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)
        return task

    async def _keep_one(self, observation: Observation, one: Due) -> None:
        fence = self._fencing.under(*one.shard.key)
        if fence is None:
            return
        data = await one.store.acknowledge(marked(observation, fence), self._not_before(observation, one.state))
        if not self._fencing.may(*one.shard.key):
            return  # the spool has it, should the shard be held again
        self._on_observation(observation)
        await self._outlet.publish(*one.shard.key, data)

    def _judged(self, observation: Observation, began: float) -> Observation:
        """A timeout while the collector itself stood still is the collector's."""
        if observation.fault is None:
            self._slow.note(observation.duration_s)
            return observation
        if observation.status != TIMEOUT and observation.fault.code not in TIMED:
            return observation
        if not self._watch.stalled(began, self._kit.clock.monotonic()):
            return observation
        fault = Fault(STALLED, "R0", "The site collector stood still meanwhile.", observation.fault.message)
        return msgspec.structs.replace(observation, status=COLLECTOR_FAULT, fault=fault)

    async def _outcome(self, visit: asyncio.Task[Observation], one: Due) -> Observation | None:
        try:
            return await visit
        except asyncio.CancelledError:
            return None
        except Exception as error:
            # A defect of ours must cost one observation, not the round; it is logged with its traceback.
            log.exception("poll of %s failed inside rmm", one.endpoint.id)
            return broken(one, error, self._kit.epoch, self._kit.clock.now())

    def _not_before(self, observation: Observation, state: EndpointState | None) -> datetime | None:
        if observation.fault is None:
            return None
        failures = (state.failures if state else 0) + 1
        wait = schedule.rest_after(observation.fault.retry, failures, random.random())
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

    def drop(self, site: str, shard: int) -> None:
        """The lease of a shard is lost: what runs of it is cancelled, and nothing more of it is polled or kept."""
        self._fencing.drop(site, shard)

    def _dropped(self, site: str, shard: int) -> None:
        for visit, key in self._visits.items():
            if key == (site, shard):
                visit.cancel()

    async def _stop(self) -> None:
        """Cancel what still runs; visits get a moment to delete their shells, shards to write what they hold."""
        self._stopping = True
        for task in [*self._visits, *self._queued]:
            task.cancel()
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


__all__ = ["OpenStore", "Round", "ShardWork"]
