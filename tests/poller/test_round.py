"""Whole rounds: slow endpoints delay nobody, each is observed once, an end in the middle leaves nothing open."""

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest
from rounds import Bench, Refusing, Sleepy, work

from rmm.durable import hold
from rmm.errors import RmmError
from rmm.poller import round as round_module

TIMEOUT_S = 6.0


def hangs(endpoint: str) -> bool:
    return int(endpoint.rpartition("-")[2]) % 3 == 0


def third(endpoint: str) -> float | None:
    return None if hangs(endpoint) else 0.02


def healthy(bench: Bench) -> list[float]:
    return sorted(at for at, one in bench.seen if not hangs(one.endpoint))


async def test_a_hanging_third_delays_nobody(tmp_path: Path) -> None:
    """120 endpoints in six shards, ten at once: without the bulkhead the healthy ones wait for four timeouts."""
    bench = Bench(tmp_path, Sleepy(lambda _: 0.02), concurrency=10, timeout=TIMEOUT_S)
    shards = work(6, 20)
    await bench.round(shards, "e0")
    clean = healthy(bench)
    bench.transport.seconds = third
    for number in (1, 2):
        one = await bench.round(shards, f"e{number}")
        assert Counter(o.endpoint for _, o in bench.seen) == Counter(e.id for s in shards for e in s.endpoints)
        assert {o.status for _, o in bench.seen if hangs(o.endpoint)} == {"TIMEOUT"}
        assert one.tally.faults == ()
        # News cost the fast lane its patience; what is known to be slow costs it nothing.
        allowed = clean[-1] + (2 * TIMEOUT_S if number == 1 else 1.0)
        assert healthy(bench)[-1] < allowed, (number, clean[-1], healthy(bench)[-1])
        assert bench.transport.open == 0
    assert len(bench.folded) == 3 * 120


async def test_more_slow_endpoints_than_places(tmp_path: Path) -> None:
    """Sockets stay bounded, everyone is observed, and nobody waits for ever."""
    bench = Bench(tmp_path, Sleepy(lambda _: None), concurrency=16, timeout=1.0)
    for number in (1, 2):
        await bench.round(work(2, 64), f"e{number}")
        assert len({o.endpoint for _, o in bench.seen}) == len(bench.seen) == 128
        assert bench.transport.most <= 16 + 64
    assert bench.transport.most >= 48


async def test_cancelled_in_the_middle(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Sleepy(lambda _: None), concurrency=16, timeout=1.0)
    await bench.round(work(1, 100), "e0")
    bench.poll = bench.poll.__class__(concurrency=16, timeout=30)
    running = asyncio.create_task(bench.round(work(1, 100), "e1"))  # known slow: some hang, the rest is queued
    async with asyncio.timeout(20):
        while bench.transport.open < 48:
            await asyncio.sleep(0.05)
    assert bench.transport.open == 48
    began = time.monotonic()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert time.monotonic() - began < 2.5
    assert bench.transport.open == 0
    with hold(tmp_path / "locks" / "hq-0.lock", "the shard"):
        pass  # it was given back
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task() and not task.done()]
    assert left == []


async def test_a_stall_is_the_collectors_fault_not_the_endpoints(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Sleepy(lambda _: 1.0), concurrency=20, timeout=1.4)
    running = asyncio.create_task(bench.round(work(1, 20), "e0"))
    await asyncio.sleep(0.3)
    time.sleep(2.5)
    one = await running
    assert {(o.status, o.fault.code) for _, o in bench.seen if o.fault} <= {("COLLECTOR_FAULT", "collector.stalled")}
    assert [fault.code for fault in one.tally.faults] == ["collector.stalled"]
    assert not [o for _, o in bench.seen if o.status == "TIMEOUT"]


async def test_a_round_of_nothing_but_failures_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Refusing(lambda _: 0.0), concurrency=5, timeout=5)
    await bench.round(work(3, 30), "e0")
    assert Counter(o.status for _, o in bench.seen) == {"UNREACHABLE": 90}


async def test_a_coordinator_that_cannot_store_keeps_the_spool(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Sleepy(lambda _: 0.0), concurrency=5, timeout=5)
    bench.failure = RmmError("no room", code="disk.full")
    with pytest.raises(RmmError):
        await bench.round(work(1, 10), "e0")
    assert list((tmp_path / "spool").rglob("*.spool"))
    bench.failure = None
    await bench.round(work(1, 10), "e1")
    assert len(bench.folded) == 20
    assert {o.epoch for o in bench.folded} == {"e0", "e1"}
    assert not list((tmp_path / "spool").rglob("*.spool"))


async def test_a_failing_shard_ends_the_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that cannot be opened is raised once, and the other shards are closed."""
    bench = Bench(tmp_path, Sleepy(lambda _: None), concurrency=4, timeout=30)
    monkeypatch.setattr(round_module, "STOP_S", 0.5)
    (tmp_path / "cold" / "hq").mkdir(parents=True)
    (tmp_path / "cold" / "hq" / "1.sqlite").mkdir()  # a folder where the file should be
    with pytest.raises(RmmError) as caught:
        await asyncio.wait_for(bench.round(work(3, 2), "e0"), 20)
    assert "1.sqlite" in str(caught.value)
    assert bench.transport.open == 0


async def test_a_defect_after_a_visit_ends_the_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path, Sleepy(lambda _: 0.01), concurrency=4, timeout=TIMEOUT_S)

    def broken(at: float, observation: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(bench, "on_observation", broken)
    async with asyncio.timeout(10):
        with pytest.raises(ZeroDivisionError):
            await bench.round(work(1, 8), "e0")
