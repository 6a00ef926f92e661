"""The coordinator's fold: whole rounds in virtual time, redelivery, site trouble, several processes."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from folding import Opener, Time, content, encoded

from rmm.channels.memory import MemoryChannel
from rmm.errors import TierError
from rmm.model.observation import Fault, decode_observation
from rmm.tiers.fleet_sqlite import FleetFile, FleetStore
from rmm.tiers.fleet_sqlite.database import SQL
from rmm.tiers.migrations import migrate

pytestmark = pytest.mark.databases("sqlite", "postgres")


def cpu(value: float | None) -> list[dict[str, Any]]:
    return [{"core": "_Total", "util_pct": value}, {"core": "0", "util_pct": 100.0}]


def told(channel: MemoryChannel) -> list[tuple[str, str]]:
    return [(one.kind, one.alerts[0].key) for one in channel.sent]


async def test_a_whole_day(opened: Opener, clock: Time, channel: MemoryChannel, tmp_path: Path) -> None:
    """Every five minutes; busy from 9 to 17 but for a spike that is too short, one machine off from 2 to 3."""
    async with opened() as coordinator:
        for number in range(288):
            hour = number / 12
            busy = 97.0 if 9 <= hour < 17 or number == 240 else 20.0
            off = "UNREACHABLE" if 2 <= hour < 3 else "OK"
            batch = [encoded("a", clock.at, number + 1, cpu=cpu(busy)), encoded("b", clock.at, number + 1, off)]
            await coordinator.fold(batch)
            await coordinator.finish()
            clock.add(minutes=5)
    assert told(channel) == [
        ("firing", "endpoint_unreachable|b|"),
        ("resolved", "endpoint_unreachable|b|"),
        ("firing", "cpu_high|a|_Total"),
        ("reminder", "cpu_high|a|_Total"),  # after four hours
        ("resolved", "cpu_high|a|_Total"),
    ]
    assert channel.sent[0].alerts[0].first_at.hour == 2
    assert channel.sent[0].at.hour == 2 and channel.sent[0].at.minute == 5  # the second poll confirms it
    counts = {alert["rule"]: alert["count"] for alert in FleetFile(tmp_path / "data").alerts(states=["resolved"])}
    assert counts == {"endpoint_unreachable": 12, "cpu_high": 96}
    assert FleetFile(tmp_path / "data").alerts() == []


async def test_redelivery_and_order_change_nothing(opened: Opener, clock: Time, tmp_path: Path) -> None:
    shuffled = random.Random(7)
    polls = [
        [
            encoded(
                f"e{one}", clock.at.replace(minute=minute), minute + 1, cpu=cpu(shuffled.choice([20.0, 97.0, None]))
            )
            for one in range(20)
        ]
        for minute in range(30)
    ]
    async with opened("once") as coordinator:
        for batch in polls:
            await coordinator.fold(batch)
    async with opened("thrice") as coordinator:
        for number, batch in enumerate(polls):
            for _ in range(3):
                late = polls[shuffled.randrange(number)] if number else []
                again = [*batch, *late, *batch]
                shuffled.shuffle(again)
                await coordinator.fold(again)
    assert content(tmp_path / "once") == content(tmp_path / "thrice")
    assert content(tmp_path / "once")["outbox"]


def storm(clock: Time, hours: float) -> list[bytes]:
    """What a site's spool held back: busy for an hour, then well, an endpoint that was off, one that is busy still."""
    made = []
    for number in range(int(hours * 12)):
        at = clock.at + timedelta(minutes=5 * number)
        made += [
            encoded("a", at, number + 1, cpu=cpu(97.0 if number < 12 else 20.0)),
            encoded("b", at, number + 1, "UNREACHABLE" if 6 <= number < 12 else "OK"),
            encoded("c", at, number + 1, cpu=cpu(97.0)),
        ]
    return made


async def test_late_data_is_no_storm(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    """Six hours arrive at once after the link is back: only what still holds is told."""
    late = storm(clock, 6)
    clock.add(hours=6)
    async with opened() as coordinator:
        for start in range(0, len(late), 64):  # in batches, as they come over a bus
            await coordinator.fold(late[start : start + 64])
        await coordinator.finish()
    assert told(channel) == [("firing", "cpu_high|c|_Total")]


async def test_who_heard_that_it_fires_hears_of_its_end_although_it_is_late(
    opened: Opener, clock: Time, channel: MemoryChannel
) -> None:
    async with opened() as coordinator:
        for number, busy in enumerate((85.0, 85.0)):
            await coordinator.fold([encoded("a", clock.at, number + 1, cpu=cpu(busy))])
            await coordinator.finish()
            clock.add(minutes=5)
        assert told(channel) == [("firing", "cpu_high|a|_Total")]
        # Then the link is down: it gets worse, and is over, before anything of that arrives.
        late = [
            encoded("a", clock.at + timedelta(minutes=5 * n), n + 3, cpu=cpu(97.0 if n < 3 else 9.0)) for n in range(9)
        ]
        clock.add(hours=4)
        await coordinator.fold(late)
        await coordinator.finish()
    assert told(channel) == [("firing", "cpu_high|a|_Total"), ("resolved", "cpu_high|a|_Total")]


async def test_one_trouble_is_told_once_whoever_finds_it(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    """The poller says that it stood still, and endpoints have that as their fault: one alert, in every round."""
    stalled = Fault("collector.stalled", "R0", "hint", "the collector stood still for 5.0 s")
    async with opened() as coordinator:
        for number in range(3):
            clock.add(minutes=5)
            await coordinator.fold(
                [
                    encoded(f"e{n}", clock.at, number * 50 + n, "COLLECTOR_FAULT", code="collector.stalled")
                    for n in range(20)
                ]
            )
            await coordinator.finish([stalled])
    assert told(channel) == [("firing", "collector_stalled||hq")]


@pytest.mark.parametrize(
    ("code", "rule"),
    [("dns.failure", "collector_dns"), ("kdc.unreachable", "collector_kdc"), ("kdc.skew", "collector_clock")],
)
async def test_a_service_that_all_need_is_one_alert(
    opened: Opener, clock: Time, channel: MemoryChannel, code: str, rule: str
) -> None:
    async with opened() as coordinator:
        for number in range(3):
            clock.add(minutes=5)
            bad = [encoded(f"e{n}", clock.at, number * 50 + n, "UNREACHABLE", code=code) for n in range(15)]
            good = [encoded(f"e{n}", clock.at, number * 50 + n) for n in range(15, 30)]
            await coordinator.fold([*bad, *good])
            await coordinator.finish()
        assert told(channel) == [("firing", f"{rule}||hq")]
        clock.add(minutes=5)
        await coordinator.fold([encoded(f"e{n}", clock.at, 900 + n) for n in range(30)])
        await coordinator.finish()
    assert told(channel)[1:] == [("resolved", f"{rule}||hq")]


async def test_two_endpoints_of_one_machine_are_one_alert_and_stay_two(
    opened: Opener, clock: Time, channel: MemoryChannel, tmp_path: Path
) -> None:
    rows = [{"uuid": "4C4C4544-0042-3510-8052-B4C04F4A4D31"}]
    async with opened() as coordinator:
        for number in range(2):
            clock.add(minutes=5)
            await coordinator.fold([encoded(name, clock.at, number + 1, hardware=rows) for name in ("a", "b", "old")])
            await coordinator.finish(listed={"a", "b"})  # `old` is not in the endpoint list any more
        assert [kind for kind, _ in told(channel)] == ["firing"]
        assert "A (hq), B (hq) report" in channel.sent[0].alerts[0].summary
        assert len(FleetFile(tmp_path / "data").endpoints()) == 3
        await coordinator.finish(listed={"a"})
        clock.add(minutes=5)
        await coordinator.fold([encoded("a", clock.at, 9)])
        await coordinator.finish(listed={"a"})
    assert [kind for kind, _ in told(channel)] == ["firing", "resolved"]


async def test_one_batch_or_many(opened: Opener, clock: Time, tmp_path: Path) -> None:
    polls = [encoded("a", clock.at.replace(minute=minute), minute + 1, cpu=cpu(97.0)) for minute in range(20)]
    async with opened("many") as coordinator:
        for one in polls:
            await coordinator.fold([one])
    async with opened("one") as coordinator:
        await coordinator.fold(polls[::-1])
    assert content(tmp_path / "many") == content(tmp_path / "one")


async def one_round(coordinator: Any, clock: Time, down: int, total: int = 60, seq: int = 0) -> dict[str, int]:
    clock.add(minutes=5)
    statuses = ["UNREACHABLE"] * down + ["OK"] * (total - down)
    await coordinator.fold([encoded(f"e{n:03}", clock.at, seq or n, status) for n, status in enumerate(statuses)])
    counts: dict[str, int] = await coordinator.finish()
    return counts


async def test_a_site_that_is_down_is_one_alert(
    opened: Opener, clock: Time, channel: MemoryChannel, tmp_path: Path
) -> None:
    async with opened() as coordinator:
        for _ in range(4):
            await one_round(coordinator, clock, 60)
        assert told(channel) == [("firing", "site_down||hq")]
        assert [alert["rule"] for alert in FleetFile(tmp_path / "data").alerts()] == ["site_down"]
        shown = {(one["status"], one["health_status"]) for one in FleetFile(tmp_path / "data").endpoints()}
        assert shown == {("SITE_DOWN", "Unknown")}  # of the machines themselves nothing is known
        # The link is back; two machines stayed behind, and they are told now.
        await one_round(coordinator, clock, 2)
        assert sorted(told(channel)[1:]) == [
            ("firing", "endpoint_unreachable|e000|"),
            ("firing", "endpoint_unreachable|e001|"),
            ("resolved", "site_down||hq"),
        ]
        await one_round(coordinator, clock, 0)
        assert sorted(told(channel)[4:]) == [
            ("resolved", "endpoint_unreachable|e000|"),
            ("resolved", "endpoint_unreachable|e001|"),
        ]
    assert FleetFile(tmp_path / "data").alerts(states=["pending", "firing", "acknowledged"]) == []


async def test_polling_one_endpoint_does_not_bring_its_site_back(
    opened: Opener, clock: Time, channel: MemoryChannel
) -> None:
    async with opened() as coordinator:
        await one_round(coordinator, clock, 60)
    async with opened() as coordinator:
        clock.add(minutes=1)
        await coordinator.fold([encoded("e001", clock.at, 1)])
        await coordinator.finish()
    assert told(channel) == [("firing", "site_down||hq")]


async def test_a_few_that_are_down_are_told_each(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    async with opened() as coordinator:
        await one_round(coordinator, clock, 3)
        assert await one_round(coordinator, clock, 3) == {"firing": 3, "resolved": 0}
    assert len(channel.sent) == 3


@pytest.mark.parametrize("status", ["AUTH_HELD", "COLLECTOR_FAULT"])
async def test_our_own_trouble_raises_nothing(
    opened: Opener, clock: Time, channel: MemoryChannel, status: str, tmp_path: Path
) -> None:
    async with opened() as coordinator:
        for seq in range(1, 4):
            clock.add(minutes=5)
            await coordinator.fold([encoded(f"e{n}", clock.at, seq, status) for n in range(30)])
            assert await coordinator.finish() == {"firing": 0, "resolved": 0}
    assert channel.sent == []
    assert {row["health_status"] for row in FleetFile(tmp_path / "data").endpoints()} == {"Unknown"}


async def test_a_round_that_ends_early_keeps_what_it_held(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    """Its coordinator is gone before `finish`; the next round tells what was decided then, once."""
    async with opened() as coordinator:
        for seq in (1, 2):
            clock.add(minutes=5)
            await coordinator.fold([encoded("a", clock.at, seq, "UNREACHABLE")])
    assert channel.sent == []
    clock.add(minutes=5)
    async with opened() as coordinator:
        await coordinator.fold([encoded("a", clock.at, 3, "UNREACHABLE")])
        await coordinator.finish()
        await coordinator.finish()
    assert told(channel) == [("firing", "endpoint_unreachable|a|")]


async def test_two_coordinators_of_one_folder_see_each_others_alerts(
    opened: Opener, clock: Time, channel: MemoryChannel, tmp_path: Path
) -> None:
    full = [{"volume": "C:", "used_pct": 99.0}]
    async with opened() as one, opened() as other:
        await one.fold([encoded("a", clock.at, 1, volumes=full)])
        clock.add(minutes=1)
        await other.fold([encoded("a", clock.at, 2, volumes=full)])
        clock.add(minutes=1)
        await one.fold([encoded("a", clock.at, 3, volumes=[{"volume": "C:", "used_pct": 10.0}])])
        clock.add(minutes=1)
        await other.fold([encoded("a", clock.at, 4, volumes=[{"volume": "C:", "used_pct": 10.0}])])
        await one.finish()
        await other.finish()
    (alert,) = FleetFile(tmp_path / "data").alerts(states=["pending", "firing", "resolved"])
    assert (alert["state"], alert["count"]) == ("resolved", 2)
    assert {one.kind for one in channel.sent} == {"firing", "resolved"}
    assert len({one.id for one in channel.sent}) == 2


async def test_a_rule_that_is_gone_ends_with_its_alerts(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    async with opened() as coordinator:
        await coordinator.fold([encoded("a", clock.at, 1, volumes=[{"volume": "C:", "used_pct": 99.0}])])
        await coordinator.finish()
    clock.add(minutes=5)
    async with opened(rules=[]) as coordinator:
        await coordinator.fold([encoded("a", clock.at, 2)])
        await coordinator.finish()
    assert [kind for kind, _ in told(channel)] == ["firing", "resolved"]


@pytest.mark.databases("sqlite")
async def test_what_cannot_be_stored_is_forgotten(opened: Opener, clock: Time, tmp_path: Path) -> None:
    """A fold that fails leaves no alert in memory that the database does not have."""
    full = encoded("a", clock.at, 1, volumes=[{"volume": "C:", "used_pct": 99.0}])
    async with opened() as coordinator:
        with closing(sqlite3.connect(tmp_path / "data" / "fleet.sqlite")) as other:
            other.execute("CREATE TRIGGER no BEFORE INSERT ON alert BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
            with pytest.raises(TierError):
                await coordinator.fold([full])
            assert content(tmp_path / "data") == {"endpoint": [], "alert": [], "outbox": []}
            other.execute("DROP TRIGGER no")
        await coordinator.fold([full])
    assert len(content(tmp_path / "data")["outbox"]) == 1
    assert FleetFile(tmp_path / "data").alerts()[0]["count"] == 1


@pytest.mark.databases("sqlite")
async def test_a_migrated_database_is_as_a_fresh_one(tmp_path: Path) -> None:
    class First:
        """The schema of the first version alone."""

        def iterdir(self) -> list[Any]:
            return [entry for entry in SQL.iterdir() if entry.name.startswith("001")]

        def __truediv__(self, name: str) -> Any:
            return SQL / name

    (tmp_path / "old").mkdir()
    async with aiosqlite.connect(tmp_path / "old" / "fleet.sqlite", isolation_level=None) as old:
        await migrate(old, First())  # type: ignore[arg-type]
        await old.execute("INSERT INTO outbox (id, channel, at, body) VALUES ('x', 'c', '2026', '{}')")
    schemas = []
    for name in ("old", "new"):
        async with FleetStore.open(tmp_path / name):
            pass
        with closing(sqlite3.connect(tmp_path / name / "fleet.sqlite")) as file:
            schemas.append(sorted(file.execute("SELECT type, name, sql FROM sqlite_master").fetchall(), key=str))
            schemas[-1].append(file.execute("PRAGMA user_version").fetchone())
    assert schemas[0] == schemas[1]
    assert len(content(tmp_path / "old")["outbox"]) == 1


@pytest.mark.databases("sqlite")
async def test_what_folding_costs(opened: Opener, clock: Time, capsys: pytest.CaptureFixture[str]) -> None:
    """CPU per observation with forty volumes, beside what only reading the observation costs."""
    rows = [{"volume": f"{n}:", "used_pct": 10.0, "label": "data", "size_b": 10**12} for n in range(40)]
    batches = [
        [encoded(f"e{n}", clock.at.replace(minute=minute), minute + 1, cpu=cpu(20.0), volumes=rows) for n in range(200)]
        for minute in range(10)
    ]
    began = time.process_time()
    for batch in batches:
        for data in batch:
            decode_observation(data)
    decoding = (time.process_time() - began) / 2000
    async with opened() as coordinator:
        began = time.process_time()
        for batch in batches:
            await coordinator.fold(batch)
        folding = (time.process_time() - began) / 2000
    with capsys.disabled():
        print(f"\nfold: {folding * 1e6:.0f} us of CPU per observation, of which decoding {decoding * 1e6:.0f} us")
    assert folding < 20 * decoding + 0.001
