"""A hub as `rmm hub run` starts it, over a real broker with its own authority, and sites that send to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from cluster import setting_of
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hubside import Keys, Receiver, Site, checksum, fleet, observation, rows
from sites_world import Configured, brokers

from rmm.bus.jetstream import JetStreamBus, open_bus
from rmm.errors import BusError, BusFull
from rmm.hub.authority import Authority, verifier
from rmm.hub.registry import Collector, Registry
from rmm.model.envelope import Marks
from rmm.model.observation import Observation

SITES = tuple(f"site-{n}" for n in range(4, 11))  # two workers have three and four of them, three have three, two, two
EACH = 3  # endpoints of a site
STARTS_S = 60.0


class Fleet:
    """A configuration folder, a broker, and the observations that its sites have: always the same."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder = folder
        self.keys = Keys(*((site, "c1") for site in SITES), seed=5)
        self.ids = {site: [f"{site}-{n}" for n in range(EACH)] for site in SITES}
        now = datetime.now(UTC).replace(microsecond=0)
        self.observations: list[Observation] = []
        for number in range(rounds):
            at = now - timedelta(minutes=5 * (rounds - number))
            for place, (site, members) in enumerate(self.ids.items()):
                for n, endpoint in enumerate(members):
                    down = endpoint == "site-5-1" and number >= rounds // 2
                    self.observations.append(
                        observation(
                            site, endpoint, at + timedelta(seconds=3 * place + n), number + 1,
                            status="UNREACHABLE" if down else "OK", busy=float(number),
                        )
                    )  # fmt: skip

    def senders(self) -> dict[str, Site]:
        """One collector for each site, with all that it has to say: a round is over after each of them."""
        made = {site: Site(self.keys, site, epoch=f"{n:016x}") for n, site in enumerate(SITES)}
        for number, one in enumerate(self.observations):
            made[one.site].observe(one)
            if number % EACH == EACH - 1:
                made[one.site].round_over(one.observed_at)
        return made

    def config(self, name: str) -> Path:
        """A new configuration folder, with an authority that knows the collectors."""
        folder = self.folder / name / "config"
        folder.mkdir(parents=True)
        now = datetime.now(UTC)
        authority = Authority.create(folder, now)
        registry = Registry()
        for n, (site, collector) in enumerate(self.keys.of):
            raw = Ed25519PrivateKey.from_private_bytes(_seed(self.keys, n)).public_key().public_bytes_raw()
            registry = registry.with_collector(
                Collector(
                    site=site, id=collector, key=raw.hex(), user=f"U{n}", enrolled_at=now,
                    expires_at=now + timedelta(days=1),
                )
            )  # fmt: skip
        authority.registry.write(registry)
        (folder / "endpoints.csv").write_text(
            "ComputerName,SiteId,Id\n"
            + "".join(f"{one.upper()},{site},{one}\n" for site, ids in self.ids.items() for one in ids)
        )
        return folder


def _seed(keys: Keys, number: int) -> bytes:
    """As `Keys` draws them."""
    dice = random.Random(5)
    dice.randbytes(32)
    return [dice.randbytes(32) for _ in keys.of][number]


class World:
    """One hub with its broker."""

    def __init__(self, config: Path, server: Configured) -> None:
        self.config = config
        self.data = config.parent / "data"
        self.authority = Authority.open(config)
        self.server = server
        self.process: subprocess.Popen[bytes] | None = None
        self.log = config.parent / "hub.log"
        self.configure()

    def configure(self, **more: object) -> None:
        """Write rmm.yaml."""
        sites = "".join(f"  - {{id: {site}, shards: 2}}\n" for site in SITES)
        if database := setting_of(self.data):
            more = {"database": f"'{database}'", **more}
        extra = "".join(f", {key}: {value}" for key, value in more.items())
        (self.config / "rmm.yaml").write_text(
            f"data: {self.data}\nhub: {{urls: ['{self.server.url}'], rate: 100000{extra}}}\nsites:\n{sites}"
        )

    def start(self, *arguments: str) -> None:
        """As somebody types it; returns when it is at work."""
        before = self.at_work
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rmm", "hub", "run", "--config", str(self.config), *arguments],
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + STARTS_S
        while self.at_work == before:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)

    @property
    def at_work(self) -> int:
        """How often it said so."""
        return self.log.read_text().count("is at work") if self.log.exists() else 0

    @property
    def workers(self) -> list[int]:
        """Process ids of the hub's workers."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(word) for word in children.read_text().split()] if children.exists() else []
        return [pid for pid in found if b"rmm.hub_worker" in _command(pid)]

    def kill(self) -> None:
        """The main process, as if the power failed to it alone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """As a service manager does, which tells all processes of a service; returns the exit code."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(60)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[JetStreamBus]:
        """A connection by which sites speak and hear."""
        async with open_bus(self.authority.login((self.server.url,), datetime.now(UTC))) as bus:
            yield bus


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


@contextmanager
def world(made: Fleet, name: str) -> Iterator[World]:
    """A hub that is not started; ended at the end, whatever happens."""
    config = made.config(name)
    authority = Authority.open(config)
    with brokers(authority, 1, config.parent / "brokers") as servers:
        one = World(config, servers[0])
        try:
            yield one
        finally:
            if one.process is not None and one.process.poll() is None:
                one.kill()


def listener_of(authority: Authority) -> Receiver:
    """What sites are told by this hub."""
    return Receiver(SimpleNamespace(hub=SimpleNamespace(verify=verifier(authority.public))))


async def send(bus: JetStreamBus, site: Site, envelopes: Sequence[bytes], pause: float = 0.0) -> None:
    """In order, as the broker takes them."""
    for sealed in envelopes:
        while True:
            try:
                await bus.publish(site.subject, sealed)
                break
            except BusFull:
                await asyncio.sleep(0.05)
        await asyncio.sleep(pause)


async def committed(bus: JetStreamBus, listener: Receiver, senders: dict[str, Site], within: float = 120) -> None:
    """Until receipts say that all of it is; asks, too, as sites do."""
    async with asyncio.timeout(within):
        for site in senders.values():
            whole = Marks(site.entries[-1].seq)
            while listener.marks(site) != whole:
                with contextlib.suppress(BusError):
                    await bus.ask(f"rmm.ask.{site.id}.receipt", b"", timeout_s=2)
                await asyncio.sleep(0.05)


def kept(data: Path) -> tuple[object, ...]:
    """All that has to be the same, whoever took it."""
    marks = rows(data, "SELECT site, body FROM site_mark ORDER BY site")
    alerts = rows(data, "SELECT DISTINCT key, state FROM alert ORDER BY key")
    return checksum(data, SITES), fleet(data), marks, alerts


def told(data: Path) -> list[str]:
    """Ids of notifications."""
    return [str(row[0]) for row in rows(data, "SELECT id FROM notification")]


async def until_rows(data: Path, question: str, count: int, within: float = 40) -> None:
    """Until the fleet's database has so many."""
    async with asyncio.timeout(within):
        while len(rows(data, question)) < count:
            await asyncio.sleep(0.1)


async def until_told(data: Path) -> None:
    """Until something was decided to be told, which is after the end of a round."""
    await until_rows(data, "SELECT 1 FROM notification", 1)


def alive(pid: int) -> bool:
    """Whether there is this process still."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
