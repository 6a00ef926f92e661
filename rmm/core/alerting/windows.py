"""When a maintenance window holds: recurring starts on a wall clock, lengths in time that passes. Pure.

A window that starts at 22:00 and lasts four hours does so also in the night in which the clock is changed: it starts
when the wall shows 22:00 (a time that is skipped: when the clock is put forward; one that comes twice: the first), and
ends four hours later by any stopwatch.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from rmm.core.walltime import instant, shown
from rmm.model.alerting import Window

DAY = 86_400
LONGEST_S = 31 * DAY
LAST = -1

_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))  # minute hour day month weekday; 0 and 7 are Sunday
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_MONTHS = {
    "jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11,
    "dec": 12,
}  # fmt: skip


class Span(NamedTuple):
    """One time that a window holds, UTC, half-open."""

    begins: datetime
    ends: datetime


class Cron(NamedTuple):
    """The five fields of crontab(5). Where day and weekday are both restricted, either of them is enough."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool


@lru_cache(maxsize=4096)
def cron(text: str) -> Cron:
    """Parse five fields: numbers, names, *, lists, ranges and steps. ValueError says what is wrong."""
    fields = text.lower().split()
    if len(fields) != 5:
        raise ValueError("five fields are expected: minute hour day month weekday")
    names: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _DAYS)
    minutes, hours, days, months, weekdays = (
        _field(field, low, high, known) for field, (low, high), known in zip(fields, _RANGES, names, strict=True)
    )
    return Cron(
        tuple(sorted(minutes)), tuple(sorted(hours)), days, months, frozenset(day % 7 for day in weekdays),
        not fields[2].startswith("*") and not fields[4].startswith("*"),
    )  # fmt: skip


def _field(text: str, low: int, high: int, names: dict[str, int]) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _number(first, names, part)
            end = _number(last, names, part) if last else high if step else begin
        if not low <= begin <= end <= high:
            raise ValueError(f"{part!r} is not within {low}-{high}")
        stride = _number(step, {}, part) if step else 1
        if stride < 1:
            raise ValueError(f"{part!r}: a step is 1 or more")
        found.update(range(begin, end + 1, stride))
    return frozenset(found)


def _number(text: str, names: dict[str, int], part: str) -> int:
    if text in names:
        return names[text]
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise ValueError(f"{part!r} is neither a number nor a range")
    return int(text)


def holding(window: Window, at: datetime, zone: tzinfo) -> Span | None:
    """The span in which the window holds at a moment, the one that ends last where several do; None where none does."""
    if not (window.weekly or window.monthly or window.cron):
        assert window.begins is not None and window.ends is not None
        span = Span(instant(window.begins, zone), instant(window.ends, zone))
        return span if span.begins <= at < span.ends else None
    length = timedelta(seconds=window.lasts_s)
    wall = shown(at, zone)
    # A start on the wall can be an hour off what has passed, hence one day more than the length has.
    for back in range(-(-window.lasts_s // DAY) + 1):
        day = wall.date() - timedelta(days=back)
        for minute in reversed(_starts(window, day)):
            start = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
            if start > wall + timedelta(hours=2) or not _bounded(window, start):
                continue
            begins = instant(start, zone)
            if begins <= at < begins + length:
                return Span(begins, begins + length)
    return None


def upcoming(window: Window, at: datetime, zone: tzinfo, *, days: int = 366) -> Span | None:
    """The first span that begins after a moment, within so many days."""
    if not (window.weekly or window.monthly or window.cron):
        assert window.begins is not None and window.ends is not None
        span = Span(instant(window.begins, zone), instant(window.ends, zone))
        return span if span.begins > at else None
    first = shown(at, zone).date()
    for ahead in range(days + 1):
        day = first + timedelta(days=ahead)
        for minute in _starts(window, day):
            start = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
            if _bounded(window, start) and (begins := instant(start, zone)) > at:
                return Span(begins, begins + timedelta(seconds=window.lasts_s))
    return None


def spans(window: Window, since: datetime, until: datetime, zone: tzinfo) -> Iterator[Span]:
    """All spans that touch a time, whole, in order of their beginning; they may overlap."""
    if not (window.weekly or window.monthly or window.cron):
        assert window.begins is not None and window.ends is not None
        span = Span(instant(window.begins, zone), instant(window.ends, zone))
        if span.begins < until and since < span.ends:
            yield span
        return
    length = timedelta(seconds=window.lasts_s)
    day, last = shown(since - length, zone).date() - timedelta(days=1), shown(until, zone).date()
    while day <= last:
        for minute in _starts(window, day):
            start = datetime.combine(day, datetime.min.time()) + timedelta(minutes=minute)
            if _bounded(window, start) and (begins := instant(start, zone)) < until and since < begins + length:
                yield Span(begins, begins + length)
        day += timedelta(days=1)


def _bounded(window: Window, start: datetime) -> bool:
    return (window.begins is None or start >= window.begins) and (window.ends is None or start < window.ends)


def _starts(window: Window, day: date) -> list[int]:
    """Minutes of a day at which the window starts, in order."""
    if window.cron:
        return _of_cron(cron(window.cron), day)
    fits = day.weekday() in window.weekly or any(_monthly(day, *one) for one in window.monthly)
    return sorted(window.at) if fits else []


def _monthly(day: date, number: int, weekday: int) -> bool:
    """Day `number` of the month (weekday -1), or the `number`-th weekday; LAST counts from the end."""
    last = (date(day.year + day.month // 12, day.month % 12 + 1, 1) - timedelta(days=1)).day
    if weekday < 0:
        return day.day == (last if number == LAST else number)
    if day.weekday() != weekday:
        return False
    return day.day > last - 7 if number == LAST else (day.day - 1) // 7 + 1 == number


def _of_cron(fields: Cron, day: date) -> list[int]:
    if day.month not in fields.months:
        return []
    by_day, by_weekday = day.day in fields.days, day.isoweekday() % 7 in fields.weekdays
    if not (by_day or by_weekday if fields.either else by_day and by_weekday):
        return []
    return [hour * 60 + minute for hour in fields.hours for minute in fields.minutes]
