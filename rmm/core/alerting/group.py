"""Stages 2 and 6, group and wait: which alerts share a notification, and when that is due. Pure.

An alert without `group_by` is its own group, due at once. A group's first news is due `group_wait` after it came, later
ones not before `group_interval` after the notification before. A digest is due at the next full hour, or at its time of
day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from rmm.core.alerting.route import labels
from rmm.model.routing import Heard, Route, Routing
from rmm.model.rule import Alert, Notification

FIRING = "firing"


def group_of(alert: Alert, route: Route, routing: Routing, subject: str) -> str:
    """The name of the group that an alert belongs to, on one route; `subject` is what stands alone."""
    if route.digest:
        return f"{route.name}|digest"
    if not route.group_by:
        return f"{route.name}|alert|{subject}"
    seen = labels(alert, routing)
    # Lengths keep hostile names from looking like another group.
    parts = [f"{label}={','.join(f'{len(value)}:{value}' for value in seen[label])}" for label in route.group_by]
    return f"{route.name}|" + "|".join(parts)


def due(route: Route, at: datetime, waiting_since: datetime | None, flushed_at: datetime | None) -> datetime:
    """When news that came at `at` is due; `waiting_since` is when the first of its group came that waits still."""
    if route.digest:
        return digest_at(route.digest, at)
    first = waiting_since or at
    due_at = first + timedelta(seconds=route.group_wait)
    if flushed_at is None or not route.group_interval:
        return due_at
    return max(due_at, flushed_at + timedelta(seconds=route.group_interval))


def digest_at(digest: str, at: datetime) -> datetime:
    """The next moment of a digest after `at`: `hourly`, or `HH:MM` of each day, UTC."""
    at = at.astimezone(UTC)
    if digest == "hourly":
        return at.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    hour, minute = (int(part) for part in digest.split(":"))
    today = at.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > at else today + timedelta(days=1)


def together(notifications: Sequence[Notification], group: str, now: datetime, digest: bool) -> Notification:
    """One notification of several. Its id follows from theirs, so a decision made twice is one.

    A single one stays as it is. The alerts are those that fire, worst first, then those that ended.
    """
    if len(notifications) == 1 and not digest:
        return notifications[0]
    alerts = [alert for one in notifications for alert in one.alerts]
    alerts.sort(key=lambda alert: (alert.state == "resolved", alert.severity != "critical", alert.name, alert.key))
    # With its length before each, so that no name can make two sets of ids look alike.
    ids = "".join(f"{len(one.id)}:{one.id}" for one in sorted(notifications, key=lambda one: one.id))
    identity = hashlib.sha256(f"{group}\n{ids}".encode(errors="surrogatepass")).hexdigest()[:32]
    kinds = {one.kind for one in notifications}
    kind = FIRING if FIRING in kinds else sorted(kinds)[0]
    return Notification(id=f"group:{identity}", kind=kind, at=now, alerts=tuple(alerts), digest=digest)


class Repeat(NamedTuple):
    """What a channel is told again, and what is to be remembered of that."""

    channel: str
    message: Notification
    heard: Sequence[Heard]


def repeats(
    heard: Iterable[Heard], live: Mapping[str, Sequence[Alert]], routes: Mapping[str, Route], now: datetime
) -> list[Repeat]:
    """What is to be told again, by group: what fires still and is not acknowledged; `live` has alerts by subject."""
    stale: dict[tuple[str, str], list[Heard]] = {}
    for one in heard:
        route = routes.get(one.route)
        if route is None or not route.repeat_interval or now - one.at < timedelta(seconds=route.repeat_interval):
            continue
        if any(alert.state == FIRING for alert in live.get(one.alert, ())):
            stale.setdefault((one.channel, one.group), []).append(one)
    found = []
    for (channel, group), listed in stale.items():
        again = [
            Notification(
                id=f"{one.alert}@{one.at:%Y%m%dT%H%M%S%f}:again", kind=FIRING, at=now, alerts=tuple(live[one.alert])
            )
            for one in listed
        ]
        told = [msgspec.structs.replace(one, at=now) for one in listed]
        found.append(Repeat(channel, together(again, group, now, False), told))
    return found
