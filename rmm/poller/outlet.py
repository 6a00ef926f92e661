"""The embedded way to the coordinator: the memory bus, read in batches by one task in this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from rmm.errors import RmmError

log = logging.getLogger(__name__)

BATCH = 64  # observations per fold
LINGER_S = 0.1  # how long a batch waits for company; alerts have five seconds
CAPACITY = 128  # an observation may be 60 kB

Fold = Callable[[Sequence[bytes]], Awaitable[None]]


class BusOutlet:
    """`ports.Outlet`: publishes into a bounded queue and knows what the coordinator has committed."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._queue: asyncio.Queue[tuple[str, int, bytes]] = asyncio.Queue(CAPACITY)
        self._open: dict[tuple[str, int], int] = {}
        self._progress = asyncio.Event()
        self._error: Exception | None = None

    @classmethod
    @asynccontextmanager
    async def open(cls, fold: Fold) -> AsyncIterator[BusOutlet]:
        """With the task that folds; leaving folds what is queued."""
        outlet = cls(fold)
        task = asyncio.create_task(outlet._run())
        try:
            yield outlet
        finally:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await outlet.drain()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        """Queue one encoded observation; waits while the coordinator is behind."""
        if self._error is not None:
            return  # it stays in the spool, and the next round hands it over again
        self._open[(site, shard)] = self._open.get((site, shard), 0) + 1
        await self._queue.put((site, shard, data))

    async def committed(self, site: str, shard: int) -> bool:
        """Wait until all of this shard is folded; False when folding failed."""
        while self._open.get((site, shard)) and self._error is None:
            self._progress.clear()
            await self._progress.wait()
        return self._error is None

    async def drain(self) -> None:
        """Wait until everything is folded. Raises what folding raised."""
        while any(self._open.values()) and self._error is None:
            self._progress.clear()
            await self._progress.wait()
        if self._error is not None:
            raise self._error

    async def _run(self) -> None:
        while True:
            batch = [await self._queue.get()]
            await asyncio.sleep(LINGER_S if self._queue.empty() else 0)
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            if self._error is None:
                try:
                    await self._fold([data for _, _, data in batch])
                except RmmError as error:
                    log.warning("the coordinator could not take observations: %s", error)
                    self._error = error
                except Exception as error:  # a defect of ours must not leave the shards waiting for ever
                    log.exception("the coordinator failed inside rmm")
                    self._error = error
            for site, shard, _ in batch:
                self._open[(site, shard)] -= 1
            self._progress.set()
