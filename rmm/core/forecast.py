"""When does a value reach a limit? A robust line through recent samples, and whether it may be believed. Pure.

The slope is Theil and Sen's (the median of the slopes between all pairs), which a fifth of outliers does not move.
Noise, a single step and a daily tide have slopes too, so a slope counts only when all of this holds:

- the samples reach over `span` seconds at least, and there are LEAST of them;
- the order of the values is no chance (Mann and Kendall's S is Z standard deviations from none);
- the rise over the whole time is SIGNAL times what the samples scatter around the line;
- each third of the time rises, and none by less than STEADY of the whole: a step rises in one of them alone;
- the limit is not further away than AHEAD times the time that was looked at, or once that while the window has not
  passed yet: a daily tide cannot be told from a trend before;
- where only the newest part of the window rises: the value was not as high before in it, and fell again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

LEAST = 12  # samples
MOST = 48  # samples: all pairs of more would cost more than they tell
Z, SIGNAL, STEADY, AHEAD = 4.0, 4.0, 0.4, 4.0
KNOWN = 0.9  # of the window: then it has passed
NEVER = math.inf


class Forecast(NamedTuple):
    """Seconds until the limit is reached (NEVER where it is not), and whether that may be believed."""

    seconds: float
    sure: bool


def forecast(at: Sequence[float], values: Sequence[float], reach: float, span: float, window: float) -> Forecast | None:
    """When `values` (at growing seconds `at`, MOST of them) reach `reach`; None where there are too few of them.

    The newest half and quarter of the time are looked at as well where they reach over `span` and all of the `window`
    is known: what has begun lately is seen, and the first of them that may be believed counts.
    """
    if len(at) < LEAST or at[-1] - at[0] < span:
        return None
    first: Forecast | None = None
    known = at[-1] - at[0] >= KNOWN * window
    for part in (1, 2, 4) if known else (1,):
        begin = at[-1] - (at[-1] - at[0]) / part
        from_here = next(number for number, moment in enumerate(at) if moment >= begin)
        times, recent = at[from_here:], values[from_here:]
        if len(times) < LEAST or times[-1] - times[0] < span:
            break
        found = _of(times, recent, reach, AHEAD if known else 1.0)
        if found.sure and not _tide(values[:from_here], recent, reach):
            return found
        first = first or found._replace(sure=False)
    return first


def _tide(earlier: Sequence[float], recent: Sequence[float], reach: float) -> bool:
    """Whether the value was nearly as near to the limit before, and went away from it again."""
    begin, now = recent[0], recent[-1]
    if not earlier or begin == now:
        return False
    half = (begin + now) / 2
    return max(earlier) >= half if reach >= now else min(earlier) <= half


def _of(at: Sequence[float], values: Sequence[float], reach: float, ahead: float) -> Forecast:
    slope, level, scatter = line(at, values)
    span = at[-1] - at[0]
    toward = slope if reach >= level else -slope
    if toward <= 0:
        return Forecast(NEVER, sure=True)
    seconds = abs(reach - level) / toward
    sure = (
        seconds <= ahead * span
        and toward * span >= SIGNAL * scatter
        and _kendall(values) * (1 if slope > 0 else -1) >= Z
        and _steady(at, values, slope)
    )
    return Forecast(seconds, sure)


def line(at: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """(slope per second, value of the line at the newest time, scaled median distance of the samples from it)."""
    count = len(at)
    slope = median((values[j] - values[i]) / (at[j] - at[i]) for i in range(count) for j in range(i + 1, count))
    rest = [value - slope * (moment - at[-1]) for moment, value in zip(at, values, strict=True)]
    level = median(rest)
    return slope, level, 1.4826 * median(abs(one - level) for one in rest)


def _kendall(values: Sequence[float]) -> float:
    """Mann and Kendall's S in standard deviations (without the correction for ties, which is on the safe side)."""
    n = len(values)
    s = sum((values[j] > values[i]) - (values[j] < values[i]) for i in range(n) for j in range(i + 1, n))
    return s / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def _steady(at: Sequence[float], values: Sequence[float], slope: float) -> bool:
    """Whether each third of the time has its part in the rise: by the medians of its beginning and its end."""
    count = len(at)
    edges = [0, count // 3, 2 * count // 3, count]
    for first, last in pairwise(edges):
        times, part = at[first:last], values[first:last]
        half = len(part) // 2
        rise = median(part[-half:]) - median(part[:half])
        passed = median(times[-half:]) - median(times[:half])
        if passed <= 0 or rise / passed / slope < STEADY:
            return False
    return True
