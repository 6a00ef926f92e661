"""What people did at a site goes to the hub once, also after a start, and again when it could not be kept."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from sites_world import Clock

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

NOTHING, SOMETHING = PollSummary(), PollSummary(planned=3, faults=(Fault("site.silent"),))


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
async def started(data: Path, clock: Clock) -> AsyncIterator[tuple[Rounds, OutgoingLog]]:
    """A start of the collector, with its outgoing log."""
    async with open_outgoing(data, "hq", SiteSettings()) as log:
        yield Rounds(data, "hq/c1", clock, lambda _: None), log


async def append(log: OutgoingLog, items: Sequence[Item]) -> None:
    await log.append(items)


async def test_what_was_handed_on_is_not_handed_on_again_at_a_start_two_days_later(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()
    for reason in ("first", "second"):  # a start each; the second one within a day
        await done(tmp_path, clock.now(), reason)
        async with started(tmp_path, clock) as (rounds, log):
            for _ in range(2):
                await rounds.ended(lambda items, log=log: append(log, items), NOTHING, clock.now())  # type: ignore[misc]
                await hub.commit(log, clock.now())
        clock.off += timedelta(hours=12)
    assert hub.heard == ["first", "second"]
    for _ in range(5):  # what the hub has is forgotten here after 48 hours
        clock.off += timedelta(hours=25)
        async with started(tmp_path, clock) as (_, log):
            while await log.tend(clock.now()):
                pass
    async with started(tmp_path, clock) as (rounds, log):
        assert not await log.rows(0, 10)
        await done(tmp_path, clock.now(), "third")
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
        await hub.commit(log, clock.now())
    assert hub.heard == ["first", "second", "third"]


async def test_what_people_did_while_no_collector_ran_is_handed_on_however_long_that_was(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()
    for turn in range(3):
        await done(tmp_path, clock.now(), f"before {turn}")
        async with started(tmp_path, clock) as (rounds, log):
            await rounds.ended(lambda items, log=log: append(log, items), NOTHING, clock.now())  # type: ignore[misc]
            await hub.commit(log, clock.now())
        clock.off += timedelta(days=3)
        await done(tmp_path, clock.now(), *(f"{turn}.{n}" for n in range(120)))
        clock.off += timedelta(days=9)
    async with started(tmp_path, clock) as (rounds, log):
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
        await hub.commit(log, clock.now())
    told = [f"before {turn}" for turn in range(3)] + [f"{turn}.{n}" for turn in range(3) for n in range(120)]
    assert sorted(hub.heard) == sorted(told)


async def test_a_new_database_counts_from_one_again_and_a_clock_may_be_set_back(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()

    async def round_of(*reasons: str) -> None:
        await done(tmp_path, clock.now(), *reasons)
        async with started(tmp_path, clock) as (rounds, log):
            await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
            await hub.commit(log, clock.now())

    await round_of("a", "b", "c")
    clock.off -= timedelta(days=2)
    await round_of("d")
    clock.off += timedelta(days=4)
    for path in tmp_path.glob("fleet.sqlite*"):
        path.unlink()
    await round_of("e")
    assert sorted(hub.heard) == ["a", "b", "c", "d", "e"]


async def test_what_is_done_while_no_collector_runs_is_handed_on_where_nobody_had_done_anything(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()
    async with started(tmp_path, clock) as (rounds, log):
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
    clock.off += timedelta(days=14)
    await done(tmp_path, clock.now(), "first")
    clock.off += timedelta(days=3)
    async with started(tmp_path, clock) as (rounds, log):
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
        await hub.commit(log, clock.now())
    assert hub.heard == ["first"]


async def test_a_clock_that_was_ahead_at_the_first_start_hides_nothing(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()
    clock.off += timedelta(days=3650)
    async with started(tmp_path, clock):
        pass
    clock.off = timedelta(0)
    await done(tmp_path, clock.now(), "first")
    async with started(tmp_path, clock) as (rounds, log):
        await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
        await hub.commit(log, clock.now())
    assert hub.heard == ["first"]


async def test_of_a_database_that_is_restored_all_that_was_done_since_is_handed_on(tmp_path: Path) -> None:
    clock, hub = Clock(), Hub()

    async def round_() -> None:
        async with started(tmp_path, clock) as (rounds, log):
            await rounds.ended(lambda items: append(log, items), NOTHING, clock.now())
            await hub.commit(log, clock.now())
        clock.off += timedelta(minutes=5)

    await done(tmp_path, clock.now(), *(f"old {n}" for n in range(8)))
    await round_()
    backup = tmp_path / "backup"
    backup.mkdir()
    for path in tmp_path.glob("fleet.sqlite*"):
        shutil.copy2(path, backup)
    await done(tmp_path, clock.now(), "lost 9", "lost 10")
    await round_()
    for path in tmp_path.glob("fleet.sqlite*"):
        path.unlink()
    for path in backup.iterdir():
        shutil.copy2(path, tmp_path)
    await done(tmp_path, clock.now(), "new 9", "new 10", "new 11")
    await round_()
    await done(tmp_path, clock.now(), *(f"later {n}" for n in range(150)))
    await round_()
    assert hub.heard[:8] == [f"old {n}" for n in range(7, -1, -1)]
    assert sorted(hub.heard[8:13]) == ["lost 10", "lost 9", "new 10", "new 11", "new 9"]
    assert sorted(hub.heard[13:]) == sorted(f"later {n}" for n in range(150))


async def test_what_could_not_be_kept_is_handed_on_with_the_next_round(tmp_path: Path) -> None:
    clock, kept = Clock(), list[Item]()
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
    clock, kept = Clock(), list[Item]()
    rounds = Rounds(tmp_path, "hq/c1", clock, lambda _: None)
    rounds.refused("first")

    async def keep(items: Sequence[Item]) -> None:
        if not kept:
            rounds.refused("second")
        kept.extend(items)

    for _ in range(3):
        await rounds.ended(keep, NOTHING, clock.now())
    assert [msgspec.json.decode(one.body, type=Act).detail for one in kept] == ["first", "second"]
