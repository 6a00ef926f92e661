"""Several collectors over one bucket: who polls what, when one dies, is slow, is cut off or stands still."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats_servers
import pytest
from quick import QUICK, Jumping, Wire, until

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.memory import MemoryBus
from rmm.bus.provision import make_streams
from rmm.core.lease import owner_of
from rmm.errors import LeaseLost
from rmm.model.lease import BUCKET, HELD, OFFLINE
from rmm.ports import Keys
from rmm.site.leases import Alone, Leases

SHARDS = 6


@pytest.fixture(params=["memory", "server"])
async def keys(request: Any) -> AsyncIterator[Keys]:
    if request.param == "memory":
        yield MemoryBus().keys(BUCKET, ttl_s=QUICK.ttl)
        return
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("hq", "branch"))
            yield bus.keys(BUCKET, ttl_s=QUICK.ttl)


class Collector:
    def __init__(self, keys: Keys, name: str, data: Path | None = None, shards: int = SHARDS) -> None:
        self.wire = Wire(keys)
        self.clock = Jumping()
        self.lost: list[int] = []
        self.leases = Leases(
            self.wire, "hq", name, shards, self.clock,
            terms=QUICK, data=data, on_loss=lambda _, shard: self.lost.append(shard),
        )  # fmt: skip
        self.task: asyncio.Task[None] | None = None

    def start(self) -> Collector:
        async def run() -> None:
            async with self.leases.running():
                await asyncio.sleep(3600)

        self.task = asyncio.create_task(run())
        return self

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def kill(self) -> None:
        """As by kill -9: nothing is given back."""
        self.wire.cut = True
        await self.stop()

    @property
    def held(self) -> set[int]:
        return set(self.leases.held())


def spread(collectors: dict[str, Collector]) -> bool:
    """Whether each has what belongs to it."""
    return all(
        one.held == {shard for shard in range(SHARDS) if owner_of(shard, list(collectors)) == name}
        for name, one in collectors.items()
    )


async def test_three_share_and_the_shards_of_a_killed_one_are_polled_again(keys: Keys) -> None:
    three = {name: Collector(keys, name).start() for name in "abc"}
    await until(lambda: spread(three))
    before = {name: one.held for name, one in three.items()}
    await three["c"].kill()
    two = {name: three[name] for name in "ab"}
    assert await until(lambda: spread(two)) < QUICK.ttl + 1.0
    assert all(before[name] <= one.held for name, one in two.items())
    assert not two["a"].lost
    for one in two.values():
        await one.stop()


async def test_who_ends_in_good_order_is_inherited_at_once(keys: Keys) -> None:
    two = {name: Collector(keys, name).start() for name in "ab"}
    await until(lambda: spread(two))
    await two["b"].stop()
    assert sorted(two["b"].lost) == [s for s in range(SHARDS) if owner_of(s, ["a", "b"]) == "b"]
    assert await until(lambda: two["a"].held == set(range(SHARDS))) < QUICK.renew + 0.7
    await two["a"].stop()


async def test_a_round_that_runs_keeps_its_shard(keys: Keys) -> None:
    a = Collector(keys, "a").start()
    await until(lambda: len(a.held) == SHARDS)
    theirs = {shard for shard in range(SHARDS) if owner_of(shard, ["a", "b"]) == "b"}
    with contextlib.ExitStack() as stack:
        for shard in theirs:
            stack.enter_context(a.leases.using(shard))
        b = Collector(keys, "b").start()
        await until(lambda: a.held == set(range(SHARDS)) - theirs)
        assert not b.held
        for shard in theirs:
            a.leases.check(shard)
    assert await until(lambda: b.held == theirs) < 1.0
    for shard in theirs:
        with pytest.raises(LeaseLost):
            a.leases.check(shard)
    await a.stop()
    await b.stop()


async def test_a_jump_of_the_clock_ends_every_right_at_once_and_the_broker_gives_it_back(keys: Keys) -> None:
    """The machine slept for as long as the clock says, and nobody else was there."""
    a = Collector(keys, "a").start()
    await until(lambda: len(a.held) == SHARDS)
    fence = a.leases.fence_of("hq", 0)
    a.clock.ahead += 100
    with pytest.raises(LeaseLost) as caught:
        a.leases.check(0)
    assert caught.value.code == "lease.expired"
    assert a.held == set()
    await until(lambda: len(a.held) == SHARDS)
    assert a.leases.fence_of("hq", 0) == fence
    assert sorted(a.lost) == list(range(SHARDS))  # rounds that ran were told
    await a.stop()


async def test_steps_of_the_wall_clock_change_nothing(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    a = Collector(keys, "a").start()
    await until(lambda: len(a.held) == SHARDS)
    wall = time.time
    for step in (-86_400.0, 86_400.0, 3 * 365 * 86_400.0):
        monkeypatch.setattr(time, "time", lambda step=step: wall() + step)
        await asyncio.sleep(2 * QUICK.renew)
        assert len(a.held) == SHARDS
    assert a.lost == []
    await a.stop()


async def test_a_cut_link_goes_on_offline_and_says_so_afterwards(keys: Keys) -> None:
    two = {name: Collector(keys, name).start() for name in "ab"}
    a, b = two.values()
    await until(lambda: spread(two))
    mine, fence = a.held, {shard: a.leases.fence_of("hq", shard) for shard in a.held}
    a.wire.cut = True
    await until(lambda: {lease.state for lease in a.leases.held().values()} == {OFFLINE})
    await until(lambda: len(b.held) == SHARDS)
    for shard in mine:
        assert a.leases.fence_of("hq", shard) == fence[shard] < b.leases.fence_of("hq", shard)
    assert a.lost == []
    a.wire.cut = False
    await until(lambda: not mine & set(a.leases.held()))
    assert sorted(a.lost) == sorted(mine)
    await until(lambda: spread(two))
    assert {lease.state for lease in a.leases.held().values()} == {HELD}
    for one in two.values():
        await one.stop()


async def test_a_slow_and_a_flapping_broker_make_no_lease_jump(keys: Keys) -> None:
    three = {name: Collector(keys, name).start() for name in "abc"}
    await until(lambda: spread(three))
    fences = {name: {shard: lease.fence for shard, lease in one.leases.held().items()} for name, one in three.items()}
    for number in range(12):
        for one in three.values():
            one.wire.delay_s = 0.02 * (number % 2)
            one.wire.cut = number % 3 == 0
        await asyncio.sleep(0.15)
    for one in three.values():
        one.wire.cut, one.wire.delay_s = False, 0.0
    await asyncio.sleep(2 * QUICK.renew)
    assert {n: {s: le.fence for s, le in one.leases.held().items()} for n, one in three.items()} == fences
    for one in three.values():
        assert one.lost == []
        await one.stop()


async def test_after_an_outage_of_the_broker_each_has_what_it_had(keys: Keys) -> None:
    three = {name: Collector(keys, name).start() for name in "abc"}
    await until(lambda: spread(three))
    before = {name: one.held for name, one in three.items()}
    for one in three.values():
        one.wire.cut = True
    await asyncio.sleep(2 * QUICK.ttl)
    assert {name: one.held for name, one in three.items()} == before
    for one in three.values():  # one comes back before the others
        one.wire.cut = False
        await asyncio.sleep(0.25)
    await until(lambda: spread(three))
    await asyncio.sleep(2 * QUICK.renew)
    assert {name: one.held for name, one in three.items()} == before
    for one in three.values():
        await one.stop()


async def test_an_answer_that_is_lost_costs_nothing(keys: Keys) -> None:
    a = Collector(keys, "a").start()
    await until(lambda: len(a.held) == SHARDS)
    fence = a.leases.fence_of("hq", 0)
    a.wire.deaf = True
    await asyncio.sleep(2.5 * QUICK.renew)
    a.wire.deaf = False
    await asyncio.sleep(2 * QUICK.renew)
    assert a.leases.fence_of("hq", 0) == fence
    assert a.lost == []
    await a.stop()


async def test_a_start_without_a_broker(keys: Keys, tmp_path: Path) -> None:
    a = Collector(keys, "a", tmp_path).start()
    await until(lambda: len(a.held) == SHARDS)
    fence = a.leases.fence_of("hq", 0)
    await a.kill()
    again = Collector(keys, "a", tmp_path)
    again.wire.cut = True
    again.start()
    assert again.held == set()
    await until(lambda: len(again.held) == SHARDS)
    assert again.leases.check(0).state == OFFLINE
    assert again.leases.fence_of("hq", 0) == fence
    again.wire.cut = False
    await until(lambda: len(again.held) == SHARDS and again.leases.fence_of("hq", 0) > fence)
    await again.stop()


async def test_a_restart_waits_for_nobody(keys: Keys, tmp_path: Path) -> None:
    a = Collector(keys, "a", tmp_path).start()
    await until(lambda: len(a.held) == SHARDS)
    await a.kill()
    again = Collector(keys, "a", tmp_path).start()
    assert await until(lambda: len(again.held) == SHARDS) < QUICK.ttl / 2
    await again.stop()


@pytest.mark.parametrize("damaged", [b"", b"\xff\xfe", b"{", b"[]", b'{"held": "x"}', b'{"held": {"0": -1}}'])
async def test_a_damaged_memory_stops_nobody(keys: Keys, tmp_path: Path, damaged: bytes) -> None:
    (tmp_path / "leases.json").write_bytes(damaged)
    a = Collector(keys, "a", tmp_path).start()
    await until(lambda: len(a.held) == SHARDS)
    await a.stop()


async def test_keys_that_are_no_claims(keys: Keys) -> None:
    await keys.put("hq.shard.0", b"\xffgarbage", after=0)
    await keys.put("hq.shard.99", b'{"collector": "x", "holder": "y"}', after=0)
    await keys.put("hq.shard.minus.1", b"{}", after=0)
    await keys.put("hq.other", b"x" * 3000, after=0)
    a = Collector(keys, "a").start()
    await until(lambda: a.held == set(range(1, SHARDS)))
    await until(lambda: a.held == set(range(SHARDS)))  # the broker has forgotten it
    await a.stop()


async def test_two_sites_in_one_bucket_know_nothing_of_each_other(keys: Keys) -> None:
    a = Collector(keys, "a").start()
    other = Leases(keys, "branch", "a", 2, terms=QUICK)
    async with other.running():
        await until(lambda: len(a.held) == SHARDS and len(other.held()) == 2)
        assert a.leases.members == other.members == frozenset()
    await a.stop()


def test_a_collector_alone_has_all_and_no_fence() -> None:
    alone = Alone("hq", 3)
    assert sorted(alone.held()) == [0, 1, 2]
    assert alone.fence_of("hq", 2) == alone.check(2).fence == 0
    with alone.using(1):
        pass
