"""Rollups of samples: what an hour or a day of one series comes to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from rmm.core.columns import SCALES, Number, scaled


class Rolled(NamedTuple):
    """One series over one span of time.

    The values and their sum are integers to be divided by ten to the power of `places`, exactly; where the samples are
    no such decimals (places is -1), they are as they were measured, and the sum is the nearest float64 to the true one.
    """

    span: int
    count: int
    least: Number
    most: Number
    total: Number
    last: Number


class Rollups(NamedTuple):
    """The rollups of one series, by growing span."""

    places: int
    spans: list[Rolled]


def roll(at: Sequence[int], values: Sequence[Number], span: int) -> Rollups:
    """Rollups of samples in order of time by spans of `span` (in the unit of `at`, counted from 0)."""
    found = scaled(values)
    places, numbers = (found[0], found[1]) if found is not None else (-1, values)
    rolled = []
    for number, group in groupby(zip(at, numbers, strict=True), key=lambda pair: pair[0] // span):
        part = [value for _, value in group]
        total = sum(part) if places >= 0 else math.fsum(part)
        rolled.append(Rolled(number, len(part), min(part), max(part), total, part[-1]))
    return Rollups(places, rolled)


def coarser(rollups: Rollups, times: int) -> Rollups:
    """The same in spans that are `times` as long."""
    rolled = []
    for number, group in groupby(rollups.spans, key=lambda one: one.span // times):
        part = [*group]
        total = sum(one.total for one in part) if rollups.places >= 0 else math.fsum(one.total for one in part)
        least, most = min(one.least for one in part), max(one.most for one in part)
        rolled.append(Rolled(number, sum(one.count for one in part), least, most, total, part[-1].last))
    return Rollups(rollups.places, rolled)


def told(rollups: Rollups) -> Iterator[tuple[int, int, float, float, float, float]]:
    """(span, count, min, mean, max, last) of each in the unit of the samples."""
    scale = SCALES[rollups.places] if rollups.places > 0 else 1
    for one in rollups.spans:
        mean = one.total / (scale * one.count)
        yield one.span, one.count, one.least / scale, mean, one.most / scale, one.last / scale
