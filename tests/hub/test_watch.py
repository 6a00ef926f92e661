"""Four faults, four alerts, each once; and no fault where the hub itself was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import START, Given, Keys, Site, Time, coordinator, observation, plan, rows, watch_of

from rmm.channels.memory import MemoryChannel
from rmm.hub.hub import Hub
from rmm.model.envelope import Beat
from rmm.ports import Told

OWNERS = {f"{site}-{n}": site for site in ("berlin", "lyon") for n in range(12)}

pytestmark = pytest.mark.databases("sqlite", "postgres")


class World:
    """A hub, and sites that beat, poll and are cut off as the test says; time passes in ticks of two seconds."""

    def __init__(self, hub: Hub, folding: Any, clock: Time, channel: MemoryChannel, keys: Keys) -> None:
        self.hub, self.folding, self.clock, self.channel = hub, folding, clock, channel
        self.sites = {(one.id, one.collector): one for one in (Site(keys, *place) for place in keys.of)}
        self.silent: set[tuple[str, str]] = set()
        self.away = False  # the hub from its broker
        self.more: dict[tuple[str, str], dict[str, Any]] = {}
        self.seq = 0

    async def passes(self, seconds: float) -> None:
        for _ in range(round(seconds / 2)):
            self.clock.add(seconds=2)
            if not self.away:
                watch_of(self.hub).feel()
                for key, site in self.sites.items():
                    if key not in self.silent:
                        self.beats(site, **self.more.get(key, {}))
            await watch_of(self.hub).look()
            await self.hub.rounds.look()
        await self.folding.delivery.settle()

    def beats(self, site: Site, *, waits: float = 0.0, **more: Any) -> None:
        at = self.clock.at + timedelta(seconds=more.pop("ahead", 0.0))
        oldest = at - timedelta(seconds=waits) if waits else None
        watch_of(self.hub).hear(Told(*site.beat(at, oldest=oldest, **more)))

    async def polls(self, name: str, *, down: tuple[str, ...] = ()) -> None:
        """A round of a site reaches the hub."""
        site = self.sites[name, "c1"]
        before = len(site.entries)
        for endpoint in (one for one, owner in OWNERS.items() if owner == name):
            self.seq += 1
            status = "UNREACHABLE" if endpoint in down else "OK"
            site.observe(observation(name, endpoint, self.clock.at, self.seq, status=status))
        site.round_over(self.clock.at)
        given = Given(site.subject, site.sealed(site.entries[before:]))
        await self.hub.ingest.take([given])
        assert given.acked
        await self.hub.rounds.look()

    def told(self) -> list[tuple[str, str, str]]:
        """(kind, rule, row or endpoint) of all that channels were told."""
        found = []
        for one in self.channel.sent:
            found += [(one.kind, alert.rule, alert.endpoint or alert.row) for alert in one.alerts]
        return found


@pytest.fixture
async def world(tmp_path: Path, clock: Time, channel: MemoryChannel, keys: Keys) -> AsyncIterator[World]:
    made = plan(("berlin", "lyon"), OWNERS, clock)
    async with (
        coordinator(tmp_path, clock, channel) as folding,
        Hub.open(tmp_path, folding, made, keys.trust, clock) as hub,
    ):
        yield World(hub, folding, clock, channel, keys)


async def test_four_faults_are_four_alerts_each_once(world: World, tmp_path: Path) -> None:
    await world.passes(10)
    for name in ("berlin", "lyon"):
        await world.polls(name)
    await world.passes(200)
    assert world.told() == []

    for _ in range(2):  # a host is down, and the link holds
        await world.polls("berlin", down=("berlin-3",))
        await world.passes(70)
    assert world.told() == [("firing", "endpoint_unreachable", "berlin-3")]
    world.silent.add(("berlin", "c2"))  # one of two collectors
    await world.passes(300)
    assert world.told()[1:] == [("firing", "collector_down", "berlin/c2")]
    world.more["berlin", "c1"] = {"waits": 500.0, "spooled": 900}  # the link of berlin carries too little
    await world.passes(600)
    assert world.told()[2:] == [("firing", "link_slow", "berlin/c1")]
    world.silent.add(("lyon", "c1"))  # and all of lyon is silent
    await world.passes(600)
    assert world.told()[3:] == [("firing", "site_down", "lyon")]
    shown = rows(tmp_path, "SELECT DISTINCT site, status, health FROM endpoint WHERE id != 'berlin-3' ORDER BY site")
    assert [row[:2] for row in shown] == [("berlin", "OK"), ("lyon", "SITE_DOWN")]
    assert shown[1][2] == "Unknown"
    assert rows(tmp_path, "SELECT status FROM endpoint WHERE id = 'berlin-3'") == [("UNREACHABLE",)]

    world.silent.clear()
    world.more.clear()
    await world.passes(20)
    await world.polls("berlin")
    await world.polls("lyon")
    await world.passes(200)
    over = world.told()[4:]
    assert sorted(over) == [
        ("resolved", "collector_down", "berlin/c2"), ("resolved", "endpoint_unreachable", "berlin-3"),
        ("resolved", "link_slow", "berlin/c1"), ("resolved", "site_down", "lyon"),
    ]  # fmt: skip
    assert rows(tmp_path, "SELECT DISTINCT status FROM endpoint") == [("OK",)]


async def test_sites_are_not_down_because_the_hub_was_away(world: World) -> None:
    await world.passes(100)
    world.away = True
    await world.passes(3600)
    world.away = False
    world.silent.update(world.sites)  # they need a while to come back
    await world.passes(80)
    assert world.told() == []
    world.silent.discard(("lyon", "c1"))
    await world.passes(30)
    assert world.told() == [("firing", "site_down", "berlin")]


async def test_a_hub_that_stood_still_judges_nobody_at_once(world: World) -> None:
    await world.passes(100)
    world.clock.add(hours=1)
    world.silent.update(world.sites)
    await world.passes(80)
    assert world.told() == []


async def test_alerts_outlive_a_restart_of_the_hub_and_are_not_told_again(
    world: World, tmp_path: Path, clock: Time, channel: MemoryChannel, keys: Keys
) -> None:
    await world.passes(20)
    world.silent.update({("lyon", "c1"), ("berlin", "c2")})
    await world.passes(200)
    told = sorted(world.told())
    assert told == [("firing", "collector_down", "berlin/c2"), ("firing", "site_down", "lyon")]
    async with (
        coordinator(tmp_path, clock, channel) as folding,
        Hub.open(tmp_path, folding, plan(("berlin", "lyon"), OWNERS, clock), keys.trust, clock) as hub,
    ):
        world.hub, world.folding = hub, folding
        await world.passes(400)
        assert sorted(world.told()) == told
        world.silent.clear()
        await world.passes(20)
        assert sorted(world.told()[2:]) == [
            ("resolved", "collector_down", "berlin/c2"), ("resolved", "site_down", "lyon"),
        ]  # fmt: skip


async def test_what_waits_and_gets_less_is_no_slow_link(world: World) -> None:
    world.silent.add(("lyon", "c1"))
    await world.passes(200)
    world.silent.clear()
    for minute in range(60):  # six hours behind, ten times as fast as time passes
        world.more["lyon", "c1"] = {"waits": max(0.0, 21_600 - 540.0 * minute), "spooled": 100}
        await world.passes(60)
    assert world.told() == []


async def test_clock_certificate_and_spool_of_a_collector(world: World) -> None:
    await world.passes(20)
    ends = world.clock.at + timedelta(days=10)
    world.more["lyon", "c1"] = {"ahead": -75.0, "expires_at": ends, "spool_bytes": 4 << 30, "dropped": 3}
    await world.passes(60)
    assert sorted(world.told()) == [
        ("firing", "collector_certificate", "lyon/c1"), ("firing", "collector_offset", "lyon/c1"),
        ("firing", "collector_spool", "lyon/c1"),
    ]  # fmt: skip
    world.more["lyon", "c1"] = {"ahead": -45.0, "expires_at": ends + timedelta(days=80), "dropped": 3}
    await world.passes(30)  # its clock is not right yet, and what was given up is not forgotten yet
    assert sorted(world.told()[3:]) == [("resolved", "collector_certificate", "lyon/c1")]
    world.more["lyon", "c1"] = {"dropped": 3}
    await world.passes(920)
    assert sorted(world.told()[4:]) == [
        ("resolved", "collector_offset", "lyon/c1"), ("resolved", "collector_spool", "lyon/c1"),
    ]  # fmt: skip


async def test_a_restart_is_no_new_loss(world: World) -> None:
    """Also of a collector one version older, which counts over its starts; what is lost after one is told."""
    await world.passes(20)
    world.more["lyon", "c1"] = {"dropped": 3}
    await world.passes(20)
    assert world.told() == [("firing", "collector_spool", "lyon/c1")]
    await world.passes(1000)
    assert world.told()[1:] == [("resolved", "collector_spool", "lyon/c1")]
    began = world.clock.at
    for dropped in (3, 0):  # ever, and since the start
        world.more["lyon", "c1"] = {"dropped": dropped, "started_at": began + timedelta(seconds=dropped)}
        await world.passes(60)
    assert len(world.told()) == 2
    world.more["lyon", "c1"] = {"dropped": 1, "started_at": began}
    await world.passes(20)
    assert world.told()[2:] == [("firing", "collector_spool", "lyon/c1")]


async def test_a_start_that_was_not_heard_before_it_lost_something_is_told_of(world: World) -> None:
    world.more["lyon", "c1"] = {"dropped": 3}
    await world.passes(20)
    await world.passes(1000)
    world.silent.add(("lyon", "c1"))
    await world.passes(60)
    world.silent.clear()
    world.more["lyon", "c1"] = {"dropped": 2, "started_at": world.clock.at}
    await world.passes(20)
    assert [one[0] for one in world.told()] == ["firing", "resolved", "firing"]


async def test_how_much_may_wait_is_what_the_site_says(world: World) -> None:
    await world.passes(20)
    world.more["lyon", "c1"] = {"spool_bytes": 900_000, "spool_limit": 1_000_000}  # the hub has 4 GB
    world.more["berlin", "c1"] = {"spool_bytes": 5 << 30, "spool_limit": 100 << 30}
    await world.passes(20)
    assert world.told() == [("firing", "collector_spool", "lyon/c1")]
    (alert,) = world.channel.sent[0].alerts
    assert "0.9 MB of 1.0 MB wait" in alert.summary
    world.more["berlin", "c2"] = {"spool_bytes": 5 << 30}  # one version older: as the hub is configured
    world.more["lyon", "c1"] = {"spool_bytes": 100_000, "spool_limit": 1_000_000}
    await world.passes(20)
    assert sorted(world.told()[1:]) == [
        ("firing", "collector_spool", "berlin/c2"), ("resolved", "collector_spool", "lyon/c1"),
    ]  # fmt: skip


async def test_a_revoked_collector_has_no_trouble(world: World, keys: Keys) -> None:
    await world.passes(20)
    world.silent.add(("berlin", "c2"))
    await world.passes(200)
    keys.revoked.add(("berlin", "c2"))
    await world.passes(20)
    assert world.told() == [("firing", "collector_down", "berlin/c2"), ("resolved", "collector_down", "berlin/c2")]


async def test_beats_that_are_none_are_refused_and_counted(world: World, tmp_path: Path) -> None:
    good = Beat(site="lyon", collector="c1", at=START, version="1", started_at=START)
    for subject, data in (
        ("rmm.beat.berlin", msgspec.json.encode(good)),
        ("rmm.beat.paris", msgspec.json.encode(good)),
        ("rmm.beat.lyon", b"{"),
        ("rmm.beat.lyon", b"\xff"),
        ("rmm.beat.lyon", bytes(20_000)),
        ("rmm.beat.lyon", msgspec.json.encode(msgspec.structs.replace(good, at=START.replace(tzinfo=None)))),
        ("rmm.beat.lyon", msgspec.json.encode(msgspec.structs.replace(good, collector="c9"))),
    ):
        watch_of(world.hub).hear(Told(subject, data))
    await world.passes(10)  # while nothing else is taken of anybody
    found = rows(tmp_path, "SELECT site, number FROM site_refused WHERE reason = 'beat' ORDER BY site")
    assert found == [("berlin", 1), ("lyon", 5), ("unknown", 1)]


async def test_an_alert_does_not_wait_for_ever_for_the_end_of_a_round(world: World) -> None:
    site = world.sites["berlin", "c1"]
    for seq in range(2):
        world.clock.add(seconds=61)
        site.observe(observation("berlin", "berlin-5", world.clock.at, seq, status="UNREACHABLE"))
    await world.hub.ingest.take([Given(site.subject, site.sealed())])
    await world.polls("lyon")  # another site's round ends
    await world.passes(110)
    assert world.told() == []
    await world.passes(20)
    assert world.told() == [("firing", "endpoint_unreachable", "berlin-5")]


async def test_most_of_a_site_out_of_reach_and_then_silent_is_one_alert(world: World) -> None:
    await world.passes(20)
    down = tuple(one for one, owner in OWNERS.items() if owner == "lyon")
    await world.polls("lyon", down=down)
    await world.passes(20)
    assert world.told() == [("firing", "site_down", "lyon")]
    world.silent.add(("lyon", "c1"))
    await world.passes(300)
    assert len(world.told()) == 1
    world.silent.clear()
    await world.passes(20)
    assert world.told()[1:] == [("resolved", "site_down", "lyon")]


async def test_what_a_collector_found_wrong_with_itself_is_over_when_it_says_so(world: World) -> None:
    site = world.sites["berlin", "c1"]
    stalled = (("collector.stalled", "R0", "hint", "the collector stood still"),)

    async def sends(seq: int, *, over: bool, faults: Any = ()) -> None:
        first = len(site.entries)
        site.observe(observation("berlin", "berlin-0", world.clock.at, seq))
        if over:
            site.round_over(world.clock.at, faults=faults)
        await world.hub.ingest.take([Given(site.subject, site.sealed(site.entries[first:]))])

    await world.passes(10)
    await sends(1, over=True, faults=stalled)
    await world.passes(10)
    assert world.told() == [("firing", "collector_stalled", "berlin")]
    await sends(2, over=False)  # a long round, in the middle of which the site is judged
    await world.passes(200)
    assert len(world.told()) == 1
    await sends(3, over=True)
    await world.passes(10)
    assert world.told()[1:] == [("resolved", "collector_stalled", "berlin")]


async def test_what_waited_for_the_end_of_a_round_when_the_hub_ended_is_told_by_the_next(
    world: World, tmp_path: Path, clock: Time, channel: MemoryChannel, keys: Keys
) -> None:
    site = world.sites["berlin", "c1"]
    await world.passes(10)
    for seq in range(2):
        world.clock.add(seconds=61)
        site.observe(observation("berlin", "berlin-5", world.clock.at, seq, status="UNREACHABLE"))
    await world.hub.ingest.take([Given(site.subject, site.sealed())])
    await world.passes(10)
    async with (
        coordinator(tmp_path, clock, channel) as folding,
        Hub.open(tmp_path, folding, plan(("berlin", "lyon"), OWNERS, clock), keys.trust, clock) as hub,
    ):
        world.hub, world.folding = hub, folding
        await world.passes(100)
        assert world.told() == []
        await world.passes(40)
        assert world.told() == [("firing", "endpoint_unreachable", "berlin-5")]
