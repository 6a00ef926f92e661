"""Collectors of one site may be one version apart: what they write of leases, as it was recorded, is understood."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest
from quick import QUICK, Jumping, Wire, until

from rmm.bus.memory import MemoryBus
from rmm.model.lease import BUCKET, OFFLINE, Claim, Member
from rmm.site.leases import FILE, Leases

RECORDED = Path(__file__).parents[1] / "recordings" / "sites"
VERSIONS = ("0", "1", "2")


@pytest.mark.parametrize("version", VERSIONS)
async def test_what_another_holds_is_not_taken_and_its_heir_has_a_later_fence(version: str) -> None:
    keys = MemoryBus().keys(BUCKET, ttl_s=QUICK.ttl)
    claim = (RECORDED / f"claim-{version}.json").read_bytes().strip()
    member = (RECORDED / f"member-{max(1, int(version))}.json").read_bytes().strip()
    await keys.put("hq.shard.0", claim, after=0)
    await keys.put("hq.member.other", member, after=0)
    wire = Wire(keys)
    leases = Leases(wire, "hq", "me", 1, Jumping(), terms=QUICK)
    async with leases.running():
        await until(lambda: leases.members == {"other"})
        reads = wire.reads
        await until(lambda: wire.reads > reads + 4)
        assert leases.held() == {}
        await until(lambda: 0 in leases.held())  # the broker has forgotten it
        assert leases.fence_of("hq", 0) > 60


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_start_without_a_broker_takes_what_was_remembered(tmp_path: Path, version: str) -> None:
    shutil.copy(RECORDED / f"leases-{version}.json", tmp_path / FILE)
    wire = Wire(MemoryBus().keys(BUCKET, ttl_s=QUICK.ttl))
    wire.cut = True
    leases = Leases(wire, "hq", "me", 3, Jumping(), terms=QUICK, data=tmp_path)
    async with leases.running():
        await until(lambda: bool(leases.held()))
        assert {shard: (one.fence, one.state) for shard, one in leases.held().items()} == {0: (41, OFFLINE)}


def test_what_is_written_today_is_what_was_recorded() -> None:
    for kind, one in (("claim", Claim("other", "feed" * 4, fence=60, floor=50)), ("member", Member("feed" * 4))):
        assert msgspec.json.encode(one) + b"\n" == (RECORDED / f"{kind}-1.json").read_bytes()
