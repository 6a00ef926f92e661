"""The stages in their order: route, group, inhibit, mute, dedup, wait. Pure: what is known goes in, a plan comes out.

The shell stores the plan in one transaction, so that a crash leaves either all of it or nothing; retry and log follow
in delivery.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from rmm.core.alerting.dedup import RESOLVED, deduplicate, in_order
from rmm.core.alerting.group import due, group_of, together
from rmm.core.alerting.inhibit import Sources, inhibited, sources
from rmm.core.alerting.route import DEFAULT, Context, muted, route, route_end, subject
from rmm.model.routing import Heard, Route, Waiting
from rmm.model.rule import Alert, Notification

RECHECK = timedelta(seconds=60)  # how often what is inhibited or muted is looked at again

REMINDER = "reminder"
# Why no channel has to do with a notification, by its kind.
NOBODY = {
    "firing": "no route names a channel",
    REMINDER: "nobody heard of it, or the route has a `repeat_interval` of its own",
}

Unit = tuple[str, str]  # channel, group


class Known(NamedTuple):
    """What is stored and concerns the alerts that are looked at."""

    bodies: Mapping[str, Notification]  # of everything in `waiting`, by id
    waiting: Sequence[Waiting]  # what is due, and whatever else is of the groups and alerts concerned
    heard: Sequence[Heard]
    flushed: Mapping[Unit, datetime]
    live: Mapping[str, Alert]


class Plan(NamedTuple):
    """What is to be stored."""

    messages: list[tuple[str, Notification]]  # channel, what it is sent
    waiting: list[Waiting]
    done: list[Waiting]  # told or dropped
    heard: dict[tuple[str, str], Heard | None]  # by alert and channel; None: it has heard of the end
    flushed: dict[Unit, datetime]
    outcomes: dict[str, list[str]]  # notification -> what became of it, one text per channel


def admit(fresh: Iterable[Notification], known: Known, context: Context) -> list[Waiting]:
    """Stages 1 and 2: each notification's way to each of its channels, and when it is due there."""
    since: dict[Unit, datetime] = {}
    pending: dict[str, dict[str, str]] = {}  # alert -> channel -> route
    heard: dict[str, list[Heard]] = {}
    groups: dict[tuple[str, str], str] = {}  # alert, channel -> the group by which it was told
    for one in known.waiting:
        since[one.channel, one.group] = min(one.at, since.get((one.channel, one.group), one.at))
        pending.setdefault(one.alert, {})[one.channel] = one.route
        groups[one.alert, one.channel] = one.group
    for told in known.heard:
        heard.setdefault(told.alert, []).append(told)
        groups[told.alert, told.channel] = told.group
    entries = []
    for notification in fresh:
        alert, name = notification.alerts[0], subject(notification)
        if notification.kind == "firing":
            ways: dict[str, Route] = {}
            for one_alert in reversed(notification.alerts):  # of the same channel the first alert's route counts
                ways |= route(one_alert, context)
        else:
            ways = route_end(heard.get(name, ()), pending.get(name, {}), context)
        for channel, way in ways.items():
            if notification.kind == REMINDER and way.repeat_interval:
                continue  # this route tells it again in its own time
            # What belongs to an alert stays in its group, also when what the group goes by has changed since.
            group = groups.get((name, channel)) or group_of(alert, way, context.routing, name)
            unit = (channel, group)
            due_at = due(way, notification.at, since.get(unit), known.flushed.get(unit))
            since.setdefault(unit, notification.at)
            pending.setdefault(name, {})[channel] = way.name
            groups[name, channel] = group
            entries.append(
                Waiting(
                    channel=channel,
                    group=group,
                    id=notification.id,
                    kind=notification.kind,
                    at=notification.at,
                    due_at=due_at,
                    route=way.name,
                    alert=name,
                )
            )
    return entries


def plan(fresh: Sequence[Notification], known: Known, context: Context, now: datetime) -> Plan:
    """All stages for what is new and what is due."""
    made = Plan([], [], [], {}, {}, {one.id: [] for one in fresh})
    bodies = {**known.bodies, **{one.id: one for one in fresh}}
    entries = admit(fresh, known, context)
    stored = {(one.channel, one.id) for one in known.waiting}
    units: dict[Unit, list[Waiting]] = {}
    for one in (*known.waiting, *(one for one in entries if (one.channel, one.id) not in stored)):
        units.setdefault((one.channel, one.group), []).append(one)
    flow = _Flow(made, bodies, known, context, now)
    held = {(one.channel, one.group) for one in known.waiting}
    for unit, listed in units.items():
        if min(one.due_at for one in listed) > now:
            made.waiting.extend(one for one in listed if (one.channel, one.id) not in stored)
            for one in listed:
                _note(made, one, f"{one.channel}: waits until {one.due_at:%Y-%m-%d %H:%M:%S}")
            continue
        way = flow.routes.get(listed[0].route, DEFAULT)
        if unit in held or way.group_by or way.digest:
            flow.flush(unit, in_order(listed), way)
        else:  # nothing held it back: it is told as it came, also what was over a moment later
            for one in in_order(listed):
                flow.flush(unit, [one], way)
    for identity, said in made.outcomes.items():
        if not said:
            said.append(f"nobody: {NOBODY.get(bodies[identity].kind, 'nobody heard of it')}")
    return made


class _Flow:
    """The later stages, for one group of one channel at a time."""

    def __init__(
        self, made: Plan, bodies: Mapping[str, Notification], known: Known, context: Context, now: datetime
    ) -> None:
        self._made = made
        self._bodies = bodies
        self._context = context
        self._now = now
        self._sources: Sources = sources(known.live.values(), context.routing)
        self._heard: dict[str, set[str]] = {}  # channel -> alerts
        for one in known.heard:
            self._heard.setdefault(one.channel, set()).add(one.alert)
        self.routes: dict[str, Route] = {one.name: one for one in (*context.routing.routes, DEFAULT)}

    def flush(self, unit: Unit, listed: list[Waiting], way: Route) -> None:
        channel, group = unit
        made = self._made
        told = deduplicate(listed, self._heard.get(channel, set()), whole=bool(way.digest))
        for one in told.drop:
            made.done.append(one)
            _note(
                made, one, f"{channel}: not told, it came and went" if one.kind != RESOLVED else f"{channel}: unheard"
            )
        ready = [one for one in told.tell if not self._kept_back(one)]
        if not ready:
            return
        message = together([self._bodies[one.id] for one in ready], group, self._now, bool(way.digest))
        made.messages.append((channel, message))
        made.flushed[unit] = self._now
        for one in ready:
            made.done.append(one)
            _note(made, one, channel)
            self._remember(one, group)

    def _remember(self, one: Waiting, group: str) -> None:
        heard = self._heard.setdefault(one.channel, set())
        told = None
        if one.kind == RESOLVED or all(alert.state == RESOLVED for alert in self._bodies[one.id].alerts):
            heard.discard(one.alert)
        else:
            heard.add(one.alert)
            told = Heard(alert=one.alert, channel=one.channel, group=group, route=one.route, at=self._now)
        self._made.heard[one.alert, one.channel] = told

    def _kept_back(self, one: Waiting) -> bool:
        """Stages 3 and 4: what fires and is explained or muted is looked at again; it is told if it outlasts that."""
        if one.kind != "firing":
            return False
        reasons = [self._why_not(alert) for alert in self._bodies[one.id].alerts]
        if not all(reasons):  # of an incident something is left to tell
            return False
        self._made.waiting.append(msgspec.structs.replace(one, due_at=self._now + RECHECK))
        _note(self._made, one, f"{one.channel}: {reasons[0]}")
        return True

    def _why_not(self, alert: Alert) -> str:
        if source := inhibited(alert, self._sources, self._context.routing):
            return f"inhibited by {source}"
        silence = muted(alert, self._now, self._context)
        return f"{silence.kind}: {silence.reason}" if silence else ""


def _note(made: Plan, one: Waiting, text: str) -> None:
    made.outcomes.setdefault(one.id, []).append(text[:200])
