"""When reports are due: weeks of a virtual clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rmm.core.report_schedule import planned, span_days
from rmm.model.settings import ReportSchedule

BERLIN = ZoneInfo("Europe/Berlin")


def schedule(**more: object) -> ReportSchedule:
    return ReportSchedule(id="x", report="executive", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"every": "day"}, "2026-03-04T06:00"),
        ({"every": "week", "weekday": "monday"}, "2026-03-02T06:00"),
        ({"every": "week", "weekday": "friday"}, "2026-02-27T06:00"),
        ({"every": "month", "day": 1, "at": "00:30"}, "2026-02-28T23:30"),
        ({"every": "month", "day": 28}, "2026-02-28T06:00"),
        ({"every": "day", "at": "23:00"}, "2026-03-03T22:00"),
    ],
)
def test_the_newest_moment(given: dict[str, object], expected: str) -> None:
    now = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert planned(schedule(**given), BERLIN, now) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("begin", [datetime(2026, 3, 20, tzinfo=UTC), datetime(2026, 10, 15, tzinfo=UTC)])
def test_once_a_day_over_a_change_of_the_clock(begin: datetime) -> None:
    """Also at a time of night that is left out or comes twice."""
    for at in ("02:30", "07:00"):
        moments = {planned(schedule(every="day", at=at), BERLIN, begin + timedelta(minutes=7 * n)) for n in range(4000)}
        days = sorted(moment.astimezone(BERLIN).date() for moment in moments)
        assert len(days) == len(set(days)) == (days[-1] - days[0]).days + 1


def test_how_far_back() -> None:
    assert [span_days(schedule(every=every)) for every in ("day", "week", "month")] == [1, 7, 30]
    assert span_days(schedule(days=90)) == 90
