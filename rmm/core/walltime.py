"""Times on a wall clock as moments: what a person means by 09:00, also where the clock is changed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo

_STEP = timedelta(seconds=1)


def instant(wall: datetime, zone: tzinfo) -> datetime:
    """The moment (UTC) when the clocks of `zone` show the naive `wall`.

    Later times on the wall never give earlier moments: one that is skipped in spring is when the clock is put forward,
    one that comes twice in autumn is its first time.
    """
    at = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if shown(at, zone) == wall:
        return at
    # Skipped. With the offset from before the change it lies at or after the change, with the later one before it.
    early, late = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), at
    before = early.astimezone(zone).utcoffset()
    while late - early > _STEP:
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)


def shown(at: datetime, zone: tzinfo) -> datetime:
    """What the clocks of `zone` show at a moment, naive."""
    return at.astimezone(zone).replace(tzinfo=None, fold=0)
