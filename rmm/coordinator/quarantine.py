"""Endpoints for which another machine answers: what is kept of the refusals, and how a person accepts one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from rmm.model.identity import Acceptance, Refusal
from rmm.model.observation import Observation
from rmm.tiers.fleet_sqlite import FleetStore, Place, alone, retried


async def keep_refusals(store: FleetStore, newest: Iterable[Observation]) -> None:
    """Inside a transaction: observations say who was refused, and whose right machine has answered."""
    good = []
    for one in newest:
        if one.refused is not None:
            await store.put_refusal(one.endpoint, one.observed_at, one.refused)
        elif one.fault is None:
            good.append(one.endpoint)
    await store.end_refusals(good)


@retried
async def accept(
    where: Path | Place, shown: Mapping[str, Refusal], *, who: str, reason: str, now: datetime
) -> list[str]:
    """Accept the machines of these refusals, by endpoint id; durable on return, also while a round is running.

    Returns the endpoints for which something else was seen meanwhile: nothing was accepted for them. Raises LeaseLost
    when a fold does not end, and TierError.
    """
    async with FleetStore.open(where) as store, alone(where), store.transaction():
        known = await store.refusals()
        same = [endpoint for endpoint, refusal in shown.items() if known.get(endpoint) == refusal]
        await store.add_acceptances(
            Acceptance(endpoint=endpoint, at=now, who=who, reason=reason, refusal=shown[endpoint]) for endpoint in same
        )
    return [endpoint for endpoint in shown if endpoint not in same]
