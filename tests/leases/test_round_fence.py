"""A round whose lease ends in the middle: nothing more is polled, logged on or kept of that shard, the rest goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from rounds import CATALOG, CREDENTIAL, Bench, Session, Sleepy, work

from rmm.catalog.bundle import bundler
from rmm.errors import LeaseLost
from rmm.loop import SystemClock
from rmm.model.endpoint import Target
from rmm.poller.fencing import Fencing
from rmm.poller.gate import Gate
from rmm.poller.outlet import BusOutlet
from rmm.poller.round import Round, ShardWork
from rmm.poller.visit import Visitor
from rmm.ports import Script, ScriptResult
from rmm.tiers.shard_store import open_shard


class Right:
    """`ports.Fence` by hand."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.asked = 0

    def fence_of(self, site: str, shard: int) -> int:
        self.asked += 1
        if shard in self.lost:
            raise LeaseLost("lost", code="lease.lost")
        return 7


class Logons(Sleepy):  # type: ignore[misc, unused-ignore]
    """Sessions that log on through a gate."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(lambda _: 0.0)
        self.gate = gate
        self.left: list[str] = []
        self.shells = 0

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Session]:
        async with self.gate.attempt(CREDENTIAL, target.endpoint) as attempt:
            self.left.append(target.endpoint)
            await asyncio.sleep(0.02)
            attempt.accepted()
        self.shells += 1
        try:
            await asyncio.sleep(0)
            yield Session()
        finally:
            self.shells -= 1


async def run(bench: Bench, right: Right, shards: list[ShardWork], started: list[Round]) -> None:
    clock = SystemClock()
    bench.seen = []
    async with BusOutlet.open(bench._fold) as outlet:
        one = Round(
            bench.kit("e0", clock), data=bench.data,
            open_store=lambda site, shard: open_shard(bench.data, site, shard, fields={}, now=clock.now),
            outlet=outlet, on_observation=lambda o: bench.on_observation(0.0, o), mode="all", fence=right,
        )  # fmt: skip
        started.append(one)
        async with asyncio.timeout(30):
            await one.run(shards)
        await outlet.drain()


def shards_of(bench: Bench) -> Counter[int]:
    return Counter(one.shard for _, one in bench.seen)


async def test_a_shard_that_is_lost_ends_and_the_others_go_on(tmp_path: Path) -> None:
    bench, right = Bench(tmp_path, Sleepy(lambda _: 0.1), concurrency=4, timeout=5), Right()
    rounds: list[Round] = []
    running = asyncio.create_task(run(bench, right, work(3, 20), rounds))
    while len(bench.seen) < 25:
        await asyncio.sleep(0.01)
    right.lost = {1}
    kept = shards_of(bench)[1]
    await running
    assert shards_of(bench) == {0: 20, 1: kept, 2: 20}
    assert {one.telemetry["lease"] for one in bench.folded} == {7.0}
    assert Counter(one.shard for one in bench.folded) == shards_of(bench)
    right.lost = set()
    bench.folded = []
    await run(bench, right, work(3, 20), rounds)  # its store, its locks and its spool are as ever
    assert shards_of(bench) == {0: 20, 1: 20, 2: 20}


async def test_visits_of_a_lost_shard_are_cancelled(tmp_path: Path) -> None:
    bench, right = (
        Bench(tmp_path, Sleepy(lambda name: 3600 if name.startswith("e0") else 0.3), concurrency=9, timeout=60),
        Right(),
    )
    rounds: list[Round] = []
    running = asyncio.create_task(run(bench, right, work(2, 3), rounds))
    while bench.transport.open < 6:
        await asyncio.sleep(0.01)
    rounds[0].drop("hq", 0)
    await asyncio.wait_for(running, 5)
    assert shards_of(bench) == {1: 3}
    assert bench.transport.open == 0


async def test_what_was_seen_under_a_right_that_ended_is_not_kept(tmp_path: Path) -> None:
    """As after SIGSTOP and SIGCONT in the middle of a visit."""
    bench, right = Bench(tmp_path, Sleepy(lambda _: 0.3), concurrency=9, timeout=60), Right()
    running = asyncio.create_task(run(bench, right, work(1, 5), []))
    while bench.transport.open < 5:
        await asyncio.sleep(0.01)
    right.lost = {0}
    await running
    assert bench.seen == [] == bench.folded
    async with open_shard(tmp_path, "hq", 0, fields={}, now=SystemClock().now) as store:
        assert list(store.pending()) == []
        assert store.state("e0-0") is None


async def test_no_logon_leaves_for_a_shard_that_was_lost_while_it_waited(tmp_path: Path) -> None:
    transport, right = Logons(Gate(tmp_path, SystemClock())), Right()
    bench = Bench(tmp_path, transport, concurrency=20, timeout=20)
    running = asyncio.create_task(run(bench, right, work(2, 20), []))
    while len(transport.left) < 3:
        await asyncio.sleep(0.005)
    right.lost = {0}
    before = {name for name in transport.left if name.startswith("e0")}
    await running
    assert {name for name in transport.left if name.startswith("e0")} == before
    assert shards_of(bench)[1] == 20
    assert transport.shells == 0


async def test_a_logon_that_waited_in_the_gate_asks_before_it_leaves(tmp_path: Path) -> None:
    """The permission came when the process was stopped already: it goes on past its time."""
    gate, right, left = Gate(tmp_path, SystemClock()), Right(), asyncio.Event()

    async def visit(name: str) -> str:
        async with gate.attempt(CREDENTIAL, name) as attempt:
            left.set()
            await asyncio.sleep(0.2)
            attempt.accepted()
        return name

    context = Fencing(right, lambda site, shard: None).context("hq", 0)
    first = asyncio.create_task(visit("first"))
    await left.wait()
    waiting = [asyncio.create_task(visit(f"e{n}"), context=context) for n in range(5)]
    await asyncio.sleep(0.05)
    right.lost = {0}
    assert await first == "first"
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in results] == [LeaseLost] * 5
    assert await asyncio.wait_for(visit("after"), 2) == "after"
    (note,) = (tmp_path / "authguard").glob("*.flights")
    assert note.read_bytes()[:1] == b"\0"  # none of them is in flight


async def test_who_lost_its_right_has_spent_nothing_of_the_budget(tmp_path: Path) -> None:
    gate, right = Gate(tmp_path, SystemClock()), Right()
    right.lost = {0}
    bench = Bench(tmp_path, Logons(gate), concurrency=4, timeout=5)
    for _ in range(3):
        await run(bench, right, work(1, 4), [])
    assert bench.seen == []
    async with gate.attempt(CREDENTIAL, "another") as attempt:  # nothing is held or in flight
        attempt.accepted()


class Talking(Sleepy):  # type: ignore[misc, unused-ignore]
    """Sessions that take scripts; when one is open, the right ends."""

    def __init__(self, right: Right) -> None:
        super().__init__(lambda _: 0.0)
        self.right = right
        self.said: list[str] = []

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Talking]:
        self.right.lost = {0}
        yield self

    language = "powershell"
    peer: Mapping[str, str] = {}
    telemetry: Mapping[str, float] = {}

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 0) -> ScriptResult:
        self.said.append(script.text)
        return ScriptResult(output=(), state="completed")

    async def query(self, wql: str, *, namespace: str = "", deadline: float = 0.0) -> list[dict[str, str]]:
        self.said.append(wql)
        return []


async def test_no_script_and_no_query_goes_into_a_session_of_a_lost_shard(tmp_path: Path) -> None:
    right = Right()
    transport = Talking(right)
    bench = Bench(tmp_path, transport, concurrency=1, timeout=5)
    names = ("os", "services", "volumes")
    kit = bench.kit("e0", SystemClock(), names)
    kit = msgspec.structs.replace(kit, bundle=bundler({name: CATALOG[name] for name in names}))
    endpoint = work(1, 1)[0].endpoints[0]
    context = Fencing(right, lambda site, shard: None).context("hq", 0)
    visit = asyncio.create_task(Visitor(kit).visit(endpoint, 0, 1, names, None), context=context)
    observation = await visit
    assert transport.said == []
    assert observation.fault is not None
    assert observation.fault.code == "lease.lost"
    right.lost = set()
    await Visitor(kit).visit(endpoint, 0, 1, names, None)
    assert transport.said  # as it is without a fence


async def test_without_a_fence_nothing_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, Sleepy(lambda _: 0.0), concurrency=4, timeout=5)
    monkeypatch.setattr("rmm.poller.fencing.copy_context", lambda: pytest.fail("a context was made"))
    one = await bench.round(work(2, 5), "e0")
    assert one.tally.faults == ()
    assert len(bench.folded) == 10


async def test_what_an_earlier_process_left_is_handed_over_under_a_right_only(tmp_path: Path) -> None:
    bench, right = Bench(tmp_path, Sleepy(lambda _: 0.0), concurrency=4, timeout=5), Right()
    bench.failure = LeaseLost("the coordinator is away", code="tier")
    with pytest.raises(LeaseLost):
        await bench.round(work(1, 5), "e0")
    bench.failure, right.lost = None, {0}
    await run(bench, right, work(1, 5), [])
    assert bench.folded == []
    right.lost = set()
    await run(bench, right, work(1, 5), [])
    assert len(bench.folded) == 5 + 5
