"""What it costs to fold a fleet into its database: `python -m bench.fleet [--endpoints N] [--database postgresql://...]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rmm.coordinator import Coordinator
from rmm.model.alerting import AlertSettings
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(minutes=5)
ROUNDS = 4
BATCH = 200
KEYS: dict[str, tuple[str, ...]] = {"cpu": ("core",), "volumes": ("volume",), "memory": ()}
RULES = [
    Rule(id="cpu_high", collector="cpu", field="util_pct", where={"core": "_Total"}, warning=80, critical=95),
    Rule(id="volume_full", collector="volumes", field="used_pct", warning=80, critical=90, hysteresis=2),
]


class _Time:
    """`ports.Clock`, by the round."""

    def __init__(self) -> None:
        self.at = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def observed(number: int, turn: int) -> bytes:
    """One of twenty has a full disk, in every other round."""
    used = 97 if number % 20 == 0 and turn % 2 == 0 else 40
    rows: dict[str, list[dict[str, Any]]] = {
        "cpu": [{"core": "_Total", "util_pct": 10 + number % 60}],
        "volumes": [{"volume": letter, "used_pct": used if letter == "C:" else 30} for letter in ("C:", "D:")],
        "memory": [{"used_pct": 35 + number % 40}],
    }
    found = {name: CollectorResult(outcome="ok", readings=tuple(one)) for name, one in rows.items()}
    return encode_observation(
        Observation(
            endpoint=f"e{number}", name=f"SRV-{number}", site=f"s{number % 50}", shard=0, status="OK", fault=None,
            observed_at=BEGIN + STEP * turn, duration_s=1.0, collectors=found, epoch="00" * 8, seq=turn + 1,
        )
    )  # fmt: skip


async def rounds(place: Any, data: Path, endpoints: int) -> list[tuple[float, float, float]]:
    """(wall seconds, CPU seconds of this process, wall seconds of its end) of each round."""
    clock, found = _Time(), []
    listed = {f"e{number}" for number in range(endpoints)}
    options: dict[str, Any] = {} if place is None else {"place": place}
    async with Coordinator.open(
        data, rules=[*shipped_rules(), *RULES], keys=KEYS, channels=[], clock=clock,
        settings=AlertSettings(resolve_after=0), **options,
    ) as coordinator:  # fmt: skip
        for turn in range(ROUNDS):
            clock.at = BEGIN + STEP * turn
            batches = [
                [observed(number, turn) for number in range(first, min(first + BATCH, endpoints))]
                for first in range(0, endpoints, BATCH)
            ]
            wall, cpu = time.perf_counter(), time.process_time()
            for batch in batches:
                await coordinator.fold(batch)
            folded = time.perf_counter()
            await coordinator.finish(listed=listed)
            found.append((folded - wall, time.process_time() - cpu, time.perf_counter() - folded))
    return found


def main() -> None:
    """Print a line for each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=10_000)
    parser.add_argument("--database", default=os.environ.get("RMM_HUB_DATABASE", ""), help="postgresql://...")
    order = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = None
        if order.database:
            from rmm.tiers.fleet_postgres import Server

            place = Server(order.database)
        for number, (wall, cpu, end) in enumerate(asyncio.run(rounds(place, Path(folder), order.endpoints))):
            print(f"round {number}: {wall:.2f} s folded, {end:.2f} s ended, {cpu:.2f} s of CPU")


if __name__ == "__main__":
    main()
