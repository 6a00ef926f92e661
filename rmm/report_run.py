"""Makes reports: the one that was asked for, and those that are due by schedule, which are kept and sent."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from rmm.channels.email import PORTS, Attachment, Server, transmit
from rmm.channels.email import compose as mail
from rmm.core.report_schedule import planned, span_days
from rmm.durable import hold, make_folder, replace_file
from rmm.errors import LeaseLost, RmmError, TierError
from rmm.loop import run
from rmm.model.report import Asked, Document
from rmm.model.settings import ReportSchedule
from rmm.plugins import build
from rmm.report_view import ReportView
from rmm.reports.sources import Report

if TYPE_CHECKING:
    from rmm.app import App

log = logging.getLogger(__name__)

KINDS = {
    "html": "text/html", "pdf": "application/pdf", "csv": "text/csv", "json": "application/json",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}  # fmt: skip
AGAIN = timedelta(minutes=15)  # after a failure
MAIL_S = 60.0
KEPT = 60  # files of each schedule in the data folder


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a schedule: until which planned moment it is done, and what became of the newest attempt."""

    planned: datetime
    tried: datetime | None = None
    result: str = ""


_read = msgspec.json.Decoder(dict[str, Done]).decode


def compose(app: App, name: str, asked: Asked) -> Document:
    """A report by name."""
    report: Report = build("reports", name)
    return report.compose(ReportView(app, site=asked.site, group=asked.group), asked)


def render(document: Document, form: str) -> bytes:
    """A document in one of the formats."""
    rendered: Any = importlib.import_module(f"rmm.reports.forms.{form}")
    made: bytes = rendered.render(document)
    return made


def folder_of(app: App) -> Path:
    """Where reports that were made by schedule are kept."""
    return app.data / "reports"


def run_due(app: App, now: datetime) -> list[str]:
    """Make and send what is due; returns a line on each. One that fails does not keep the others from being made.

    A schedule that is met for the first time is due at its next moment. Of several moments that passed, the newest
    counts. A report may be sent twice after a crash between its sending and its noting; it has the same Message-ID.
    """
    schedules = app.settings.reports.schedules
    if not schedules:
        return []
    try:
        with hold(app.data / "locks" / "reports.lock", "the reports that are due"):
            return _run(app, schedules, now)
    except LeaseLost:
        return []  # another process is at it


def _run(app: App, schedules: Sequence[ReportSchedule], now: datetime) -> list[str]:
    path = folder_of(app) / "schedules.json"
    known, told = _known(path), []
    before = dict(known)
    for one in schedules:
        at = planned(one, ZoneInfo(one.timezone), now)
        done = known.get(one.id)
        if done is None:
            known[one.id] = Done(planned=at)
        elif done.planned < at and (done.tried is None or now - done.tried >= AGAIN or done.tried > now):
            known[one.id], line = _attempt(app, one, at, done, now)
            told.append(line)
            replace_file(path, msgspec.json.encode(known))
    if known != before:
        make_folder(path.parent)
        replace_file(path, msgspec.json.encode(known))
    return told


def _attempt(app: App, one: ReportSchedule, at: datetime, done: Done, now: datetime) -> tuple[Done, str]:
    try:
        result = run_one(app, one, at, now)
    except TierError:
        raise
    except RmmError as error:
        log.warning("report %s was not made: %s", one.id, error)
        return Done(planned=done.planned, tried=now, result=str(error)[:500]), f"{one.id}: failed: {error}"
    return Done(planned=at, tried=now, result=result), f"{one.id}: {result}"


def run_one(app: App, one: ReportSchedule, at: datetime, now: datetime) -> str:
    """Make what a schedule planned for a moment, keep it, and send it; returns what became of it."""
    asked = Asked(now=now, since=at - timedelta(days=span_days(one)), until=at, site=one.site, group=one.group)
    document = compose(app, one.report, asked)
    folder = folder_of(app) / one.id
    make_folder(folder)
    files = []
    for form in one.formats:
        file = Attachment(f"{one.id}-{at:%Y-%m-%d}.{form}", render(document, form), KINDS[form])
        replace_file(folder / file.name, file.content)
        files.append(file)
    _forget(folder)
    if not one.to:
        return f"kept in {folder}"
    subject = f"{document.title}, {asked.scope}, {asked.since:%Y-%m-%d} to {asked.until:%Y-%m-%d}"
    names = "\n".join(f"  {file.name}" for file in files)
    text = f"{subject}\n\nmade {now:%Y-%m-%d %H:%M} UTC by the schedule {one.id}:\n{names}\n"
    sender = app.settings.reports.mail.sender
    key = f"report:{one.id}:{at:%Y%m%dT%H%M}"
    return _handed_over(app, mail(sender, one.to, subject, text, key=key, at=now, attachments=files))


def _handed_over(app: App, made: EmailMessage) -> str:
    given = app.settings.reports.mail
    login = app.credential(given.credential) if given.credential else None
    server = Server(given.host, given.port or PORTS[given.security], given.security, given.ca_file, login)

    async def send() -> str:
        return await transmit(server, made, deadline=asyncio.get_running_loop().time() + MAIL_S)

    return f"{server.host}:{server.port} took it: {run(send())}"


def _forget(folder: Path) -> None:
    files = sorted((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.name)
    for path in files[:-KEPT]:
        path.unlink(missing_ok=True)


def _known(path: Path) -> dict[str, Done]:
    """What was noted; a file that cannot be read counts as none, so that nothing is sent twice for it."""
    try:
        return dict(_read(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s: %s: all schedules begin anew", path, error)
        return {}


def asked_for(now: datetime, since: datetime, until: datetime | None, site: str, group: str) -> Asked:
    """What a command asks for, in whole seconds, as its commands can say it."""
    end = until or now
    return Asked(now=now, since=_whole(since), until=_whole(end), site=site, group=group)


def _whole(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)
