"""What `rmm.yaml` says of the life of alerts: the sections `maintenance`, `dependencies` and `alerts`."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from rmm.core.alerting.dependencies import cycle
from rmm.core.alerting.scopes import place_of
from rmm.core.alerting.windows import LAST, LONGEST_S, cron
from rmm.document import Document, Path, Problem, checked, dotted
from rmm.model.alerting import AlertSettings, Dependency, Flapping, Remind, Scope, Window
from rmm.model.endpoint import Endpoint, Site

log = logging.getLogger(__name__)

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_COUNTED = {"1": 1, "2": 2, "3": 3, "4": 4, "5": 5, "last": LAST}

Text = str | tuple[str, ...]
Span = int | str
Note = Callable[[Path, str], None]


class Alerting(NamedTuple):
    """The three sections, checked."""

    windows: tuple[Window, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    alerts: AlertSettings = AlertSettings()


class _Scope(msgspec.Struct, frozen=True):
    endpoint: Text = ()
    group: Text = ()
    site: Text = ()
    tag: Text = ()
    rule: Text = ()


class _Window(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    reason: str = ""
    timezone: str = ""
    weekly: Text = ()
    monthly: int | str | tuple[int | str, ...] = ()
    cron: str = ""
    at: Text = ()
    lasts: Span = 0
    begins: str = ""
    ends: str = ""
    endpoint: Text = ()
    group: Text = ()
    site: Text = ()
    tag: Text = ()
    rule: Text = ()


class _Dependency(msgspec.Struct, frozen=True, kw_only=True):
    of: dict[str, Any]
    on: str | dict[str, Any] | tuple[str, ...]
    when: Text = ()


class _Alerts(msgspec.Struct, frozen=True, kw_only=True):
    together: Span = "10m"
    many: int = 5
    resolve_after: Span = "10m"
    starting: Span = "5m"
    remind: dict[str, Span] = {}
    absent_after_days: int = 7
    archive_after_days: int = 30
    keep_record_days: int = 90
    flapping: dict[str, Span] = {}


def read_alerting(
    document: Document, sites: Mapping[str, Site], endpoints: Iterable[Endpoint], *, whole: bool = True
) -> tuple[Alerting, list[Problem]]:
    """The sections, and what is wrong with them. Unless the lists are `whole`, what they lack may be right."""
    reader = _Reader(document, sites, list(endpoints), whole)
    return Alerting(reader.windows(), reader.dependencies(), reader.settings()), reader.problems


def seconds(value: Span) -> int:
    """A length of time: seconds, or a number with s, m, h, d or w. ValueError for anything else."""
    if isinstance(value, int):
        return value
    found = re.fullmatch(r"(\d{1,7})([smhdw]?)", value)
    if found is None:
        raise ValueError(f"{value!r} is no length of time such as 90m, 4h or 1d")
    return int(found[1]) * _UNITS[found[2] or "s"]


class _Reader:
    def __init__(self, document: Document, sites: Mapping[str, Site], endpoints: list[Endpoint], whole: bool) -> None:
        self._whole = whole
        self._document, self._sites, self._endpoints = document, sites, endpoints
        self._ids = {one.id: one.id for one in endpoints} | {one.name.casefold(): one.id for one in endpoints}
        self._groups = {one.group.casefold() for one in endpoints}
        self.problems: list[Problem] = []

    def _note(self, place: Path, text: str) -> None:
        self.problems.append(Problem(self._document.line(place), dotted(place), text))

    def _missing(self, place: Path, text: str) -> None:
        if self._whole:
            self._note(place, text)

    def _section(self, name: str, empty: Any) -> Any:
        data = self._document.data
        given = data.get(name) if isinstance(data, dict) else None
        return given if isinstance(given, type(empty)) else empty  # another type is told of already

    def _tried(self, place: Path, make: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return make()
        except ValueError as error:
            self._note(place, str(error))
            return otherwise

    def windows(self) -> tuple[Window, ...]:
        found: dict[str, Window] = {}
        for index, value in enumerate(self._section("maintenance", [])):
            place: Path = ("maintenance", index)
            if not isinstance(value, dict):
                continue
            values = checked(self._document, place, _Window, value, self.problems)
            if values is None:
                continue
            window = self._window(place, _Window(**values))
            if window.name in found:
                self._note((*place, "name"), "this name is used twice")
            found[window.name] = window
        return tuple(found.values())

    def _window(self, place: Path, raw: _Window) -> Window:
        recurring = [key for key in ("weekly", "monthly", "cron") if getattr(raw, key)]
        if len(recurring) > 1 or (not recurring and not (raw.begins and raw.ends)):
            self._note(place, "say one of weekly, monthly and cron; or begins and ends, for once")
        if recurring and not raw.lasts:
            self._note((*place, "lasts"), "say how long it lasts, such as 4h")
        if not recurring and (raw.lasts or raw.at):
            self._note(place, "at and lasts are of windows that come again")
        if raw.cron and raw.at:
            self._note((*place, "at"), "cron says the time itself")
        if raw.timezone:
            self._tried((*place, "timezone"), lambda: zone(raw.timezone), None)
        if raw.cron:
            self._tried((*place, "cron"), lambda: cron(raw.cron), None)
        lasts = self._tried((*place, "lasts"), lambda: seconds(raw.lasts), 0)
        if not 0 <= lasts <= LONGEST_S:
            self._note((*place, "lasts"), "31 days are the longest")
        begins, ends = self._moment((*place, "begins"), raw.begins), self._moment((*place, "ends"), raw.ends)
        if begins and ends and begins >= ends:
            self._note((*place, "ends"), "it ends before it begins")
        return Window(
            name=raw.name, reason=raw.reason, timezone=raw.timezone, cron=raw.cron, lasts_s=lasts, begins=begins,
            ends=ends, scope=self._scope(place, raw),
            weekly=tuple(self._tried((*place, "weekly"), lambda: [_weekday(one) for one in _many(raw.weekly)], [])),
            monthly=tuple(self._tried((*place, "monthly"), lambda: [_monthly(one) for one in _many(raw.monthly)], [])),
            at=tuple(self._tried((*place, "at"), lambda: [_minute(one) for one in _many(raw.at) or ("00:00",)], [])),
        )  # fmt: skip

    def _moment(self, place: Path, text: str) -> datetime | None:
        if not text:
            return None
        at: datetime | None = self._tried(place, lambda: _wall(text), None)
        return at

    def _scope(self, place: Path, raw: _Window | _Scope) -> Scope:
        scope = Scope(
            endpoint=_many(raw.endpoint), group=_many(raw.group), site=_many(raw.site), tag=_many(raw.tag),
            rule=_many(raw.rule),
        )  # fmt: skip
        for site in scope.site:
            if site not in self._sites:
                self._missing((*place, "site"), f"there is no site {site!r}")
        # A machine that is retired does not stop the polling of all others.
        for name in scope.endpoint:
            if "*" not in name and "?" not in name and name.casefold() not in self._ids:
                log.warning("%s: no endpoint of the list is called %s", dotted((*place, "endpoint")), name)
        for name in scope.group:
            if name.casefold() not in self._groups:
                log.warning("%s: no endpoint of the list is in group %s", dotted((*place, "group")), name)
        return scope

    def dependencies(self) -> tuple[Dependency, ...]:
        found: list[Dependency] = []
        places: list[Path] = []
        for index, value in enumerate(self._section("dependencies", [])):
            place: Path = ("dependencies", index)
            if not isinstance(value, dict):
                continue
            values = checked(self._document, place, _Dependency, value, self.problems)
            if values is not None and (one := self._dependency(place, _Dependency(**values))) is not None:
                found.append(one)
                places.append(place)
        around = cycle(found, {one.id: place_of(one) for one in self._endpoints})
        if around:
            lines = ", ".join(str(self._document.line(places[number])) for number in around)
            self._note(places[around[0]], f"what follows from what goes round in a circle: lines {lines}")
        return tuple(found)

    def _dependency(self, place: Path, raw: _Dependency) -> Dependency | None:
        values = checked(self._document, (*place, "of"), _Scope, raw.of, self.problems)
        if values is None:
            return None
        scope = self._scope((*place, "of"), _Scope(**values))
        if scope == Scope(rule=scope.rule):
            self._note((*place, "of"), "name an endpoint, group, site or tag")
        on = {"endpoint": raw.on} if not isinstance(raw.on, dict) else raw.on
        given = checked(self._document, (*place, "on"), _Scope, on, self.problems)
        if given is None:
            return None
        causes = _Scope(**given)
        if causes.tag or causes.rule:
            self._note((*place, "on"), "name an endpoint, a group or a site")
        names = [self._cause((*place, "on"), name) for name in _many(causes.endpoint)]
        for group in _many(causes.group):
            members = [one.id for one in self._endpoints if one.group.casefold() == group.casefold()]
            if not members:
                log.warning("%s: no endpoint of the list is in group %s", dotted((*place, "on")), group)
            names += members
        for site in _many(causes.site):
            if site not in self._sites:
                self._missing((*place, "on"), f"there is no site {site!r}")
        known = tuple(dict.fromkeys(name for name in names if name))
        when = _many(raw.when) or Dependency(of=scope).when
        return Dependency(of=scope, endpoints=known, sites=_many(causes.site), when=when)

    def _cause(self, place: Path, name: str) -> str:
        if name.casefold() not in self._ids:
            log.warning("%s: no endpoint of the list is called %s", dotted(place), name)
        return self._ids.get(name.casefold(), "")

    def settings(self) -> AlertSettings:
        values = checked(self._document, ("alerts",), _Alerts, self._section("alerts", {}), self.problems)
        if values is None:
            return AlertSettings()
        raw = _Alerts(**values)
        lengths = {name: self._length(("alerts", name), getattr(raw, name)) for name in _LENGTHS}
        for name, low in (("many", 2), ("absent_after_days", 0), ("archive_after_days", 0), ("keep_record_days", 1)):
            if not low <= getattr(raw, name) <= 36_500:
                self._note(("alerts", name), f"{low} to 36500 are allowed")
        return AlertSettings(
            **lengths, many=raw.many, absent_after_days=raw.absent_after_days, keep_record_days=raw.keep_record_days,
            archive_after_days=raw.archive_after_days, remind=self._part("remind", Remind, raw.remind),
            flapping=self._part("flapping", Flapping, raw.flapping),
        )  # fmt: skip

    def _length(self, place: Path, value: Span) -> int:
        length: int = self._tried(place, lambda: seconds(value), 0)
        if not 0 <= length <= 604_800:
            self._note(place, "0 to 1w are allowed")
        return length

    def _part(self, name: str, kind: type[Any], given: dict[str, Span]) -> Any:
        lengths = {key: self._length(("alerts", name, key), value) for key, value in given.items()}
        values = checked(self._document, ("alerts", name), kind, lengths, self.problems) or {}
        if values.get("transitions", 2) < 2 or values.get("window", 1) < 1:
            self._note(("alerts", name), "transitions are 2 or more, in a window of some length")
        return kind(**values)


_LENGTHS = ("together", "resolve_after", "starting")


def zone(name: str) -> ZoneInfo:
    """A time zone by name. ValueError where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin") from error


def _many(value: Any) -> tuple[Any, ...]:
    if isinstance(value, tuple):
        return value
    return (value,) if value != "" else ()


def _weekday(text: str) -> int:
    if text.lower()[:3] not in WEEKDAYS or len(text) < 3:
        raise ValueError(f"{text!r} is not one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(text.lower()[:3])


def _monthly(value: int | str) -> tuple[int, int]:
    text = str(value).lower().strip()
    if text == "last":
        return LAST, -1
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 31:
        return int(text), -1
    number, _, weekday = text.partition(" ")
    if number not in _COUNTED or not weekday:
        raise ValueError(f"{value!r} is neither a day (1 to 31, last) nor one such as `2 tue` or `last sun`")
    return _COUNTED[number], _weekday(weekday.strip())


def _minute(text: str) -> int:
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text)
    if found is None:
        raise ValueError(f"{text!r} is no time of day such as 22:00")
    return int(found[1]) * 60 + int(found[2])


def _wall(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no time such as 2026-12-01T18:00") from error
    if at.tzinfo is not None:
        raise ValueError(f"{text!r}: the time zone is named by `timezone`, or that of the site")
    return at
