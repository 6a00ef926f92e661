"""A bulkhead for slow endpoints: who takes long leaves the fast lane, so that a hanging third delays nobody else.

The fast lane holds `poll.concurrency` polls. A poll that takes several times as long as the others do, or that timed
out in the last round, goes on in the slow lane, and its place is free. The slow lane is bounded too: sockets are.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

log = logging.getLogger(__name__)

SLOW_PER_FAST = 4
LEAST_SLOW = 64
SHARE = 0.7  # of the files that this process may open; the rest is for tiers, channels and libraries
FIRST_S = 3.0  # what is slow until the round shows what is usual
FACTOR, LEAST_S, MOST_S = 4.0, 1.0, 15.0
SAMPLE = 64


def sizes(concurrency: int, files: int) -> tuple[int, int]:
    """(fast, slow) places for a process that may open `files` files."""
    room = max(2, int(SHARE * files))
    fast = min(concurrency, max(1, room // 2))
    return fast, max(1, min(max(LEAST_SLOW, SLOW_PER_FAST * concurrency), room - fast))


def open_files() -> int:
    """How many files this process may open, after asking for as many as it may have."""
    try:
        import resource
    except ImportError:
        return (
            8192  # Windows has no such limit for sockets: asyncio's proactor holds handles, of which there are millions
        )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return 65_536 if soft == resource.RLIM_INFINITY else soft


class SlowLane:
    """The places of the slow lane, and what counts as slow."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._usual: deque[float] = deque(maxlen=SAMPLE)

    def enter(self) -> bool:
        """Take a place, if one is free."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._free += 1

    def note(self, seconds: float) -> None:
        """How long a good poll took."""
        self._usual.append(seconds)

    @property
    def patience(self) -> float:
        """Seconds after which a poll is slow: some times what nine of ten need."""
        if len(self._usual) < SAMPLE // 4:
            return FIRST_S
        ordered = sorted(self._usual)
        return min(MOST_S, max(LEAST_S, FACTOR * ordered[int(0.9 * (len(ordered) - 1))]))

    async def outlasts(self, visit: asyncio.Task[Any]) -> bool:
        """Wait for a visit as long as the fast lane waits; True when it has a place in the slow lane now."""
        while True:
            done, _ = await asyncio.wait([visit], timeout=self.patience)
            if done:
                return False
            if self.enter():
                return True
