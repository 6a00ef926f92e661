"""Sites as the hub sees them: keys, envelopes, beats; and a hub in a data folder, with time that the test moves."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cluster import rows as rows
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rmm.bus.memory import MemoryBus
from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator, SitesCoordinator
from rmm.core.alerting.link import Limits
from rmm.core.sealing import Sign, Verify, open_receipt, seal
from rmm.core.shard import shard_of
from rmm.hub.history import Keeping
from rmm.hub.hub import Hub, Plan, Trust
from rmm.hub.ingest import Place
from rmm.hub.watch import Watch
from rmm.model.alerting import AlertSettings
from rmm.model.envelope import OBSERVATION, ROUND, Beat, Entry, Envelope, Marks, Receipt, RoundEnd
from rmm.model.incident import Act
from rmm.model.observation import CollectorResult, Fault, Observation, encode_observation
from rmm.model.rule import Rule
from rmm.model.settings import Retention
from rmm.settings.rules import shipped_rules
from rmm.tiers.cold_sqlite.series import CollectorFields
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.shard_store import open_shard

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIELDS = {
    "cpu": CollectorFields(key=("core",), samples=("util_pct", "frequency_mhz"), changes=()),
    "services": CollectorFields(key=("service",), samples=(), changes=("state", "account")),
}
KEYS: dict[str, tuple[str, ...]] = {"cpu": ("core",), "services": ("service",)}
CPU = Rule(id="cpu_high", collector="cpu", field="util_pct", where={"core": "_Total"}, warning=80, critical=95)
AT_ONCE = AlertSettings(resolve_after=0)
LIMITS = Limits(90.0, 120.0, 4 << 30)
FOREVER = Retention(samples=0, changes=0, hourly=0, daily=0)

SITES = ("berlin", "lyon")
OWNERS = {f"{site}-{n}": site for site in SITES for n in range(6)}


class Time:
    """`ports.Clock`, moved by the test."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def add(self, **passed: float) -> None:
        self.at += timedelta(**passed)


class Key:
    """Of a collector, or of the hub."""

    def __init__(self, raw: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(raw)
        self._public = self._key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def verify(self, data: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


class Keys:
    """All collectors' keys, and the hub's."""

    def __init__(self, *collectors: tuple[str, str], seed: int | None = None) -> None:
        dice = random.Random(seed)
        self.hub = Key(dice.randbytes(32))
        self.of = {one: Key(dice.randbytes(32)) for one in collectors}
        self.revoked: set[tuple[str, str]] = set()

    def key_of(self, site: str, collector: str) -> Verify | None:
        key = self.of.get((site, collector))
        return None if key is None or (site, collector) in self.revoked else key.verify

    @property
    def trust(self) -> Trust:
        return Trust(self.key_of, self.hub.sign)


def observation(
    site: str, endpoint: str, at: datetime, seq: int, *, busy: float = 10.0, services: int = 5, shard: int = 0,
    status: str = "OK", code: str = "tcp.timeout",
) -> Observation:  # fmt: skip
    cores = [{"core": "_Total", "util_pct": busy, "frequency_mhz": 2400.0}]
    cores += [{"core": f"0,{n}", "util_pct": float((seq * 7 + n) % 100), "frequency_mhz": 2400.0} for n in range(8)]
    listed = [{"service": f"svc{n}", "state": "Running", "account": "LocalSystem"} for n in range(services)]
    results = {
        "cpu": CollectorResult(outcome="ok", readings=tuple(cores)),
        "services": CollectorResult(outcome="ok", readings=tuple(listed)),
    }
    return Observation(
        endpoint=endpoint, name=endpoint.upper(), site=site, shard=shard, observed_at=at, duration_s=0.1, status=status,
        fault=None if status == "OK" else Fault(code, "R1", "hint", "message"),
        collectors=results if status == "OK" else {}, epoch="00" * 8, seq=seq,
    )  # fmt: skip


def observed(rounds: int = 6) -> list[Observation]:
    found = []
    for number in range(rounds):
        for place, (endpoint, site) in enumerate(OWNERS.items()):
            at = START + timedelta(minutes=5 * number, seconds=place)
            busy = 97.0 if endpoint == "lyon-3" and number >= 4 else 12.0
            services = 5 + (number if endpoint == "berlin-1" else 0)
            found.append(observation(site, endpoint, at, number + 1, busy=busy, services=services))
    return found


class Given:
    """A delivery of no bus."""

    def __init__(self, subject: str, data: bytes) -> None:
        self.subject, self.data, self.attempt = subject, data, 1
        self.acked = False

    async def ack(self) -> None:
        self.acked = True

    async def later(self, delay_s: float) -> None:
        raise AssertionError(delay_s)


class Site:
    """One collector of a site: numbers entries, and seals them."""

    def __init__(self, keys: Keys, site: str, collector: str = "c1", epoch: str = "") -> None:
        self.id, self.collector = site, collector
        self.epoch = epoch or os.urandom(8).hex()
        self._keys = keys
        self.entries: list[Entry] = []

    @property
    def sign(self) -> Sign:
        return self._keys.of[self.id, self.collector].sign

    def add(self, kind: str, body: bytes, at: datetime, *, shard: int = 0, fence: int = 0, count: int = 1) -> Entry:
        seq = self.entries[-1].seq + self.entries[-1].count if self.entries else 1
        entry = Entry(seq=seq, kind=kind, at=at, body=body, shard=shard, fence=fence, count=count)
        self.entries.append(entry)
        return entry

    def observe(self, one: Observation, *, fence: int = 0) -> Entry:
        return self.add(OBSERVATION, encode_observation(one), one.observed_at, shard=one.shard, fence=fence)

    def round_over(self, at: datetime, **more: Any) -> Entry:
        return self.add(ROUND, msgspec.json.encode(RoundEnd(began=at, ended=at, **more)), at)

    def sealed(self, entries: Iterable[Entry] | None = None, **other: Any) -> bytes:
        fields: dict[str, Any] = {"site": self.id, "collector": self.collector, "epoch": self.epoch, **other}
        chosen = tuple(self.entries if entries is None else entries)
        return seal(Envelope(sent_at=chosen[0].at, entries=chosen, **fields), self.sign)

    def envelopes(self, size: int = 4) -> list[bytes]:
        return [self.sealed(self.entries[n : n + size]) for n in range(0, len(self.entries), size)]

    @property
    def subject(self) -> str:
        return f"rmm.up.{self.id}"

    def beat(self, at: datetime, **more: Any) -> tuple[str, bytes]:
        given = {"version": "1", "started_at": START, **more}
        beat = Beat(site=self.id, collector=self.collector, at=at, **given)
        return f"rmm.beat.{self.id}", msgspec.json.encode(beat)


def plan(
    sites: Collection[str], owners: dict[str, str], clock: Time, *, rate: Callable[[str], float] = lambda _: 1e6,
    room: Callable[[], None] = lambda: None, limits: Limits = LIMITS,
) -> Plan:  # fmt: skip
    return Plan(
        Place(sites, owners, lambda _site, endpoint: shard_of(endpoint, 2)),
        Keeping(FIELDS, clock.now, FOREVER, room), limits, rate, owners,
    )  # fmt: skip


@asynccontextmanager
async def coordinator(
    data: Path, clock: Time, channel: MemoryChannel, kind: type[Coordinator] = SitesCoordinator
) -> AsyncIterator[Any]:
    async with kind.open(
        data, rules=[*shipped_rules(), CPU], keys=KEYS, channels=[channel], clock=clock, settings=AT_ONCE
    ) as made:
        yield made


@asynccontextmanager
async def hub(
    data: Path, clock: Time, made: Plan, trust: Trust, *, channel: MemoryChannel | None = None, **more: Any
) -> AsyncIterator[Hub]:
    async with (
        coordinator(data, clock, channel or MemoryChannel("memory")) as folding,
        Hub.open(data, folding, made, trust, clock, **more) as opened,
    ):
        yield opened


@asynccontextmanager
async def running(opened: Hub, bus: MemoryBus) -> AsyncIterator[None]:
    """With all tasks of a hub at work."""
    task = asyncio.create_task(opened.run(bus))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(true: Callable[[], bool], within: float = 20.0) -> None:
    async with asyncio.timeout(within):
        while not true():
            await asyncio.sleep(0.01)


class Receiver:
    """What sites are told, as they read it."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self.newest: dict[str, Receipt] = {}

    async def listen(self, bus: MemoryBus) -> None:
        async with bus.hear("rmm.down.*") as told:
            async for one in told:
                site = one.subject.rpartition(".")[2]
                self.newest[site] = open_receipt(one.data, self._keys.hub.verify, site=site)

    def marks(self, site: Site) -> Marks:
        return self.newest[site.id].marks.get(site.epoch, Marks()) if site.id in self.newest else Marks()


def checksum(data: Path, sites: Iterable[str]) -> dict[str, str]:
    """Of all samples, by site."""
    return {site: SiteSamples(data, site).checksum() for site in sites}


def acts(data: Path) -> list[Act]:
    """The audit log, oldest first."""
    return [msgspec.json.decode(row[0], type=Act) for row in rows(data, "SELECT body FROM act ORDER BY no")]


def fleet(data: Path) -> list[tuple[Any, ...]]:
    """What the view has of endpoints."""
    found: list[tuple[Any, ...]] = rows(
        data, "SELECT id, name, site, status, observed_at, epoch, seq, facts FROM endpoint ORDER BY id"
    )
    return found


async def embedded(data: Path, clock: Time, observations: Sequence[Observation]) -> None:
    """The same observations, polled here and without a break: stores, then the coordinator."""
    async with coordinator(data, clock, MemoryChannel("memory"), Coordinator) as folding:
        places: dict[tuple[str, int], list[Observation]] = {}
        for one in observations:
            places.setdefault((one.site, shard_of(one.endpoint, 2)), []).append(one)
        for (site, shard), own in places.items():
            async with open_shard(data, site, shard, fields=FIELDS, now=clock.now, keep=FOREVER) as store:
                for one in own:
                    await store.acknowledge(one, None)
                await store.flush()
                await store.release()
        await folding.fold([encode_observation(one) for one in observations])
        await folding.finish()


def idle(bus: MemoryBus) -> bool:
    """Whether all that was published is acknowledged."""
    return not bus._open


def watch_of(hub: Hub) -> Watch:
    """A whole hub has one."""
    assert hub.watch is not None
    return hub.watch
