"""A hub and sites over a real nats-server: what is sent is committed, and four faults are four alerts, each once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import nats_servers
import pytest
from hubside import AT_ONCE, CPU, KEYS, Keys, Receiver, Site, observation, plan, rows, running, until

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.provision import make_streams
from rmm.channels.memory import MemoryChannel
from rmm.coordinator import SitesCoordinator
from rmm.core.alerting.link import Limits
from rmm.hub import rounds, watch
from rmm.hub.hub import Hub
from rmm.loop import SystemClock
from rmm.model.envelope import Marks
from rmm.ports import Bus
from rmm.settings.rules import shipped_rules

SITES = ("berlin", "lyon")
OWNERS = {f"{site}-{n}": site for site in SITES for n in range(12)}


async def beating(bus: Bus, site: Site, behind: dict[str, float]) -> None:
    """A collector that says what it is, until it is cancelled."""
    while True:
        at = SystemClock().now()
        late = behind.get(site.id, 0.0)
        await bus.tell(*site.beat(at, oldest=at - timedelta(seconds=late) if late else None))
        await asyncio.sleep(0.1)


@asynccontextmanager
async def at_work(
    bus: Bus, sites: dict[tuple[str, str], Site], behind: dict[str, float]
) -> AsyncIterator[dict[tuple[str, str], asyncio.Task[None]]]:
    tasks = {key: asyncio.create_task(beating(bus, site, behind)) for key, site in sites.items()}
    try:
        yield tasks
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.timeout(90)
async def test_four_faults_over_a_real_broker(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TICK_S", 0.2)
    monkeypatch.setattr(rounds, "LOOK_S", 0.1)
    clock, channel = SystemClock(), MemoryChannel("memory")
    limits = Limits(silent_after=1.5, slow_after=2.0, spool_bytes=1 << 30)
    sites = {place: Site(keys, *place) for place in keys.of}
    behind: dict[str, float] = {}
    heard = Receiver(keys)
    with nats_servers.server() as broker:
        async with contextlib.AsyncExitStack() as stack:
            bus = await stack.enter_async_context(open_bus(Login(urls=(broker.url,))))
            outside = await stack.enter_async_context(open_bus(Login(urls=(broker.url,))))
            await make_streams(bus.link, sites=SITES, replicas=1)
            folding = await stack.enter_async_context(
                SitesCoordinator.open(
                    tmp_path, rules=shipped_rules(), keys=KEYS, channels=[channel], clock=clock, settings=AT_ONCE
                )
            )
            made = plan(SITES, OWNERS, clock, limits=limits)
            hub = await stack.enter_async_context(Hub.open(tmp_path, folding, made, keys.trust, clock))
            await stack.enter_async_context(running(hub, bus))
            tasks = await stack.enter_async_context(at_work(outside, sites, behind))
            listening = asyncio.create_task(heard.listen(outside))
            stack.callback(listening.cancel)

            def told() -> list[tuple[str, str]]:
                return [(alert.rule, alert.endpoint or alert.row) for one in channel.sent for alert in one.alerts]

            async def polls(name: str, seq: int, minutes: float, down: str = "") -> None:
                site = sites[name, "c1"]
                first = len(site.entries)
                at = clock.now() - timedelta(minutes=minutes)
                for endpoint in (one for one, owner in OWNERS.items() if owner == name):
                    status = "UNREACHABLE" if endpoint == down else "OK"
                    site.observe(observation(name, endpoint, at, seq, status=status))
                site.round_over(at)
                await outside.publish(site.subject, site.sealed(site.entries[first:]))
                await until(lambda: heard.marks(site) == Marks(site.entries[-1].seq))

            await polls("lyon", 1, 4)
            await polls("berlin", 1, 4, down="berlin-3")
            await polls("berlin", 2, 1, down="berlin-3")
            await until(lambda: ("endpoint_unreachable", "berlin-3") in told())
            tasks["berlin", "c2"].cancel()
            await until(lambda: ("collector_down", "berlin/c2") in told())
            behind["berlin"] = 100.0
            await until(lambda: ("link_slow", "berlin/c1") in told())
            tasks["lyon", "c1"].cancel()
            await until(lambda: ("site_down", "lyon") in told())
            await asyncio.sleep(2)
            assert sorted(told()) == [
                ("collector_down", "berlin/c2"), ("endpoint_unreachable", "berlin-3"), ("link_slow", "berlin/c1"),
                ("site_down", "lyon"),
            ]  # fmt: skip
            await until(lambda: broker.monitor("jsz")["messages"] == 0)  # what is committed is not kept
    assert rows(tmp_path, "SELECT DISTINCT status FROM endpoint WHERE site = 'lyon'") == [("SITE_DOWN",)]


@pytest.mark.timeout(60)
async def test_a_condition_at_a_site_reaches_a_channel_in_five_seconds(tmp_path: Path, keys: Keys) -> None:
    clock, channel = SystemClock(), MemoryChannel("memory")
    site = Site(keys, "berlin")
    with nats_servers.server() as broker:
        async with (
            open_bus(Login(urls=(broker.url,))) as bus,
            open_bus(Login(urls=(broker.url,))) as outside,
            SitesCoordinator.open(
                tmp_path, rules=[*shipped_rules(), CPU], keys=KEYS, channels=[channel], clock=clock, settings=AT_ONCE
            ) as folding,
        ):
            await make_streams(bus.link, sites=SITES, replicas=1)
            made = plan(SITES, OWNERS, clock)
            async with Hub.open(tmp_path, folding, made, keys.trust, clock) as hub, running(hub, bus):
                for seq, (endpoint, status, busy) in enumerate(
                    (("berlin-1", "OK", 99.0), ("berlin-2", "UNREACHABLE", 0.0), ("berlin-2", "UNREACHABLE", 0.0))
                ):
                    # The second poll of an endpoint that does not answer confirms it, and the end of the round tells.
                    at = clock.now() - timedelta(seconds=70 if seq == 1 else 0)
                    site.observe(observation("berlin", endpoint, at, seq + 1, status=status, busy=busy))
                site.round_over(clock.now())
                began = clock.monotonic()
                await outside.publish(site.subject, site.sealed())
                await until(lambda: sum(len(one.alerts) for one in channel.sent) == 2, within=15)
                took = clock.monotonic() - began
    assert took < 5.0
