"""Samples taken together: into hours and days, and into one; and which of these fits a span of time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from rmm.model.rollup import Rollup

STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A longer span is told in hours, and one that is longer still in days: some hundred points, as people can look at.
_RAW, _HOURS = timedelta(days=2), timedelta(days=60)

Samples = Sequence[tuple[datetime, float]]


def step_for(since: datetime, until: datetime) -> str:
    """raw, hour or day: what a span is told in where nobody chose."""
    span = until - since
    return "raw" if span <= _RAW else "hour" if span <= _HOURS else "day"


def begin_of(at: datetime, step: str) -> datetime:
    """When the hour or day that a time is in begins."""
    return at - (at - _EPOCH) % STEPS[step]


def widened(since: datetime, until: datetime, step: str) -> tuple[datetime, datetime]:
    """The whole hours or days that a span touches, from the first to the last microsecond."""
    return begin_of(since, step), begin_of(until, step) + (STEPS[step] - timedelta(microseconds=1))


def rolled(samples: Samples, step: str) -> Iterator[Rollup]:
    """Samples, oldest first, as hours or days."""
    for at, part in groupby(samples, lambda sample: begin_of(sample[0], step)):
        yield _rollup(at, [value for _, value in part])


def _rollup(at: datetime, values: Sequence[float]) -> Rollup:
    low, high = min(values), max(values)
    return Rollup(at, len(values), low, min(max(mean_of(values), low), high), high, values[-1])  # as rounded, within


def mean_of(values: Sequence[float]) -> float:
    """The mean of at least one value, of any finite ones."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # the sum is no number any more; an endpoint may say whatever it likes
        return math.fsum(value / len(values) for value in values)


def points(samples: Iterable[tuple[datetime, float]]) -> list[Rollup]:
    """Each sample as what it comes to alone."""
    return [Rollup(at, 1, value, value, value, value) for at, value in samples]


def together(parts: Sequence[Rollup]) -> Rollup:
    """What at least one part, oldest first, comes to; the mean is that of all samples."""
    count = sum(part.samples for part in parts)
    low, high = min(part.min for part in parts), max(part.max for part in parts)
    mean = math.fsum(part.mean * (part.samples / count) for part in parts)
    return Rollup(parts[0].at, count, low, min(max(mean, low), high), high, parts[-1].last)
