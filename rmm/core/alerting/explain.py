"""Why an alert fired, whom it was told to or why not, and what it waits for: as steps in the order of time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, LIVE, PENDING
from rmm.core.alerting.states import ARCHIVED
from rmm.model.alerting import AlertSettings
from rmm.model.incident import Act, Incident, Suppressed, Suppression
from rmm.model.rule import EVENTS, Alert, Rule

DONE = {"ack": "acknowledged", "resolve": "resolved by hand", "silence": "silenced", "unsilence": "silence ended"}


class Step(NamedTuple):
    """Something that happened; `at` is None for how it is now."""

    at: datetime | None
    text: str


class Known(NamedTuple):
    """All that there is to say about one alert. `told` are rows of the notification log."""

    alert: Alert
    rule: Rule | None
    incident: Incident | None
    suppressed: Iterable[Suppressed]
    acts: Iterable[Act]
    told: Iterable[Mapping[str, Any]]


def steps(known: Known, settings: AlertSettings, now: datetime) -> list[Step]:
    """The whole story; what is now comes last."""
    past = sorted((step for step in _past(known) if step.at is not None), key=_moment)
    return [*past, *(Step(None, text) for text in _now(known, settings, now))]


def _moment(step: Step) -> datetime:
    assert step.at is not None
    return step.at


def condition(rule: Rule | None) -> str:
    """What a rule asks for, in words."""
    if rule is None:
        return "its rule is not in the configuration (an alert of the site, or the rule was taken out)"
    levels = [(name, value) for name in ("critical", "warning") if (value := getattr(rule, name)) is not None]
    what = f"{rule.collector or 'the outcome of polls'}: {rule.field or 'a row'}"
    if rule.op in EVENTS:
        return f"rule {rule.id}: {what} {rule.op}, told once; over {rule.hold_s} s after the last"
    tests = ", ".join(f"{rule.op} {value} is {name}" for name, value in levels)
    held = f", held for {rule.for_s} s" if rule.for_s else ""
    return f"rule {rule.id}: {what} {tests}{held}"


def _past(known: Known) -> Iterator[Step]:
    alert = known.alert
    yield Step(alert.first_at, f"seen first: {alert.summary}; {condition(known.rule)}")
    if alert.fired_at is not None:
        waited = alert.fired_at - alert.first_at
        yield Step(alert.fired_at, f"fired, {alert.severity}" + (f", after {waited} pending" if waited else ""))
    for one in known.suppressed:
        yield Step(one.at, f"not told ({one.why.kind}): {_why(one.why)}")
    if known.incident is not None:
        yield from _of_incident(known.incident)
    for row in known.told:
        kind = _kind(str(row["id"]))
        if row["sent_at"]:
            yield Step(datetime.fromisoformat(row["sent_at"]), f"told to channel {row['channel']}: {kind}")
        else:
            tries = f"{row['attempts']} tries, {row['result']}" if row["attempts"] else "not tried yet"
            yield Step(datetime.fromisoformat(row["at"]), f"to be told to channel {row['channel']}: {kind}; {tries}")
    for act in known.acts:
        why = f": {act.reason}" if act.reason else ""
        yield Step(
            act.at, f"{DONE.get(act.what, act.what)} by {act.who}{why}" + (f" ({act.detail})" if act.detail else "")
        )
    if alert.resolved_at is not None:
        text = f"resolved: {alert.ended}" if alert.ended else "resolved: the condition is gone"
        silent = "" if alert.told_at else "; nobody was told that it fired, so nobody is told that it is over"
        yield Step(alert.resolved_at, text + silent)


def _kind(identity: str) -> str:
    """What a notification was about, from its id: `...:firing`, `...:escalation:POLICY:ROUND.STEP`, `...:resolved`."""
    before, _, kind = identity.rpartition(":")
    _, found, policy = before.rpartition(":escalation:")
    if not found:
        return kind
    number, _, step = kind.partition(".")
    told = f"step {step}" + (f", round {int(number) + 1}" if number != "0" else "") if step else kind
    return f"{told} of policy {policy}"


def _of_incident(incident: Incident) -> Iterator[Step]:
    members = f"{incident.count} alert{'s' * (incident.count != 1)} in all"
    yield Step(incident.opened_at, f"incident {incident.id} opened: {incident.title}; {members}")
    if incident.closed_at is not None:
        yield Step(incident.closed_at, f"incident {incident.id} closed")


def _why(why: Suppression) -> str:
    until = f", until {why.until.isoformat(timespec='minutes')}" if why.until else ""
    return f"{why.reason}{until}"


def _now(known: Known, settings: AlertSettings, now: datetime) -> Iterator[str]:
    alert, incident = known.alert, known.incident
    if alert.state == PENDING:
        yield _pending(alert, known.rule)
    elif alert.state == ARCHIVED:
        yield "it is archived"
    elif alert.state in LIVE:
        seen = f"seen {alert.count} time{'s' * (alert.count != 1)}"
        yield f"it is {alert.state}; {seen}, last at {alert.last_at.isoformat(timespec='seconds')}"
    elif incident is not None and alert.key in incident.lingers:
        until = incident.lingers[alert.key].isoformat(timespec="seconds")
        yield f"its end is told when it has lasted until {until}"
    if alert.state in LIVE and alert.suppressed is not None:
        yield f"nobody is told of it now ({alert.suppressed.kind}): {_why(alert.suppressed)}"
    if alert.state == ACKNOWLEDGED and alert.ack is not None:
        until = f"until {alert.ack.until.isoformat(timespec='minutes')}" if alert.ack.until else "until it is over"
        yield f"acknowledged {until}, or until it gets worse than {alert.ack.severity}: no reminders"
    if alert.state == FIRING and incident is not None and incident.told_at is not None:
        yield from _next(incident, settings, now)


def _pending(alert: Alert, rule: Rule | None) -> str:
    if rule is None or alert.suppressed is not None:
        return "it waits for the next poll"
    due = alert.first_at + timedelta(seconds=rule.for_s)
    return f"it is pending: a poll at {due.isoformat(timespec='seconds')} or later that still sees it makes it fire"


def _next(incident: Incident, settings: AlertSettings, now: datetime) -> Iterator[str]:
    every = getattr(settings.remind, incident.severity, 0)
    last = incident.reminded_at or incident.told_at
    if incident.flapping:
        yield "it flaps: its end is told when it has been calm"
    if every and last is not None:
        due = max(now, last + timedelta(seconds=every))
        yield f"the next reminder is due at {due.isoformat(timespec='minutes')}, unless somebody acknowledges it"
