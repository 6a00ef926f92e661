"""Stage 1, route: which channels hear of an alert, by which route. Pure.

A label of an alert is a text or several (its tags). A matcher is label -> value or list of values; all labels must
match, one of the values each. A value may end with `*`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rmm.model.incident import Suppression
from rmm.model.routing import Heard, Route, Routing, Subject
from rmm.model.rule import Alert, Notification

LABELS = ("severity", "site", "group", "tag", "rule", "quarter", "endpoint", "name", "source")
DEFAULT = Route(name="default")
EXTERNAL = "external:"  # what a rule's id begins with where another program found the trouble


Mutes = Callable[[Alert, datetime], Suppression | None]  # why an alert is not told at a moment


def _never(_alert: Alert, _at: datetime) -> Suppression | None:
    return None


class Context(NamedTuple):
    """What stages are told beside the alert itself."""

    routing: Routing
    channels: tuple[str, ...]  # all there are
    mutes: Mutes = _never


def muted(alert: Alert, at: datetime, context: Context) -> Suppression | None:
    """Stage 4, mute: whether maintenance, a silence or what it follows from keeps an alert that waited from now."""
    return context.mutes(alert, at)


def subject(notification: Notification) -> str:
    """What the beginning, the end and all between have in common: the key of the alert, or of what it is part of."""
    alert = notification.alerts[0]
    return getattr(alert, "incident", "") or alert.key


def labels(alert: Alert, routing: Routing) -> dict[str, tuple[str, ...]]:
    """What matchers see of an alert."""
    subject = routing.subjects.get(alert.endpoint, Subject())
    own = _external(alert)
    site = (own.get("site", ""),) if own.get("site") and not alert.site else (alert.site,)
    return {
        "severity": (alert.severity,),
        "site": site,
        "group": (subject.group,),
        "tag": subject.tags or ("",),
        "rule": (alert.rule,),
        "quarter": (routing.quarters.get(alert.rule, ""),),
        "endpoint": (alert.endpoint,),
        "name": (alert.name,),
        "source": ("external" if alert.rule.startswith(EXTERNAL) else "rmm",),
    }


def _external(alert: Alert) -> Mapping[str, str]:
    found = alert.value.get("labels") if alert.rule.startswith(EXTERNAL) and isinstance(alert.value, dict) else None
    return found if isinstance(found, dict) else {}


def matches(match: Mapping[str, Any], found: Mapping[str, Sequence[str]]) -> bool:
    """Whether all labels of a matcher agree."""
    return all(_one(wanted, found.get(label, ("",))) for label, wanted in match.items())


def _one(wanted: Any, values: Sequence[str]) -> bool:
    for text in map(str, wanted if isinstance(wanted, list | tuple) else (wanted,)):
        if text.endswith("*"):
            if any(value.startswith(text[:-1]) for value in values):
                return True
        elif text in values:
            return True
    return False


def route(alert: Alert, context: Context) -> dict[str, Route]:
    """Channel -> the route that brings the alert there; the first one where several do."""
    found: dict[str, Route] = {}
    seen = labels(alert, context.routing)
    matched = False
    for one in context.routing.routes:
        if matches(one.match, seen):
            matched = True
            for channel in one.channels:
                found.setdefault(channel, one)
            if not one.more:
                break
    return found if matched else dict.fromkeys(context.channels, DEFAULT)


def policies(alert: Alert, context: Context) -> tuple[str, ...]:
    """The policies of escalation that an alert climbs by its routes, each once."""
    seen = labels(alert, context.routing)
    found: dict[str, None] = {}
    for one in context.routing.routes:
        if matches(one.match, seen):
            found |= {one.escalation: None} if one.escalation else {}
            if not one.more:
                break
    return tuple(found)


def route_end(heard: Iterable[Heard], waiting: Mapping[str, str], context: Context) -> dict[str, Route]:
    """The same for the end of an alert: whoever heard of its beginning, or is about to (channel -> route's name).

    By the alert's own labels it might go elsewhere: a critical alert that has become a warning would never end for
    those who hear of critical ones alone.
    """
    known = {one.name: one for one in (*context.routing.routes, DEFAULT)}
    told = {one.channel: one.route for one in heard} | dict(waiting)
    return {channel: known.get(name, DEFAULT) for channel, name in told.items() if channel in context.channels}
