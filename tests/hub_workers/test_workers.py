"""`rmm hub run` with workers, over a real broker: the same is kept as by one process, whoever is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from crewside import SITES, Fleet, World, alive, committed, kept, listener_of, send, told, until_rows, until_told, world
from hubside import Site, rows

from rmm.core.shard import shard_of
from rmm.loop import SystemClock
from rmm.model.envelope import Marks

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc"),
]


async def taken(
    made: Fleet, one: World, meanwhile: Callable[[], Awaitable[None]] | None = None,
    again: random.Random | None = None, *, tells: bool = True,
) -> None:  # fmt: skip
    """All sites send all they have, some of it `again`, and get their receipts."""
    senders, listener = made.senders(), listener_of(one.authority)
    async with one.connected() as bus:
        listening = asyncio.create_task(listener.listen(bus))
        sending = []
        for site in senders.values():
            parts = site.envelopes(2)
            if again is not None:
                parts += again.sample(parts, len(parts) // 3)
            sending.append(send(bus, site, parts, pause=0.1 if meanwhile else 0.0))
        await asyncio.gather(*sending, *([meanwhile()] if meanwhile else []))
        await committed(bus, listener, senders)
        for site in senders.values():  # who was killed before the last round was judged does that after the next one
            over = site.round_over(site.entries[-1].at)
            await send(bus, site, [site.sealed([over])])
        await committed(bus, listener, senders)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    if tells:
        await until_told(one.data)


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.timeout(300)
async def test_several_workers_keep_what_one_keeps(tmp_path: Path) -> None:
    made = Fleet(tmp_path, 12)
    found = {}
    for count in (1, 2, 3):
        with world(made, f"n{count}") as one:
            one.start("--workers", str(count))
            workers = one.workers
            assert len(workers) == (count if count > 1 else 0)
            await taken(made, one)
            assert one.stop() == 143
            assert not any(alive(pid) for pid in workers)
            assert not list((one.data / "spool").rglob("in-*/*.spool"))
            found[count] = kept(one.data)
            assert len(told(one.data)) == 1
    assert found[1] == found[2] == found[3]
    assert "site-5-1" in str(found[1][-1])


@pytest.mark.crash
@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.timeout(400)
async def test_killed_at_random(tmp_path: Path) -> None:
    """Ten times a worker or the main process, with SIGKILL: nothing is lost, nothing is there twice."""
    made, dice = Fleet(tmp_path, 40), random.Random(int(os.environ.get("SEED", "3")))
    with world(made, "whole") as one:
        one.start()
        await taken(made, one)
        one.stop()
        whole, told_whole = kept(one.data), told(one.data)
    killed: list[str] = []

    with world(made, "broken") as one:
        one.start("--workers", "2")

        async def killing() -> None:
            for turn in range(10):
                await asyncio.sleep(dice.uniform(0.1, 1.2))
                workers = one.workers
                if turn % 3 == 2:
                    one.kill()
                    await asyncio.to_thread(one.start, "--workers", "2")
                    killed.append("main")
                elif workers:
                    os.kill(dice.choice(workers), signal.SIGKILL)
                    killed.append("worker")

        await taken(made, one, killing, again=dice)
        one.stop()
        assert kept(one.data) == whole
        assert len(told_whole) == len(set(told(one.data))) == len(told(one.data)) == 1
        assert not list((one.data / "spool").rglob("in-*/*.spool"))
    assert killed.count("main") == 3
    assert killed.count("worker") >= 5


@pytest.mark.timeout(200)
async def test_a_worker_that_stands_still_holds_up_nobody_else(tmp_path: Path) -> None:
    made = Fleet(tmp_path, 10)
    senders = made.senders()
    with world(made, "stopped") as one:
        one.start("--workers", "2")
        listener = listener_of(one.authority)
        async with one.connected() as bus:
            listening = asyncio.create_task(listener.listen(bus))
            first = one.workers[0]
            os.kill(first, signal.SIGSTOP)
            try:
                sending = [asyncio.create_task(send(bus, site, site.envelopes(1))) for site in senders.values()]
                async with asyncio.timeout(30):
                    while sum(listener.marks(site).high > 0 for site in senders.values()) < 2:
                        await asyncio.sleep(0.05)
                await asyncio.sleep(1.0)
                whole = {name for name, site in senders.items() if listener.marks(site) == Marks(site.entries[-1].seq)}
                others = [{name for name in SITES if shard_of(name, 2) == n} for n in (0, 1)]
                assert whole in others
            finally:
                os.kill(first, signal.SIGCONT)
            await asyncio.gather(*sending)
            await committed(bus, listener, senders)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        one.stop()


@pytest.mark.timeout(200)
async def test_another_number_of_workers_is_used_when_the_configuration_says_so(tmp_path: Path) -> None:
    """Sites go from one worker to another, and believe whichever began last."""
    made = Fleet(tmp_path, 12)
    senders = made.senders()
    with world(made, "changed") as one:
        one.configure(workers=2)
        one.start()
        listener = listener_of(one.authority)
        async with one.connected() as bus:
            listening = asyncio.create_task(listener.listen(bus))
            halves = {name: site.envelopes(1) for name, site in senders.items()}
            await asyncio.gather(*(send(bus, senders[name], parts[::2]) for name, parts in halves.items()))
            before = one.workers
            one.configure(workers=3)
            async with asyncio.timeout(60):
                while one.at_work < 2:
                    await asyncio.sleep(0.1)
            assert len(one.workers) == 3
            assert not set(one.workers) & set(before)
            starts = {name: receipt.hub for name, receipt in listener.newest.items()}
            await asyncio.gather(*(send(bus, senders[name], parts[1::2]) for name, parts in halves.items()))
            await committed(bus, listener, senders)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            by_worker = {shard_of(name, 3): listener.newest[name].hub for name in SITES}
            assert all(listener.newest[name].hub == by_worker[shard_of(name, 3)] for name in SITES)
            assert len(set(by_worker.values())) == len(by_worker)
            assert set(starts) == set(SITES)
        await until_told(one.data)
        one.stop()
        assert len(told(one.data)) == len(set(told(one.data))) == 1


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.timeout(200)
async def test_what_concerns_all_sites_is_done_once(tmp_path: Path) -> None:
    """Beats are heard, a site that is silent is found out, questions are answered, the health of the day is kept."""
    made = Fleet(tmp_path, 3)
    senders = made.senders()
    silent, *others = senders.values()
    with world(made, "head") as one:
        one.configure(workers=2, silent_after=5)
        one.start()
        async with one.connected() as bus:

            async def beating(sites: Iterable[Site]) -> None:
                while True:
                    for site in sites:
                        await bus.tell(*site.beat(SystemClock().now()))
                    await asyncio.sleep(0.5)

            await asyncio.gather(*(send(bus, site, site.envelopes()) for site in senders.values()))
            await bus.tell(f"rmm.beat.{silent.id}", b"{}")
            first = asyncio.create_task(beating([silent]))
            rest = asyncio.create_task(beating(others))
            await until_rows(one.data, "SELECT 1 FROM site_collector", len(SITES))
            first.cancel()
            await until_rows(one.data, "SELECT 1 FROM alert WHERE key LIKE 'site_down%'", 1)
            await until_rows(one.data, "SELECT 1 FROM notification", 2)  # an endpoint of another site was told before
            assert await bus.ask(f"rmm.ask.{silent.id}.bundle", b"{}", timeout_s=5)
            await until_rows(one.data, "SELECT 1 FROM health_day", len(SITES))
            await until_rows(one.data, "SELECT 1 FROM site_refused WHERE reason = 'beat'", 1)
            rest.cancel()
            await asyncio.gather(first, rest, return_exceptions=True)
        assert one.stop() == 143
        found = rows(one.data, "SELECT key FROM alert ORDER BY key")
        assert found == [("endpoint_unreachable|site-5-1|",), (f"site_down||{silent.id}",)]
        assert len(told(one.data)) == 2
        assert len((one.data / "notifications.log").read_text().splitlines()) == 2


@pytest.mark.timeout(120)
async def test_a_main_process_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    made = Fleet(tmp_path, 1)
    with world(made, "orphans") as one:
        for _ in range(3):  # and none of them takes a slot for itself that the next does not use again
            one.start("--workers", "3")
            workers = one.workers
            assert len(workers) == 3
            one.kill()
            async with asyncio.timeout(20):
                while any(alive(pid) for pid in workers):
                    await asyncio.sleep(0.05)
        one.start("--workers", "3")
        await taken(made, one, tells=False)
        one.stop()
        slots = {folder.name for folder in (one.data / "spool").glob("*/*/in-*")}
        assert slots <= {f"in-{n}" for n in range(6)}
