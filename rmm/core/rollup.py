"""Rollups of samples: what an hour or a day of one series comes to."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rmm.core.columns import SCALES, Number, scaled


class Rolled(NamedTuple):
    """One series over one span of time.

    The values and their sum are integers to be divided by ten to the power of `places`, exactly; where the samples are
    no such decimals (places is -1), they are as they were measured, and the sum is the nearest float64 to the true one.
    """

    span: int
    samples: int
    least: Number
    most: Number
    total: Number
    last: Number


class Rollups(NamedTuple):
    """The rollups of one series, by growing span."""

    places: int
    spans: list[Rolled]


def roll(at: Sequence[int], values: Sequence[Number], *spans: int) -> list[Rollups]:
    """Rollups of samples in order of time by each of some spans (in the unit of `at`, counted from 0)."""
    found = scaled(values)
    places, numbers = (found[0], found[1]) if found is not None else (-1, values)
    return [Rollups(places, _rolled(at, numbers, span, exact=places >= 0)) for span in spans]


def _rolled(at: Sequence[int], numbers: Sequence[Number], span: int, *, exact: bool) -> list[Rolled]:
    rolled, first = [], 0
    while first < len(at):
        number = at[first] // span
        end = bisect_left(at, (number + 1) * span, first)
        part = numbers[first:end]
        total = sum(part) if exact else _total(part)
        rolled.append(Rolled(number, len(part), min(part), max(part), total, part[-1]))
        first = end
    return rolled


def replaced(known: Rollups, new: Rollups, first: int, end: int) -> Rollups:
    """`known` with the spans from `first` on and before `end` taken from `new`."""
    places = -1 if min(known.places, new.places) < 0 else max(known.places, new.places)
    kept = [one for one in known.spans if not first <= one.span < end]
    spans = _rescaled(kept, known.places, places) + _rescaled(new.spans, new.places, places)
    return Rollups(places, sorted(spans))


def _rescaled(spans: list[Rolled], places: int, wanted: int) -> list[Rolled]:
    if places == wanted:
        return spans
    if wanted < 0:
        scale = SCALES[places]
        return [Rolled(one.span, one.samples, *(number / scale for number in one[2:])) for one in spans]
    factor = 10 ** (wanted - places)
    return [Rolled(one.span, one.samples, *(number * factor for number in one[2:])) for one in spans]


def told(rollups: Rollups) -> Iterator[tuple[int, int, float, float, float, float]]:
    """(span, number of samples, min, mean, max, last) of each in the unit of the samples."""
    scale = SCALES[rollups.places] if rollups.places > 0 else 0
    for one in rollups.spans:
        if scale:
            mean, ends = one.total / (scale * one.samples), (one.least / scale, one.most / scale, one.last / scale)
        else:
            mean, ends = one.total / one.samples, (one.least, one.most, one.last)
        yield one.span, one.samples, ends[0], min(max(mean, ends[0]), ends[1]), ends[1], ends[2]  # rounded, yet between


def _total(values: Sequence[Number]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond float64 somewhere on the way, or not a number
        return float(sum(values))
