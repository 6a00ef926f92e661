"""The forwarder over the memory bus, with the log on disk: nothing lost, nothing doubled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from model_hub import COLLECTOR, HUB_KEY, SITE, SITE_KEY, START, Hub, Time, beat, observation, serving

from rmm.bus.memory import MemoryBus
from rmm.core.outgoing import glance
from rmm.errors import BusError
from rmm.model.envelope import Beat
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.settings import SiteSettings
from rmm.site.forwarder import Forwarder
from rmm.tiers.outgoing import OutgoingLog, open_outgoing, spooled_at


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
