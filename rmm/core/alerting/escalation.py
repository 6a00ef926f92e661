"""Which steps of a policy are due: a function of the policy, the alert's moments, hours, what was taken, and now. Pure.

    a step (repeat, tier) is        when
    not yet due                     its moment is in the future
    passed over                     its tier is not for the hours at that moment
    stopped                         the alert was acknowledged or resolved by then, or is by now
    taken                           it was decided before: (key, first_at, policy, repeat, step) is its identity
    due                             otherwise

Nothing is remembered here, so a restart neither repeats a step nor skips one: what is due and not taken is due still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from rmm.core.alerting.hours import OpenHours
from rmm.core.alerting.oncall import Roster, on_call
from rmm.model.escalation import Contact, Course, Person, Policy, Target, Tier

NOBODY = "nobody is on call"


class Step(NamedTuple):
    """One tier of one round. `due_at` is None where its hours never open; `passed_over` says why it tells nobody."""

    repeat: int  # 0: the first time
    number: int  # of the tier, from 1
    due_at: datetime | None
    tier: Tier
    passed_over: str = ""

    @property
    def identity(self) -> tuple[int, int]:
        """What tells it from the other steps of its course."""
        return self.repeat, self.number


class Calls(NamedTuple):
    """Whom a step tells: names of contacts and channels, each once, and what a reader of the log should know of it."""

    names: tuple[str, ...]
    note: str = ""


def steps(policy: Policy, fired_at: datetime, hours: Mapping[str, OpenHours]) -> list[Step]:
    """All steps of a policy for an alert that fired then, in order; the whole course, as if nobody stopped it."""
    found = []
    begin = timedelta(0)
    for repeat in range(policy.repeat + 1):
        for number, tier in enumerate(policy.tiers, 1):
            delay = begin + tier.after
            due_at = hours[policy.hours].after(fired_at, delay) if policy.hours else fired_at + delay
            found.append(Step(repeat, number, due_at, tier, _passed_over(tier, due_at, hours)))
        begin += policy.tiers[-1].after + policy.repeat_after
    return found


def due_steps(
    policy: Policy,
    course: Course,
    hours: Mapping[str, OpenHours],
    taken: Collection[tuple[int, int]],
    now: datetime,
) -> list[Step]:
    """The steps to take now, in order; those of them with `passed_over` tell nobody and are taken all the same.

    Args:
        policy: what the course follows.
        course: when the alert fired, and when it was acknowledged or resolved, if it was.
        hours: by name, in the time zone of the alert's site where they have none of their own.
        taken: identities of the steps that were taken before.
        now: a moment after which nothing is due.
    """
    if course.ended_at is not None and course.ended_at <= now:
        return []
    return [
        step
        for step in steps(policy, course.fired_at, hours)
        if step.due_at is not None and step.due_at <= now and step.identity not in taken
    ]


def next_due(
    policy: Policy, course: Course, hours: Mapping[str, OpenHours], taken: Collection[tuple[int, int]]
) -> datetime | None:
    """When the first step is that was not taken; None when none will ever be due."""
    if course.ended_at is not None:
        return None
    left = (step for step in steps(policy, course.fired_at, hours) if step.identity not in taken)
    return min((step.due_at for step in left if step.due_at is not None), default=None)


def calls_of(
    targets: Iterable[tuple[Target, tuple[str, ...]]],
    people: Mapping[str, Person],
    rosters: Mapping[str, Roster],
    at: datetime,
) -> Calls:
    """Whom these targets (each with its tier's `via`) mean at a moment; each contact once."""
    names: dict[str, None] = {}
    notes: dict[str, None] = {}
    for target, via in targets:
        if target.kind == "channel":
            names[target.name] = None
            continue
        name = target.name
        if target.kind == "oncall":
            duty = on_call(rosters[name], at)
            notes |= {f"{name}: {note}": None for note in (duty.note, "" if duty.person else NOBODY) if note}
            name = duty.person
        names |= {contact.name: None for contact in _reached(people[name], via)} if name else {}
    return Calls(tuple(names), "; ".join(notes))


def _reached(person: Person, via: tuple[str, ...]) -> Iterable[Contact]:
    """The contacts that a tier wants; all of them where the person has none of those: better than nobody told."""
    return [contact for contact in person.contacts if contact.channel in via] or person.contacts


def _passed_over(tier: Tier, due_at: datetime | None, hours: Mapping[str, OpenHours]) -> str:
    if due_at is None:
        return "its hours never open"
    if tier.during and not hours[tier.during].is_open(due_at):
        return f"outside of {tier.during}"
    if tier.outside and hours[tier.outside].is_open(due_at):
        return f"within {tier.outside}"
    return ""
