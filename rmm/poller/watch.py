"""Watches the site collector itself while a round runs: does its event loop stand still, does its clock jump?"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime

from rmm.errors import RmmError
from rmm.model.observation import Fault
from rmm.ports import Clock

BEAT_S = 0.25
STALL_S = 1.0  # a loop that is late by so much misses deadlines: what timed out then says nothing about endpoints
JUMP_S = 5.0  # how far wall and monotonic time may part in one round
REMEMBERED = 256

STALLED, STEPPED, WAITS = "collector.stalled", "collector.clock_step", "collector.disk"


class Watch:
    """Use `running()`; afterwards `faults()` is what was wrong."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stalls: deque[tuple[float, float]] = deque(maxlen=REMEMBERED)
        self._last = clock.monotonic()  # the newest beat
        self._worst = 0.0
        self._jump = 0.0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Watch]:
        """Watch until the context is left."""
        began, at = self._clock.monotonic(), self._clock.now()
        self._last = began
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._note_jump(began, at)

    async def _run(self) -> None:
        while True:
            self._beat()
            await asyncio.sleep(BEAT_S)

    def _beat(self) -> None:
        now = self._clock.monotonic()
        late = now - self._last - BEAT_S
        if late > STALL_S:
            self._stalls.append((self._last, now))
            self._worst = max(self._worst, late)
        self._last = now

    def _note_jump(self, began: float, at: datetime) -> None:
        passed = self._clock.monotonic() - began
        jump = (self._clock.now() - at).total_seconds() - passed
        if abs(jump) > JUMP_S:
            self._jump = jump

    def stalled(self, began: float, ended: float) -> bool:
        """Whether the loop stood still in this span of monotonic time, which ends now.

        After a stall the timers of visits may run before that of the watch: a beat that is overdue is made up for.
        """
        self._beat()
        return any(start < ended and end > began for start, end in self._stalls)

    def faults(self) -> tuple[Fault, ...]:
        """What was wrong with the collector, one fault of each kind."""
        found = []
        if self._worst:
            text = f"the collector stood still for {self._worst:.1f} s; what timed out then is not the endpoints' fault"
            found.append(Fault(STALLED, "R0", "Is the machine overloaded, or was it suspended?", text))
        if self._jump:
            text = f"the collector's clock was set by {self._jump:+.0f} s while a round ran"
            found.append(Fault(STEPPED, "R0", "Check its time service.", text))
        return tuple(found)


def postponed(error: RmmError | None) -> tuple[Fault, ...]:
    """The fault of a round whose readings stay in the spool, and why."""
    if error is None:
        return ()
    return (Fault(WAITS, "R0", error.hint, f"history waits, and readings are kept in the spool alone: {error}"),)
