"""A bulkhead for slow endpoints: who takes long leaves the fast lane, so that a hanging third delays nobody else.

The fast lane holds `poll.concurrency` polls. A poll that takes some times as long as the others do gives its place
there back and goes on in the slow lane; an endpoint that timed out in the last round is polled in the slow lane only.
The slow lane is bounded too: sockets are.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

SLOW_PER_FAST = 4
LEAST_SLOW = 64
KNOWN_SHARE = 0.75  # of the slow lane that endpoints may take that were slow before; the rest is for news
MOST_FILES = 65_536
SHARE = 0.7  # of the files that this process may open; the rest is for tiers, channels and libraries
FIRST_S = 3.0  # what is slow until the round shows what is usual
STEP_S = 0.5  # how often a visit is measured against what is usual by then
FACTOR, LEAST_S, MOST_S = 2.0, 0.5, 15.0
SAMPLE = 64


def sizes(concurrency: int, files: int) -> tuple[int, int]:
    """(fast, slow) places for a process that may open `files` files."""
    room = max(2, int(SHARE * files))
    fast = min(concurrency, max(1, room // 2))
    return fast, max(1, min(max(LEAST_SLOW, SLOW_PER_FAST * concurrency), room - fast))


def open_files() -> int:
    """How many files this process may open, after asking for as many as it may have."""
    if sys.platform == "win32":
        return 8192  # no such limit for sockets: asyncio's proactor holds handles, of which there are millions
    else:  # so that the types of either platform are checked
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        return MOST_FILES if soft == resource.RLIM_INFINITY else soft


class SlowLane:
    """The places of the slow lane, and what counts as slow."""

    def __init__(self, places: int) -> None:
        self._places = asyncio.Semaphore(places)
        self._known = asyncio.Semaphore(max(1, int(KNOWN_SHARE * places)))
        self._usual: deque[float] = deque(maxlen=SAMPLE)
        self._patience: float | None = FIRST_S  # None: to be found out anew

    @asynccontextmanager
    async def known(self) -> AsyncIterator[None]:
        """A place for an endpoint that was slow before; waits for one."""
        async with self._known, self._places:
            yield

    def leave(self) -> None:
        """Give the place back that `outlasts` has given."""
        self._places.release()

    def note(self, seconds: float) -> None:
        """How long a good poll took."""
        self._usual.append(seconds)
        self._patience = None

    @property
    def patience(self) -> float:
        """Seconds after which a poll is slow: some times what nine of ten need."""
        if self._patience is None:  # every visit asks, some times a second
            self._patience = _patience(self._usual)
        return self._patience

    async def outlasts(self, visit: asyncio.Task[Any]) -> bool:
        """Wait for a visit as long as the fast lane waits; True when it has a place in the slow lane now.

        Where the slow lane is full, the visit keeps its place in the fast one until it ends or finds another.
        """
        waited = 0.0
        while (left := self.patience - waited) > 0:
            step = min(STEP_S, left)
            done, _ = await asyncio.wait([visit], timeout=step)
            if done:
                return False
            waited += step
        entering = asyncio.ensure_future(self._places.acquire())
        try:
            await asyncio.wait([visit, entering], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if entering.done():
                self.leave()
            entering.cancel()
            raise
        if entering.done():
            return True
        entering.cancel()
        return False


def _patience(usual: deque[float]) -> float:
    if len(usual) < SAMPLE // 4:
        return FIRST_S
    ordered = sorted(usual)
    return min(MOST_S, max(LEAST_S, FACTOR * ordered[int(0.9 * (len(ordered) - 1))]))


class Countdown:
    """Sets `finished` when it is closed and all that was added is done."""

    def __init__(self) -> None:
        self.finished = asyncio.Event()
        self._open = 1

    def add(self) -> None:
        self._open += 1

    def done(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.finished.set()

    close = done
