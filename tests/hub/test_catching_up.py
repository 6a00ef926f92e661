"""A site comes back after hours: through its forwarder and a hub what is old is late, marked so, and no storm."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import (
    SITES,
    START,
    Keys,
    Site,
    Time,
    checksum,
    coordinator,
    embedded,
    fleet,
    observation,
    plan,
    rows,
    running,
)

from rmm.bus.memory import MemoryBus
from rmm.channels.memory import MemoryChannel
from rmm.core.outgoing import glance
from rmm.hub.hub import Hub
from rmm.model.envelope import Beat
from rmm.model.observation import Observation, encode_observation
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.rule import Alert
from rmm.model.settings import SiteSettings
from rmm.site.forwarder import Forwarder
from rmm.tiers.outgoing import MemoryShelf, in_memory

ROUNDS = 36  # of five minutes
OWNERS = {f"lyon-{n}": "lyon" for n in range(3)}


def outage() -> list[Observation]:
    """Three hours: 0 is well, 1 was busy for half an hour, 2 is busy since the second hour."""
    made = []
    for number in range(ROUNDS):
        for place, endpoint in enumerate(OWNERS):
            busy = (place == 1 and 10 <= number < 16) or (place == 2 and number >= 18)
            at = START + timedelta(minutes=5 * number, seconds=place)
            made.append(observation("lyon", endpoint, at, 3 * number + place + 1, busy=97.0 if busy else 12.0))
    return made


def alerts(data: Path) -> dict[str, Alert]:
    """All of CPU, by endpoint."""
    found = [msgspec.json.decode(row[0], type=Alert) for row in rows(data, "SELECT body FROM alert")]
    return {one.endpoint: one for one in found if one.rule == "cpu_high"}


class Wall:
    """The site's clock: its days are the test's, its seconds those of the loop."""

    def __init__(self, clock: Time) -> None:
        self.now = clock.now

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


async def caught_up(bus: MemoryBus, site: Site, keys: Keys, clock: Time, items: list[Item]) -> None:
    log = in_memory(MemoryShelf(), SiteSettings(rate=1e6))
    await log.start()
    beat = Beat(site=site.id, collector=site.collector, at=clock.at, version="1", started_at=START)
    await log.append(items)
    forwarder = Forwarder(
        bus, log, site=site.id, collector=site.collector, sign=site.sign, verify=keys.hub.verify, clock=Wall(clock),
        settings=SiteSettings(rate=1e6), describe=lambda: beat,
    )  # fmt: skip
    task = asyncio.create_task(forwarder.run())
    try:
        assert await forwarder.drain(30)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await log.aclose()


def item(one: Observation, graded: Any) -> Item:
    data = encode_observation(one)
    grade = ALERTS if one.seq in graded else METRICS
    return Item(id=one.id, body=data, at=one.observed_at, grade=grade, endpoint=glance(data).endpoint)


@pytest.mark.databases("sqlite", "postgres")
async def test_what_is_old_is_evaluated_on_its_own_time_line_and_marked_late(
    tmp_path: Path, clock: Time, keys: Keys, channel: MemoryChannel
) -> None:
    observations, site, bus = outage(), Site(keys, "lyon"), MemoryBus()
    clock.at = START + timedelta(minutes=5 * ROUNDS - 4)
    data = tmp_path / "hub"
    async with (
        coordinator(data, clock, channel) as folding,
        Hub.open(data, folding, plan(SITES, OWNERS, clock), keys.trust, clock) as opened,
    ):
        async with running(opened, bus):
            begins = {one.seq for one in observations if one.seq in (32, 50, 57)}
            await caught_up(bus, site, keys, clock, [item(one, begins) for one in observations])
        for _ in range(2):  # time for what came late, and for a site that sends no end of a round
            clock.add(minutes=3)
            await opened.rounds.look()
        await folding.delivery.settle()
    found = alerts(data)
    assert set(found) == {"lyon-1", "lyon-2"}
    over, live = found["lyon-1"], found["lyon-2"]
    assert (over.late, over.state) == (True, "resolved")
    assert live.state == "firing"
    assert over.first_at == START + timedelta(minutes=50, seconds=1)
    assert live.first_at == START + timedelta(minutes=90, seconds=2)
    # Nothing is lost or doubled by that.
    await embedded(tmp_path / "alone", clock, observations)
    assert checksum(data, SITES) == checksum(tmp_path / "alone", SITES)
    assert fleet(data) == fleet(tmp_path / "alone")
    unbroken = alerts(tmp_path / "alone")
    assert [(one.first_at, one.resolved_at) for one in (over, live)] == [
        (one.first_at, one.resolved_at) for one in (unbroken["lyon-1"], unbroken["lyon-2"])
    ]  # fmt: skip
    told = [(sent.kind, one.endpoint, one.late) for sent in channel.sent for one in sent.alerts]
    assert [one[:2] for one in told if one[1] == "lyon-2"] == [("firing", "lyon-2")]  # what holds, once
    assert all(late for _, endpoint, late in told if endpoint == "lyon-1")
