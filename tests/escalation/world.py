"""A small world in virtual time: alerts, the fleet's database, escalation, and channels that remember who was told.

Run as a program it lives through one script and kills itself at a given moment of it; see `test_kills.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

from cluster import adopt, rows

from rmm.calendars.lookup import Lookup
from rmm.coordinator.escalation import Escalations, Setup
from rmm.core.alerting.lifecycle import FIRING, RESOLVED, Change
from rmm.model.endpoint import Site
from rmm.model.escalation import (
    Contact,
    Escalation,
    Hours,
    Layer,
    Person,
    Policy,
    Rota,
    Slot,
    Taken,
    Target,
    Tier,
)  # fmt: skip
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite import FleetStore, alone

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE = timedelta(minutes=1)
SITES = {"hq": Site(id="hq", timezone="Europe/Berlin", holidays=("DE-BY",))}
ONCALL, BOSS, BOARD = Target("oncall", "servers"), Target("person", "boss"), Target("channel", "board")
WEEKLY = Layer(people=("anna", "bob"), every=timedelta(weeks=1), starts=datetime(2026, 3, 2, 9))


def person(name: str) -> Person:
    return Person(id=name, contacts=(Contact("mail", f"mail/{name}", {"to": f"{name}@example.org"}),))


def tier(minutes: int, *tell: Target) -> Tier:
    return Tier(after=minutes * MINUTE, tell=tell)


STANDARD = Policy(id="standard", tiers=(tier(0, ONCALL), tier(15, ONCALL), tier(45, BOSS, BOARD)))
SETTINGS = Escalation(
    people={name: person(name) for name in ("anna", "bob", "boss")},
    hours={"office": Hours(id="office", week=((Slot(480, 1020),),) * 5 + ((), ()))},
    rotas={"servers": Rota(id="servers", timezone="Europe/Berlin", layers=(WEEKLY,))},
    policies={
        "standard": STANDARD,
        "office": msgspec.structs.replace(STANDARD, id="office", hours="office"),
        "again": msgspec.structs.replace(STANDARD, id="again", repeat=2, repeat_after=30 * MINUTE),
    },
)


def at(text: str) -> datetime:
    """A moment from what the clocks in Berlin show, or from a text with its offset."""
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=BERLIN)).astimezone(UTC)


class World:
    """`now` moves by `run`; `told` is (local time, contact, kind) in the order of delivery."""

    def __init__(self, data: Path, store: FleetStore, settings: Escalation, hook: Callable[[str], None]) -> None:
        self.now = at("2026-03-02T00:00")
        self.told: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.taken: list[Taken] = []
        self.silent: set[str] = set()  # keys of alerts that nobody is to be told of
        self.policies: tuple[str, ...] = ("standard",)
        self._data = data
        self._store = store
        self._hook = hook
        self._alerts: dict[str, Alert] = {}
        self.configure(settings)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, data: Path, settings: Escalation = SETTINGS, hook: Callable[[str], None] = lambda _: None
    ) -> AsyncIterator[World]:
        async with FleetStore.open(data) as store:
            yield cls(data, store, settings, hook)

    def configure(self, settings: Escalation) -> None:
        self._escalations = Escalations(self._store, Setup(settings, Lookup(settings, SITES)), ("board",))

    async def fire(self, when: str, key: str = "cpu_high|a|") -> None:
        await self.run(at(when))
        alert = Alert(
            key=key, rule="cpu_high", endpoint="a", name="A", site="hq", severity="critical", state=FIRING,
            summary="busy", value=99, first_at=self.now, last_at=self.now,
        )  # fmt: skip
        await self._become(alert, begin=True)
        await self.step()

    async def become(self, when: str, state: str, key: str = "cpu_high|a|") -> None:
        """The alert is acknowledged, resolved, pending again ..."""
        await self.run(at(when))
        ended = self.now if state == RESOLVED else None
        await self._become(msgspec.structs.replace(self._alerts[key], state=state, last_at=self.now, resolved_at=ended))
        await self.step()

    async def _become(self, alert: Alert, begin: bool = False) -> None:
        self._alerts[alert.key] = alert
        async with alone(self._data), self._store.transaction():
            await self._store.put_changes([Change(alert)])
            if begin:
                await self._escalations.begin([(alert, self.policies)], self.now)

    async def run(self, until: datetime) -> None:
        """From step to step until then; a world that has nothing to do sleeps."""
        while True:
            async with alone(self._data), self._store.transaction():
                soonest = await self._escalations.soonest()
            if soonest is None or max(soonest, self.now) > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, soonest)
            await self.step()

    async def step(self) -> None:
        """Decide, then deliver: each in its own transaction."""
        async with alone(self._data), self._store.transaction():
            self.taken += await self._escalations.advance(
                self.now, lambda alert: "silenced" if alert.key in self.silent else ""
            )
            self._hook("decided")
        self._hook("committed")
        self.deliver()

    def deliver(self) -> None:
        found = rows(self._data, "SELECT id, channel, body FROM outbox WHERE sent_at = '' ORDER BY at, id, channel")
        for identity, channel, body in found:
            kind = msgspec.json.decode(body)["kind"]
            self.told.append((f"{self.now.astimezone(BERLIN):%d %H:%M}", channel, kind))
            self.ids.append(f"{identity} {channel}")
            self._hook(f"sent {identity} {channel}")
            rows(self._data, f"UPDATE outbox SET sent_at = 'x' WHERE id = '{identity}' AND channel = '{channel}'")
            self._hook("marked")


def _interrupt(world: World, hook: Callable[[str], None]) -> None:
    """Let every statement that writes be a moment to be killed at."""
    store, outbox = world._store, world._escalations._outbox
    write, post = store.run, outbox.post

    async def run(statement: str, arguments: Iterable[Sequence[Any]]) -> None:
        hook(statement)
        await write(statement, arguments)

    async def posted(messages: Iterable[tuple[str, Notification]]) -> None:
        hook("post")
        await post(messages)

    store.run = run  # type: ignore[method-assign]
    outbox.post = posted  # type: ignore[method-assign]


async def script(data: Path, hook: Callable[[str], None]) -> None:
    """Two rounds of a policy from where an earlier process was killed, over a hand-off."""
    async with World.open(data, hook=hook) as world:
        _interrupt(world, hook)
        world.policies = ("again",)
        if not (data / "began").exists():
            world.now = at("2026-03-09T08:50")
            await world.fire("2026-03-09T08:50")
            (data / "began").touch()
        world.deliver()
        for minute in range(0, 240, 5):
            world.now = at("2026-03-09T08:50") + minute * MINUTE
            await world.step()


def main() -> None:
    """DATA MOMENT: kills itself at this call of the hook, from 1; what was sent is appended to DATA/sent."""
    data, moment = Path(sys.argv[1]), int(sys.argv[2])
    count = 0

    def hook(what: str) -> None:
        nonlocal count
        if what.startswith("sent "):
            with (data / "sent").open("a") as file:
                file.write(what.removeprefix("sent ") + "\n")
        count += 1
        if count == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    adopt()
    data.mkdir(exist_ok=True)
    asyncio.run(script(data, hook))


if __name__ == "__main__":
    main()
