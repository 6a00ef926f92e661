"""What people do to alerts: each act is stored with who, when and why, together with what it changes.

Channels are told of it by the coordinator, at the end of the next round.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm.core.alerting import states
from rmm.core.alerting.lifecycle import Change
from rmm.model.incident import Act, Silence
from rmm.model.rule import Alert
from rmm.model.sites import Refused
from rmm.tiers.fleet_sqlite import FleetStore, Place, alone, retried
from rmm.tiers.fleet_sqlite.sites import SiteStore


class By(NamedTuple):
    """Who acts, when and why."""

    who: str
    at: datetime
    reason: str = ""


@asynccontextmanager
async def _turn(where: Path | Place) -> AsyncIterator[FleetStore]:
    async with FleetStore.open(where) as store, alone(where), store.transaction():
        yield store


@retried
async def acknowledge(where: Path | Place, numbers: Iterable[int], by: By, until: datetime | None) -> list[int]:
    """Acknowledge alerts; returns the numbers of those that do not fire (any more). Raises LeaseLost and TierError."""

    def one(alert: Alert) -> Alert:
        return states.acknowledged(alert, by.who, by.at, by.reason, until)

    detail = f"until {until.isoformat(timespec='minutes')}" if until else ""
    async with _turn(where) as store:
        found = await store.numbered(numbers)
        able = {number: alert for number, alert in found.items() if states.allows(alert, "acknowledge")}
        await store.put_changes(Change(one(alert)) for alert in able.values())
        await store.add_acts(_acts("ack", able.values(), by, detail))
    return sorted(set(numbers) - able.keys())


@retried
async def resolve(where: Path | Place, numbers: Iterable[int], by: By) -> list[int]:
    """Resolve alerts; returns the numbers of those that do not fire (any more). Raises LeaseLost and TierError."""
    why = f"by {by.who}" + (f": {by.reason}" if by.reason else "")
    async with _turn(where) as store:
        found = await store.numbered(numbers)
        able = {number: alert for number, alert in found.items() if states.allows(alert, "resolve")}
        await store.put_changes(Change(states.resolved(alert, by.at, why)) for alert in able.values())
        await store.add_acts(_acts("resolve", able.values(), by, ""))
    return sorted(set(numbers) - able.keys())


def _acts(what: str, alerts: Iterable[Alert], by: By, detail: str) -> list[Act]:
    return [Act(at=by.at, who=by.who, what=what, key=one.key, reason=by.reason, detail=detail) for one in alerts]


@retried
async def silence(where: Path | Place, wanted: Silence, now: datetime) -> int:
    """Add a silence; returns its number. Raises LeaseLost and TierError."""
    async with _turn(where) as store:
        number = await store.add_silence(wanted)
        detail = f"silence {number}: {described(wanted)}"
        await store.add_acts([Act(at=now, who=wanted.author, what="silence", reason=wanted.reason, detail=detail)])
    return number


@retried
async def unsilence(where: Path | Place, numbers: Sequence[int], by: By) -> list[int]:
    """End silences now; returns the numbers of those that have ended already. Raises LeaseLost and TierError."""
    async with _turn(where) as store:
        held = {one.number: one for one in await store.silences(by.at) if one.number in numbers}
        for number, one in held.items():
            await store.end_silence(msgspec.structs.replace(one, ends_at=by.at))
            detail = f"silence {number}: {described(one)}"
            await store.add_acts([Act(at=by.at, who=by.who, what="unsilence", reason=by.reason, detail=detail)])
    return sorted(set(numbers) - held.keys())


def described(wanted: Silence) -> str:
    """What a silence is about and for how long, in words."""
    matchers = " ".join(f'{one.label}{one.op}"{one.value}"' for one in wanted.matchers)
    begins, ends = (at.isoformat(timespec="minutes") for at in (wanted.starts_at, wanted.ends_at))
    return f"{matchers} from {begins} until {ends}"


async def note(where: Path | Place, *acts: Act, refused: Collection[Refused] = ()) -> None:
    """Keep what somebody did that changes nothing here, such as a revocation, and count what was refused of sites.

    Both or neither. Raises LeaseLost and TierError.
    """
    async with _turn(where) as store:
        await store.add_acts(acts)
        if refused:
            await SiteStore(store).add_refused(refused)
