"""How long an endpoint was up: from its observations to seconds of up, down, unobserved and maintenance. Pure.

An observation speaks for the time until the next one, unless that comes later than `limit`: then all of the time
between is a gap, of which nothing is known and which counts for neither side. Times are microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import sub
from typing import NamedTuple

from rmm.model import observation as word

UP, DOWN, GAP, MAINTENANCE = "up", "down", "gap", "maintenance"

# It answered, whatever became of the poll; it did not; and what says nothing about the machine itself.
ANSWERED = frozenset({
    word.OK, word.PARTIAL, word.AUTH_REJECTED, word.ACCESS_DENIED, word.QUOTA, word.PROTOCOL_ERROR, word.UNSUPPORTED,
    word.TLS_ERROR,
})  # fmt: skip
SILENT = frozenset({word.UNREACHABLE, word.TIMEOUT, word.REBOOTING})


class Except(NamedTuple):
    """A time that is not counted: MAINTENANCE, or GAP where nothing could be seen. Those of one list do not overlap."""

    begin: int
    end: int
    what: str


def excepting(unseen: Sequence[tuple[int, int]], maintained: Sequence[tuple[int, int]]) -> list[Except]:
    """Times of which nothing is known and times of maintenance as one list; of both, it is maintenance.

    Neither list overlaps itself; both are in order.
    """
    found = [Except(begin, end, MAINTENANCE) for begin, end in maintained]
    for begin, end in unseen:
        for first, last in maintained:
            if first < end and begin < last:
                if begin < first:
                    found.append(Except(begin, first, GAP))
                begin = last
        if begin < end:
            found.append(Except(begin, end, GAP))
    return sorted(found)


class Stretch(NamedTuple):
    """What observations in a row come to, from the first of them to the last."""

    first_at: int
    first: str
    last_at: int
    last: str
    up: int = 0
    down: int = 0
    gap: int = 0
    maintenance: int = 0
    outages: int = 0  # times that it went down after it had been seen otherwise


def kind_of(status: str) -> str:
    """UP, DOWN or GAP."""
    return UP if status in ANSWERED else DOWN if status in SILENT else GAP


def stretch(at: Sequence[int], statuses: Sequence[str] | str, limit: int, excepted: Sequence[Except] = ()) -> Stretch:
    """Observations in order, at least one; one word for `statuses` where all are alike."""
    if isinstance(statuses, str):
        kind = kind_of(statuses)
        whole = Stretch(at[0], kind, at[-1], kind)
        if len(at) == 1:
            return whole
        within = not excepted or not any(one.begin < at[-1] and at[0] < one.end for one in excepted)
        if within and max(map(sub, at[1:], at)) <= limit:
            sums = dict.fromkeys((UP, DOWN, GAP, MAINTENANCE), 0) | {kind: at[-1] - at[0]}
            return Stretch(at[0], kind, at[-1], kind, **sums)
        statuses = [statuses] * len(at)
    excepted = [one for one in excepted if one.begin < at[-1] and at[0] < one.end]
    kinds = [kind_of(status) for status in statuses]
    sums = dict.fromkeys((UP, DOWN, GAP, MAINTENANCE), 0)
    for (begin, end), kind in zip(pairwise(at), kinds, strict=False):
        _credit(sums, begin, end, kind if end - begin <= limit else GAP, excepted)
    outages = sum(before != DOWN and after == DOWN for before, after in pairwise(kinds))
    return Stretch(at[0], kinds[0], at[-1], kinds[-1], **sums, outages=outages)


def joined(parts: Iterable[Stretch], limit: int, excepted: Sequence[Except] = ()) -> Stretch | None:
    """Stretches by time as one; None where two of them overlap: their observations must be put in order first."""
    ordered = sorted(parts)
    whole = ordered[0]
    for part in ordered[1:]:
        if part.first_at <= whole.last_at:
            return None
        sums = {UP: whole.up, DOWN: whole.down, GAP: whole.gap, MAINTENANCE: whole.maintenance}
        between = part.first_at - whole.last_at
        _credit(sums, whole.last_at, part.first_at, whole.last if between <= limit else GAP, excepted)
        for name in sums:
            sums[name] += getattr(part, name)
        fell = whole.last != DOWN and part.first == DOWN
        outages = whole.outages + part.outages + fell
        whole = Stretch(whole.first_at, whole.first, part.last_at, part.last, **sums, outages=outages)
    return whole


class Uptime(NamedTuple):
    """Microseconds of a span, which they add up to; `outages` as of a Stretch."""

    up: int
    down: int
    gap: int
    maintenance: int
    outages: int

    @property
    def percent(self) -> float | None:
        """Of the time that is known and counts; None where there is none."""
        known = self.up + self.down
        return 100 * self.up / known if known else None


def uptime(whole: Stretch | None, since: int, until: int, limit: int, excepted: Sequence[Except] = ()) -> Uptime:
    """Of a span that holds the stretch; what is before it is a gap, and after it what `limit` leaves."""
    sums = dict.fromkeys((UP, DOWN, GAP, MAINTENANCE), 0)
    if whole is None:
        _credit(sums, since, until, GAP, excepted)
        return Uptime(**sums, outages=0)
    _credit(sums, since, whole.first_at, GAP, excepted)
    _credit(sums, whole.last_at, until, whole.last if until - whole.last_at <= limit else GAP, excepted)
    for name in sums:
        sums[name] += getattr(whole, name)
    return Uptime(**sums, outages=whole.outages)


def together(parts: Iterable[Uptime]) -> Uptime:
    """Of several endpoints."""
    found = list(parts)
    return Uptime(*(sum(column) for column in zip(*found, strict=True))) if found else Uptime(0, 0, 0, 0, 0)


def _credit(sums: dict[str, int], begin: int, end: int, kind: str, excepted: Sequence[Except]) -> None:
    """Add a time to its kind, but for what is excepted of it."""
    for one in excepted:
        cut = min(end, one.end) - max(begin, one.begin)
        if cut > 0:
            sums[one.what] += cut
            sums[kind] -= cut
    sums[kind] += end - begin
