"""What a collector wrote after another one had begun under a later lease is refused, in whatever order it comes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from hubside import OWNERS, SITES, START, Keys, Receiver, Site, Time, hub, observation, plan, rows, running, until

from rmm.bus.memory import MemoryBus
from rmm.core.marks import covers
from rmm.model.envelope import Marks

pytestmark = pytest.mark.databases("sqlite", "postgres")


@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_lease_is_over_however_many_came_after_it_and_in_whatever_order(
    tmp_path: Path, clock: Time, keys: Keys, newest_first: bool
) -> None:
    """c1 was cut off and went on; c2 had its shard meanwhile, and gave it back. Its backlog comes last."""
    c1, c2 = Site(keys, "berlin", "c1"), Site(keys, "berlin", "c2")
    for minute, sender, fence in (
        (0, c1, 3),
        (4, c1, 3),
        (5, c2, 8),
        (6, c1, 3),
        (9, c2, 8),
        (10, c1, 14),
        (11, c1, 14),
    ):
        sender.observe(
            observation("berlin", f"berlin-{minute}", START + timedelta(minutes=minute), minute), fence=fence
        )
    backlog, news = c1.entries[:3], c1.entries[3:]
    parts = [(c2, c2.entries), (c1, news), (c1, backlog)] if newest_first else [(c2, c2.entries), (c1, c1.entries)]
    bus, heard = MemoryBus(), Receiver(keys)
    owners = {f"berlin-{minute}": "berlin" for minute in range(12)}
    for sender, entries in parts:  # also by another process each, which has it from the database
        async with hub(tmp_path, clock, plan(SITES, owners, clock), keys.trust) as opened, running(opened, bus):
            listening = asyncio.create_task(heard.listen(bus))
            await bus.publish(sender.subject, sender.sealed(entries))
            await until(lambda one=sender, last=entries[-1].seq: covers(heard.marks(one), last))
            listening.cancel()
    known = {row[0] for row in rows(tmp_path, "SELECT id FROM endpoint")}
    assert known == {f"berlin-{minute}" for minute in (0, 4, 5, 9, 10, 11)}
    assert rows(tmp_path, "SELECT number FROM site_refused WHERE reason = 'lease.stale'") == [(1,)]


async def test_a_clock_that_is_set_back_makes_nothing_stale_of_the_same_collector(
    tmp_path: Path, clock: Time, keys: Keys
) -> None:
    """What it wrote while its clock was ahead waits; then it is right, and starts anew under a later lease."""
    site = Site(keys, "berlin", "c1")
    site.observe(observation("berlin", "berlin-0", START + timedelta(minutes=20), 1), fence=3)
    site.observe(observation("berlin", "berlin-1", START + timedelta(minutes=11), 2), fence=9)
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        listening = asyncio.create_task(heard.listen(bus))
        for entries in (site.entries[1:], site.entries[:1]):  # the newest first
            await bus.publish(site.subject, site.sealed(entries))
        await until(lambda: heard.marks(site) == Marks(2))
        listening.cancel()
    assert [row[0] for row in rows(tmp_path, "SELECT id FROM endpoint ORDER BY id")] == ["berlin-0", "berlin-1"]
    assert rows(tmp_path, "SELECT number FROM site_refused") == []
