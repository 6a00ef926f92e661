"""Times on the wall as moments: every zone, every change of its clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.walltime import instant, shown

BERLIN = ZoneInfo("Europe/Berlin")
# One-hour changes, half-hour changes (Lord Howe), changes at midnight (Santiago, Cairo), a day left out (Apia).
ZONES = [ZoneInfo(name) for name in (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo",
    "Pacific/Apia", "Asia/Kolkata", "Africa/Casablanca",
)]  # fmt: skip
zones = st.sampled_from(ZONES)
walls = st.datetimes(datetime(2001, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(microsecond=0))


@pytest.mark.parametrize(
    ("wall", "moment"),
    [
        ("2026-03-29T01:59", "2026-03-29T00:59"),
        ("2026-03-29T02:00", "2026-03-29T01:00"),  # skipped: when the clock is put forward
        ("2026-03-29T02:59", "2026-03-29T01:00"),
        ("2026-03-29T03:00", "2026-03-29T01:00"),
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # twice: the first time
        ("2026-10-25T03:00", "2026-10-25T02:00"),
    ],
)
def test_changes_of_the_clock(wall: str, moment: str) -> None:
    assert instant(datetime.fromisoformat(wall), BERLIN) == datetime.fromisoformat(moment).replace(tzinfo=UTC)


@settings(deadline=None)
@given(walls, st.integers(0, 3 * 86_400), zones)
def test_later_on_the_wall_is_never_earlier(wall: datetime, more: int, zone: ZoneInfo) -> None:
    assert instant(wall, zone) <= instant(wall + timedelta(seconds=more), zone)


@settings(deadline=None)
@given(st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1), timezones=zones))
def test_around_every_change(at: datetime) -> None:
    """A year of half hours would take too long: the two days around a change are found by walking on from anywhere."""
    zone = at.tzinfo
    assert zone is not None
    day = datetime(at.year, at.month, at.day)
    moments = [instant(day + timedelta(minutes=15 * number), zone) for number in range(8 * 24)]
    assert moments == sorted(moments)


@settings(deadline=None)
@given(walls, zones)
def test_what_the_clock_shows_then(wall: datetime, zone: ZoneInfo) -> None:
    """It shows the time that was asked for, unless that was skipped: then a later one, and that is when it changed."""
    at = instant(wall, zone)
    if shown(at, zone) != wall:
        assert shown(at, zone) > wall
        before = at - timedelta(seconds=1)
        assert before.astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset()
        assert shown(before, zone) < wall
