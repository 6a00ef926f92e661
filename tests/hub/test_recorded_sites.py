"""What sites one version older and newer send, as it was recorded, goes through all that a hub does with it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import OWNERS, SITES, START, Given, Time, acts, checksum, hub, plan, rows, watch_of
from record_sites import BEAT, EPOCH, RECORDED, keys, site

from rmm.core.sealing import unseal
from rmm.hub.rounds import PATIENCE_S
from rmm.model.envelope import Beat, Marks
from rmm.ports import Told

VERSIONS = ("0", "1", "2")


def endpoints(data: Path) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = rows(
        data, "SELECT id, site, status, observed_at, seq, facts FROM endpoint ORDER BY id"
    )
    return found


async def taken(data: Path, clock: Time, sealed: bytes) -> None:
    trusted = keys()
    async with hub(data, clock, plan(SITES, OWNERS, clock), trusted.trust) as opened:
        for _ in range(2):
            given = Given("rmm.up.berlin", sealed)
            await opened.ingest.take([given])
            assert given.acked
        assert opened.ingest.taken == 5
        assert opened.books.marks("berlin") == {EPOCH: Marks(12)}
        assert opened.ingest.ended == {"berlin": ()}
        clock.add(seconds=PATIENCE_S)
        await opened.rounds.look()


@pytest.mark.parametrize("version", VERSIONS)
async def test_envelopes_are_taken_with_all_that_is_in_them(tmp_path: Path, clock: Time, version: str) -> None:
    clock.add(minutes=17)
    await taken(tmp_path / "hub", clock, (RECORDED / f"up-{version}.bin").read_bytes())
    clock.at = START + timedelta(minutes=17)
    await taken(tmp_path / "today", clock, site().sealed())
    data = tmp_path / "hub"
    assert [row[:3] for row in endpoints(data)] == [
        ("berlin-1", "berlin", "OK"), ("berlin-2", "berlin", "UNREACHABLE"),
    ]  # fmt: skip
    assert endpoints(data) == endpoints(tmp_path / "today")
    assert checksum(data, SITES) == checksum(tmp_path / "today", SITES)
    alerts = "SELECT key, state FROM alert ORDER BY key"
    assert ("cpu_high|berlin-1|_Total", "firing") in rows(data, alerts)
    assert rows(data, alerts) == rows(tmp_path / "today", alerts)
    assert [(one.what, one.who, one.reason) for one in acts(data)] == [("ack (site)", "bob at berlin", "known")]
    assert rows(data, "SELECT * FROM site_refused") == []
    assert len(rows(data, "SELECT * FROM site_lease")) == (version != "0")


@pytest.mark.parametrize("version", VERSIONS)
async def test_beats_are_heard(tmp_path: Path, clock: Time, version: str) -> None:
    clock.add(seconds=5)
    data = (RECORDED / f"beat-{version}.json").read_bytes()
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys().trust) as opened:
        for _ in range(4):
            clock.add(seconds=2)
            watch_of(opened).feel()
            watch_of(opened).hear(Told("rmm.beat.berlin", data))
            await watch_of(opened).look()
    (row,) = rows(tmp_path, "SELECT site, collector, body FROM site_collector")
    assert row[:2] == ("berlin", "c1")
    found = json.loads(row[2])
    assert (found["lag_s"], found["beat"]["spooled"]) == (30.0, 12)
    alert = rows(tmp_path, "SELECT key FROM alert")  # the older one does not say how much may wait, the hub has 4 GB
    assert alert == ([] if version == "0" else [("collector_spool||berlin/c1",)])
    assert rows(tmp_path, "SELECT * FROM site_refused") == []


def test_what_is_made_today_is_what_was_recorded() -> None:
    """Whoever changes what is sent keeps it readable for a hub one version older, and records it."""
    assert msgspec.json.encode(BEAT) + b"\n" == (RECORDED / "beat-1.json").read_bytes()
    trusted = keys()
    recorded = unseal((RECORDED / "up-1.bin").read_bytes(), trusted.key_of, site="berlin")
    assert recorded == unseal(site().sealed(), trusted.key_of, site="berlin")


def test_an_older_hub_reads_what_is_said_today() -> None:
    """One that knows none of the fields that have a default."""
    fields = [(one.name, one.type) for one in msgspec.structs.fields(Beat) if one.required]
    old = msgspec.defstruct("Beat", fields, frozen=True, kw_only=True)
    found = msgspec.json.decode(msgspec.json.encode(BEAT), type=old)
    assert {one: getattr(found, one) for one, _ in fields} == {one: getattr(BEAT, one) for one, _ in fields}
