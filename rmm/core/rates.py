"""Rates from two raw samples of one endpoint, by that endpoint's own clocks. Never negative, never a guess.

A sample is a list: Timestamp_Sys100NS (100 ns of wall clock), Timestamp_PerfTime and Frequency_PerfTime (ticks since
boot), then the raw counters. Counter arithmetic follows the definitions of the Windows performance counter types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CLOCKS = ("Timestamp_Sys100NS", "Timestamp_PerfTime", "Frequency_PerfTime")
_TICKS = 10_000_000  # of 100 ns in a second

Sample = list[int | None]


class Change(NamedTuple):
    """What happened between two samples: seconds, 100 ns of wall clock, ticks per second, and each counter's growth.

    A growth is None where the counter is absent or went back.
    """

    seconds: float
    wall: int
    frequency: int
    growth: list[int | None]


def change(now: Sample, before: Sequence[object], wraps: Sequence[int]) -> Change | None:
    """The change from `before` to `now`; None when nothing can be said.

    `wraps` holds, per counter, its width in bits if Windows lets it wrap around, else 0. Between the samples the two
    clocks must have moved together: after a reboot ticks start again, and the kernel's counters with them.
    """
    if len(before) != len(now) or not all(type(value) is int or value is None for value in before):
        return None
    earlier: Sample = list(before)  # type: ignore[arg-type]
    clocks = _clocks(now, earlier)
    if clocks is None:
        return None
    growth = [_growth(a, b, bits) for a, b, bits in zip(now[3:], earlier[3:], wraps, strict=True)]
    return Change(*clocks, growth)


def _clocks(now: Sample, before: Sample) -> tuple[float, int, int] | None:
    wall, ticks, frequency = now[0], now[1], now[2]
    if wall is None or before[0] is None or ticks is None or before[1] is None or not frequency or frequency < 0:
        return None
    if frequency != before[2]:
        return None
    passed = wall - before[0]
    seconds = (ticks - before[1]) / frequency
    if passed <= 0 or seconds <= 0:
        return None
    if abs(passed / _TICKS - seconds) > 5.0 + 0.05 * seconds:
        return None
    return seconds, passed, frequency


def _growth(now: int | None, before: int | None, bits: int) -> int | None:
    if now is None or before is None or now < 0:  # no counter of Windows is negative
        return None
    if now >= before:
        return now - before
    if bits and before < 1 << bits:
        return now - before + (1 << bits)
    return None


def per_second(growth: int, passed: Change) -> float:
    """PERF_COUNTER_COUNTER and PERF_COUNTER_BULK_COUNT."""
    return growth / passed.seconds


def share_of_time(growth: int, passed: Change, *, inverse: bool) -> float:
    """PERF_100NSEC_TIMER and its inverse: percent of wall time, kept within 0 to 100."""
    percent = 100.0 * growth / passed.wall
    return min(100.0, max(0.0, 100.0 - percent if inverse else percent))


def share_of_base(growth: int, base: int) -> float | None:
    """PERF_PRECISION_100NS_TIMER: percent of the growth of a base counter; None when that stood still."""
    return min(100.0, 100.0 * growth / base) if base > 0 else None


def average_level(growth: int, passed: Change) -> float:
    """PERF_COUNTER_100NS_QUEUELEN_TYPE: the average length of a queue."""
    return growth / passed.wall


def average_duration(growth: int, operations: int, passed: Change) -> float:
    """PERF_AVERAGE_TIMER in seconds per operation; 0 when there was no operation, as Windows says it."""
    return growth / passed.frequency / operations if operations > 0 else 0.0


def average_wait(growth: int, operations: int) -> float:
    """Seconds per operation from a sum of waiting times in 100 ns, 64 bits wide; 0 when there was no operation."""
    return growth / _TICKS / operations if operations > 0 else 0.0
