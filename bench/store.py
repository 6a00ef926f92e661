"""`python -m bench.store [--endpoints N] [--days N]`: the cold tier beside a plain narrow table, on the same samples.

Prints a table and writes JSON to bench/results/. CPU time of this process unless wall time is said; medians where there
are several. The fleet's size is extrapolated from these endpoints, each of which has 60 metrics every five minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bench.shapes import DAY_S, STEP_S, Machine, times
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.tiers.cold_sqlite import ColdTier, CollectorFields, SiteHistory
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.shard_store import open_shard
from rmm.tiers.spool import Spool

RESULTS = Path(__file__).parent / "results"
BEGIN = 1_764_115_200  # a Wednesday
METRICS = 60
BATCH = 16
FLEET = 10_000
SHARD = 150
TRENDS = 40  # questions of each kind

Row = dict[str, Any]


class Narrow:
    """A row a sample, with an index: (endpoint, metric, at, value). As durable as the cold tier."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("CREATE TABLE sample (endpoint INTEGER, metric INTEGER, at INTEGER, value REAL)")
        self.connection.execute("CREATE UNIQUE INDEX by_time ON sample (endpoint, metric, at)")
        self._metrics: dict[tuple[str, str, str], int] = {}

    def store(self, observations: list[Observation]) -> None:
        """In one transaction."""
        rows = []
        for observation in observations:
            endpoint, at = int(observation.endpoint[4:]), round(observation.observed_at.timestamp() * 1_000_000)
            for name, result in observation.collectors.items():
                for reading in result.readings:
                    key = reading.get("drive", "")
                    for field, value in reading.items():
                        if field != "drive":
                            metric = self.metric(name, key, field)
                            rows.append((endpoint, metric, at, value))
        self.connection.execute("BEGIN IMMEDIATE")
        self.connection.executemany("INSERT INTO sample VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        self.connection.execute("COMMIT")

    def metric(self, *name: str) -> int:
        """Its number."""
        return self._metrics.setdefault(name, len(self._metrics))  # type: ignore[arg-type]

    def trend(self, endpoint: int, metric: int, first: int, last: int) -> list[tuple[int, float]]:
        """Times and values."""
        query = "SELECT at, value FROM sample WHERE endpoint = ? AND metric = ? AND at BETWEEN ? AND ? ORDER BY at"
        return self.connection.execute(query, (endpoint, metric, first, last)).fetchall()

    def top(self, metric: int, first: int, last: int) -> list[tuple[int, float]]:
        """The ten endpoints with the highest mean."""
        query = (
            "SELECT endpoint, avg(value) AS mean FROM sample WHERE metric = ? AND at BETWEEN ? AND ?"
            " GROUP BY endpoint ORDER BY mean DESC LIMIT 10"
        )
        return self.connection.execute(query, (metric, first, last)).fetchall()


def observed(machine: Machine, number: int, at: int, seq: int) -> Observation:
    """One poll."""
    readings = machine.readings(at // 1_000_000)
    return Observation(
        endpoint=f"srv-{number}", name=f"SRV-{number}", site="hq", shard=0, fault=None, status="OK",
        epoch="e1", seq=seq,
        observed_at=datetime.fromtimestamp(at / 1_000_000, UTC), duration_s=readings["self"][0]["total_ms"] / 1000,
        collectors={name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in readings.items()},
    )  # fmt: skip


def fields() -> dict[str, CollectorFields]:
    """How the cold tier keeps the generated readings."""
    return {
        name: CollectorFields(
            key=("drive",) if name == "volumes" else (),
            samples=tuple(key for key in rows[0] if key != "drive"),
            changes=(),
        )
        for name, rows in Machine(0, BEGIN).readings(BEGIN).items()
    }


class Clock:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Count what is done within."""
        began = time.process_time()
        yield
        self.spent[what] = self.spent.get(what, 0.0) + time.process_time() - began


def size(folder: Path) -> int:
    """Bytes of the SQLite files in a folder, without the logs that a writer at work has beside them."""
    return sum(path.stat().st_size for path in folder.rglob("*.sqlite"))


async def fill(data: Path, narrow: Narrow, endpoints: int, days: int, clock: Clock) -> dict[int, dict[str, int]]:
    """Store, seal and merge; returns sizes after each night's merge."""
    machines = [Machine(number, BEGIN) for number in range(endpoints)]
    moments = [list(times(BEGIN, days, number)) for number in range(endpoints)]
    sizes: dict[int, dict[str, int]] = {}
    async with ColdTier(path_of(data, "hq", 0), fields()) as cold:
        for step in range(days * DAY_S // STEP_S):
            seen = [observed(machines[number], number, moments[number][step], step) for number in range(endpoints)]
            for first in range(0, endpoints, BATCH):
                batch = seen[first : first + BATCH]
                with clock.of("ingest"):
                    await cold.store(batch)
                with clock.of("narrow ingest"):
                    narrow.store(batch)
            now = datetime.fromtimestamp(BEGIN + (step + 1) * STEP_S, UTC)
            if (step + 1) % (3600 // STEP_S) == 0:
                with clock.of("seal"):
                    await cold.seal(now)
            if (step + 1) % (DAY_S // STEP_S) == 0:
                with clock.of("merge"):
                    await cold.merge(now)
                sizes[(step + 1) * STEP_S // DAY_S] = {"main": path_of(data, "hq", 0).stat().st_size, "all": size(data)}
    return sizes


def asked(count: int, question: Callable[[random.Random], Any]) -> tuple[float, float]:
    """(wall, CPU) milliseconds, medians of `count` different questions."""
    dice, walls, cpus = random.Random(3), [], []
    for _ in range(count):
        wall, cpu = time.perf_counter(), time.process_time()
        question(dice)
        walls.append((time.perf_counter() - wall) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return statistics.median(walls), statistics.median(cpus)


def questions(data: Path, narrow: Narrow, endpoints: int, days: int) -> dict[str, tuple[float, float]]:
    """Trends and the highest of the fleet, both ways."""
    reader, names = SiteHistory(data, "hq"), sorted(narrow._metrics)
    end = BEGIN + days * DAY_S
    first, last = BEGIN * 1_000_000, end * 1_000_000
    span = {"since": datetime.fromtimestamp(BEGIN, UTC), "until": datetime.fromtimestamp(end, UTC)}

    def chosen(dice: random.Random) -> tuple[int, tuple[str, str, str]]:
        return dice.randrange(endpoints), dice.choice(names)

    def text(name: tuple[str, str, str]) -> str:
        return f"{name[0]}.{name[2]}[{name[1]}]" if name[1] else f"{name[0]}.{name[2]}"

    def trend(dice: random.Random) -> None:
        number, name = chosen(dice)
        at, _ = reader.samples(f"srv-{number}", text(name), **span)
        assert len(at) == days * DAY_S // STEP_S

    def narrow_trend(dice: random.Random) -> None:
        number, name = chosen(dice)
        assert len(narrow.trend(number, narrow.metric(*name), first, last)) == days * DAY_S // STEP_S

    def rolled(step: Literal["hour", "day"]) -> Callable[[random.Random], None]:
        def ask(dice: random.Random) -> None:
            number, name = chosen(dice)
            assert len(reader.rollups(f"srv-{number}", text(name), **span, step=step)) in (days, days * 24)

        return ask

    def top(dice: random.Random) -> None:
        name = text(dice.choice(names))
        means = {
            endpoint: sum(one.mean * one.samples for one in spans) / sum(one.samples for one in spans)
            for endpoint, spans in reader.everyones(name, **span, step="day").items()
        }
        assert len(means) == endpoints
        sorted(means.items(), key=lambda pair: pair[1], reverse=True)[:10]

    def narrow_top(dice: random.Random) -> None:
        narrow.top(narrow.metric(*dice.choice(names)), first, last)

    with reader.kept_open():  # as the table is
        kept = asked(TRENDS, trend)
    return {
        "trend": asked(TRENDS, trend),
        "kept open": kept,
        "narrow trend": asked(TRENDS, narrow_trend),
        "hourly": asked(TRENDS, rolled("hour")),
        "daily": asked(TRENDS, rolled("day")),
        "top": asked(3, top),
        "narrow top": asked(3, narrow_top),
    }


async def start_up(data: Path) -> tuple[float, float, float]:
    """Of a fleet whose endpoints were all seen once: the start of a round after a clean end, and after a kill.

    Seconds of wall and of CPU until every shard's store was open, the last states of its endpoints in memory; then the
    wall seconds when the spool has an observation of each endpoint that is nowhere else yet.
    """
    places = [range(first, min(first + SHARD, FLEET)) for first in range(0, FLEET, SHARD)]
    machines = [Machine(number, BEGIN) for number in range(FLEET)]

    def now() -> datetime:
        return datetime.fromtimestamp(BEGIN + 3600, UTC)

    async def poll(seq: int, *, killed: bool) -> None:
        at = (BEGIN + seq * STEP_S) * 1_000_000
        for shard, numbers in enumerate(places):
            seen = [observed(machines[number], number, at, seq) for number in numbers]
            if killed:
                async with Spool(data / "spool" / "hq" / str(shard)) as spool:
                    await asyncio.gather(*(spool.append(encode_observation(one)) for one in seen))
                continue
            async with open_shard(data, "hq", shard, fields=fields(), now=now) as store:
                await asyncio.gather(*(store.acknowledge(one, None) for one in seen))
                await store.flush()
                await store.release()

    async def opened() -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        for shard, numbers in enumerate(places):
            async with open_shard(data, "hq", shard, fields=fields(), now=now) as store:
                assert all(store.state(f"srv-{number}") for number in numbers)
                await store.release()
        return time.perf_counter() - wall, time.process_time() - cpu

    await poll(1, killed=False)
    clean = await opened()
    await poll(2, killed=True)
    return (*clean, (await opened())[0])


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=20)
    parser.add_argument("--days", type=int, default=30)
    order = parser.parse_args()
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        narrow = Narrow(Path(folder) / "narrow.sqlite")
        sizes = asyncio.run(fill(data, narrow, order.endpoints, order.days, clock))
        narrow.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        narrow_size = (Path(folder) / "narrow.sqlite").stat().st_size
        asks = questions(data, narrow, order.endpoints, order.days)
        opened = asyncio.run(start_up(Path(folder) / "fleet"))
        began = time.process_time()
        checksum = SiteSamples(data, "hq").checksum()
        summed = time.process_time() - began
    report(order.endpoints, order.days, clock, sizes, narrow_size, asks, opened, checksum, summed)


def report(
    endpoints: int, days: int, clock: Clock, sizes: dict[int, dict[str, int]], narrow_size: int,
    asks: dict[str, tuple[float, float]], opened: tuple[float, float, float], checksum: str, summed: float,
) -> None:  # fmt: skip
    """Print, and keep as JSON."""
    samples = endpoints * METRICS * DAY_S // STEP_S  # of a day
    machine_days = endpoints * days
    each = {
        day: (one["all"] / (samples * day), (one["all"] - one["main"]) / (samples * day)) for day, one in sizes.items()
    }
    main_each = sizes[days]["main"] / endpoints
    lasting = each[days][1] + main_each / (METRICS * DAY_S / STEP_S * 90)
    spent = {what: seconds / (machine_days * METRICS * DAY_S / STEP_S) * 1e6 for what, seconds in clock.spent.items()}
    rows: list[Row] = [
        {"what": f"bytes per sample, {days} days, files of merged history", "here": each[days][1]},
        {"what": "bytes per sample, 90 days, with the shard's own file", "here": lasting,
         "narrow": narrow_size / (samples * days)},
        {"what": f"{FLEET:,} endpoints, 90 days, GB", "here": lasting * FLEET * 90 * METRICS * DAY_S / STEP_S / 1e9},
        {"what": "ingest, us of CPU per sample", "here": spent["ingest"], "narrow": spent["narrow ingest"]},
        {"what": "seal, us of CPU per sample", "here": spent["seal"]},
        {"what": "merge with rollups, us of CPU per sample", "here": spent["merge"]},
        {"what": f"a night's merge, {FLEET:,} endpoints, s of CPU",
         "here": clock.spent["merge"] / machine_days * FLEET},
        {"what": f"{days}-day trend, every sample, ms", "here": asks["trend"][0], "narrow": asks["narrow trend"][0]},
        {"what": "the same, of files that are kept open as the table is", "here": asks["kept open"][0],
         "narrow": asks["narrow trend"][0]},
        {"what": f"{days}-day trend by hours, ms", "here": asks["hourly"][0], "narrow": asks["narrow trend"][0]},
        {"what": f"{days}-day trend by days, ms", "here": asks["daily"][0], "narrow": asks["narrow trend"][0]},
        {"what": f"highest ten of {endpoints} over {days} days, ms", "here": asks["top"][0],
         "narrow": asks["narrow top"][0]},
        {"what": f"start with {FLEET:,} endpoints in {math.ceil(FLEET / SHARD)} shards, s", "here": opened[0]},
        {"what": "the same, s of CPU", "here": opened[1]},
        {"what": "the same after a kill, a round in the spool, s", "here": opened[2]},
        {"what": "reading and summing up everything, us of CPU per sample", "here": summed / (samples * days) * 1e6},
    ]  # fmt: skip
    for row in rows:
        ratio = f"{row['narrow'] / row['here']:8.1f}x" if "narrow" in row else ""
        print(f"{row['what']:58} {row['here']:10.3f} {row.get('narrow', float('nan')):10.3f} {ratio}")
    RESULTS.mkdir(exist_ok=True)
    kept = {"endpoints": endpoints, "days": days, "rows": rows, "bytes_per_sample_by_day": each, "checksum": checksum}
    (RESULTS / f"store-{endpoints}x{days}.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
