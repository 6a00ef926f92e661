"""The sections `people`, `hours` and `oncall` of rmm.yaml: every mistake with its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from rmm.core.walltime import instant
from rmm.document import Document, Problem, checked, dotted
from rmm.document import Path as Place
from rmm.model.escalation import Contact, Hours, Layer, Override, Person, Rota, Slot

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EXTRA = "pip install 'mytech-rmm[calendars]'"
LONGEST = timedelta(days=366)
MOST = 200  # people, hours, rotas, layers, tiers: each of them
_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d{1,6})([mhdw])")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_SLOT = re.compile(r"\s*([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)\s*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

T = TypeVar("T", bound=msgspec.Struct)


class _Person(msgspec.Struct):
    channels: list[dict[str, Any]]
    name: str = ""


class _Hours(msgspec.Struct):
    open: dict[str, str]
    timezone: str = ""
    holidays: list[str] = []
    closed: list[str] = []


class _Rota(msgspec.Struct):
    timezone: str = "UTC"
    layers: list[dict[str, Any]] = []
    calendar: str = ""
    overrides: list[dict[str, Any]] = []
    otherwise: str = ""


class _Layer(msgspec.Struct):
    people: list[str]
    starts: str
    every: str = "1w"
    handoff: str = "09:00"
    during: str = ""
    outside: str = ""


class _Override(msgspec.Struct):
    person: str
    since: str
    until: str
    reason: str = ""


class Ground(NamedTuple):
    """A document and where its problems are collected."""

    document: Document
    problems: list[Problem]

    def wrong(self, place: Place, text: str) -> None:
        """Note a problem at a place."""
        self.problems.append(Problem(self.document.line(place), dotted(place), text))

    def read(self, place: Place, kind: type[T], values: Any) -> T | None:
        """The mapping at a place; None where something of it is wrong."""
        if not isinstance(values, dict):
            self.wrong(place, "a mapping of keys is expected")
            return None
        found = checked(self.document, place, kind, values, self.problems)
        return None if found is None else kind(**found)

    def named(self, section: str, values: Mapping[str, Any], kind: type[T]) -> Iterable[tuple[str, Place, T]]:
        """The entries of a section that can be read, as (name, place, values)."""
        if len(values) > MOST:
            self.wrong((section,), f"at most {MOST} are allowed")
            return
        for name, value in values.items():
            place = (section, name)
            if not _NAME.fullmatch(name):
                self.wrong(place, "a name is 1 to 64 of letters, digits, - _ .")
            elif (found := self.read(place, kind, value)) is not None:
                yield name, place, found

    def known(self, place: Place, name: str, names: Collection[str], section: str) -> bool:
        """Whether `name` is one of these; a problem otherwise."""
        if name in names:
            return True
        have = f"there are {', '.join(sorted(names)[:20])}" if names else "there are none"
        self.wrong(place, f"there is no {name!r} in {section}; {have}")
        return False

    def span(self, place: Place, text: str | int, least: timedelta = timedelta(0)) -> timedelta:
        """A length of time such as 15m, 12h, 1d or 2w; 0 where it is none."""
        match = _SPAN.fullmatch(str(text))
        if match is None and str(text) != "0":
            self.wrong(place, f"{str(text)!r} is no length of time such as 15m, 12h, 1d or 2w")
            return least
        found = timedelta(seconds=int(match[1]) * _UNITS[match[2]]) if match else timedelta(0)
        if not least <= found <= LONGEST:
            self.wrong(place, f"{text} is not between {least} and {LONGEST.days} days")
            return least
        return found

    def zone(self, place: Place, name: str) -> ZoneInfo:
        """A time zone; UTC where there is none of this name."""
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.wrong(place, f"{name!r} is not a time zone such as Europe/Berlin")
            return ZoneInfo("UTC")


def read_people(ground: Ground, given: Mapping[str, Any], channels: Collection[str]) -> dict[str, Person]:
    """The section `people`."""
    found = {}
    for name, place, values in ground.named("people", given, _Person):
        contacts: list[Contact] = []
        for index, value in enumerate(values.channels):
            channel, spot = value.get("channel"), (*place, "channels", index)
            if not isinstance(channel, str):
                ground.wrong(spot, "name its `channel`")
            elif ground.known((*spot, "channel"), channel, channels, "channels"):
                options = {key: one for key, one in value.items() if key != "channel"}
                again = sum(1 for one in contacts if one.channel == channel and one.options)
                own = f"{channel}/{name}" + (f"/{again + 1}" if again else "")
                contacts.append(Contact(channel, own if options else channel, options))
        if not values.channels:
            ground.wrong((*place, "channels"), "name at least one channel: this person cannot be told otherwise")
        found[name] = Person(id=name, name=values.name or name, contacts=tuple(contacts))
    return found


def read_hours(ground: Ground, given: Mapping[str, Any]) -> dict[str, Hours]:
    """The section `hours`."""
    found = {}
    for name, place, values in ground.named("hours", given, _Hours):
        if values.timezone:
            ground.zone((*place, "timezone"), values.timezone)
        week: list[list[Slot]] = [[] for _ in DAYS]
        for days, text in values.open.items():
            spot = (*place, "open", days)
            slots = _slots(ground, spot, text)
            for number in _days(ground, spot, days):
                week[number] += slots
        if not any(week):
            ground.wrong((*place, "open"), "it never opens: write such as {mon-fri: 08:00-17:00}")
        check_holidays(ground, (*place, "holidays"), values.holidays)
        closed = [_day(ground, (*place, "closed", index), text) for index, text in enumerate(values.closed)]
        found[name] = Hours(
            id=name,
            timezone=values.timezone,
            week=tuple(tuple(sorted(slots)) for slots in week),
            holidays=tuple(values.holidays),
            closed=tuple(closed),
        )
    return found


def check_holidays(ground: Ground, place: Place, codes: Iterable[str]) -> None:
    """Codes such as DE or DE-BY that the package `holidays` knows."""
    for index, code in enumerate(codes):
        spot = (*place, index)
        if find_spec("holidays") is None:
            ground.wrong(place, f"holidays need the package holidays, which is not installed: {EXTRA}")
            return
        import holidays

        country, _, subdivision = code.partition("-")
        known = holidays.list_supported_countries(include_aliases=True)
        if country not in known or len(country) != 2:
            ground.wrong(spot, f"{code!r} is no country such as DE, or country and subdivision such as DE-BY")
        elif subdivision and subdivision not in known[country]:
            parts = ", ".join(known[country][:60]) or "none"
            ground.wrong(spot, f"{country} has no subdivision {subdivision!r}; there are {parts}")


def read_rotas(
    ground: Ground, given: Mapping[str, Any], people: Collection[str], hours: Collection[str], folder: Path
) -> dict[str, Rota]:
    """The section `oncall`."""
    found = {}
    for name, place, values in ground.named("oncall", given, _Rota):
        zone = ground.zone((*place, "timezone"), values.timezone)
        layers = _layers(ground, (*place, "layers"), values.layers, people, hours)
        if values.otherwise:
            ground.known((*place, "otherwise"), values.otherwise, people, "people")
        if values.calendar:
            _check_calendar(ground, place, values, folder)
        elif not values.layers:
            ground.wrong(place, "name its `layers`, or its `calendar`, a file")
        elif layers and not values.otherwise and all(one.during or one.outside for one in layers):
            text = "name the person who is on call when no layer counts, or leave one layer without during and outside"
            ground.wrong((*place, "otherwise"), text)
        found[name] = Rota(
            id=name,
            timezone=values.timezone,
            layers=tuple(layers),
            calendar=str((folder / values.calendar).resolve()) if values.calendar else "",
            overrides=tuple(_overrides(ground, place, name, values.overrides, people, zone)),
            otherwise=values.otherwise,
        )
    return found


def _check_calendar(ground: Ground, place: Place, values: _Rota, folder: Path) -> None:
    spot = (*place, "calendar")
    if find_spec("recurring_ical_events") is None or find_spec("icalendar") is None:
        ground.wrong(spot, f"calendars need the package recurring-ical-events, which is not installed: {EXTRA}")
    if values.layers:
        ground.wrong(spot, "a rota has layers or a calendar, not both")
    if not values.otherwise:
        ground.wrong((*place, "otherwise"), "name the person who is on call when the calendar says nobody")
    if not (folder / values.calendar).is_file():
        ground.wrong(spot, f"{folder / values.calendar}: there is no such file")


def _layers(
    ground: Ground, place: Place, given: list[dict[str, Any]], people: Collection[str], hours: Collection[str]
) -> list[Layer]:
    found = []
    for index, value in enumerate(given[:MOST]):
        spot = (*place, index)
        values = ground.read(spot, _Layer, value)
        if values is None:
            continue
        for number, name in enumerate(values.people):
            ground.known((*spot, "people", number), name, people, "people")
        if not values.people:
            ground.wrong((*spot, "people"), "name at least one person")
        for key in ("during", "outside"):
            if name := getattr(values, key):
                ground.known((*spot, key), name, hours, "hours")
        layer = Layer(
            people=tuple(values.people),
            every=ground.span((*spot, "every"), values.every, timedelta(hours=1)),
            starts=datetime.combine(
                _day(ground, (*spot, "starts"), values.starts), _time(ground, (*spot, "handoff"), values.handoff)
            ),
            during=values.during,
            outside=values.outside,
        )
        found.append(layer)
    return found


def _overrides(
    ground: Ground, place: Place, rota: str, given: list[dict[str, Any]], people: Collection[str], zone: ZoneInfo
) -> Iterable[Override]:
    for index, value in enumerate(given[:MOST]):
        spot = (*place, "overrides", index)
        values = ground.read(spot, _Override, value)
        if values is None or not ground.known((*spot, "person"), values.person, people, "people"):
            continue
        since = _moment(ground, (*spot, "since"), values.since, zone)
        until = _moment(ground, (*spot, "until"), values.until, zone)
        if since and until and since >= until:
            ground.wrong((*spot, "until"), "it ends before it begins")
        elif since and until:
            yield Override(rota=rota, person=values.person, since=since, until=until, reason=values.reason)


def _slots(ground: Ground, place: Place, text: str) -> list[Slot]:
    found = []
    for part in text.split(","):
        match = _SLOT.fullmatch(part)
        begin, end = (int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])) if match else (0, 1441)
        if match is None or end > 1440:
            ground.wrong(place, f"{part.strip()!r} is no span of a day such as 08:00-17:00, 22:00-06:00 or 00:00-24:00")
        else:
            found.append(Slot(begin, end if end > begin else end + 1440))
    return found


def _days(ground: Ground, place: Place, text: str) -> Iterable[int]:
    for part in text.lower().split(","):
        first, _, last = (word.strip() for word in part.partition("-"))
        last = last or first
        if first not in DAYS or last not in DAYS or DAYS.index(first) > DAYS.index(last):
            ground.wrong(place, f"{part.strip()!r} is no day or span of days such as mon, mon-fri or sat,sun")
        else:
            yield from range(DAYS.index(first), DAYS.index(last) + 1)


def _day(ground: Ground, place: Place, text: str) -> date:
    try:
        day = date.fromisoformat(text)
        if day.isoformat() == text and 2000 <= day.year <= 2100:
            return day
    except ValueError:
        pass
    ground.wrong(place, f"{text!r} is not a day such as 2026-12-24")
    return date(2000, 1, 1)


def _time(ground: Ground, place: Place, text: str) -> time:
    match = _CLOCK.fullmatch(text)
    if match is None:
        ground.wrong(place, f"{text!r} is no time of day such as 09:00")
    return time(int(match[1]), int(match[2])) if match else time()


def _moment(ground: Ground, place: Place, text: str, zone: ZoneInfo) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or not 2000 <= at.year <= 2100:
        ground.wrong(place, f"{text!r} is no moment such as 2026-12-24T18:00")
        return None
    return at.astimezone(UTC) if at.tzinfo else instant(at, zone)
