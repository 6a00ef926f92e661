"""When a report is due. Pure: the time and its zone are arguments."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo

from rmm.model.settings import ReportSchedule

EVERY = ("day", "week", "month")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAYS = {"day": 1, "week": 7, "month": 30}


def planned(schedule: ReportSchedule, zone: tzinfo, now: datetime) -> datetime:
    """The newest moment, UTC, for which the schedule plans a report, not after `now`.

    It is a time of the wall clock there: where the clock is put forward over it, the moment is when it would have been.
    """
    hour, minute = (int(part) for part in schedule.at.split(":"))
    day = now.astimezone(zone).date() + timedelta(days=1)
    while True:
        at = datetime.combine(day, time(hour, minute), tzinfo=zone).astimezone(UTC)
        if at <= now and _fits(schedule, day):
            return at
        day -= timedelta(days=1)


def _fits(schedule: ReportSchedule, day: date) -> bool:
    if schedule.every == "week":
        return WEEKDAYS[day.weekday()] == schedule.weekday
    return schedule.every == "day" or day.day == schedule.day


def span_days(schedule: ReportSchedule) -> int:
    """How far back the report looks."""
    return schedule.days or DAYS[schedule.every]
