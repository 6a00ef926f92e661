"""Delivery and the stages on a real database: retries, giving up, several processes, routes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec
import pytest
from folding import AT_ONCE, CPU, DISK, KEYS, START, Opener, Time, encoded

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.core.alerting import retry
from rmm.errors import ChannelError
from rmm.model.routing import Inhibition, Route, Routing
from rmm.model.rule import Alert, Notification
from rmm.ports import Channel
from rmm.settings.rules import shipped_rules
from rmm.tiers.fleet_sqlite import FleetFile
from rmm.tiers.fleet_sqlite.database import SQL
from rmm.tiers.migrations import migrate

pytestmark = pytest.mark.databases("sqlite", "postgres")

FULL = [{"volume": "C:", "used_pct": 99.0}]
HIGH = [{"volume": "C:", "used_pct": 85.0}]
EMPTY = [{"volume": "C:", "used_pct": 10.0}]


class Picky(MemoryChannel):
    """Refuses the notifications of some endpoints, and takes all others."""

    def __init__(self, name: str, refused: str) -> None:
        super().__init__(name)
        self.refused = refused
        self.tries = 0

    async def send(self, notification: Notification, *, deadline: float) -> str:
        self.tries += 1
        if notification.alerts[0].endpoint.startswith(self.refused):
            raise ChannelError("no, not this one", code="channel.refused")
        return await super().send(notification, deadline=deadline)


def told(channel: MemoryChannel) -> list[tuple[str, list[str]]]:
    return [(one.kind, [alert.endpoint for alert in one.alerts]) for one in channel.sent]


async def decide(coordinator: Coordinator, clock: Time, *endpoints: str) -> None:
    """Each of these is decided to be told, as if by a fold, and nothing else."""
    told = []
    for name in endpoints:
        alert = Alert(
            key=f"volume_full|{name}|C:", rule="volume_full", endpoint=name, name=name.upper(), site="hq",
            severity="critical", state="firing", summary="s", value=1, first_at=clock.at, last_at=clock.at,
        )  # fmt: skip
        told.append(Notification(id=f"{alert.key}@1:firing", kind="firing", at=clock.at, alerts=(alert,)))
    async with coordinator._alone():
        await coordinator._store.add_notifications(told)
    coordinator.delivery.start()


@pytest.fixture
def routed(tmp_path: Path, clock: Time) -> Any:
    def make(channels: list[Channel], *routes: Route, inhibit: tuple[Inhibition, ...] = ()) -> Any:
        return Coordinator.open(
            tmp_path / "data", rules=[*shipped_rules(), CPU, DISK], keys=KEYS, channels=channels, clock=clock,
            routing=Routing(routes=routes, inhibit=inhibit), settings=AT_ONCE,
        )  # fmt: skip

    return make


async def test_one_that_is_refused_holds_up_no_other(opened: Opener, clock: Time, tmp_path: Path) -> None:
    picky = Picky("picky", "b")
    async with opened(channels=[picky]) as coordinator:
        await decide(coordinator, clock, "a", "b", "c")
        await coordinator.finish()
        assert told(picky) == [("firing", ["a"]), ("firing", ["c"])]
        (row,) = (row for row in FleetFile(tmp_path / "data").notifications() if not row["sent_at"])
        assert row["result"] == "no, not this one" and row["attempts"] == 1 and row["due_at"] > START.isoformat()
        await coordinator.finish()
        assert picky.tries == 3  # not before its time
        clock.add(minutes=5)
        picky.refused = "nobody"
        await coordinator.finish()
        assert told(picky)[-1] == ("firing", ["b"])


async def test_a_channel_that_refuses_everything_is_left_alone(opened: Opener, clock: Time, tmp_path: Path) -> None:
    picky = Picky("picky", "")
    async with opened(channels=[picky]) as coordinator:
        await decide(coordinator, clock, *(f"e{n:03}" for n in range(200)))
        await coordinator.finish()
        assert picky.tries == 3
        fared = FleetFile(tmp_path / "data").channels()["picky"]
        assert (fared["failures"], fared["open"]) == (3, 200)
        assert fared["not_before"] > START.isoformat()


async def test_what_is_given_up_is_told_by_the_others(opened: Opener, clock: Time, tmp_path: Path) -> None:
    broken, good = MemoryChannel("broken"), MemoryChannel("good")
    broken.broken = True
    async with opened(channels=[broken, good]) as coordinator:
        await decide(coordinator, clock, "a", "b")
        await coordinator.finish()
        assert len(good.sent) == 2
        clock.add(days=6, hours=23)
        await coordinator.finish()
        assert len(good.sent) == 2
        clock.add(hours=2)
        await coordinator.finish()
        (last,) = good.sent[2:]
        assert last.alerts[0].rule == "channel_given_up" and "channel broken: 2 notifications" in last.alerts[0].summary
        rows = [row for row in FleetFile(tmp_path / "data").notifications() if row["gave_up"]]
        assert len(rows) == 2 and all("this channel is broken" in row["result"] for row in rows)
        broken.broken = False
        clock.add(hours=1)
        await coordinator.finish()
        assert broken.sent == []  # they were given up
        assert await coordinator.delivery.try_again("broken") == 2
        await coordinator.delivery.settle()
        assert {kind for kind, _ in told(broken)} == {"firing"} and len(broken.sent) == 2


async def test_the_queue_is_bounded(
    opened: Opener, clock: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "MOST_OPEN", 5)
    broken, good = MemoryChannel("broken"), MemoryChannel("good")
    broken.broken = True
    async with opened(channels=[broken, good]) as coordinator:
        for number in range(12):
            clock.add(minutes=5)
            await decide(coordinator, clock, f"e{number:02}")
            await coordinator.finish()
        fared = FleetFile(tmp_path / "data").channels()["broken"]
        assert fared["open"] == 5
        given_up = [row for row in FleetFile(tmp_path / "data").notifications() if row["gave_up"]]
        assert len(given_up) == 7 and all("full" in row["result"] for row in given_up)
        assert sum(one.alerts[0].rule == "channel_given_up" for one in good.sent) == 7


async def test_two_processes_send_each_thing_once(opened: Opener, clock: Time) -> None:
    class Slow(MemoryChannel):
        async def send(self, notification: Notification, *, deadline: float) -> str:
            await asyncio.sleep(0.02)
            return await super().send(notification, deadline=deadline)

    slow = Slow("slow")
    async with opened(channels=[slow]) as first, opened(channels=[slow]) as second:
        await decide(first, clock, *(f"e{n:02}" for n in range(20)))
        second.delivery.start()
        await asyncio.gather(first.finish(), second.delivery.settle())
    assert sorted(one.alerts[0].endpoint for one in slow.sent) == [f"e{n:02}" for n in range(20)]


async def test_what_another_process_decides_is_delivered(
    opened: Opener, clock: Time, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`run` sees what another process commits, which ends before it delivers."""
    async with opened() as server, opened() as other:
        monkeypatch.setattr(other.delivery, "start", lambda: None)
        running = asyncio.create_task(server.delivery.run())
        await asyncio.sleep(0.1)
        await other.fold([encoded("a", clock.at, 1, volumes=FULL)])
        for _ in range(100):
            await asyncio.sleep(0.05)
            if channel.sent:
                break
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert told(channel) == [("firing", ["a"])]


async def test_routes_survive_a_restart(routed: Any, clock: Time) -> None:
    mail, pager = MemoryChannel("mail"), MemoryChannel("pager")
    routes = (
        Route(name="pages", match={"severity": "critical"}, channels=("pager",), more=True, repeat_interval=3600),
        Route(name="rest", channels=("mail",), group_by=("site",), group_wait=600),
    )
    seq = iter(range(1, 1000))

    async def rounds(minutes: int, **rows: Any) -> None:
        clock.add(minutes=minutes)
        async with routed([mail, pager], *routes) as coordinator:
            await coordinator.fold([encoded(name, clock.at, next(seq), volumes=found) for name, found in rows.items()])
            await coordinator.finish()

    await rounds(0, a=FULL, b=HIGH)
    assert told(pager) == [("firing", ["a"])] and told(mail) == []
    await rounds(5, c=HIGH)
    assert told(mail) == []
    await rounds(5)
    assert told(mail) == [("firing", ["a", "b", "c"])]
    await rounds(55, a=HIGH)  # it gets better, and is told again all the same: it fires
    assert told(pager)[1:] == [("firing", ["a"])]
    await rounds(5, a=EMPTY, b=EMPTY)
    assert told(pager)[2:] == [("resolved", ["a"])]
    await rounds(11)
    assert told(mail)[1:] == [("resolved", ["a", "b"])]
    assert len({one.id for one in mail.sent + pager.sent}) == len(mail.sent + pager.sent)


async def test_an_inhibition_on_the_database(routed: Any, clock: Time, tmp_path: Path) -> None:
    mail = MemoryChannel("mail")
    rule = Inhibition(source={"rule": "volume_full"}, target={"rule": "cpu_high"}, equal=("site",))
    async with routed([mail], inhibit=(rule,)) as coordinator:
        cpu = [{"core": "_Total", "util_pct": 99.0}]
        for number in range(3):
            rows = [
                encoded("a", clock.at, number + 1, volumes=FULL), encoded("b", clock.at, number + 1, cpu=cpu)
            ]  # fmt: skip
            await coordinator.fold(rows)
            await coordinator.finish()
            clock.add(minutes=5)
        assert [one.alerts[0].rule for one in mail.sent] == ["volume_full"]
        outcomes = [row["outcome"] for row in FleetFile(tmp_path / "data").decisions()]
        assert any("inhibited by volume_full|a|C:" in text for text in outcomes)
        await coordinator.fold([encoded("a", clock.at, 9, volumes=EMPTY), encoded("b", clock.at, 9, cpu=cpu)])
        clock.add(minutes=2)
        await coordinator.finish()
        assert sorted(one.alerts[0].rule for one in mail.sent) == ["cpu_high", "volume_full", "volume_full"]


@pytest.mark.databases("sqlite")
async def test_what_was_told_before_the_routes_came_ends(
    opened: Opener, clock: Time, channel: MemoryChannel, tmp_path: Path
) -> None:
    """A database of the schema before: what fires there was told, so its end is; what was held is told."""

    class Old:
        """The schema before this one's."""

        def iterdir(self) -> list[Any]:
            return [entry for entry in SQL.iterdir() if entry.name[:3] <= "003"]

        def __truediv__(self, name: str) -> Any:
            return SQL / name

    def fires(name: str) -> Notification:
        alert = Alert(
            key=f"volume_full|{name}|C:", rule="volume_full", endpoint=name, name=name.upper(), site="hq",
            severity="critical", state="firing", summary="s", value=99.0, first_at=START, last_at=START, row="C:",
        )  # fmt: skip
        return Notification(id=f"{alert.key}@1:firing", kind="firing", at=START, alerts=(alert,))

    (tmp_path / "data").mkdir()
    async with aiosqlite.connect(tmp_path / "data" / "fleet.sqlite", isolation_level=None) as old:
        await migrate(old, Old())  # type: ignore[arg-type]
        for name, held in (("a", ""), ("h", "hq")):
            one = fires(name)
            body = msgspec.json.encode(one.alerts[0]).decode()
            await old.execute(
                "INSERT INTO alert (key, endpoint, state, last_at, body) VALUES (?, ?, 'firing', ?, ?)",
                (one.alerts[0].key, name, START.isoformat(), body),
            )
            await old.execute(
                "INSERT INTO outbox (id, channel, at, body, sent_at, held) VALUES (?, 'memory', ?, ?, ?, ?)",
                (one.id, START.isoformat(), msgspec.json.encode(one).decode(), "" if held else START.isoformat(), held),
            )
    clock.add(minutes=1)
    async with opened() as coordinator:
        await coordinator.fold([encoded("a", clock.at, 2, volumes=EMPTY), encoded("h", clock.at, 2, volumes=FULL)])
        await coordinator.finish()
    kinds = sorted((one.kind, one.alerts[0].key) for one in channel.sent)
    assert kinds == [("firing", "volume_full|h|C:"), ("resolved", "volume_full|a|C:")]
