"""What `rmm.yaml` says of reports: what they are measured against, where mail goes, and which are made by schedule."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from rmm.core.report_schedule import EVERY, WEEKDAYS
from rmm.document import Document, Problem, checked, dotted
from rmm.model.settings import MailServer, ReportSchedule, ReportSettings

FORMATS = ("html", "pdf", "xlsx", "csv", "json")
NOT_REPORTS = frozenset({"safe", "sources", "making", "forms"})
SECURITY = ("starttls", "tls", "none")
_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_ADDRESS = re.compile(r"[^\s@,;<>\"()]{1,64}@[A-Za-z0-9.-]{1,255}\Z")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]\Z")


def report_names() -> list[str]:
    """All reports that come with rmm."""
    folder = Path(__file__).parent.parent / "reports"
    return sorted(item.name for item in pkgutil.iter_modules([str(folder)]) if item.name not in NOT_REPORTS)


def read_reports(document: Document, given: Mapping[str, Any], folder: Path, problems: list[Problem]) -> ReportSettings:
    """The section `reports`; what is wrong is added to the problems."""
    rest = {key: value for key, value in given.items() if key not in ("schedules", "mail")}
    values = checked(document, ("reports",), ReportSettings, rest, problems) or {}
    mail = _mail(document, given.get("mail"), folder, problems)
    found = ReportSettings(**values, mail=mail, schedules=tuple(_schedules(document, given, problems)))
    for key, low, high in (("target_pct", 0, 100), ("gap", 60, 86_400)):
        if not low <= getattr(found, key) <= high:
            place = ("reports", key)
            problems.append(Problem(document.line(place), dotted(place), f"{low} to {high} are allowed"))
    sent = [index for index, one in enumerate(found.schedules) if one.to]
    if sent and not (mail.host and mail.sender):
        place = ("reports", "mail")
        problems.append(Problem(document.line(place), dotted(place), "schedules with `to` need a host and a sender"))
    return found


def _mail(document: Document, given: Any, folder: Path, problems: list[Problem]) -> MailServer:
    place = ("reports", "mail")
    if given is None:
        return MailServer()
    if not isinstance(given, dict):
        problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
        return MailServer()
    mail = MailServer(**(checked(document, place, MailServer, given, problems) or {}))
    for key, wrong, text in (
        ("security", mail.security not in SECURITY, f"one of {', '.join(SECURITY)}"),
        ("port", not 0 <= mail.port <= 65_535, "a port is 1 to 65535, or 0 for the usual one"),
        ("sender", bool(mail.sender) and not _ADDRESS.match(mail.sender), "an address such as rmm@example.org"),
        ("credential", bool(mail.credential) and mail.security == "none", "a password is only sent over TLS"),
    ):
        if wrong:
            problems.append(Problem(document.line((*place, key)), dotted((*place, key)), text))
    return msgspec.structs.replace(mail, ca_file=str((folder / mail.ca_file).resolve())) if mail.ca_file else mail


def _schedules(document: Document, given: Mapping[str, Any], problems: list[Problem]) -> Iterator[ReportSchedule]:
    listed = given.get("schedules")
    if listed is None:
        return
    if not isinstance(listed, list):
        place: tuple[str | int, ...] = ("reports", "schedules")
        problems.append(Problem(document.line(place), dotted(place), "a list of schedules is expected"))
        return
    seen: set[str] = set()
    for index, value in enumerate(listed):
        place = ("reports", "schedules", index)
        if not isinstance(value, dict):
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
            continue
        values = checked(document, place, ReportSchedule, value, problems)
        if values is None:
            continue
        one = ReportSchedule(**values)
        found = list(_schedule(one))
        if one.id in seen:
            found.append(("id", "this id is used twice"))
        seen.add(one.id)
        problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in found]
        if not found:
            yield one


def _schedule(one: ReportSchedule) -> Iterator[tuple[str, str]]:
    """(key, problem) of one schedule."""
    names = report_names()
    for key, right, text in (
        ("id", _ID.match(one.id), "use 1 to 64 of a-z 0-9 - _: it names files"),
        ("report", one.report in names, f"{one.report!r} is not one of {', '.join(names)}"),
        ("every", one.every in EVERY, f"{one.every!r} is not one of {', '.join(EVERY)}"),
        ("weekday", one.weekday in WEEKDAYS, f"{one.weekday!r} is not one of {', '.join(WEEKDAYS)}"),
        ("day", 1 <= one.day <= 28, "1 to 28 are allowed, which every month has"),
        ("at", _TIME.match(one.at), f"{one.at!r} is no time such as 07:00"),
        ("days", 0 <= one.days <= 730, "1 to 730 are allowed"),
        ("formats", one.formats and set(one.formats) <= set(FORMATS), f"one or more of {', '.join(FORMATS)}"),
    ):
        if not right:
            yield key, text
    for address in one.to:
        if not _ADDRESS.match(address):
            yield "to", f"{address!r} is no address such as it@example.org"
    try:
        ZoneInfo(one.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield "timezone", f"{one.timezone!r} is not a time zone such as Europe/Berlin"
