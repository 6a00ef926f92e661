"""When a volume is full: a straight line through its days, and whether the days are on it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from typing import NamedTuple

LEAST = 5  # days
STEADY = 0.6  # the share of the days' movement that the line explains, from which it is one


class Capacity(NamedTuple):
    """`per_day`: what it grows by. `days`: until `limit`, 0 where it is reached, None where it is not on the way.

    `fit`: 0 to 1, how much of the movement the line explains; below STEADY there is no forecast.
    """

    per_day: float
    days: float | None
    fit: float


def capacity(points: Sequence[tuple[float, float]], limit: float) -> Capacity | None:
    """The line through (day, value) points, by least squares, and when it meets `limit`; None for fewer than LEAST.

    The days are counted from the last point.
    """
    if len(points) < LEAST:
        return None
    count = len(points)
    middle, mean = fsum(day for day, _ in points) / count, fsum(value for _, value in points) / count
    spread = fsum((day - middle) ** 2 for day, _ in points)
    moved = fsum((value - mean) ** 2 for _, value in points)
    both = fsum((day - middle) * (value - mean) for day, value in points)
    slope = both / spread if spread else 0.0
    fit = min(1.0, both * both / (spread * moved)) if spread and moved else 0.0
    last = points[-1][1]
    if last >= limit:
        return Capacity(slope, 0.0, fit)
    sure = slope > 0 and fit >= STEADY
    return Capacity(slope, (limit - last) / slope if sure else None, fit)
