"""The hub of a configuration folder: put together, stopped, and what else it does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hubside import Keys, Receiver, Site, checksum, fleet, idle, observation, until

from rmm import hub_run
from rmm.app import App
from rmm.bus.memory import MemoryBus
from rmm.errors import BusError, ConfigError, TierError
from rmm.hub import head
from rmm.hub_run import run_hub
from rmm.model.envelope import Marks
from rmm.ports import Bus
from rmm.settings.load import load_settings
from rmm.tiers import room


@pytest.fixture
def app(tmp_path: Path) -> App:
    config = tmp_path / "config"
    config.mkdir()
    (config / "rmm.yaml").write_text(
        f"data: {tmp_path / 'data'}\nsites:\n  - {{id: berlin, shards: 2}}\n  - {{id: lyon}}\n"
        "reports:\n  schedules:\n    - {id: daily, report: alerts, every: day, at: '00:00', formats: [json]}\n"
    )
    listed = [f"SRV-{n},{site},{site}-{n}" for site in ("berlin", "lyon") for n in range(4)]
    (config / "endpoints.csv").write_text("\n".join(["ComputerName,SiteId,Id", *listed, ""]))
    return App(load_settings(config), lambda: "")


def over(bus: MemoryBus) -> Callable[[], AbstractAsyncContextManager[Bus]]:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Bus]:
        yield bus

    return opened


async def test_what_was_taken_is_in_history_when_it_was_stopped(
    app: App, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_run, "CHORES_S", 0.1)
    schedules = app.data / "reports" / "schedules.json"
    schedules.parent.mkdir(parents=True)
    schedules.write_text('{"daily": {"planned": "2026-01-01T00:00:00Z"}}')
    site = Site(keys, "berlin")
    for number in range(8):
        at = datetime.now(UTC) - timedelta(minutes=8 - number)
        site.observe(observation("berlin", f"berlin-{number % 4}", at, number + 1))
    bus, heard, ready = MemoryBus(), Receiver(keys), asyncio.Event()

    async def greet(_subject: str, question: bytes) -> bytes:
        return b"hello " + question

    hub = asyncio.create_task(run_hub(app, over(bus), keys.trust, answers={"rmm.enroll.*": greet}, ready=ready.set))
    listening = asyncio.create_task(heard.listen(bus))
    await ready.wait()
    for sealed in site.envelopes(2):
        await bus.publish(site.subject, sealed)
    await until(lambda: heard.marks(site) == Marks(8) and idle(bus))
    assert await bus.ask("rmm.enroll.x", b"you", timeout_s=2) == b"hello you"
    await until(lambda: any((app.data / "reports" / "daily").glob("daily-*.json")))
    listening.cancel()
    hub.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hub
    assert not list((app.data / "spool").rglob("in-*/*.spool"))
    assert len(fleet(app.data)) == 4
    assert checksum(app.data, ["berlin"]) != checksum(app.data, ["lyon"])


async def test_that_nothing_can_be_stored_is_told_with_what_to_do(tmp_path: Path) -> None:
    config, told = tmp_path / "told-config", tmp_path / "told"
    config.mkdir()
    (config / "rmm.yaml").write_text(
        f"data: {tmp_path / 'data'}\nsites: [{{id: berlin}}]\nchannels:\n  file: {{type: log, file: {told}}}\n"
    )
    (config / "endpoints.csv").write_text("ComputerName,SiteId\n")
    full = TierError("2 MB are free", code="disk.full", hint=room.HINT)
    async with hub_run._Telling(App(load_settings(config), lambda: "")) as telling:
        telling.trouble(full)
        telling.trouble(None)
        telling.trouble(head._said(full.told))  # as a worker of the hub has it told
        await until(lambda: told.exists() and told.read_text().count("\n") == 2)
    first, second = ({**json.loads(line), "at": ""} for line in told.read_text().splitlines())
    assert f"the hub takes nothing of its sites: 2 MB are free; {room.HINT}" in json.dumps(first)
    assert "defect" not in json.dumps([first, second])
    assert f"2 MB are free; {room.HINT}" in json.dumps(second)


async def test_it_ends_with_its_bus(app: App, keys: Keys) -> None:
    bus, ready = MemoryBus(), asyncio.Event()
    hub = asyncio.create_task(run_hub(app, over(bus), keys.trust, ready=ready.set))
    await ready.wait()
    await asyncio.sleep(0.1)
    await bus.aclose()
    async with asyncio.timeout(10):
        await hub


async def test_what_ends_it_is_told_as_it_was_raised(app: App, keys: Keys) -> None:
    async def fails() -> None:
        raise ConfigError("--listen 127.0.0.1:1: in use")

    with pytest.raises(ConfigError, match="in use"):
        await run_hub(app, over(MemoryBus()), keys.trust, sides=(fails,))

    def broken() -> AbstractAsyncContextManager[Bus]:
        raise BusError("no broker")

    with pytest.raises(BusError, match="no broker"):
        await run_hub(app, broken, keys.trust)
