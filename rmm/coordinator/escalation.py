"""Escalation: alerts begin to climb their policies, what is due is posted, all inside the caller's transaction.

A step is decided and what it tells is posted in one transaction, so a crash leaves both or neither, and the next
coordinator goes on from there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rmm.calendars.lookup import Lookup
from rmm.core.alerting.escalation import Calls, Step, calls_of, due_steps, next_due
from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, RESOLVED
from rmm.core.alerting.oncall import Roster
from rmm.model.escalation import Course, Escalation, Override, Policy, Taken
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite import FleetStore, alone
from rmm.tiers.fleet_sqlite.escalation import EscalationStore

log = logging.getLogger(__name__)

KEEP = timedelta(days=90)  # closed courses, for `rmm escalation list`
AGAIN = timedelta(seconds=30)  # when a silenced alert is looked at again
BATCH = 2000  # courses per transaction
EXHAUSTED, REMOVED = "exhausted", "removed"

Post = Callable[[Sequence[tuple[str, Notification]]], Awaitable[None]]
Quiet = Callable[[Alert], str]


class Escalations:
    """One per coordinator. Every method is called inside a transaction of `store`.

    `post` puts (channel or contact, notification) into the outbox, in that transaction; what has the same id and name
    is there once.
    """

    def __init__(self, store: FleetStore, settings: Escalation, lookup: Lookup, post: Post) -> None:
        self._store = EscalationStore(store)
        self._settings = settings
        self._lookup = lookup
        self._post = post

    async def begin(self, alert: Alert, policies: Iterable[str], now: datetime) -> None:
        """An alert is told to fire, and by its routes it climbs these policies. Said twice, it changes nothing."""
        for course in await self._store.open_of(alert.key):
            if alert.first_at > course.first_at:  # that one is over, and this one has begun since anybody looked
                await self._close(course, RESOLVED, now)
        for name in policies:
            course = Course(
                key=alert.key, first_at=alert.first_at, policy=name, fired_at=now, site=alert.site, due_at=now
            )
            await self._store.begin(course)

    async def advance(self, now: datetime, quiet: Quiet = lambda _: "") -> list[Taken]:
        """Take every step that is due, of at most BATCH alerts.

        Args:
            now: the time.
            quiet: why an alert is not to be told now (a silence, a maintenance window), empty where it is; its steps
                wait, and are due when it ends.
        """
        courses = await self._store.to_see(now, BATCH)
        if not courses:
            return []
        rosters = self._lookup.rosters(await self._store.overrides(now), now, now)
        live = await self._store.live({course.key for course in courses})
        taken: list[Taken] = []
        for course in courses:
            alert = live.get(course.key)
            over = alert is None or alert.first_at > course.first_at  # lower: the clock was set back meanwhile
            taken += await self._one(course, None if over else alert, rosters, now, quiet)
        await self._store.forget(now - KEEP)
        return taken

    async def soonest(self) -> datetime | None:
        """When the next step of any alert is."""
        return await self._store.soonest()

    async def _one(
        self, course: Course, alert: Alert | None, rosters: Mapping[str, Roster], now: datetime, quiet: Quiet
    ) -> list[Taken]:
        policy = self._settings.policies.get(course.policy)
        if alert is None or policy is None:
            await self._close(course, RESOLVED if alert is None else REMOVED, now)
        elif course.ended:
            pass  # an older alert of this key, which the next `begin` closes
        elif alert.state == ACKNOWLEDGED:
            await self._store.put(_ended(course, ACKNOWLEDGED, now))
        elif alert.state != FIRING or quiet(alert):  # pending again: it is its site's trouble
            await self._store.put(msgspec.structs.replace(course, due_at=now + AGAIN))
        else:
            return await self._climb(course, policy, alert, rosters, now)
        return []

    async def _climb(
        self, course: Course, policy: Policy, alert: Alert, rosters: Mapping[str, Roster], now: datetime
    ) -> list[Taken]:
        if course.fired_at > now:  # the clock was set back
            course = msgspec.structs.replace(course, fired_at=now)
        hours = self._lookup.hours(course.site)
        before = {(one.repeat, one.step) for one in await self._store.steps(course)}
        due = due_steps(policy, course, hours, before, now)
        taken = await self._take(course, alert, due, rosters, now)
        due_at = next_due(policy, course, hours, before | {step.identity for step in due})
        course = msgspec.structs.replace(course, due_at=due_at)
        await self._store.put(course if due_at else _ended(course, EXHAUSTED, now))
        return taken

    async def _take(
        self, course: Course, alert: Alert, due: Sequence[Step], rosters: Mapping[str, Roster], now: datetime
    ) -> list[Taken]:
        """Steps that came due together, such as while nothing ran, tell everybody once: by the last that names them."""
        taken: list[Taken] = []
        heard: set[str] = set()
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
            one = Notification(id=step_key(course, step.repeat, step.number), kind=FIRING, at=now, alerts=(alert,))
            await self._post([(name, one) for name in names])
        taken.reverse()
        await self._store.take(taken)
        return taken

    async def _close(self, course: Course, why: str, now: datetime) -> None:
        """Nobody else is told; those who were hear that it is resolved."""
        told = {name: None for one in await self._store.steps(course) for name in one.told}
        ended = course if course.ended else _ended(course, why, now)
        await self._store.put(msgspec.structs.replace(ended, closed_at=now))
        if why != RESOLVED or not told:
            return
        alert = await self._store.ended(course)
        if alert is None:
            log.warning("alert %s is gone: who was told of it does not hear of its end", course.key)
            return
        one = Notification(id=f"{_key(course)}:{RESOLVED}", kind=RESOLVED, at=now, alerts=(alert,))
        await self._post([(name, one) for name in told])


def step_key(course: Course, repeat: int, step: int) -> str:
    """The idempotency key of what a step tells."""
    return f"{_key(course)}:{repeat}.{step}"


def _key(course: Course) -> str:
    return f"{course.key}@{course.first_at:%Y%m%dT%H%M%S%f}:escalation:{course.policy}"


def _ended(course: Course, why: str, now: datetime) -> Course:
    return msgspec.structs.replace(course, ended=why, ended_at=now, due_at=None)


async def add_override(data: Path, override: Override) -> int:
    """Keep an override, also while a round is running; returns its number. Raises LeaseLost and TierError."""
    async with FleetStore.open(data) as store, alone(data), store.transaction():
        return await EscalationStore(store).add_override(override)


async def remove_override(data: Path, number: int, *, who: str, now: datetime) -> Override | None:
    """Take an override back, from now on; returns it, or None where there is none of this number that still lasts."""
    async with FleetStore.open(data) as store, alone(data), store.transaction():
        kept = EscalationStore(store)
        one = next((one for one in await kept.overrides(now) if one.number == number), None)
        if one is not None:
            await kept.remove_override(msgspec.structs.replace(one, removed_at=now, removed_by=who))
        return one
