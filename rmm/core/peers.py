"""One value beside those of its peers: how many deviations it is above their median or a percentile. Pure.

Kept sorted, so that a new value costs a search and not a pass over the fleet. The deviation is the median distance from
the median (MAD), times 1.4826 to be comparable with a standard deviation; one machine that is far off does not move it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Sequence

AGAINST = {"median": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Peers:
    """The newest value of each member (endpoint and row), none older than `keep_s` seconds before the newest."""

    def __init__(self, keep_s: float) -> None:
        self._keep = keep_s
        self._known: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # member -> (time, value)
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def put(self, member: tuple[str, str], at: float, value: float) -> None:
        """A member's value at a time in seconds; one that is older than the one that is known changes nothing."""
        before = self._known.get(member)
        if before is not None:
            if at < before[0]:
                return
            self._drop(before[1])
        self._known[member] = at, value
        self._known.move_to_end(member)
        insort(self._sorted, value)
        self._expire(at - self._keep)

    def _expire(self, before: float) -> None:
        while self._known:
            member, (at, value) = next(iter(self._known.items()))
            if at >= before:
                return
            del self._known[member]
            self._drop(value)

    def _drop(self, value: float) -> None:
        del self._sorted[bisect_left(self._sorted, value)]

    def score(self, value: float, against: str, floor: float) -> float | None:
        """How many deviations `value` is above; None where the peers do not differ and no `floor` says what counts."""
        middle = _at(self._sorted, 0.5)
        one = max(1.4826 * spread(self._sorted, middle), floor)
        return (value - _at(self._sorted, AGAINST[against])) / one if one > 0 else None


def _at(values: Sequence[float], share: float) -> float:
    """A percentile of sorted values, between two of them where it falls there."""
    place = share * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (values[high] - values[low]) * (place - low)


def spread(values: Sequence[float], middle: float) -> float:
    """The median distance of sorted values from `middle`, the lower of two; found without making all distances.

    The nearest k values are a run in the sorted list; the farthest of them is k's distance.
    """
    count = (len(values) + 1) // 2
    low, high = 0, len(values) - count  # where the run may begin
    while low < high:
        begin = (low + high) // 2
        if middle - values[begin] > values[begin + count] - middle:
            low = begin + 1
        else:
            high = begin
    return max(abs(values[low] - middle), abs(values[low + count - 1] - middle))
