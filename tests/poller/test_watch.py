"""The watch over the collector itself: a loop that stands still, a clock that is set."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from rmm.poller.watch import STALLED, STEPPED, Watch


class Clock:
    """The machine's, but that wall time can be set."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic()


async def test_a_quiet_round_finds_nothing() -> None:
    watch = Watch(Clock())
    began = time.monotonic()
    async with watch.running():
        await asyncio.sleep(0.6)
        assert not watch.stalled(began, time.monotonic())
    assert watch.faults() == ()


async def test_a_loop_that_stands_still_is_noticed_before_the_watch_itself_runs_again() -> None:
    watch = Watch(Clock())
    async with watch.running():
        await asyncio.sleep(0.1)
        began = time.monotonic()
        time.sleep(1.6)
        # No await in between: the timer of a visit may come before the beat.
        assert watch.stalled(began, time.monotonic())
        ended = time.monotonic()
        await asyncio.sleep(0.4)
        assert not watch.stalled(ended + 0.3, time.monotonic())
    faults = watch.faults()
    assert [fault.code for fault in faults] == [STALLED]
    assert "1." in faults[0].message


async def test_a_clock_that_is_set_is_told_with_its_sign() -> None:
    clock = Clock()
    watch = Watch(clock)
    async with watch.running():
        clock.ahead = timedelta(hours=-1)
    assert [(fault.code, "-3600 s" in fault.message) for fault in watch.faults()] == [(STEPPED, True)]
