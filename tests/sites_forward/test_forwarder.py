"""The forwarder over the memory bus, with the log on disk: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import randbytes
from typing import Any

import msgspec
import pytest
from model_hub import COLLECTOR, HUB_KEY, SITE, SITE_KEY, START, Hub, Time, beat, observation, serving

from rmm.bus.memory import MemoryBus
from rmm.core.outgoing import glance
from rmm.errors import BusError
from rmm.model.envelope import Beat, Marks, Receipt
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.settings import SiteSettings
from rmm.site.forwarder import Forwarder
from rmm.tiers.outgoing import MemoryShelf, OutgoingLog, in_memory, open_outgoing, spooled_at


def item(data: bytes, grade: int = METRICS) -> Item:
    seen = glance(data)
    return Item(id=seen.id, body=data, at=START, grade=grade, endpoint=seen.endpoint)


def forwarder_of(bus: Any, outgoing: OutgoingLog, settings: SiteSettings | None = None) -> Forwarder:
    return Forwarder(
        bus, outgoing, site=SITE, collector=COLLECTOR, sign=SITE_KEY.sign, verify=HUB_KEY.verify, clock=Time(),
        settings=settings or SiteSettings(rate=1e6), describe=beat,
    )  # fmt: skip


@asynccontextmanager
async def forwarding(bus: Any, data: Path, settings: SiteSettings | None = None) -> AsyncIterator[Forwarder]:
    async with open_outgoing(data, SITE, settings or SiteSettings()) as outgoing:
        forwarder = forwarder_of(bus, outgoing, settings)
        task = asyncio.create_task(forwarder.run())
        try:
            yield forwarder
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_new_is_committed_in_a_moment(tmp_path: Path) -> None:
    bus, hub = MemoryBus(), Hub()
    async with serving(hub, bus), forwarding(bus, tmp_path) as forwarder:
        for number in range(1, 101):
            await forwarder.append([item(observation(number))])
        assert await forwarder.drain(5)
    assert set(hub.state.rows) == {f"hq/0/e1/{number}" for number in range(1, 101)}
    assert hub.again == 0
    spooled = spooled_at(tmp_path, SITE)
    assert spooled is not None
    assert (spooled.entries, spooled.kept) == (0, 100)


async def test_a_log_that_is_full_of_what_waited_in_a_spool_says_so_for_an_hour_from_now_on() -> None:
    outgoing, clock = in_memory(MemoryShelf(), SiteSettings(spool_gb=20e-6)), Time()
    await outgoing.start()
    forwarder = Forwarder(
        MemoryBus(), outgoing, site=SITE, collector=COLLECTOR, sign=SITE_KEY.sign, verify=HUB_KEY.verify, clock=clock,
        settings=SiteSettings(), describe=beat,
    )  # fmt: skip
    clock.move(hours=3)
    await forwarder.append([Item(id=f"o{n}", body=randbytes(800), at=START) for n in range(60)])
    assert outgoing.books.full_at == clock.now()
    (epoch,) = outgoing.books.names.values()
    receipt = Receipt(site=SITE, hub="h1", number=1, at=START, marks={epoch: Marks(60)})
    await outgoing.cover(receipt)
    for minutes, told in ((30, 1), (31, 0)):
        clock.move(minutes=minutes)
        await outgoing.tend(clock.now())
        assert len((await outgoing.spooled()).problems) == told
    await outgoing.aclose()


class Flaky:
    """A bus that can be away, or full; everything else is the memory bus."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self.away = False
        self.published = 0

    def _check(self) -> None:
        if self.away:
            raise BusError("no connection")

    async def publish(self, subject: str, data: bytes) -> None:
        self._check()
        await self._bus.publish(subject, data)
        self.published += 1

    async def tell(self, subject: str, data: bytes) -> None:
        self._check()
        await self._bus.tell(subject, data)

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        self._check()
        return await self._bus.ask(subject, data, timeout_s=timeout_s)

    def hear(self, pattern: str) -> Any:
        self._check()
        return self._bus.hear(pattern)


async def test_a_link_that_is_down_is_told_once_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "rmm.site")
    monkeypatch.setattr("rmm.site.forwarder.RETRY_S", 0.02)
    bus, hub = Flaky(MemoryBus()), Hub()
    async with serving(hub, bus._bus), forwarding(bus, tmp_path) as forwarder:
        await forwarder.append([item(observation(1))])
        assert await forwarder.drain(5)
        bus.away = True
        for number in range(2, 30):
            await forwarder.append([item(observation(number))])
            await asyncio.sleep(0.01)
        assert not forwarder.reached
        assert not await forwarder.drain(0.1)
        bus.away = False
        assert await forwarder.drain(5)
    assert len(hub.state.rows) == 29
    said = [(one.levelname, one.message) for one in caplog.records if one.name == "rmm.site.forwarder"]
    assert [level for level, _ in said] == ["WARNING", "INFO"]
    assert "28 entries wait for it" in said[1][1]


async def test_a_bus_without_a_hub_takes_what_is_new_and_keeps_it(tmp_path: Path) -> None:
    bus, hub = MemoryBus(), Hub()
    async with forwarding(bus, tmp_path) as forwarder:
        while not forwarder.reached:
            await asyncio.sleep(0.01)
        await forwarder.append([item(observation(1))])
        assert not await forwarder.drain(0.1)  # a broker that has it frees nothing
        async with serving(hub, bus):
            assert await forwarder.drain(5)
    assert hub.again == 0
    assert len(hub.state.rows) == 1


async def test_a_broker_that_is_full_is_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmm.site.forwarder.FULL_S", 0.02)
    bus, hub = MemoryBus(capacity=2), Hub()
    async with forwarding(bus, tmp_path) as forwarder:
        while not forwarder.reached:
            await asyncio.sleep(0.01)
        for number in range(1, 8):
            await forwarder.append([item(observation(number))])
            await asyncio.sleep(0.02)
        async with serving(hub, bus):
            assert await forwarder.drain(10)
    assert len(hub.state.rows) == 7
    assert sum("as much of this site as it may" in one.message for one in caplog.records) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_losses_and_restarts(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.core.forwarding.TIMEOUT_S", 0.2)
    monkeypatch.setattr("rmm.core.forwarding.ASK_S", 0.1)
    monkeypatch.setattr("rmm.core.forwarding.REORDERED_S", 0.05)
    bus, hub = MemoryBus(), Hub(seed=seed)
    async with serving(hub, bus, loss=0.3, seed=seed):
        for start in range(3):
            async with forwarding(bus, tmp_path) as forwarder:
                for number in range(20 * start + 1, 20 * start + 31):  # ten of them were there already
                    await forwarder.append([item(observation(number))])
                    await asyncio.sleep(0.004)
        async with forwarding(bus, tmp_path) as forwarder:
            assert await forwarder.drain(20)
    assert set(hub.state.rows) == {f"hq/0/e1/{number}" for number in range(1, 71)}
    assert len(hub.state.order) == 70  # none of them under two numbers


async def test_a_hub_that_was_restored_gets_what_it_lost(tmp_path: Path) -> None:
    bus, hub = MemoryBus(), Hub()
    async with serving(hub, bus), forwarding(bus, tmp_path) as forwarder:
        await forwarder.append([item(observation(number)) for number in range(1, 11)])
        assert await forwarder.drain(5)
        backup = hub.backup()
        await forwarder.append([item(observation(number)) for number in range(11, 31)])
        assert await forwarder.drain(5)
    async with serving(hub, bus), forwarding(bus, tmp_path) as forwarder:  # in an older epoch as well
        await forwarder.append([item(observation(31))])
        assert await forwarder.drain(5)
        hub.restore(backup)
        await bus.tell(f"rmm.down.{SITE}", hub.sealed_receipt())
        await asyncio.sleep(0.05)
        assert await forwarder.drain(5)
    assert set(hub.state.rows) == {f"hq/0/e1/{number}" for number in range(1, 32)}


async def test_receipts_of_somebody_else_are_not_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bus = MemoryBus()
    other = Hub("branch")
    async with forwarding(bus, tmp_path) as forwarder:
        while not forwarder.reached:
            await asyncio.sleep(0.01)
        await forwarder.append([item(observation(1))])
        await asyncio.sleep(0.05)
        for data in (b"", b"rubbish", other.sealed_receipt()):
            await bus.tell(f"rmm.down.{SITE}", data)
        assert not await forwarder.drain(0.1)
    assert sum("a receipt is not taken" in one.message for one in caplog.records) == 1


async def test_it_says_how_it_stands(tmp_path: Path) -> None:
    bus = MemoryBus()
    async with bus.hear(f"rmm.beat.{SITE}") as told, forwarding(bus, tmp_path) as forwarder:
        first = msgspec.json.decode((await anext(told)).data, type=Beat)
        assert (first.site, first.collector, first.spooled) == (SITE, COLLECTOR, 0)
        await forwarder.append([item(observation(n), ALERTS) for n in (1, 2)])
        beat = await forwarder._described()
    assert (beat.spooled, beat.oldest, beat.dropped) == (2, START, 0)
    assert beat.spool_bytes > 0


async def test_large_observations_go_in_several_envelopes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.site.forwarder.MOST_RAW", 100_000)
    bus, hub = Flaky(MemoryBus()), Hub()
    async with serving(hub, bus._bus), forwarding(bus, tmp_path) as forwarder:
        await forwarder.append([item(observation(n, size=60_000)) for n in range(1, 11)])
        assert await forwarder.drain(5)
    assert len(hub.state.rows) == 10
    assert bus.published >= 10


async def test_a_log_that_was_begun_anew_is_forwarded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bus, hub = MemoryBus(), Hub()
    async with serving(hub, bus), open_outgoing(tmp_path, SITE, SiteSettings()) as outgoing:
        forwarder = forwarder_of(bus, outgoing)
        task = asyncio.create_task(forwarder.run())
        await forwarder.append([item(observation(1))])
        assert await forwarder.drain(5)
        path = tmp_path / "outgoing" / "hq.sqlite"
        outgoing._opened._shelf._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[attr-defined]
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        outgoing._opened._shelf._db.execute("PRAGMA cache_size = 0")  # type: ignore[attr-defined]
        await forwarder.append([item(observation(2))])
        assert outgoing.opened == 2
        assert await forwarder.drain(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert set(hub.state.rows) == {"hq/0/e1/1", "hq/0/e1/2"}
    assert "damaged" in caplog.text
