"""`python -m bench.hub [--endpoints N] [--sites N] [--rounds N] [--workers N] [--broker]`: what the hub costs.

Envelopes of several sites are made and sealed first, by other processes, then taken as fast as one hub takes them:
signature, inbox, fold with alerts, marks, receipts, history, and the end of each site's round. It prints the CPU time
of that process for each observation and how its memory grows, and writes JSON to bench/results/. With workers, a nats-server
takes the receipts, and CPU time is that of the process that deals out, memory that of all.

With --broker it is `rmm hub run` that takes them, of a nats-server to which other processes publish as sites do; it
prints what the broker held as well. From 24 rounds on, which are two hours of the fleet's, the hub's memory is judged:
whether the last hour has added to it. Exit code 1: it has.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature

from bench.envelopes import STEP_S, configured, envelopes, key_of, make
from bench.hub_broker import Found, behind, broker, measure, memory_of
from rmm.app import App
from rmm.bus.memory import MemoryBus
from rmm.core.sealing import Verify
from rmm.hub.history import MOST
from rmm.hub.hub import Trust
from rmm.hub_run import run_crew, run_hub
from rmm.loop import run
from rmm.settings.load import load_settings

RESULTS = Path(__file__).with_name("results")
GOAL_US = 3000
HOUR = 3600 // STEP_S  # rounds
MOST_GROWTH = 0.03  # of the hub's memory in an hour: what the allocator leaves free, and caches that fill up


def _verify(site: int) -> Verify:
    public = key_of(site).public_key()

    def verify(data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify


async def take(
    folder: Path, sites: int, endpoints: int, rounds: int, workers: int, size: float
) -> list[dict[str, float]]:  # fmt: skip
    """All of it through one hub, observations of `size` bytes; after each round what it has cost."""
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

    limit = 1.25 * size * MOST * sites  # what inboxes gather
    hub = asyncio.create_task((run_hub if workers == 1 else run_crew)(app, opened, trust, ready=ready.set))
    await ready.wait()
    found = []
    for number in range(rounds):
        meter = Meter(endpoints)
        await _publish(bus, {n: envelopes(folder, number, n) for n in range(sites)})
        while bus._open:  # noqa: ASYNC110 - a bus says nothing of what is acknowledged
            await asyncio.sleep(0.01)
        while behind(app.data) > limit:  # noqa: ASYNC110 - history has its part of the time, or it would not be counted
            await asyncio.sleep(0.05)
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
        return {"wall_s": wall, "us": cpu / self._count * 1e6, "memory_mb": memory_of(os.getpid())}


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


def judged(memory_mb: Sequence[float]) -> bool:
    """Print what the hub had at the end of each hour of the fleet's; whether the last one has added nothing."""
    hours = [statistics.median(memory_mb[n - 3 : n]) for n in range(HOUR, len(memory_mb) + 1, HOUR)]
    if len(hours) < 2:
        return True
    print("memory at the end of each hour: " + ", ".join(f"{one:.0f} MB" for one in hours))
    grown = hours[-1] / hours[-2] - 1
    print(
        f"the last hour made it {100 * grown:+.1f} %: " + ("it does not grow" if grown <= MOST_GROWTH else "it GROWS")
    )
    return grown <= MOST_GROWTH


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=36)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--broker", action="store_true", help="`rmm hub run`, a nats-server, and sites that publish")
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
            size = sum(one.result() for one in made) / order.rounds / order.endpoints
        print(f"{order.endpoints} endpoints at {order.sites} sites, {size:.0f} bytes each")
        kept = through_broker(folder, order) if order.broker else in_memory(folder, order, size)
    RESULTS.mkdir(exist_ok=True)
    how = ("-broker" if order.broker else "") + ("-typical" if order.typical else "")
    how += f"-{order.workers}" if order.workers > 1 else ""
    (RESULTS / f"hub-{order.endpoints}{how}.json").write_text(json.dumps({"bytes": size, **kept}, indent=1))
    if not judged(kept["memory_mb"]):
        raise SystemExit(1)


def in_memory(folder: Path, order: argparse.Namespace, size: float) -> dict[str, Any]:
    """Over the bus in memory, in this process."""
    profile = cProfile.Profile()
    if order.profile:
        profile.enable()
    with broker(folder, order.sites) if order.workers > 1 else nullcontext():
        found = run(take(folder, order.sites, order.endpoints, order.rounds, order.workers, size))
    profile.disable()
    if order.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    us = sum(one["us"] for one in found) / order.rounds
    print(f"{us:.0f} us of CPU an observation ({1e6 / us:.0f} a second), the goal is below {GOAL_US}")
    wall = sum(one["wall_s"] for one in found) / order.rounds
    print(f"{order.workers} worker(s): {order.endpoints / wall:.0f} observations a second of the clock")
    return {"us": us, "rounds": found, "memory_mb": [one["memory_mb"] for one in found[: order.rounds]]}


def through_broker(folder: Path, order: argparse.Namespace) -> dict[str, Any]:
    """By a hub of its own, of a nats-server."""
    found: Found = run(measure(folder, order.sites, order.endpoints, order.rounds, order.workers))
    us = found.cpu_s / found.observations * 1e6
    print(
        f"{found.observations / found.wall_s:.0f} observations a second of the clock, "
        f"{us:.0f} us of CPU an observation ({1e6 / us:.0f} a second), the goal is below {GOAL_US}"
    )
    print(
        f"the broker held {found.most} messages ({found.most_mb:.1f} MB) at most, of which {found.most_done} were "
        f"committed; {found.left} {found.cleared_s:.1f} s after the last was"
    )
    print(f"{found.behind_mb:.0f} MB were not in history when the last was committed")
    return dict(msgspec.structs.asdict(found))


if __name__ == "__main__":
    main()
