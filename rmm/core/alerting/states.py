"""The states of an alert, as one table, and what people and time do to it. Pure.

    state         condition holds   condition gone   acknowledge    resolve     time
    -             pending, firing   -                -              -           -
    pending       firing (for_s)    dropped          refused        refused     dropped (1)
    firing        firing            resolved         acknowledged   resolved    resolved (1)
    acknowledged  acknowledged (2)  resolved         acknowledged   resolved    firing when the acknowledgement has
                                                                                expired; resolved (1)
    resolved      a new alert       -                refused        refused     archived
    archived      a new alert       -                refused        refused     -

(1) the endpoint is not listed any more, the rule is gone, or nothing was heard for `absent_after_days`.
(2) firing again when it has got worse than it was when somebody acknowledged it.
Columns one and two are `rmm.core.alerting.lifecycle.evaluate`; the others are here. A condition that still holds after
a person has resolved its alert makes a new one at the next poll.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

import msgspec

from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, LIVE, PENDING, RESOLVED
from rmm.model.incident import Acknowledgement
from rmm.model.rule import EVENTS, Alert, Rule

ARCHIVED = "archived"
STATES = (*LIVE, RESOLVED, ARCHIVED)
ACTS: Mapping[tuple[str, str], str] = {
    (FIRING, "acknowledge"): ACKNOWLEDGED,
    (ACKNOWLEDGED, "acknowledge"): ACKNOWLEDGED,  # with another reason, or for longer
    (FIRING, "resolve"): RESOLVED,
    (ACKNOWLEDGED, "resolve"): RESOLVED,
}
_RANK = {"": 0, "warning": 1, "critical": 2}


def allows(alert: Alert, act: str) -> bool:
    """Whether a person may do this to it."""
    return (alert.state, act) in ACTS


def acknowledged(alert: Alert, who: str, at: datetime, reason: str, until: datetime | None) -> Alert:
    """The alert with somebody at it."""
    ack = Acknowledgement(who=who, at=at, reason=reason, until=until, severity=alert.severity)
    return msgspec.structs.replace(alert, state=ACTS[alert.state, "acknowledge"], ack=ack)


def resolved(alert: Alert, at: datetime, why: str) -> Alert:
    """Over for another reason than that its condition went away."""
    return msgspec.structs.replace(alert, state=RESOLVED, resolved_at=at, last_at=max(at, alert.last_at), ended=why)


def worse(severity: str, than: str) -> bool:
    """Whether one severity is above another; an empty one is below all."""
    return _RANK.get(severity, 0) > _RANK.get(than, 0)


def unacknowledged(alert: Alert, now: datetime) -> bool:
    """Whether an acknowledgement does not hold any more: it has expired, or what it was given for has got worse."""
    if alert.state != ACKNOWLEDGED:
        return False
    ack = alert.ack
    return ack is not None and ((ack.until is not None and ack.until <= now) or worse(alert.severity, ack.severity))


def carried(known: Alert | None, alert: Alert) -> Alert:
    """A live alert that was made anew, with what became of the known one."""
    if known is None or known.state == PENDING or alert.incident == known.incident != "":
        return alert
    return msgspec.structs.replace(
        alert, fired_at=known.fired_at, told_at=known.told_at, suppressed=known.suppressed, incident=known.incident
    )


def ended(alert: Alert, rules: Mapping[str, Rule], listed: Collection[str], now: datetime, days: int) -> str:
    """Why a live alert of an endpoint is over although no poll says so; empty where it is not.

    Args:
        alert: a live one.
        rules: by id.
        listed: ids of the endpoints of the list; empty where they are not known.
        now: the time.
        days: `absent_after_days`.
    """
    if not alert.endpoint:
        return ""  # each round decides about those of a site
    if listed and alert.endpoint not in listed:
        return "the endpoint is not listed any more"
    rule = rules.get(alert.rule)
    if rule is None:
        return "its rule is gone"
    quiet = timedelta(days=days)
    if rule.op in EVENTS:
        quiet = max(quiet, timedelta(seconds=rule.hold_s))
    return f"nothing was heard of it for {days} days" if days and now - alert.last_at > quiet else ""
