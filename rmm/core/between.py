"""Times of the week: `mon-fri 08:00-18:00`, `22:00-06:00`, `sat,sun`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HINT = "write it as mon-fri 08:00-18:00, 22:00-06:00 or sat,sun"
_MINUTES = 24 * 60
_TIMES = re.compile(r"([01]?\d|2[0-4]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)\Z")

Span = tuple[frozenset[int], int, int]  # days (0 is Monday), first minute, last minute, which may be of the next day


def span_of(text: str) -> Span | None:
    """The days and minutes that a text means; None where it means none."""
    days, _, times = text.strip().casefold().rpartition(" ")
    if not days and times and ":" not in times:
        days, times = times, "00:00-24:00"
    found = _TIMES.match(times)
    numbers = _days(days) if days else frozenset(range(7))
    if found is None or not numbers:
        return None
    first, last = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    if first > _MINUTES or last > _MINUTES or first == last:
        return None
    return numbers, first, last if last > first else last + _MINUTES


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.replace(" ", "").split(","):
        first, _, last = part.partition("-")
        if first not in DAYS or (last and last not in DAYS):
            return frozenset()
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update(day % 7 for day in range(begin, (end if end >= begin else end + 7) + 1))
    return frozenset(found)


def within(texts: Iterable[str], zone: tzinfo) -> Callable[[datetime], bool]:
    """Whether a moment is within one of these times of the week, by the clocks of `zone`.

    It goes by what the clocks show: an hour that they show twice is twice in it, one that they skip is not.
    """
    spans = [span for text in texts if (span := span_of(text)) is not None]

    def test(at: datetime) -> bool:
        local = at.astimezone(zone)
        minute, today = local.hour * 60 + local.minute, local.weekday()
        yesterday = (local - timedelta(days=1)).weekday()
        return any(
            (today in days and first <= minute < last) or (yesterday in days and first <= minute + _MINUTES < last)
            for days, first, last in spans
        )

    return test
