"""What is kept of refused machines, and that accepting one and folding a round do not lose each other's work."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from folding import START, Opener, Time, observation

from rmm.coordinator.quarantine import accept
from rmm.model.identity import Refusal
from rmm.model.observation import encode_observation
from rmm.tiers.fleet_sqlite import FleetFile

pytestmark = pytest.mark.databases("sqlite", "postgres")


def refused(endpoint: str, seq: int, name: str) -> bytes:
    seen = observation(endpoint, START + timedelta(minutes=seq), seq, "IDENTITY_MISMATCH", code="identity.mismatch")
    refusal = Refusal(asked="SRV01", expected={"name": "SRV01"}, seen={"name": name})
    return encode_observation(msgspec.structs.replace(seen, refused=refusal))


def good(endpoint: str, seq: int, status: str = "OK") -> bytes:
    return encode_observation(observation(endpoint, START + timedelta(minutes=seq), seq, status))


async def test_a_refusal_lasts_until_a_good_poll(opened: Opener, tmp_path: Path) -> None:
    file = FleetFile(tmp_path / "data")
    assert file.refused() == []
    async with opened() as coordinator:
        await coordinator.fold([refused("a", 1, "X"), refused("b", 1, "X")])
        await coordinator.fold([refused("a", 3, "Y"), good("b", 2, "UNREACHABLE")])
        await coordinator.fold([refused("a", 2, "X")])  # late
        a, b = file.refused()
        assert (a.refusal.seen["name"], a.since, a.at) == (
            "Y",
            START + timedelta(minutes=1),
            START + timedelta(minutes=3),
        )
        assert (b.endpoint, b.since, b.at) == ("b", *(START + timedelta(minutes=1),) * 2)  # nothing new is known of it
        await coordinator.fold([good("a", 4)])
    assert [one.endpoint for one in file.refused()] == ["b"]


async def test_only_what_was_shown_is_accepted(opened: Opener, clock: Time, tmp_path: Path) -> None:
    data, file = tmp_path / "data", FleetFile(tmp_path / "data")
    async with opened() as coordinator:
        await coordinator.fold([refused("a", 1, "X"), refused("b", 1, "X"), refused("c", 1, "X")])
        shown = {one.endpoint: one.refusal for one in file.refused()}
        await coordinator.fold([refused("a", 2, "Y"), good("b", 2)])  # while a person reads
        assert await accept(data, shown, who="mia", reason="why", now=clock.now()) == ["a", "b"]
        (kept,) = file.acceptances()
        assert (kept.endpoint, kept.at, kept.who, kept.reason) == ("c", START, "mia", "why")
        assert kept.refusal.seen == {"name": "X"}
        assert file.acceptances(START + timedelta(seconds=1)) == []


async def test_accepting_and_folding_at_once_lose_nothing(opened: Opener, clock: Time, tmp_path: Path) -> None:
    data, file = tmp_path / "data", FleetFile(tmp_path / "data")
    names = [f"e{number}" for number in range(20)]
    async with opened() as coordinator:
        await coordinator.fold([refused(name, 1, "X") for name in names])
        shown = {one.endpoint: one.refusal for one in file.refused()}

        async def rounds() -> None:
            for seq in range(2, 12):
                await coordinator.fold([refused(name, seq, "X") for name in names])

        async def accepting() -> list[str]:
            return [
                left
                for name in names
                for left in await accept(data, {name: shown[name]}, who="mia", reason="", now=clock.now())
            ]

        _, left = await asyncio.gather(rounds(), accepting())
    assert left == []
    assert sorted(one.endpoint for one in file.acceptances()) == sorted(names)
    assert {one.at for one in file.refused()} == {START + timedelta(minutes=11)}
