"""What sites send is kept exactly once, however often and in whatever order it comes."""

from __future__ import annotations

import asyncio
import random
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hubside import (
    OWNERS,
    SITES,
    START,
    Keys,
    Receiver,
    Site,
    Time,
    acts,
    checksum,
    embedded,
    fleet,
    hub,
    idle,
    observation,
    observed,
    plan,
    rows,
    running,
    until,
)

from rmm.bus.memory import MemoryBus
from rmm.coordinator import facts, service
from rmm.core.sealing import open_receipt
from rmm.errors import RmmError, TierError
from rmm.hub import ingest
from rmm.model.envelope import Marks
from rmm.model.incident import Act
from rmm.model.observation import Observation, encode_observation
from rmm.tiers.store.backup import backup


def sites(keys: Keys, observations: list[Observation]) -> list[Site]:
    made = {site: Site(keys, site) for site in SITES}
    for one in observations:
        made[one.site].observe(one)
    return list(made.values())


pytestmark = pytest.mark.databases("sqlite", "postgres")


async def delivered(bus: MemoryBus, senders: list[Site], envelopes: list[tuple[str, bytes]], heard: Receiver) -> None:
    """Publish, and wait until receipts cover all of it."""
    listening = asyncio.create_task(heard.listen(bus))
    try:
        for subject, data in envelopes:
            await bus.publish(subject, data)
        await until(lambda: all(heard.marks(one) == Marks(one.entries[-1].seq) for one in senders))
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


@pytest.mark.parametrize("how", ["once", "thrice", "shuffled"])
async def test_equal_to_an_unbroken_embedded_run(tmp_path: Path, clock: Time, keys: Keys, how: str) -> None:
    clock.add(minutes=26)
    observations = observed()
    senders = sites(keys, observations)
    envelopes = [(one.subject, data) for one in senders for data in one.envelopes()]
    if how != "once":
        envelopes = envelopes * 3
    if how == "shuffled":
        random.Random(7).shuffle(envelopes)
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path / "hub", clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        await delivered(bus, senders, envelopes, heard)
        await until(lambda: idle(bus))
    await embedded(tmp_path / "alone", clock, observations)
    assert checksum(tmp_path / "hub", SITES) == checksum(tmp_path / "alone", SITES)
    assert fleet(tmp_path / "hub") == fleet(tmp_path / "alone")
    alerts = "SELECT key, state FROM alert ORDER BY key"
    if how != "shuffled":
        assert rows(tmp_path / "hub", alerts) == rows(tmp_path / "alone", alerts)
    assert len(rows(tmp_path / "hub", "SELECT 1 FROM notification")) == 1


async def test_bad_envelopes_are_counted_told_once_and_stop_nothing(
    tmp_path: Path, clock: Time, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    observations = observed(1)
    berlin, lyon = sites(keys, observations)
    stranger = Site(Keys(("berlin", "c1")), "berlin")
    for one in observations:
        if one.site == "berlin":
            stranger.observe(one)
    good = lyon.sealed()
    torn = bytearray(berlin.sealed())
    torn[len(torn) // 2] ^= 1
    keys.revoked.add(("berlin", "c2"))
    revoked = Site(keys, "berlin", "c2")
    revoked.observe(observations[0])
    bad = {
        "envelope.site": [("rmm.up.berlin", good), ("rmm.up.berlin", revoked.sealed()), ("rmm.up.berlin", good)],
        "envelope.signature": [("rmm.up.berlin", stranger.sealed()), ("rmm.up.berlin", bytes(torn))],
        "envelope.format": [("rmm.up.berlin", b""), ("rmm.up.berlin", b"\x81\xa4" + bytes(500))],
        "envelope.schema": [("rmm.up.berlin", berlin.sealed(schema=9))],
        "envelope.size": [("rmm.up.berlin", bytes(600_000))],
    }
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        for subject, data in [*(one for some in bad.values() for one in some), ("rmm.up.paris", good)]:
            await bus.publish(subject, data)
        await delivered(bus, [lyon, berlin], [("rmm.up.lyon", good), ("rmm.up.berlin", berlin.sealed())], heard)
        await until(lambda: idle(bus))
    found = dict(rows(tmp_path, "SELECT reason, number FROM site_refused WHERE site = 'berlin'"))
    assert found == {reason: len(some) for reason, some in bad.items()}
    assert heard.newest["berlin"].refused == found
    assert rows(tmp_path, "SELECT reason, number FROM site_refused WHERE site = 'unknown'") == [("envelope.site", 1)]
    found_acts = [(one.who, one.what, one.reason) for one in acts(tmp_path)]
    assert sorted(found_acts) == sorted(("hub", "refused", reason) for reason in [*bad, "envelope.site"])
    told = [one for one in caplog.records if "refused of site berlin" in one.getMessage()]
    assert len(told) == len(bad)


async def test_bad_entries_are_refused_alone_and_their_numbers_count(tmp_path: Path, clock: Time, keys: Keys) -> None:
    at = START
    site = Site(keys, "berlin")
    site.observe(observation("berlin", "berlin-0", at, 1))
    site.observe(observation("lyon", "lyon-0", at, 2))  # another site's
    site.observe(observation("berlin", "lyon-1", at, 3))  # another site's endpoint
    site.add("observation", b"{", at)
    site.add("observation", b"\xff\xfe", at)
    site.observe(observation("berlin", "../../etc", at, 4))
    site.add("observation", encode_observation(observation("berlin", "berlin-1", at.replace(tzinfo=None), 5)), at)
    site.add("audit", b"[]", at)
    site.add("round", b"nothing", at)
    site.add("of a newer version", b"???", at)
    site.add("dropped", b"", at, count=40)
    site.observe(observation("berlin", "berlin-2", at, 6))
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        listening = asyncio.create_task(heard.listen(bus))
        await bus.publish(site.subject, site.sealed())
        await until(lambda: heard.marks(site) == Marks(51))
        listening.cancel()
    assert [row[0] for row in rows(tmp_path, "SELECT id FROM endpoint ORDER BY id")] == ["berlin-0", "berlin-2"]
    found = dict(rows(tmp_path, "SELECT reason, number FROM site_refused"))
    assert found == {"entry.site": 2, "entry.format": 5, "entry.endpoint": 1}


async def test_what_a_stale_holder_wrote_after_the_next_one_had_begun_is_refused(
    tmp_path: Path, clock: Time, keys: Keys
) -> None:
    old, new = Site(keys, "berlin", "c1"), Site(keys, "berlin", "c2")
    old.observe(observation("berlin", "berlin-0", START, 1), fence=3)
    new.observe(observation("berlin", "berlin-0", START + timedelta(minutes=5), 2), fence=8)
    old.observe(observation("berlin", "berlin-1", START + timedelta(minutes=4), 3), fence=3)  # late, and welcome
    old.observe(observation("berlin", "berlin-2", START + timedelta(minutes=6), 4), fence=3)  # after the new one began
    bus, heard = MemoryBus(), Receiver(keys)
    for attempt in range(2):  # also by another process, which has it from the database
        async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
            listening = asyncio.create_task(heard.listen(bus))
            for sender, entries in ((old, old.entries[:1]), (new, new.entries), (old, old.entries[1:])):
                await bus.publish(sender.subject, sender.sealed(entries))
            await until(lambda: heard.marks(old) == Marks(3) and heard.marks(new) == Marks(1))
            if attempt:
                old.observe(observation("berlin", "berlin-3", START + timedelta(minutes=7), 5), fence=3)
                await bus.publish(old.subject, old.sealed(old.entries[3:]))
                await until(lambda: heard.marks(old) == Marks(4))
            listening.cancel()
    assert [row[0] for row in rows(tmp_path, "SELECT id FROM endpoint ORDER BY id")] == ["berlin-0", "berlin-1"]
    assert rows(tmp_path, "SELECT number FROM site_refused WHERE reason = 'lease.stale'") == [(2,)]
    assert rows(tmp_path, "SELECT fence, since, collector FROM site_lease WHERE fence > 3") == [
        (8, "2026-03-01T12:05:00.000000+00:00", "c2")
    ]


async def test_gaps_are_asked_for_and_sites_are_told_when_they_ask(tmp_path: Path, clock: Time, keys: Keys) -> None:
    site = Site(keys, "berlin")
    for number in range(10):
        site.observe(observation("berlin", "berlin-0", START + timedelta(seconds=number), number + 1))
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        listening = asyncio.create_task(heard.listen(bus))
        await until(lambda: set(heard.newest) == set(SITES))  # at the start, all of them
        await bus.publish(site.subject, site.sealed(site.entries[8:]))
        await bus.publish(site.subject, site.sealed(site.entries[2:4]))
        await until(lambda: heard.marks(site) == Marks(0, ((3, 4), (9, 10))))
        assert heard.newest["berlin"].wanted == {site.epoch: ((1, 2), (5, 8))}
        answer = await bus.ask("rmm.ask.berlin.receipt", b"", timeout_s=2)
        receipt = open_receipt(answer, keys.hub.verify, site="berlin")
        assert receipt.marks == heard.newest["berlin"].marks
        assert receipt.number > heard.newest["berlin"].number
        listening.cancel()


@pytest.mark.databases("sqlite")  # of which the backup is a copy
async def test_a_restored_older_database_gets_what_it_lost(tmp_path: Path, clock: Time, keys: Keys) -> None:
    clock.add(minutes=26)
    observations = observed()
    senders = sites(keys, observations)
    half = [Receiver(keys), Receiver(keys)]
    data, backup = tmp_path / "hub", tmp_path / "backup"
    made = plan(SITES, OWNERS, clock)
    first = [(one.subject, data) for one in senders for data in one.envelopes()[:4]]
    bus = MemoryBus()
    async with hub(data, clock, made, keys.trust) as opened, running(opened, bus):
        for subject, sealed in first:
            await bus.publish(subject, sealed)
        await until(lambda: idle(bus))
    shutil.copytree(data, backup)
    everything = [(one.subject, sealed) for one in senders for sealed in one.envelopes()]
    async with hub(data, clock, made, keys.trust) as opened, running(opened, bus):
        await delivered(bus, senders, everything, half[0])
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    async with hub(data, clock, made, keys.trust) as opened, running(opened, bus):
        heard = half[1]
        listening = asyncio.create_task(heard.listen(bus))
        await until(lambda: set(heard.newest) == set(SITES))
        assert heard.newest["berlin"].hub != half[0].newest["berlin"].hub
        for one in senders:  # what a site does: all that it keeps and that is not covered goes again
            assert heard.marks(one) == Marks(16)
            await bus.publish(one.subject, one.sealed(one.entries[16:]))
        await until(lambda: all(heard.marks(one) == Marks(36) for one in senders))
        listening.cancel()
    await embedded(tmp_path / "alone", clock, observations)
    assert checksum(data, SITES) == checksum(tmp_path / "alone", SITES)
    assert fleet(data) == fleet(tmp_path / "alone")


async def test_a_flooding_site_leaves_the_others_their_share(tmp_path: Path, clock: Time, keys: Keys) -> None:
    flood, calm = Site(keys, "berlin"), Site(keys, "lyon")
    for number in range(400):
        flood.observe(observation("berlin", f"berlin-{number % 6}", START + timedelta(seconds=number), number + 1))
    for number in range(40):
        calm.observe(observation("lyon", f"lyon-{number % 6}", START + timedelta(seconds=number), number + 1))
    bus, heard = MemoryBus(), Receiver(keys)
    made = plan(SITES, OWNERS, clock, rate=lambda _: 5.0)
    for sealed in flood.envelopes(2):  # all of it is there before
        await bus.publish(flood.subject, sealed)
    async with hub(tmp_path, clock, made, keys.trust) as opened, running(opened, bus):
        await delivered(bus, [calm], [(calm.subject, sealed) for sealed in calm.envelopes(2)], heard)
        assert heard.marks(flood).high < 120  # its burst of ten seconds, and what it went into debt for
        assert not idle(bus)


async def test_a_full_disk_takes_nothing_says_so_once_and_goes_on(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "AGAIN_S", 0.05)
    full = True
    told: list[RmmError | None] = []

    def room() -> None:
        if full:
            raise TierError("no room", code="disk.full")

    site = Site(keys, "berlin")
    for number in range(8):
        site.observe(observation("berlin", "berlin-0", START + timedelta(seconds=number), number + 1))
    bus, heard = MemoryBus(), Receiver(keys)
    made = plan(SITES, OWNERS, clock, room=room)
    async with (
        hub(tmp_path, clock, made, keys.trust, on_trouble=told.append) as opened,
        running(opened, bus),
    ):
        listening = asyncio.create_task(heard.listen(bus))
        for sealed in site.envelopes(2):
            await bus.publish(site.subject, sealed)
        await until(lambda: bool(told))
        await asyncio.sleep(0.4)
        assert [one.code for one in told if one] == ["disk.full"]
        assert heard.marks(site) == Marks()
        assert not idle(bus)
        full = False
        await until(lambda: heard.marks(site) == Marks(8))
        assert told[1:] == [None]
        listening.cancel()


async def test_one_observation_that_breaks_the_fold_stops_nothing(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = facts.facts_of

    def facts_of(one: Observation, before: dict[str, object]) -> dict[str, object]:
        if one.endpoint == "berlin-3":
            raise ZeroDivisionError("a defect")
        return real(one, before)

    monkeypatch.setattr(service, "facts_of", facts_of)
    site = Site(keys, "berlin")
    for number in range(6):
        site.observe(observation("berlin", f"berlin-{number}", START, number + 1))
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        await delivered(bus, [site], [(site.subject, site.sealed())], heard)
    assert len(rows(tmp_path, "SELECT id FROM endpoint")) == 5
    assert rows(tmp_path, "SELECT reason, number FROM site_refused") == [("internal", 1)]


async def test_what_people_did_at_a_site_is_in_the_audit_log_once(tmp_path: Path, clock: Time, keys: Keys) -> None:
    site = Site(keys, "berlin")
    act = Act(at=START, who="ada", what="ack", key="cpu_high|berlin-0|", reason="known")
    site.add("audit", msgspec.json.encode(act), START)
    bus = MemoryBus()
    for _ in range(2):
        async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
            for _ in range(3):
                await delivered(bus, [site], [(site.subject, site.sealed())], Receiver(keys))
                await until(lambda: idle(bus))
            clock.add(seconds=30)
            await opened.rounds.look()  # which tells channels what people did here
    found = [(one.what, one.who, one.detail) for one in acts(tmp_path)]
    assert found == [("ack (site)", "ada at berlin", "cpu_high|berlin-0|")]


@pytest.mark.databases("sqlite")
async def test_a_backup_has_what_is_on_its_way_into_history(tmp_path: Path, clock: Time, keys: Keys) -> None:
    clock.add(minutes=26)
    observations = observed()
    senders = sites(keys, observations)
    everything = [(one.subject, sealed) for one in senders for sealed in one.envelopes()]
    bus, heard = MemoryBus(), Receiver(keys)
    data, copied, config = tmp_path / "hub", tmp_path / "backup", tmp_path / "config"
    config.mkdir()
    async with hub(data, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        await delivered(bus, senders, everything, heard)
        assert list(data.rglob("in-0/*.spool"))  # committed, and not in history yet
        await asyncio.to_thread(backup, data, config, copied)
    async with hub(copied / "data", clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        assert not list((copied / "data").rglob("in-0/*.spool"))
    await embedded(tmp_path / "alone", clock, observations)
    assert checksum(copied / "data", SITES) == checksum(tmp_path / "alone", SITES)
    assert fleet(copied / "data") == fleet(tmp_path / "alone")
