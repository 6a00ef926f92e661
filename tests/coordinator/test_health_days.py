"""The health of each day is kept at the end of a round: the newest score, the lowest, and not for ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from folding import CPU, KEYS, START, Time, observation

from rmm.coordinator import Coordinator
from rmm.model.observation import encode_observation
from rmm.tiers.fleet_sqlite import FleetFile
from rmm.tiers.fleet_sqlite.writer import HEALTH_DAYS

pytestmark = pytest.mark.databases("sqlite", "postgres")


async def a_round(data: Path, time: Time, seq: int, load: float, status: str = "OK") -> None:
    async with Coordinator.open(data, rules=[CPU], keys=KEYS, channels=[], clock=time) as coordinator:
        rows = {"cpu": [{"core": "_Total", "util_pct": load}]} if status == "OK" else {}
        await coordinator.fold([encode_observation(observation("a", time.at, seq, status, **rows))])
        time.add(seconds=5)
        await coordinator.finish()


async def test_days(tmp_path: Path) -> None:
    time = Time()
    for seq in range(3):
        await a_round(tmp_path, time, seq, 99)
        time.add(minutes=10)
    await a_round(tmp_path, time, 3, 10)
    time.add(days=1)
    await a_round(tmp_path, time, 4, 10, "UNREACHABLE")
    found = FleetFile(tmp_path).health_days(START, START + timedelta(days=9))
    assert [(one.day, one.endpoint, one.score, one.lowest) for one in found] == [
        ("2026-03-01", "a", 100, 90), ("2026-03-02", "a", 0, 0)
    ]  # fmt: skip
    assert found[1].status == "Offline"


async def test_old_days_go(tmp_path: Path) -> None:
    time = Time()
    await a_round(tmp_path, time, 0, 10)
    time.add(days=HEALTH_DAYS + 1)
    await a_round(tmp_path, time, 1, 10)
    assert len(FleetFile(tmp_path).health_days(START, time.at)) == 1


async def test_what_is_not_known_is_no_health(tmp_path: Path) -> None:
    time = Time()
    await a_round(tmp_path, time, 0, 10, "AUTH_HELD")
    assert FleetFile(tmp_path).health_days(START, time.at) == []
