"""The section `escalation` of rmm.yaml, and with it the sections that it refers to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from rmm.document import Document, Problem
from rmm.document import Path as Place
from rmm.model.endpoint import Site
from rmm.model.escalation import Escalation, Policy, Target, Tier
from rmm.settings.oncall import Ground, check_holidays, read_hours, read_people, read_rotas

MOST_TIERS, MOST_REPEATS = 20, 20
LOG = "log"  # the channel that there is without any in rmm.yaml


class _Policy(msgspec.Struct):
    tiers: list[dict[str, Any]]
    hours: str = ""
    repeat: int = 0
    repeat_after: str | int = "30m"


class _Tier(msgspec.Struct):
    tell: list[dict[str, str]]
    after: str | int = 0
    via: list[str] = []
    during: str = ""
    outside: str = ""


def read_escalation(
    document: Document,
    given: Any,
    channels: Collection[str],
    sites: Iterable[Site],
    folder: Path,
    problems: list[Problem],
) -> Escalation:
    """Everything about whom to tell.

    Args:
        document: rmm.yaml, with its lines.
        given: the sections as attributes `people`, `hours`, `oncall` and `escalation`.
        channels: names of the configured channels.
        sites: those that could be read.
        folder: the configuration folder.
        problems: where mistakes are added.
    """
    ground = Ground(document, problems)
    for site in sites:
        index = next((n for n, one in enumerate(document.data["sites"]) if one.get("id") == site.id), 0)
        check_holidays(ground, ("sites", index, "holidays"), site.holidays)
    channels = channels or (LOG,)
    people = read_people(ground, given.people, channels)
    hours = read_hours(ground, given.hours)
    rotas = read_rotas(ground, given.oncall, given.people, given.hours, folder)
    names: Mapping[str, Collection[str]] = {"person": given.people, "oncall": given.oncall, "channel": channels}
    policies = {}
    for name, place, values in ground.named("escalation", given.escalation, _Policy):
        if values.hours:
            ground.known((*place, "hours"), values.hours, given.hours, "hours")
        if not 0 <= values.repeat <= MOST_REPEATS:
            ground.wrong((*place, "repeat"), f"0 to {MOST_REPEATS} are allowed")
        policies[name] = Policy(
            id=name,
            tiers=_tiers(ground, (*place, "tiers"), values.tiers, names, given.hours),
            hours=values.hours,
            repeat=values.repeat,
            repeat_after=ground.span((*place, "repeat_after"), values.repeat_after, timedelta(minutes=1)),
        )
    return Escalation(people=people, hours=hours, rotas=rotas, policies=policies)


def _tiers(
    ground: Ground,
    place: Place,
    given: Sequence[dict[str, Any]],
    names: Mapping[str, Collection[str]],
    hours: Collection[str],
) -> tuple[Tier, ...]:
    if not 1 <= len(given) <= MOST_TIERS:
        ground.wrong(place, f"1 to {MOST_TIERS} tiers are allowed")
    found: list[Tier] = []
    for index, value in enumerate(given[:MOST_TIERS]):
        spot = (*place, index)
        values = ground.read(spot, _Tier, value)
        if values is None:
            continue
        for key in ("during", "outside"):
            if name := getattr(values, key):
                ground.known((*spot, key), name, hours, "hours")
        for number, channel in enumerate(values.via):
            ground.known((*spot, "via", number), channel, names["channel"], "channels")
        after = ground.span((*spot, "after"), values.after)
        if found and after < found[-1].after:
            ground.wrong((*spot, "after"), "it is before the tier above it: `after` counts from when the alert fired")
        tell = tuple(_targets(ground, (*spot, "tell"), values.tell, names))
        found.append(Tier(after=after, tell=tell, via=tuple(values.via), during=values.during, outside=values.outside))
    return tuple(found)


def _targets(
    ground: Ground, place: Place, given: Sequence[dict[str, str]], names: Mapping[str, Collection[str]]
) -> Iterable[Target]:
    if not given:
        ground.wrong(place, "name somebody: [oncall: ROTA], [person: NAME] or [channel: NAME]")
    for index, value in enumerate(given):
        spot = (*place, index)
        if len(value) != 1 or next(iter(value)) not in names:
            ground.wrong(spot, "one of `oncall: ROTA`, `person: NAME`, `channel: NAME` is expected")
            continue
        ((kind, name),) = value.items()
        section = {"person": "people", "channel": "channels"}.get(kind, kind)
        if ground.known((*spot, kind), name, names[kind], section):
            yield msgspec.convert({"kind": kind, "name": name}, Target)
