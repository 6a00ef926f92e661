"""Business hours against an oracle that looks at every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.calendars.holidays import holiday_of
from rmm.core.alerting.hours import OpenHours
from rmm.model.escalation import Slot

BERLIN = ZoneInfo("Europe/Berlin")
DAY = (Slot(480, 1020),)
OFFICE = OpenHours(BERLIN, (DAY, DAY, DAY, DAY, (Slot(480, 720), Slot(750, 900)), (), ()), lambda _: "")
NIGHT = OpenHours(BERLIN, ((Slot(1320, 1800),),) * 7, lambda _: "")  # 22:00-06:00
ALWAYS = OpenHours(UTC, ((Slot(0, 1440),),) * 7, lambda _: "")
HOUR = timedelta(hours=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("hours", "since", "delay", "until"),
    [
        (OFFICE, "2026-03-02T08:00+01:00", 1, "2026-03-02T09:00+01:00"),
        (OFFICE, "2026-03-02T16:30+01:00", 1, "2026-03-03T08:30+01:00"),
        (OFFICE, "2026-03-02T16:30+01:00", 0, "2026-03-02T16:30+01:00"),
        (OFFICE, "2026-03-02T17:00+01:00", 0, "2026-03-03T08:00+01:00"),
        (OFFICE, "2026-03-06T11:30+01:00", 1, "2026-03-06T13:00+01:00"),  # the pause of Friday
        (OFFICE, "2026-03-06T14:30+01:00", 1, "2026-03-09T08:30+01:00"),  # a weekend
        (OFFICE, "2026-03-27T14:00+01:00", 2, "2026-03-30T09:00+02:00"),  # with the change to summer time in it
        (OFFICE, "2026-03-02T16:00+01:00", 1, "2026-03-02T17:00+01:00"),  # the last moment of a day
        (NIGHT, "2026-03-29T00:00+01:00", 4, "2026-03-29T05:00+02:00"),  # a night that lacks an hour
        (NIGHT, "2026-10-25T00:00+02:00", 4, "2026-10-25T03:00+01:00"),  # one that has an hour more
        (ALWAYS, "2026-03-29T00:00+01:00", 30, "2026-03-30T05:00+00:00"),
    ],
)
def test_a_delay_runs_while_it_is_open(hours: OpenHours, since: str, delay: float, until: str) -> None:
    assert hours.after(at(since), delay * HOUR) == at(until)


def test_hours_that_never_open_never_come() -> None:
    closed = OFFICE._replace(holiday=lambda _: "closed")
    assert closed.after(at("2026-03-02T08:00+01:00"), HOUR) is None
    assert not closed.is_open(at("2026-03-02T10:00+01:00"))


def test_holidays_of_a_subdivision() -> None:
    """All Saints' Day is a holiday in Bavaria, not in Berlin."""
    bavaria, berlin = holiday_of(["DE-BY"]), holiday_of(["DE-BE"])
    day = date(2027, 11, 1)  # a Monday
    assert bavaria(day) and not berlin(day)
    friday = at("2027-10-29T14:30+02:00")
    assert OFFICE._replace(holiday=bavaria).after(friday, HOUR) == at("2027-11-02T08:30+01:00")
    assert OFFICE._replace(holiday=berlin).after(friday, HOUR) == at("2027-11-01T08:30+01:00")


def test_days_of_our_own_are_closed() -> None:
    closed = holiday_of([], [date(2026, 12, 24)])
    assert closed(date(2026, 12, 24)) == "closed" and not closed(date(2026, 12, 25))


slots = st.builds(lambda begin, length: Slot(begin, begin + length), st.integers(0, 1439), st.integers(1, 1440))
weeks = st.tuples(*[st.lists(slots, max_size=2).map(lambda found: tuple(sorted(found)))] * 7)


@settings(max_examples=60, deadline=None)
@given(
    weeks,
    st.sampled_from(["2026-03-28T20:10", "2026-10-24T20:10", "2026-06-01T00:00"]),
    st.integers(0, 40 * 60),
    st.sets(st.integers(0, 6)),
)
def test_every_minute_agrees(week: tuple[tuple[Slot, ...], ...], begin: str, minutes: int, closed: set[int]) -> None:
    """The delay is the number of open minutes; spans of slots that overlap or touch count once."""
    hours = OpenHours(BERLIN, week, lambda day: "closed" if day.weekday() in closed else "")
    since = datetime.fromisoformat(begin).replace(tzinfo=BERLIN).astimezone(UTC)
    until = hours.after(since, timedelta(minutes=minutes))
    if until is None:
        assert not any(slot for number, day in enumerate(week) if number not in closed for slot in day)
        return
    if until - since > timedelta(days=20):
        return  # few open minutes a week: too many to walk through
    count, now = 0, since
    while now < until:
        count += hours.is_open(now)
        now += timedelta(minutes=1)
    assert now == until and count == minutes
    if not minutes:
        assert hours.is_open(until)
