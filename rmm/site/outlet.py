"""The outlet of a site collector: the local coordinator, and the outgoing log beside it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec

from rmm.core.outgoing import Glance, glance, grade_of
from rmm.errors import LeaseLost, RmmError
from rmm.model.outgoing import Item
from rmm.ports import Clock, Outlet

log = logging.getLogger(__name__)

BATCH = 64  # observations in a transaction of the log
LINGER_S = 0.1  # how long a batch waits for company
HOLD_S = 1.0  # and for what the coordinator makes of it; an alert has five seconds to the hub
CAPACITY = 128  # an observation may be 60 kB
MOST_VERDICTS = 4096

Append = Callable[[Sequence[Item]], Awaitable[None]]


class ForwardingOutlet:
    """`ports.Outlet` over another one: publishes to both, and is committed when both have it.

    Use `open`. `append` puts into the outgoing log (`Forwarder.append`); `fence_of` gives the fence of a shard's lease.
    Where `judged`, somebody calls `folded` when the coordinator has folded; it is waited for a moment, because an
    observation with an alert is worth more. `statuses` remembers the last of each endpoint from one outlet to the next,
    as an endpoint that only stays down is no change.
    """

    def __init__(
        self, local: Outlet, append: Append, clock: Clock, fence_of: Callable[[str, int], int],
        statuses: dict[str, str], *, judged: bool,
    ) -> None:  # fmt: skip
        self._local = local
        self._append = append
        self._clock = clock
        self._fence_of = fence_of
        self._judged = judged
        self._queue: asyncio.Queue[tuple[Glance | None, str, int, bytes, int]] = asyncio.Queue(CAPACITY)
        self._open: dict[tuple[str, int], int] = {}
        self._failed: set[tuple[str, int]] = set()
        self._progress = asyncio.Event()
        self._verdicts: dict[str, bool] = {}  # id of an observation that was folded -> whether it is an alert's
        self._verdict = asyncio.Event()
        self._statuses = statuses

    @classmethod
    @asynccontextmanager
    async def open(
        cls, local: Outlet, append: Append, clock: Clock, *,
        fence_of: Callable[[str, int], int] = lambda _site, _shard: 0, judged: bool = False,
        statuses: dict[str, str] | None = None,
    ) -> AsyncIterator[ForwardingOutlet]:  # fmt: skip
        """With the task that appends; leaving appends what is queued."""
        outlet = cls(local, append, clock, fence_of, {} if statuses is None else statuses, judged=judged)
        task = asyncio.create_task(outlet._run())
        try:
            yield outlet
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(2 * HOLD_S):
                        await outlet.drain()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        """Hand over one encoded observation; waits while the coordinator or the disk is behind, never for the link.

        It goes under the lease under which it was polled, which may be over by now, or under that of this moment. What
        was polled where no lease was needed, in a shard that another collector has by now, goes under none.
        """
        key = (site, shard)
        try:
            seen = glance(data)
        except msgspec.DecodeError as error:
            log.warning("an observation that cannot be read is not forwarded: %s", error)
            seen = None
        fence = seen.fence if seen is not None else 0
        if not fence:
            with contextlib.suppress(LeaseLost):
                fence = self._fence_of(site, shard)
        self._open[key] = self._open.get(key, 0) + 1
        try:
            await self._queue.put((seen, site, shard, data, fence))
        except BaseException:
            self._done(key)
            raise
        await self._local.publish(site, shard, data)

    async def committed(self, site: str, shard: int) -> bool:
        """Wait until all of this shard is with the coordinator and in the log; False when one could not take it.

        It stays in the shard's spool then, and is handed over once more.
        """
        local = await self._local.committed(site, shard)
        key = (site, shard)
        while self._open.get(key):
            self._progress.clear()
            await self._progress.wait()
        failed = key in self._failed
        self._failed.discard(key)
        return local and not failed

    def folded(self, ids: Iterable[str], alerted: Collection[str]) -> None:
        """The coordinator has folded these observations; with `alerted` of them an alert began or ended."""
        self._verdicts.update((one, one in alerted) for one in ids)
        while len(self._verdicts) > MOST_VERDICTS:  # of those whose entry has not waited
            self._verdicts.pop(next(iter(self._verdicts)))
        self._verdict.set()

    async def drain(self) -> None:
        """Wait until all that was published is in the log, or could not be."""
        while self._open:
            self._progress.clear()
            await self._progress.wait()

    def _done(self, key: tuple[str, int]) -> None:
        left = self._open.get(key, 0) - 1
        if left > 0:
            self._open[key] = left
        else:
            self._open.pop(key, None)
        self._progress.set()

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(LINGER_S)
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            keys = [(site, shard) for _, site, shard, *_ in batch]
            try:
                await self._judgement([seen.id for seen, *_ in batch if seen is not None])
                statuses: dict[str, str] = {}
                items = [self._item(seen, data, fence, statuses) for seen, *_, data, fence in batch if seen is not None]
                await self._append(items)
                self._statuses.update(statuses)  # now, so that what failed is a change when it is handed over again
            except RmmError as error:
                if not self._failed:
                    log.warning("the outgoing log could not take observations, they stay in the spool: %s", error)
                self._failed.update(keys)
            except Exception:  # a defect of ours must not leave the shards waiting for ever
                log.exception("the outgoing log failed inside rmm")
                self._failed.update(keys)
            finally:
                for key in keys:
                    self._done(key)

    async def _judgement(self, ids: Sequence[str]) -> None:
        if not self._judged:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HOLD_S):
                while not all(one in self._verdicts for one in ids):
                    self._verdict.clear()
                    await self._verdict.wait()

    def _item(self, seen: Glance, data: bytes, fence: int, statuses: dict[str, str]) -> Item:
        alerted = (seen.id,) if self._verdicts.pop(seen.id, False) else ()
        grade = grade_of(seen, alerted, statuses.get(seen.endpoint) or self._statuses.get(seen.endpoint, ""))
        statuses[seen.endpoint] = seen.status
        return Item(
            id=seen.id,
            body=data,
            at=seen.ended if seen.fence else self._clock.now(),  # what waited in the spool is no younger for that
            grade=grade,
            endpoint=seen.endpoint,
            shard=seen.shard,
            fence=fence,
        )
