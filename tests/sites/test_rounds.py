"""What people did at a site goes to the hub once, also after a start, and again when it could not be kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from rmm.core.marks import added
from rmm.errors import TierError
from rmm.model.envelope import AUDIT, ROUND, Marks, Receipt
from rmm.model.incident import Act
from rmm.model.observation import Fault
from rmm.model.outgoing import Item
from rmm.model.round import PollSummary
from rmm.model.settings import SiteSettings
from rmm.site.rounds import Rounds
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.outgoing import OutgoingLog, open_outgoing

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTHING, SOMETHING = PollSummary(), PollSummary(planned=3, faults=(Fault("site.silent"),))


class Time:
    """It goes on when it is told to."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - START).total_seconds()


class Hub:
    """Commits all that the outgoing log has; `heard` has the acts in the order in which they came."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.rounds = 0
        self.marks: dict[str, Marks] = {}
        self.number = 0

    async def commit(self, log: OutgoingLog, at: datetime) -> None:
        for _, epoch, entry in await log.read([row.place for row in await log.rows(0, 1000)]):
            marks = self.marks.get(epoch, Marks())
            self.marks[epoch] = added(marks, entry.seq, entry.seq)
            if self.marks[epoch] != marks:
                self.rounds += entry.kind == ROUND
                self.heard += [msgspec.json.decode(entry.body, type=Act).reason] if entry.kind == AUDIT else []
        self.number += 1
        await log.cover(Receipt(site="hq", hub="one", number=self.number, at=at, marks=dict(self.marks)))


async def done(data: Path, at: datetime, *reasons: str) -> None:
    """Somebody acknowledges an alert here."""
    async with FleetStore.open(data) as store, store.transaction():
        await store.add_acts([Act(at=at, who="kim", what="ack", reason=reason) for reason in reasons])


@asynccontextmanager
async def started(data: Path, clock: Time) -> AsyncIterator[tuple[Rounds, OutgoingLog]]:
    """A start of the collector, with its outgoing log."""
    async with open_outgoing(data, "hq", SiteSettings()) as log:
        yield Rounds(data, "hq/c1", clock, lambda _: None), log


async def append(log: OutgoingLog, items: Sequence[Item]) -> None:
    await log.append(items)


async def test_what_was_handed_on_is_not_handed_on_again_at_a_start_two_days_later(tmp_path: Path) -> None:
    clock, hub = Time(), Hub()
    for reason in ("first", "second"):  # a start each; the second one within a day
        await done(tmp_path, clock.now(), reason)
        async with started(tmp_path, clock) as (rounds, log):
            for _ in range(2):
                await rounds.ended(lambda items, log=log: append(log, items), NOTHING, clock.now())  # type: ignore[misc]
                await hub.commit(log, clock.now())
        clock.at += timedelta(hours=12)
    assert hub.heard == ["first", "second"]
    for _ in range(5):  # what the hub has is forgotten here after 48 hours
        clock.at += timedelta(hours=25)
        async with started(tmp_path, clock) as (_, log):
            while await log.tend(clock.now()):
                pass
    async with started(tmp_path, clock) as (rounds, log):
        assert not await log.rows(0, 10)
        await done(tmp_path, clock.now(), "third")
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
        await hub.commit(log, clock.now())
    assert hub.heard == ["first", "second", "third"]


async def test_what_could_not_be_kept_is_handed_on_with_the_next_round(tmp_path: Path) -> None:
    clock, kept = Time(), list[Item]()
    rounds = Rounds(tmp_path, "hq/c1", clock, lambda _: None)
    await done(tmp_path, clock.now(), "first")
    rounds.refused("its signature is of another key")

    async def full(items: Sequence[Item]) -> None:
        raise TierError("there is no room", code="disk.full")

    async def keep(items: Sequence[Item]) -> None:
        kept.extend(items)

    with pytest.raises(TierError):
        await rounds.ended(full, SOMETHING, clock.now())
    await done(tmp_path, clock.now(), "second")
    await rounds.ended(keep, NOTHING, clock.now())
    acts = [msgspec.json.decode(one.body, type=Act) for one in kept]
    assert sorted((one.what, one.reason) for one in acts) == [("ack", "first"), ("ack", "second"), ("refuse", "")]
    await rounds.ended(keep, NOTHING, clock.now())
    assert len(kept) == 3


async def test_what_is_refused_while_a_round_is_kept_goes_with_the_next_one(tmp_path: Path) -> None:
    clock, kept = Time(), list[Item]()
    rounds = Rounds(tmp_path, "hq/c1", clock, lambda _: None)
    rounds.refused("first")

    async def keep(items: Sequence[Item]) -> None:
        if not kept:
            rounds.refused("second")
        kept.extend(items)

    for _ in range(3):
        await rounds.ended(keep, NOTHING, clock.now())
    assert [msgspec.json.decode(one.body, type=Act).detail for one in kept] == ["first", "second"]
