"""Observations that come late: on their own time line, in any order, told once; what is live is not disturbed."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from folding import CPU, DISK, KEYS, START, Time, observation

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator, evaluation
from rmm.model.observation import Observation, encode_observation
from rmm.model.rule import Alert, Rule, Scope
from rmm.tiers.fleet_sqlite.remembered import Memory, Remembered

FORECAST = Rule(
    id="filling", collector="volumes", field="used_pct", measure="forecast", reach=100, op="<", warning=24,
    window_s=86_400, span_s=21_600,
)  # fmt: skip
DAY = 24 * 60


def polled(minute: int, cpu: float = 20.0, disk: float = 50.0) -> Observation:
    rows: dict[str, Any] = {
        "cpu": [{"core": "_Total", "util_pct": cpu}],
        "volumes": [{"volume": "C", "used_pct": disk}, {"volume": "D", "used_pct": 10.0}],
    }
    seen: Observation = observation("a", START + timedelta(minutes=minute), minute + 1, **rows)
    return seen


class Hub:
    """A coordinator with a clock that stands two days after START."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.channel, self.folder = Time(), MemoryChannel("memory"), folder
        self.clock.add(days=2)

    async def take(self, *batches: list[Observation], rules: tuple[Rule, ...] = (CPU, DISK)) -> dict[str, int]:
        """Fold these batches in one round."""
        async with Coordinator.open(
            self.folder, rules=rules, keys=KEYS, channels=[self.channel], clock=self.clock
        ) as coordinator:
            for batch in batches:
                await coordinator.fold([encode_observation(one) for one in batch])
            return await coordinator.finish(listed={"a"})

    def told(self) -> list[tuple[str, str, bool]]:
        return [(one.kind, alert.rule, alert.late) for one in self.channel.sent for alert in one.alerts]

    def late(self) -> list[tuple[str, float, float]]:
        """(rule, first minute, minute of the end) of alerts that came late."""
        found = [alert for alert in self.alerts() if alert["late"]]
        return sorted((one["rule"], minutes(one["first_at"]), minutes(one["resolved_at"])) for one in found)

    def alerts(self) -> list[dict[str, Any]]:
        with sqlite3.connect(self.folder / "fleet.sqlite") as connection:
            return [json.loads(row[0]) for row in connection.execute("SELECT body FROM alert ORDER BY no")]


def minutes(text: str) -> float:
    begin: datetime = START
    return (datetime.fromisoformat(text) - begin).total_seconds() / 60


def a_day() -> list[Observation]:
    """A busy hour from minute 300 to 359, a full disk from 700 to 709, and two minutes of load that are no alert."""
    return [
        polled(
            minute,
            cpu=99.0 if 300 <= minute < 360 or minute in (500, 501) else 20.0,
            disk=95.0 if 700 <= minute < 710 else 50.0,
        )
        for minute in range(DAY)
    ]


NOW = 2 * DAY  # minutes after START
EXPECTED = [("cpu_high", 300, 360), ("volume_full", 700, 710)]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path / "data")


async def test_a_day_that_comes_late_is_evaluated_marked_late_and_told_once(hub: Hub) -> None:
    await hub.take([polled(NOW)])
    assert hub.told() == []
    assert await hub.take(a_day()) == {"firing": 2, "resolved": 0}
    assert hub.late() == EXPECTED
    assert sorted(hub.told()) == [("firing", "cpu_high", True), ("firing", "volume_full", True)]
    assert await hub.take(a_day(), a_day()[::-1]) == {"firing": 0, "resolved": 0}  # delivered again
    assert hub.late() == EXPECTED and len(hub.told()) == 2


@pytest.mark.parametrize("seed", range(4))
async def test_the_order_of_arrival_does_not_matter(hub: Hub, seed: int) -> None:
    await hub.take([polled(NOW)])
    dice, day = random.Random(seed), a_day()
    dice.shuffle(day)
    for first in range(0, DAY, DAY // 3):
        await hub.take(day[first : first + DAY // 3])
    assert hub.late() == EXPECTED
    assert sorted(hub.told()) == [("firing", "cpu_high", True), ("firing", "volume_full", True)]


async def test_what_is_live_neither_ends_nor_fires_again(hub: Hub) -> None:
    await hub.take([polled(NOW + minute, disk=95.0) for minute in range(-10, 1)])
    before = [one for one in hub.alerts() if one["state"] == "firing"]
    assert len(before) == 1 and len(hub.told()) == 1
    # What is clear in the midst of it and long before changes nothing; what is not, right before it, is its beginning.
    late = [msgspec.structs.replace(polled(NOW - 5, disk=10.0), observed_at=START + timedelta(minutes=NOW - 4.5))]
    late += [polled(NOW - minute, disk=95.0) for minute in range(11, 30)]
    late += [polled(NOW - minute, disk=10.0) for minute in range(30, 60)]
    assert await hub.take(late) == {"firing": 0, "resolved": 0}
    (after,) = hub.alerts()
    assert after["state"] == "firing" and minutes(after["first_at"]) == NOW - 29
    assert len(hub.told()) == 1


async def test_what_is_delivered_again_is_not_late(hub: Hub) -> None:
    listed = [polled(NOW - 10 + minute, disk=95.0 if minute in (3, 4) else 50.0) for minute in range(10)]
    await hub.take(listed)
    told = len(hub.told())
    await hub.take(listed[3:4], listed)
    assert len(hub.told()) == told and hub.late() == []
    with sqlite3.connect(hub.folder / "fleet.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM late").fetchone() == (0,)


async def test_what_was_held_back_and_comes_in_order_is_marked_late_too(hub: Hub) -> None:
    await hub.take([polled(NOW - 600 + minute, disk=95.0) for minute in range(3)])
    (alert,) = hub.alerts()
    assert alert["state"] == "firing" and alert["late"]


async def test_a_forecast_of_what_came_late(hub: Hub) -> None:
    await hub.take([polled(NOW, disk=10.0)], rules=(FORECAST,))
    day = [polled(minute, disk=40 + minute / 60 * 1.5) for minute in range(0, DAY, 5)]
    random.Random(1).shuffle(day)
    await hub.take(day, rules=(FORECAST,))
    ((rule, first, last),) = hub.late()
    assert rule == "filling" and 20 * 60 < first < last == DAY - 5


async def test_an_endpoint_that_nobody_polls_any_more(hub: Hub) -> None:
    silent = Rule(id="silent", measure="absence", warning=1800)
    await hub.take([polled(NOW)], rules=(silent,))
    hub.clock.add(minutes=31)
    assert await hub.take(rules=(silent,)) == {"firing": 1, "resolved": 0}
    hub.clock.add(minutes=1)
    assert await hub.take([polled(NOW + 32)], rules=(silent,)) == {"firing": 0, "resolved": 1}


async def test_who_was_polled_lately_is_not_read_for_rules_of_absence(hub: Hub, monkeypatch: Any) -> None:
    """Nor whoever has no such rule; of the others some at a time."""
    silent = Rule(id="silent", measure="absence", warning=1800, only=Scope(endpoint="in-*"))
    everybody = [
        msgspec.structs.replace(polled(NOW), endpoint=name, name=name)
        for n in range(10)
        for name in (f"in-{n}", f"out-{n}")
    ]
    listed = [one.endpoint for one in everybody]
    read: list[int] = []
    real = Remembered.of

    async def of(self: Remembered, endpoints: Iterable[str]) -> dict[str, Memory]:
        found = await real(self, endpoints)
        read.append(len(found))
        return found

    async with Coordinator.open(
        hub.folder, rules=(silent,), keys=KEYS, channels=[hub.channel], clock=hub.clock
    ) as coordinator:
        await coordinator.fold([encode_observation(one) for one in everybody])
        await coordinator.finish(listed=listed)
        monkeypatch.setattr(Remembered, "of", of)
        monkeypatch.setattr(evaluation, "AT_ONCE", 4)
        hub.clock.add(minutes=6)
        await coordinator.finish(listed=listed)
        assert read == []
        hub.clock.add(minutes=25)
        counts = await coordinator.finish(listed=listed)
    assert counts["firing"] == 10
    assert read == [4, 4, 2]
    assert {one["endpoint"] for one in hub.alerts()} == {f"in-{n}" for n in range(10)}


async def test_what_rules_remember_survives_a_restart_and_a_failed_fold(hub: Hub, monkeypatch: Any) -> None:
    rate = Rule(id="rate", collector="cpu", field="util_pct", measure="rate", per="h", window_s=3600, warning=10)
    for minute in range(0, 30, 5):
        await hub.take([polled(NOW + minute, cpu=minute)], rules=(rate,))
    hub.clock.add(minutes=60)
    await hub.take([polled(NOW + 31, cpu=31)], rules=(rate,))
    assert [one["rule"] for one in hub.alerts()] == ["rate"]


def test_alerts_of_an_older_rmm_are_read() -> None:
    old = msgspec.json.encode(
        Alert(
            key="k",
            rule="r",
            endpoint="a",
            name="A",
            site="s",
            severity="warning",
            state="firing",
            summary="",
            value=1,
            first_at=START,
            last_at=START,
        )
    ).replace(b',"late":false', b"")
    assert b"late" not in old
    assert msgspec.json.decode(old, type=Alert).late is False
