"""On-call spans from an iCalendar file (RFC 5545), with the packages icalendar and recurring-ical-events.

A file may come from anywhere: its size, its events, and how often they recur are bounded before either package does any
work on them, and what could make an expansion endless is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

from rmm.calendars.holidays import MISSING
from rmm.core.alerting.oncall import Span
from rmm.core.walltime import instant
from rmm.errors import ConfigError
from rmm.model.escalation import Person

MOST_BYTES = 1 << 20
MOST_LINE = 8192  # characters of one property, unfolded
MOST_COMPONENTS = 1000  # events, time zones and what is in them
MOST_DATES = 2000  # exceptions and extra dates, all together
MOST_TURNS = 100_000  # occurrences from the first one on until the end of the window, all together
LONGEST = timedelta(days=366)  # of one event
_DEPTH = 3  # VCALENDAR, VTIMEZONE, DAYLIGHT
_FOLD = re.compile(r"\r?\n[ \t]")
_PERIOD = {"DAILY": 1, "WEEKLY": 7, "MONTHLY": 28, "YEARLY": 365}
_PARTS = frozenset({"FREQ", "INTERVAL", "COUNT", "UNTIL", "BYDAY", "WKST"})
_OF_ZONES = frozenset({"BYMONTH", "BYMONTHDAY"})  # beside those, in the yearly rules of time zones
_BYDAY = re.compile(r"([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)(,([+-]?[1-5])?(MO|TU|WE|TH|FR|SA|SU)){0,34}", re.I)


class Found(NamedTuple):
    """What a file says within a window; `unknown` are summaries of events that name nobody, each once."""

    spans: tuple[Span, ...]
    unknown: tuple[str, ...] = ()


def read_calendar(path: Path, people: Mapping[str, Person], zone: tzinfo, since: datetime, until: datetime) -> Found:
    """Who is on call by the events that touch the window.

    An event is a person's whose id, name or address is its summary, or the address of an attendee. Times without a
    zone, and whole days, are of `zone`. Raises ConfigError.
    """
    try:
        import icalendar
        import recurring_ical_events
    except ModuleNotFoundError as error:
        text = f"{path}: calendars need the package {error.name}, which is not installed"
        raise ConfigError(text, hint=MISSING) from error
    text = _text(path)
    _check_lines(path, _FOLD.sub("", text).splitlines())
    try:
        calendar = icalendar.Calendar.from_ical(text)
        _check_turns(path, calendar.walk("VEVENT"), zone, until)
        events = recurring_ical_events.of(calendar).between(since - timedelta(days=1), until + timedelta(days=1))
        return _found(events, _names(people), zone)
    except ConfigError:
        raise
    except Exception as error:  # what a hostile file makes of two parsers
        raise ConfigError(f"{path}: not a calendar: {type(error).__name__}: {error}"[:300], hint=_FIX) from error


_FIX = "Export it again as an iCalendar file (.ics) of plain shifts; docs/escalation.md says what may be in it."


def _refused(path: Path, reason: str) -> ConfigError:
    return ConfigError(f"{path}: {reason}", hint=_FIX)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror or error}") from error
    if len(data) > MOST_BYTES:
        raise _refused(path, f"has more than {MOST_BYTES >> 20} MB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(path, f"is not UTF-8: {error}") from error
    if not text.lstrip().upper().startswith("BEGIN:VCALENDAR"):
        raise _refused(path, "does not begin with BEGIN:VCALENDAR")
    return text


def _check_lines(path: Path, lines: Iterable[str]) -> None:
    """Refuse what costs too much before anything parses it."""
    inside: list[str] = []
    components = dates = 0
    for number, line in enumerate(lines, 1):
        head, _, value = line.partition(":")
        name = head.partition(";")[0].strip().upper()
        if len(line) > MOST_LINE:
            raise _refused(path, f"property {number}: longer than {MOST_LINE} characters")
        if name == "BEGIN":
            inside.append(value.strip().upper())
            components += 1
            if components > MOST_COMPONENTS or len(inside) > _DEPTH:
                raise _refused(path, f"property {number}: more than {MOST_COMPONENTS} components, or nested too deeply")
        elif name == "END" and inside:
            inside.pop()
        elif name in ("RDATE", "EXDATE"):
            dates += value.count(",") + 1
            if dates > MOST_DATES:
                raise _refused(path, f"property {number}: more than {MOST_DATES} single dates")
        elif name in ("RRULE", "EXRULE") and (why := _unfit(name, value, "VTIMEZONE" in inside)):
            raise _refused(path, f"property {number}: {name} {value[:60]}: {why}")


def _unfit(name: str, value: str, of_zone: bool) -> str:
    """Why a recurrence is not expanded; empty where it is."""
    parts = {key.strip().upper(): part.strip() for key, _, part in (one.partition("=") for one in value.split(";"))}
    frequency = parts.get("FREQ", "").upper()
    if name != "RRULE" or (of_zone and frequency != "YEARLY"):
        return "this is not supported"
    if frequency not in _PERIOD:
        return f"FREQ must be one of {', '.join(_PERIOD)}"
    if strange := sorted(parts.keys() - _PARTS - (_OF_ZONES if of_zone else frozenset())):
        return f"{strange[0]} is not supported"
    for key, most in (("INTERVAL", 400), ("COUNT", 10_000)):
        if key in parts and not (parts[key].isascii() and parts[key].isdigit() and 1 <= int(parts[key][:9]) <= most):
            return f"{key} must be 1 to {most}"
    if "BYDAY" in parts and not _BYDAY.fullmatch(parts["BYDAY"]):
        return "BYDAY must name days such as MO,TU or 1MO"
    if "BYDAY" in parts and frequency == "DAILY" and parts.get("INTERVAL", "1") != "1":
        return "BYDAY does not go with days that are passed over"
    return ""


def _check_turns(path: Path, events: Iterable[Any], zone: tzinfo, until: datetime) -> None:
    """Refuse files whose events recur too often, or last too long, before they are expanded."""
    turns = 0.0
    for event in events:
        begin, end = _moment(event.start, zone), _moment(event.end, zone)
        if not 1970 <= begin.year <= 2100 or end - begin > LONGEST:
            raise _refused(path, f"an event of {begin:%Y-%m-%d} is not of 1970 to 2100, or longer than a year")
        rules = event.get("RRULE") or ()
        for rule in rules if isinstance(rules, list) else (rules,):
            if rule:
                days = _PERIOD[str(rule["FREQ"][0]).upper()] * int((rule.get("INTERVAL") or [1])[0])
                turns += max(0.0, (until - begin) / timedelta(days=days)) * max(1, len(rule.get("BYDAY") or ()))
    if turns > MOST_TURNS:
        raise _refused(path, f"its events come to more than {MOST_TURNS} occurrences: let them begin later")


def _names(people: Mapping[str, Person]) -> dict[str, str]:
    """What a calendar may call a person -> the person."""
    found: dict[str, str] = {}
    for person in people.values():
        addresses = [value for one in person.contacts for value in one.options.values() if isinstance(value, str)]
        for name in (*addresses, person.name, person.id):  # an id is stronger than what others may share
            found[name.casefold().strip()] = person.id
    return found


def _found(events: Iterable[Any], names: Mapping[str, str], zone: tzinfo) -> Found:
    spans: list[Span] = []
    unknown: dict[str, None] = {}
    for event in events:
        if str(event.get("STATUS", "")).upper() == "CANCELLED":
            continue
        person = next((names[called] for called in _called(event) if called in names), "")
        begin, end = _moment(event.start, zone), _moment(event.end, zone)
        if not person:
            unknown[str(event.get("SUMMARY", ""))[:60]] = None
        elif begin < end:
            spans.append(Span(begin, end, person, "calendar"))
    return Found(tuple(sorted(spans)), tuple(unknown))


def _called(event: Any) -> Iterator[str]:
    yield str(event.get("SUMMARY", "")).casefold().strip()
    attendees = event.get("ATTENDEE") or ()
    for one in attendees if isinstance(attendees, list) else (attendees,):
        yield str(one).casefold().removeprefix("mailto:").strip()


def _moment(value: date | datetime, zone: tzinfo) -> datetime:
    if not isinstance(value, datetime):
        return instant(datetime.combine(value, time()), zone)
    return value.astimezone(UTC) if value.tzinfo else instant(value, zone)
