"""A few threads for calls that may hang for half a minute: a bounded number, and none keeps the process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads:
    """Runs functions in at most `most` threads. What was cancelled before its turn is never run."""

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0

    async def call(self, function: Callable[[], T], deadline: float) -> T:
        """The function's result. Raises TimeoutError at the deadline; a call that has begun goes on unheard."""
        future: Future[T] = Future()
        self._jobs.put((future, function))
        if not self._idle.acquire(blocking=False) and self._count < self._most:
            self._count += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._count}", daemon=True).start()
        async with asyncio.timeout_at(deadline):
            return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:  # whatever it is belongs to the caller
                    future.set_exception(error)
            del job, future, function
            self._idle.release()

    def close(self) -> None:
        """The threads end when they come to it."""
        for _ in range(self._count):
            self._jobs.put(None)
