"""`rmm oncall`: who is on call, and taking it over for a while."""

from __future__ import annotations

import getpass
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.calendars.lookup import Lookup
    from rmm.core.alerting.oncall import Roster, Span
    from rmm.model.escalation import Override, Rota
    from rmm.tiers.fleet_sqlite.escalation import EscalationFile

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Who is on call, and taking it over for a while.")
override = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Take over a rota for a while.")
app.add_typer(override, name="override")

AHEAD = timedelta(days=60)  # how far the next person is looked for
MOST_DAYS = 366
NOW = {
    "rota": "ROTA", "person": "ON CALL", "name": "NAME", "source": "BY", "until": "UNTIL", "next": "NEXT",
    "next_until": "NEXT UNTIL",
}  # fmt: skip
SPANS = {"rota": "ROTA", "since": "FROM", "until": "UNTIL", "person": "ON CALL", "name": "NAME", "source": "BY"}
OVERRIDES = {
    "number": "NO", "rota": "ROTA", "person": "ON CALL", "since": "FROM", "until": "UNTIL", "reason": "REASON",
    "author": "BY", "made_at": "MADE", "removed": "REMOVED",
}  # fmt: skip
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_AFTER = re.compile(r"\+(\d{1,4})([mhd])")
_UNITS = {"m": 60, "h": 3600, "d": 86_400}


@app.command("show")
def show_rotas(
    config: Config = None,
    rota: Annotated[str, typer.Option(help="Only this rota.")] = "",
    at: Annotated[str, typer.Option(help="A moment such as 2026-12-24T18:00; without: now.")] = "",
    days: Annotated[int, typer.Option(min=0, max=MOST_DAYS, help="All changes of the next N days.")] = 0,
    output: Output = "table",
) -> None:
    """Show who is on call, until when, and who is next; with --days everybody who will be.

    Times are of the rota's time zone. A calendar file that cannot be used is an error here; an alert would reach the
    rota's `otherwise`.
    """
    checked_output(output)
    application = open_app(config)
    moment = moment_of(at)
    found = _rosters(application, rota, moment, moment + max(AHEAD, timedelta(days=days)))
    rows = [row for one in found for row in (_spans(application, one, moment, days) if days else [_now(one, moment)])]
    people = application.settings.escalation.people
    rows = [{**row, "name": people[row["person"]].name if row["person"] else ""} for row in rows]
    if output == "table":
        rows = [{**row, "person": row["person"] or "nobody"} for row in rows]
    show(rows, SPANS if days else NOW, output, empty="rmm.yaml has no rota in its section `oncall`")
    if output == "table":
        for roster in found:
            if roster.note:
                print(f"{roster.rota.id}: {clean(roster.note)}")


@override.command("add")
def add(
    rota: Annotated[str, typer.Argument(help="The rota.")],
    person: Annotated[str, typer.Argument(help="Who takes it.")],
    until: Annotated[str, typer.Option("--until", help="22:00, 2026-12-25T09:00 or +4h after its begin.")],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the time and the author.")],
    config: Config = None,
    since: Annotated[str, typer.Option("--from", help="18:00 or 2026-12-24T18:00, in the rota's time zone.")] = "now",
    author: Annotated[str, typer.Option(help="Who says so; without: your account.")] = "",
) -> None:
    """Somebody takes a rota for a while, whoever else would be on call. Of several overrides the newest counts."""
    from rmm.app import run
    from rmm.coordinator.escalation import add_override
    from rmm.model.escalation import Override

    application = open_app(config)
    found = _rota(application, rota)
    people = application.settings.escalation.people
    if person not in people:
        raise ConfigError(f"there is no {person!r} in people; there are {', '.join(sorted(people)) or 'none'}", hint="")
    if not clean(reason).strip():
        raise ConfigError("--reason is empty", hint="Say why, for those who read it later.")
    zone, now = ZoneInfo(found.timezone), datetime.now(UTC).replace(microsecond=0)
    begin = _moment(since, zone, now)
    end = _moment(until, zone, begin)
    if end <= max(begin, now):
        raise ConfigError(
            f"it would end {_local(end, zone)}: that is over, or before it begins", hint="Change --until."
        )
    one = Override(
        rota=rota, person=person, since=begin, until=end, reason=clean(reason)[:500], made_at=now,
        author=clean(author or who())[:100],
    )  # fmt: skip
    number = run(add_override(application.fleet, one))
    print(f"override {number}: {person} has {rota} from {_local(begin, zone)} until {_local(end, zone)}")


@override.command("list")
def list_overrides(
    config: Config = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that are over or removed as well.")] = False,
    output: Output = "table",
) -> None:
    """List overrides: those made by command, and those of rmm.yaml, which have no number."""
    checked_output(output)
    application = open_app(config)
    now = datetime.now(UTC)
    settings = application.settings.escalation
    since = datetime.min.replace(tzinfo=UTC) if all_ else now
    listed = [one for rota in settings.rotas.values() for one in rota.overrides if all_ or one.until > now]
    listed += kept(application).overrides(since, removed=all_)
    rows = [_override(one, settings.rotas.get(one.rota)) for one in sorted(listed, key=lambda one: one.since)]
    show(rows, OVERRIDES, output, empty="no overrides")


@override.command("remove")
def remove(number: Annotated[int, typer.Argument(help="The override's number.")], config: Config = None) -> None:
    """Take an override back, from now on. One of rmm.yaml is removed there."""
    from rmm.app import run
    from rmm.coordinator.escalation import remove_override

    application = open_app(config)
    one = run(remove_override(application.fleet, number, who=who(), now=datetime.now(UTC)))
    if one is None:
        raise ConfigError(f"there is no override {number} that still lasts", hint="`rmm oncall override list`")
    print(f"override {number} is removed: {one.person} does not have {one.rota} any more")


def moment_of(text: str) -> datetime:
    """`--at` as UTC; now without. ConfigError for what lies outside of 2000 to 2100."""
    at = time_of(text).astimezone(UTC) if text else datetime.now(UTC).replace(microsecond=0)
    if not 2000 <= at.year <= 2100:
        raise ConfigError(f"--at {text}: 2000 to 2100 are allowed", hint="")
    return at


def who() -> str:
    """The account that runs this command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return "unknown"


def kept(application: App) -> EscalationFile:
    """What fleet.sqlite keeps of overrides and of alerts that escalate."""
    from rmm.tiers.fleet_sqlite import FleetFile
    from rmm.tiers.fleet_sqlite.escalation import EscalationFile

    return EscalationFile(FleetFile(application.fleet))


def lookup_of(application: App) -> Lookup:
    """The configuration's hours and rosters."""
    from rmm.calendars.lookup import Lookup

    return Lookup(application.settings.escalation, application.settings.sites)


def _rota(application: App, name: str) -> Rota:
    rotas = application.settings.escalation.rotas
    if name not in rotas:
        raise ConfigError(f"there is no rota {name!r}; there are {', '.join(sorted(rotas)) or 'none'}", hint="")
    return rotas[name]


def _rosters(application: App, rota: str, since: datetime, until: datetime) -> list[Roster]:
    if rota:
        _rota(application, rota)
    found = lookup_of(application).rosters(kept(application).overrides(since), since, until, strict=True)
    return [one for name, one in found.items() if rota in ("", name)]


def _persons(spans: Iterable[Span]) -> list[Span]:
    """Spans of one person that meet, as one, with the source of the first."""
    found: list[Span] = []
    for span in spans:
        if found and found[-1].person == span.person:
            found[-1] = found[-1]._replace(until=span.until)
        else:
            found.append(span)
    return found


def _now(roster: Roster, at: datetime) -> dict[str, Any]:
    from rmm.core.alerting.oncall import duties

    spans = _persons(duties(roster, at, at + AHEAD))
    then = spans[1] if len(spans) > 1 else None
    return {
        "rota": roster.rota.id,
        "person": spans[0].person,
        "source": spans[0].source,
        "until": _local(spans[0].until, roster.zone) if then else "",  # else: for as long as was looked
        "next": then.person if then else "",
        "next_until": _local(then.until, roster.zone) if then and len(spans) > 2 else "",
    }


def _spans(application: App, roster: Roster, at: datetime, days: int) -> Iterable[dict[str, Any]]:
    from rmm.core.alerting.oncall import duties

    for span in duties(roster, at, at + timedelta(days=days)):
        times = {"since": _local(span.since, roster.zone), "until": _local(span.until, roster.zone)}
        yield {"rota": roster.rota.id, **times, "person": span.person, "source": span.source}


def _override(one: Override, rota: Rota | None) -> Mapping[str, Any]:
    zone = ZoneInfo(rota.timezone if rota else "UTC")
    return {
        "number": one.number or None,
        **{name: getattr(one, name) for name in ("rota", "person", "reason")},
        "since": _local(one.since, zone),
        "until": _local(one.until, zone),
        "author": one.author or "rmm.yaml",
        "made_at": _local(one.made_at, zone) if one.made_at else "",
        "removed": f"{_local(one.removed_at, zone)} by {one.removed_by}" if one.removed_at else "",
    }


def _local(at: datetime, zone: Any) -> str:
    return at.astimezone(zone).isoformat(sep=" ", timespec="minutes")


def _moment(text: str, zone: ZoneInfo, after: datetime) -> datetime:
    """A moment as people write it: now, +4h, 18:00 (the next time it is that), or an ISO time; in the rota's zone."""
    from rmm.core.walltime import instant, shown

    if text == "now":
        return after
    if match := _AFTER.fullmatch(text):
        return after + timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    if match := _CLOCK.fullmatch(text):
        today = shown(after, zone).replace(hour=int(match[1]), minute=int(match[2]), second=0, microsecond=0)
        found = instant(today, zone)
        return found if found > after else instant(today + timedelta(days=1), zone)
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time", hint="Write 18:00, 2026-12-24T18:00 or +4h.") from error
    if not 2000 <= at.year <= 2100:
        raise ConfigError(f"{text}: 2000 to 2100 are allowed", hint="")
    return at.astimezone(UTC) if at.tzinfo else instant(at, zone)
