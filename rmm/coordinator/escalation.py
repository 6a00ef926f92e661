"""Escalation: incidents climb their policies, what is due goes into the outbox, all inside the caller's transaction.

A step is decided and what it tells is put there in one transaction, so a crash leaves both or neither, and the next
coordinator goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm.calendars.lookup import Lookup
from rmm.core.alerting.escalation import Calls, Step, calls_of, due_steps, next_due
from rmm.core.alerting.incidents import MOST_TOLD
from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, RESOLVED
from rmm.core.alerting.oncall import Roster
from rmm.core.alerting.route import DEFAULT
from rmm.model.escalation import Course, Escalation, Override, Policy, Taken
from rmm.model.routing import Heard
from rmm.model.rule import Alert, Notification
from rmm.ports import Channel
from rmm.tiers.fleet_sqlite import FleetStore, Place, alone, retried
from rmm.tiers.fleet_sqlite.escalation import EscalationStore

log = logging.getLogger(__name__)

KEEP = timedelta(days=90)  # closed courses, for `rmm escalation list`
AGAIN = timedelta(seconds=30)  # when a silenced alert is looked at again
BATCH = 2000  # courses per transaction
EXHAUSTED, REMOVED = "exhausted", "removed"

Quiet = Callable[[Alert], str]
Policies = Callable[[Alert], Collection[str]]


class Setup(NamedTuple):
    """What escalation needs of the configuration."""

    settings: Escalation
    lookup: Lookup
    contacts: Sequence[Channel] = ()  # the people's: channels with their own options, which no route names


class _Made:
    """What a call decided, to be stored at once: a storm has thousands of alerts."""

    def __init__(self) -> None:
        self.begun: list[Course] = []
        self.courses: list[Course] = []
        self.taken: list[Taken] = []
        self.calls: dict[tuple[str, str, str], list[tuple[str, Alert]]] = {}  # name, kind, what -> id, alert
        self.heard: list[Heard] = []

    def call(self, name: str, kind: str, what: str, identity: str, alert: Alert) -> None:
        """Tell somebody of an alert: once for all alerts of an incident of which the same is told now."""
        self.calls.setdefault((name, kind, f"{_subject(alert)} {what}"), []).append((identity, alert))

    def messages(self, now: datetime) -> list[tuple[str, Notification]]:
        """What all of it comes to; the first alert's key is that of the message."""
        found = []
        for (name, kind, _), told in self.calls.items():
            alerts = tuple(alert for _, alert in told[:MOST_TOLD])
            found.append((name, Notification(id=told[0][0], kind=kind, at=now, alerts=alerts)))
        return found


class Escalations:
    """One per coordinator. Every method is called inside a transaction of `store`; `channels` are those of routes."""

    def __init__(self, store: FleetStore, setup: Setup, channels: Collection[str]) -> None:
        self._outbox = store.outbox
        self._store = EscalationStore(store)
        self._settings = setup.settings
        self._lookup = setup.lookup
        self._channels = channels

    async def begin(self, fired: Sequence[tuple[Alert, Sequence[str]]], now: datetime) -> None:
        """Alerts are told to fire, and by their routes climb these policies. Said twice, it changes nothing."""
        known: dict[str, list[Course]] = {}
        for course in await self._store.open_of({_subject(alert) for alert, _ in fired}):
            known.setdefault(course.key, []).append(course)
        made = _Made()
        for alert, policies in fired:
            climbs = known.setdefault(_subject(alert), [])
            for course in list(climbs):
                if not alert.incident and alert.first_at > course.first_at:
                    await self._close(course, RESOLVED, now, made)  # it is over, and this one has begun meanwhile
                    climbs.remove(course)
                elif course.ended == ACKNOWLEDGED and alert.state == FIRING:  # holds no more: what is left, from now
                    again = msgspec.structs.replace(course, ended="", ended_at=None, fired_at=now, due_at=now)
                    made.courses.append(again)
            climbing = {course.policy for course in climbs}
            begun = [
                Course(key=_subject(alert), first_at=alert.first_at, policy=name, fired_at=now, site=alert.site,
                       alert=alert.key, due_at=now)
                for name in policies if name not in climbing
            ]  # fmt: skip
            climbs += begun
            made.begun += begun
        await self._keep(made, now)

    async def advance(
        self, now: datetime, quiet: Quiet = lambda _: "", policies: Policies = lambda _: ()
    ) -> list[Taken]:
        """Take every step that is due, of at most BATCH courses.

        Args:
            now: the time.
            quiet: why an alert is not to be told now (a silence, a maintenance window), empty where it is; its steps
                wait, and are due when it ends.
            policies: those that an alert climbs by its routes now. What else fires in an incident moves nobody.
        """
        courses = await self._store.to_see(now, BATCH)
        if not courses:
            return []
        rosters = self._lookup.rosters(await self._store.overrides(now), now, now)
        subjects = {course.key for course in courses}
        live, still_open = await self._store.live(subjects), await self._store.still_open(subjects)
        before = await self._store.steps_of(subjects)
        made = _Made()
        for course in courses:
            # Of an alert alone, one that began later is another; its next `begin` starts a course for it.
            alerts = [
                one for one in live.get(course.key, ()) if one.key != course.key or one.first_at <= course.first_at
            ]
            mine = [one for one in alerts if one.key == course.alert or course.policy in policies(one)]
            policy = self._settings.policies.get(course.policy)
            # An incident may be open although nothing of it fires: its end is not believed yet.
            there = bool(alerts) or course.key in still_open
            if not there or policy is None:
                await self._close(course, REMOVED if there else RESOLVED, now, made)
                continue
            firing = [one for one in mine if one.state == FIRING and not quiet(one)]
            if course.ended:
                pass  # of an older alert of this key: the next `begin` closes it
            elif mine and all(one.state == ACKNOWLEDGED for one in mine):
                made.courses.append(_ended(course, ACKNOWLEDGED, now))
            elif not firing:  # none, or pending again: it is its site's trouble
                made.courses.append(msgspec.structs.replace(course, due_at=now + AGAIN))
            else:
                self._climb(course, policy, firing, before.get(_identity(course), set()), rosters, now, made)
        await self._keep(made, now)
        await self._store.forget(now - KEEP)
        return made.taken

    async def soonest(self) -> datetime | None:
        """When the next step of any alert is."""
        return await self._store.soonest()

    def _climb(
        self, course: Course, policy: Policy, alerts: Sequence[Alert], before: set[tuple[int, int]],
        rosters: Mapping[str, Roster], now: datetime, made: _Made,
    ) -> None:  # fmt: skip
        if course.fired_at > now:  # the clock was set back
            course = msgspec.structs.replace(course, fired_at=now)
        hours = self._lookup.hours(course.site)
        due = due_steps(policy, course, hours, before, now)
        self._take(course, alerts, due, rosters, now, made)
        due_at = next_due(policy, course, hours, before | {step.identity for step in due})
        course = msgspec.structs.replace(course, due_at=due_at)
        made.courses.append(course if due_at else _ended(course, EXHAUSTED, now))

    def _take(
        self, course: Course, alerts: Sequence[Alert], due: Sequence[Step], rosters: Mapping[str, Roster],
        now: datetime, made: _Made,
    ) -> None:  # fmt: skip
        """Steps that came due together, such as while nothing ran, tell everybody once: by the last that names them."""
        heard: set[str] = set()
        taken: list[Taken] = []
        for step in reversed(due):
            found = Calls((), step.passed_over)
            if not step.passed_over:
                targets = [(target, step.tier.via) for target in step.tier.tell]
                found = calls_of(targets, self._settings.people, rosters, now)
            names = tuple(name for name in found.names if name not in heard)
            heard |= set(names)
            note = found.note or ("told with a later step" if found.names and not names else "")
            assert step.due_at is not None  # what never comes is not due
            taken.append(
                Taken(key=course.key, first_at=course.first_at, policy=course.policy, repeat=step.repeat,
                      step=step.number, due_at=step.due_at, at=now, told=names, note=note)
            )  # fmt: skip
            what = f"{course.policy}:{step.repeat}.{step.number}"
            for name in names:
                for alert in alerts:
                    made.call(name, FIRING, what, step_key(course, step), alert)
        made.taken += reversed(taken)
        # Channels hear of the end by the stages, people from here.
        group = f"{DEFAULT.name}|alert|{course.key}"
        made.heard += [
            Heard(alert=course.key, channel=name, group=group, route=DEFAULT.name, at=now)
            for name in heard & set(self._channels)
        ]

    async def _close(self, course: Course, why: str, now: datetime, made: _Made) -> None:
        """Nobody else is told; those who were hear that it is resolved."""
        names = {name: None for one in await self._store.steps(course) for name in one.told}
        told = [name for name in names if name not in self._channels]
        ended = course if course.ended else _ended(course, why, now)
        made.courses.append(msgspec.structs.replace(ended, closed_at=now))
        if why != RESOLVED or not told:
            return
        alerts = await self._store.ended(course)
        if not alerts:
            log.warning("%s is gone: who was told of it does not hear of its end", course.key)
        for name in told:
            for alert in alerts:
                made.call(name, RESOLVED, course.policy, f"{_key(course)}:{RESOLVED}", alert)

    async def _keep(self, made: _Made, now: datetime) -> None:
        await self._store.begin(made.begun)
        await self._store.put(made.courses)
        await self._store.take(made.taken)
        await self._outbox.post(made.messages(now))
        await self._outbox.hear(made.heard)


def _subject(alert: Alert) -> str:
    """What climbs: the incident that an alert is part of, else itself."""
    return alert.incident or alert.key


def step_key(course: Course, step: Step) -> str:
    """The idempotency key of what a step tells."""
    return f"{_key(course)}:{step.repeat}.{step.number}"


def _identity(course: Course) -> tuple[str, datetime, str]:
    return course.key, course.first_at, course.policy


def _key(course: Course) -> str:
    return f"{course.key}@{course.first_at:%Y%m%dT%H%M%S%f}:escalation:{course.policy}"


def _ended(course: Course, why: str, now: datetime) -> Course:
    return msgspec.structs.replace(course, ended=why, ended_at=now, due_at=None)


@retried
async def add_override(where: Path | Place, override: Override) -> int:
    """Keep an override, also while a round is running; returns its number. Raises LeaseLost and TierError."""
    async with FleetStore.open(where) as store, alone(where), store.transaction():
        return await EscalationStore(store).add_override(override)


@retried
async def remove_override(where: Path | Place, number: int, *, who: str, now: datetime) -> Override | None:
    """Take an override back, from now on; returns it, or None where there is none of this number that still lasts."""
    async with FleetStore.open(where) as store, alone(where), store.transaction():
        kept = EscalationStore(store)
        one = next((one for one in await kept.overrides(now) if one.number == number), None)
        if one is not None:
            await kept.remove_override(msgspec.structs.replace(one, removed_at=now, removed_by=who))
        return one
