"""Maintenance windows on wall clocks, across the nights in which clocks are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.alerting.windows import Span, cron, holding, spans, upcoming
from rmm.model.alerting import Window

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)


def weekly(*days: int, minute: int = 22 * 60, hours: float = 4) -> Window:
    return Window(name="w", weekly=days, at=(minute,), lasts_s=int(hours * 3600))


def test_a_weekly_window_holds_over_midnight() -> None:
    saturday = weekly(5)
    assert holding(saturday, at("2026-11-28T21:59:59"), BERLIN) is None
    span = holding(saturday, at("2026-11-28T22:00"), BERLIN)
    assert span == Span(at("2026-11-28T22:00"), at("2026-11-29T02:00"))
    assert holding(saturday, at("2026-11-29T01:59:59"), BERLIN) == span
    assert holding(saturday, at("2026-11-29T02:00"), BERLIN) is None
    assert upcoming(saturday, at("2026-11-29T02:00"), BERLIN) == Span(at("2026-12-05T22:00"), at("2026-12-06T02:00"))


@pytest.mark.parametrize(
    ("day", "end"),
    [
        ("2026-03-28", "2026-03-29T03:00"),  # 02:00 becomes 03:00: four hours end an hour later on the wall
        ("2026-10-24", "2026-10-25T01:00"),
    ],
)
def test_four_hours_are_four_hours_when_the_clock_is_changed(day: str, end: str) -> None:
    span = holding(weekly(5), at(f"{day}T23:00"), BERLIN)
    assert span is not None
    assert span.ends - span.begins == timedelta(hours=4)
    assert span.begins == at(f"{day}T22:00")
    if day == "2026-03-28":
        assert span.ends == at(end)
    else:  # 02:00 comes twice; 22:00 and four hours is the first 02:00
        assert span.ends == at("2026-10-25T02:00")


def test_a_start_that_is_skipped_is_when_the_clock_is_put_forward() -> None:
    night = Window(name="w", weekly=(6,), at=(2 * 60 + 30,), lasts_s=3600)
    span = holding(night, at("2026-03-29T03:15"), BERLIN)
    assert span == Span(datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 3, 29, 2, tzinfo=UTC))
    twice = Window(name="w", weekly=(6,), at=(2 * 60 + 30,), lasts_s=3600)
    first = holding(twice, datetime(2026, 10, 25, 0, 45, tzinfo=UTC), BERLIN)
    assert first == Span(datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert holding(twice, datetime(2026, 10, 25, 1, 45, tzinfo=UTC), BERLIN) is None


def test_days_of_the_month() -> None:
    second_tuesday = Window(name="w", monthly=((2, 1),), at=(60,), lasts_s=60)
    last_sunday = Window(name="w", monthly=((-1, 6),), at=(60,), lasts_s=60)
    last_day = Window(name="w", monthly=((-1, -1),), at=(60,), lasts_s=60)
    found = {name: [] for name in ("tuesday", "sunday", "day")}  # type: dict[str, list[str]]
    now = at("2028-01-01T00:00")
    for name, window in (("tuesday", second_tuesday), ("sunday", last_sunday), ("day", last_day)):
        then = now
        for _ in range(3):
            span = upcoming(window, then, BERLIN)
            assert span is not None
            then = span.begins
            found[name].append(then.astimezone(BERLIN).strftime("%m-%d"))
    assert found == {
        "tuesday": ["01-11", "02-08", "03-14"],
        "sunday": ["01-30", "02-27", "03-26"],
        "day": ["01-31", "02-29", "03-31"],
    }


def test_cron() -> None:
    window = Window(name="w", cron="30 1 * * mon-fri", lasts_s=2700)
    assert holding(window, at("2026-11-27T01:45"), BERLIN) is not None  # a Friday
    assert holding(window, at("2026-11-28T01:45"), BERLIN) is None
    either = Window(name="w", cron="0 0 13 * 5", lasts_s=60)  # the 13th, and every Friday
    assert holding(either, at("2026-12-13T00:00"), BERLIN) is not None
    assert holding(either, at("2026-12-18T00:00"), BERLIN) is not None
    assert holding(either, at("2026-12-17T00:00"), BERLIN) is None
    assert cron("*/20 0-2,5 * jan,mar 7").minutes == (0, 20, 40)
    assert cron("*/20 0-2,5 * jan,mar 7").weekdays == {0}


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "x * * * *", "1-2-3 * * * *"]
)
def test_cron_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        cron(text)


def test_once_and_bounded() -> None:
    once = Window(name="w", begins=datetime(2026, 12, 1, 18), ends=datetime(2026, 12, 2, 6))
    assert holding(once, at("2026-12-02T05:59"), BERLIN) is not None
    assert holding(once, at("2026-12-02T06:00"), BERLIN) is None
    bounded = Window(
        name="w", weekly=(5,), at=(0,), lasts_s=60, begins=datetime(2026, 12, 1), ends=datetime(2026, 12, 10)
    )
    assert holding(bounded, at("2026-11-28T00:00"), BERLIN) is None
    assert holding(bounded, at("2026-12-05T00:00"), BERLIN) is not None
    assert upcoming(bounded, at("2026-12-05T00:00"), BERLIN) is None


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2029, 1, 1)),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 40 * 24),
)
def test_what_holds_is_what_was_to_come(name: str, when: datetime, days: set[int], minute: int, quarters: int) -> None:
    """The span that holds is one of those that are found going forward, and the other way round."""
    zone, window = ZoneInfo(name), Window(name="w", weekly=tuple(days), at=(minute,), lasts_s=quarters * 900)
    now = when.replace(tzinfo=UTC)
    spans, then = [], now - timedelta(days=12)
    while (span := upcoming(window, then, zone)) is not None and span.begins <= now:
        spans.append(span)
        then = span.begins
    held = [span for span in spans if span.begins <= now < span.ends]
    assert holding(window, now, zone) == (held[-1] if held else None)


@pytest.mark.parametrize(
    "window",
    [
        weekly(5),
        weekly(5, 6, minute=30, hours=30),
        Window(name="w", cron="30 1 * * mon-fri", lasts_s=2700),
        Window(
            name="w", cron="0 */2 * * *", lasts_s=3 * 3600, begins=datetime(2026, 3, 20), ends=datetime(2026, 3, 27)
        ),
        Window(name="w", begins=datetime(2026, 3, 28, 18), ends=datetime(2026, 3, 29, 6)),
    ],
)
def test_spans_are_all_times_at_which_it_holds(window: Window) -> None:
    since, until = at("2026-03-24T00:10"), at("2026-04-02T23:00")
    found = list(spans(window, since, until, BERLIN))
    assert found == sorted(found) and found
    moment = since
    while moment < until:
        inside = any(one.begins <= moment < one.ends for one in found)
        assert inside == (holding(window, moment, BERLIN) is not None), moment
        moment += timedelta(minutes=10)
