"""Deliveries are dealt out in order, a site always to the same worker, and none of them waits for another's."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats_servers
import pytest
from hubside import idle, until

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.memory import MemoryBus
from rmm.bus.provision import SHARE, make_streams
from rmm.core.shard import shard_of
from rmm.errors import RmmError
from rmm.hub import crew
from rmm.hub.crew import Crew
from rmm.hub.dealing import PATIENCE_S, PutOff
from rmm.hub.frames import Order, State
from rmm.ports import Bus

SITES = [f"site-{n}" for n in range(12)]


@pytest.fixture(autouse=True)
def _scribes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "MODULE", "scribe")
    monkeypatch.setattr(crew, "AGAIN_S", 0.05)
    monkeypatch.setattr(crew, "STOP_S", 2.0)  # a slow one need not be waited for
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))


def orders(folder: Path, *plans: dict[str, Any]) -> list[Order]:
    return [
        Order(json.dumps({"log": str(folder / f"{n}.log"), **plan}).encode(), "", (n, len(plans)))
        for n, plan in enumerate(plans)
    ]


@asynccontextmanager
async def dealing(bus: Bus, given: list[Order]) -> AsyncIterator[asyncio.Task[None]]:
    ready = asyncio.Event()
    quiet: Callable[[int, State], None] = lambda _number, _state: None  # noqa: E731
    one = Crew(given, on_state=quiet, on_trouble=lambda _number, _text: None, ready=ready.set)
    task = asyncio.create_task(one.run(bus))
    try:
        async with asyncio.timeout(20):
            await ready.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(folder: Path, number: int) -> list[tuple[str, int]]:
    file = folder / f"{number}.log"
    words = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(site, int(text)) for site, text in words]


def each_once(found: list[tuple[str, int]]) -> dict[str, list[int]]:
    """What came of each site, where it came for the first time."""
    return {
        site: list(dict.fromkeys(n for one, n in found if one == site)) for site in dict.fromkeys(s for s, _ in found)
    }


async def fill(bus: Bus, count: int, sites: list[str] = SITES) -> None:
    for number in range(count):
        for site in sites:
            await bus.publish(f"rmm.up.{site}", str(number).encode())


@pytest.mark.timeout(60)
async def test_a_site_has_one_worker_and_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where most of it has to be put off again and again."""
    monkeypatch.setattr(crew, "MOST", 5)
    monkeypatch.setattr(crew, "BUSY_S", 0.02)
    bus = MemoryBus()
    async with dealing(bus, orders(tmp_path, {}, {}, {})):
        await fill(bus, 60)
        await until(lambda: idle(bus))
    for number in range(3):
        found = each_once(lines(tmp_path, number))
        assert set(found) == {site for site in SITES if shard_of(site, 3) == number}
        assert all(came == list(range(60)) for came in found.values())
    assert sum(len(lines(tmp_path, number)) for number in range(3)) == 60 * len(SITES)


@pytest.mark.timeout(60)
async def test_a_slow_worker_holds_up_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "MOST", 4)
    monkeypatch.setattr(crew, "BUSY_S", 0.02)
    bus = MemoryBus()
    slow = [site for site in SITES if shard_of(site, 2) == 0]
    quick = [site for site in SITES if shard_of(site, 2) == 1]
    async with dealing(bus, orders(tmp_path, {"slow": 0.5}, {})):
        await fill(bus, 30, slow)
        await fill(bus, 30, quick)
        await until(lambda: len(lines(tmp_path, 1)) == 30 * len(quick), within=5)
        assert len(lines(tmp_path, 0)) <= 15
        assert bus._open  # and of the slow one's nothing is lost


@pytest.mark.timeout(90)
async def test_nor_when_a_broker_has_all_that_it_may_of_many_sites(tmp_path: Path) -> None:
    sites = [f"site-{n}" for n in range(40)]
    slow = [site for site in sites if shard_of(site, 2) == 0]
    quick = [site for site in sites if shard_of(site, 2) == 1]
    assert len(slow) * SHARE > 1100
    with nats_servers.server(sync="") as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus, open_bus(Login(urls=(broker.url,))) as outside:
            await make_streams(bus.link, sites=sites, replicas=1)
            async with dealing(bus, orders(tmp_path, {"slow": 5.0}, {})):
                await asyncio.gather(*(fill(outside, SHARE, [site]) for site in slow))
                await asyncio.sleep(2.0)
                await asyncio.gather(*(fill(outside, 5, [site]) for site in quick))
                await until(lambda: len(lines(tmp_path, 1)) >= 5 * len(quick), within=20)
    assert each_once(lines(tmp_path, 1)) == {site: list(range(5)) for site in each_once(lines(tmp_path, 1))}


@pytest.mark.timeout(60)
async def test_what_a_worker_had_when_it_died_comes_again_in_order(tmp_path: Path) -> None:
    bus = MemoryBus()
    async with dealing(bus, orders(tmp_path, {"die_at": 7}, {})):
        await fill(bus, 40)
        await until(lambda: idle(bus))
    again = [site for site in SITES if shard_of(site, 2) == 0]
    found = lines(tmp_path, 0)
    assert 40 * len(again) < len(found) <= 40 * len(again) + 7  # what was written down and not acknowledged
    assert each_once(found) == {site: list(range(40)) for site in again}


@pytest.mark.timeout(60)
async def test_a_worker_that_says_nothing_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "SILENT_S", 1.0)
    bus = MemoryBus()
    started = asyncio.create_task(_first_life(tmp_path))
    one = Crew(
        orders(tmp_path, {}, {"mute": True}), on_state=lambda *_: None, on_trouble=lambda *_: None, ready=lambda: None
    )
    with pytest.raises(RmmError, match="silent"):
        await _raised(one.run(bus))
    await started


async def _first_life(folder: Path) -> None:
    await until(lambda: (folder / "1.log").exists())


async def _raised(work: Any) -> None:
    """The one error of a group."""
    try:
        await work
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


@pytest.mark.timeout(60)
async def test_what_keeps_a_worker_from_its_first_start_is_told(tmp_path: Path) -> None:
    one = Crew(
        orders(tmp_path, {}, {"fail": "the disk is full"}), on_state=lambda *_: None, on_trouble=lambda *_: None,
        ready=lambda: None,
    )  # fmt: skip
    with pytest.raises(RmmError, match="the disk is full") as caught:
        await _raised(one.run(MemoryBus()))
    assert (caught.value.code, caught.value.hint) == ("config", "repair it")


def test_none_overtakes_another_of_its_site() -> None:
    off = PutOff()
    off.put("a", b"1", 10.0)
    off.put("a", b"2", 10.0)
    assert off.is_next("b", b"1", 10.0)
    assert not off.is_next("a", b"3", 10.0)
    assert not off.is_next("a", b"2", 10.0)
    off.put("a", b"2", 11.0)  # keeps its place
    off.put("a", b"3", 11.0)
    assert [off.is_next("a", data, 11.0) for data in (b"1", b"3", b"2", b"3", b"4")] == [True, False, True, True, True]


def test_one_that_does_not_come_again_is_waited_for_no_longer() -> None:
    off = PutOff()
    off.put("a", b"1", 10.0)
    off.put("a", b"2", 20.0)
    late = 10.0 + PATIENCE_S
    assert not off.is_next("a", b"2", late)
    assert off.is_next("a", b"2", late + 0.1)
    assert off.is_next("a", b"3", late + 0.1)


def test_what_is_given_back_is_older_than_what_came_meanwhile() -> None:
    off = PutOff()
    off.put("a", b"3", 10.0)
    off.put("a", b"4", 10.0)
    off.put_before("a", [b"1", b"2"], 10.0)
    assert [off.is_next("a", data, 10.0) for data in (b"3", b"1", b"2", b"4", b"3", b"4")] == [
        False, True, True, False, True, True,
    ]  # fmt: skip
