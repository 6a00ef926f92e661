"""`python -m bench.rules [--endpoints N] [--days N] [--keep FOLDER]`: what rules cost.

Two questions: how much CPU the evaluation of a whole round takes, of endpoints with every collector and of ones with
what is due every five minutes; and how long a rule takes over stored history. It prints, and writes JSON to
bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.shapes import DAY_S, STEP_S, Machine, times
from rmm.app import open_app
from rmm.catalog.load import load_catalog
from rmm.coordinator.evaluation import Evaluation
from rmm.core.query import schema_of
from rmm.core.rulebook import Rulebook
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint
from rmm.model.observation import CollectorResult, Observation
from rmm.model.rule import Alert, Override
from rmm.resources import shipped
from rmm.rule_trial import RuleTrial, Span
from rmm.settings.rules import shipped_rules
from rmm.tiers.cold_sqlite import ColdTier, CollectorFields
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.fleet_sqlite import FleetStore

RESULTS = Path(__file__).with_name("results")
SHARD = 250
BEGIN = 1_772_323_200  # 2026-03-01
FIELDS = {"cpu": CollectorFields(key=("core",), samples=("util_pct",), changes=())}
BATCH, ROUNDS = 100, 3
OFTEN = 300  # what is read at least so often is due in a round


async def _fill(data: Path, shard: int, endpoints: range, days: int) -> None:
    """The history of one metric: polls every five minutes, sealed and merged as they are in operation."""
    machines = [Machine(number, BEGIN) for number in endpoints]
    moments = [list(times(BEGIN, days, number)) for number in endpoints]
    async with ColdTier(path_of(data, "hq", shard), FIELDS) as cold:
        for step in range(days * DAY_S // STEP_S):
            batch = []
            for place, number in enumerate(endpoints):
                at = moments[place][step]
                machine = machines[place]
                busy = machine._cpu(machine._level(at // 1_000_000))["util_pct"]
                batch.append(
                    Observation(
                        endpoint=f"srv-{number}",
                        name=f"SRV-{number}",
                        site="hq",
                        shard=shard,
                        fault=None,
                        status="OK",
                        epoch="e1",
                        seq=step,
                        observed_at=datetime.fromtimestamp(at / 1_000_000, UTC),
                        duration_s=1.0,
                        collectors={
                            "cpu": CollectorResult(outcome="ok", readings=({"core": "_Total", "util_pct": busy},))
                        },
                    )
                )
            await cold.store(batch)
            now = datetime.fromtimestamp(BEGIN + (step + 1) * STEP_S, UTC)
            if (step + 1) % (3600 // STEP_S) == 0:
                await cold.seal(now)
            if (step + 1) % (DAY_S // STEP_S) == 0:
                await cold.merge(now)


def fill(folder: str, shard: int, first: int, end: int, days: int) -> None:
    """In a process of its own."""
    asyncio.run(_fill(Path(folder) / "data", shard, range(first, end), days))


def stored(folder: Path, endpoints: int, days: int) -> None:
    """History of some endpoints, and the configuration that names them."""
    if not (folder / "rmm.yaml").exists():
        places = range(0, endpoints, SHARD)
        with ProcessPoolExecutor(2) as pool:
            list(
                pool.map(
                    fill,
                    [str(folder)] * len(places),
                    range(len(places)),
                    places,
                    [min(first + SHARD, endpoints) for first in places],
                    [days] * len(places),
                )
            )
        listed = "".join(f"SRV-{n},hq,srv-{n}\n" for n in range(endpoints))
        (folder / "endpoints.csv").write_text("ComputerName,SiteId,Id\n" + listed)
        (folder / "rmm.yaml").write_text("sites:\n  - {id: hq, credential: none}\n")


def tried(folder: Path, days: int, rule: str) -> tuple[float, float, int]:
    """(wall, CPU) seconds of a rule over the history, in this process, and how many alerts there were."""
    app = open_app(folder, lambda: "")
    wanted = next(one for one in app.rules if one.id == rule)
    end = datetime.fromtimestamp(BEGIN + days * DAY_S, UTC)
    wall, cpu = time.perf_counter(), time.process_time()
    found = RuleTrial(app, wanted).run(app.settings.endpoints, Span(end - timedelta(days=days), end))
    return time.perf_counter() - wall, time.process_time() - cpu, len(found)


def samples(catalog: Mapping[str, Collector]) -> dict[str, dict[str, Any]]:
    """What a typical server says, from the samples of the collectors."""
    found = {}
    for name, one in catalog.items():
        files = sorted((Path(one.folder) / "samples").glob("server*typical.readings.json"))
        if files:
            found[name] = json.loads(files[-1].read_text(encoding="utf-8"))
    return found


def results(catalog: Mapping[str, Collector], names: Iterable[str]) -> dict[str, CollectorResult]:
    """The same as results of a poll."""
    return {
        name: msgspec.convert(found, CollectorResult) for name, found in samples(catalog).items() if name in set(names)
    }


def round_of(catalog: Mapping[str, Collector], names: Iterable[str], endpoints: int) -> dict[str, float]:
    """CPU of evaluating rounds of a fleet, in microseconds an endpoint: of the first one, and of those that follow."""
    rules = [*shipped_rules(), *(rule for one in catalog.values() for rule in one.manifest.rules)]
    listed = {str(n): Endpoint(id=str(n), name=f"SRV-{n}", site="hq", group=str(n % 50)) for n in range(endpoints)}
    overrides = [Override(rule="cpu_high", group=str(n), warning=90) for n in range(10)]
    book = Rulebook(rules, overrides, listed, {}, schema_of(one.manifest for one in catalog.values()))
    keys = {name: one.manifest.key for name, one in catalog.items()}
    own = results(catalog, names)
    spent = asyncio.run(_rounds(book, keys, own, endpoints))
    return {"collectors": len(own), "rows": sum(len(one.readings) for one in own.values()), **spent}


async def _rounds(
    book: Rulebook, keys: Mapping[str, tuple[str, ...]], own: dict[str, CollectorResult], endpoints: int
) -> dict[str, float]:
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with FleetStore.open(Path(folder)) as store:
            evaluation = Evaluation(book, keys, store)
            live: dict[str, dict[str, Alert]] = {}
            for number in range(ROUNDS):
                now = datetime.fromtimestamp(BEGIN + number * STEP_S, UTC)
                begin = time.process_time()
                for first in range(0, endpoints, BATCH):
                    batch = [_seen(str(n), now, own) for n in range(first, min(first + BATCH, endpoints))]
                    async with store.transaction():
                        await evaluation.load(batch)
                        for one in batch:
                            mine = live.setdefault(one.endpoint, {})
                            for change in evaluation.changes(one, mine, "Microsoft Windows Server 2022", now):
                                mine[change.alert.key] = change.alert
                        await evaluation.keep(now)
                spent.append((time.process_time() - begin) / endpoints * 1e6)
    return {"first_us": spent[0], "us": min(spent[1:]), "alerts": len(live["0"])}


def _seen(endpoint: str, at: datetime, own: dict[str, CollectorResult]) -> Observation:
    return Observation(
        endpoint=endpoint, name=f"SRV-{endpoint}", site="hq", shard=0, fault=None, status="OK", epoch="e1", seq=1,
        observed_at=at, duration_s=1.0, collectors=own,
    )  # fmt: skip


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoints", type=int, default=1000, help="with stored history; 0: only rounds")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--fleet", type=int, default=10_000, help="endpoints of a round")
    parser.add_argument("--keep", type=Path, help="a folder for the history, which is used again if it is there")
    order = parser.parse_args()
    catalog = load_catalog([shipped("collectors")])
    often = [name for name, one in catalog.items() if one.manifest.interval <= OFTEN]
    kept: dict[str, Any] = {}
    for what, names in (("every collector", list(catalog)), ("due every five minutes", often)):
        kept[what] = one = round_of(catalog, names, order.fleet)
        print(
            f"a round of {order.fleet} endpoints, {what} ({one['collectors']}, {one['rows']} rows): "
            f"{one['us']:.0f} us of CPU an endpoint, {one['first_us']:.0f} us in the first round"
        )
    if order.endpoints:
        with contextlib.ExitStack() as stack:
            folder = order.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stored(folder, order.endpoints, order.days)
            for rule in ("cpu_high",):
                wall, cpu, found = tried(folder, order.days, rule)
                kept[rule] = {"wall_s": wall, "cpu_s": cpu, "alerts": found}
                print(
                    f"{rule} over {order.days} days of {order.endpoints} endpoints: {wall:.1f} s, {cpu:.1f} s of CPU, "
                    f"{found} alerts"
                )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"rules-{order.fleet}.json").write_text(json.dumps(kept, indent=1))


if __name__ == "__main__":
    main()
