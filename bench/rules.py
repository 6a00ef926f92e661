"""`python -m bench.rules [--endpoints N] [--days N] [--keep FOLDER]`: what rules cost.

Two questions: how much CPU the evaluation of a whole round takes, of an endpoint with every collector and of one with
what is due every five minutes; and how long a rule takes over stored history. Prints, and writes JSON to bench/results/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.shapes import DAY_S, STEP_S, Machine, times
from rmm.catalog.load import load_catalog
from rmm.coordinator.evaluation import Evaluation
from rmm.core.query import schema_of
from rmm.core.rulebook import Rulebook
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.model.rule import Alert, Override
from rmm.resources import shipped
from rmm.settings.rules import shipped_rules
from rmm.tiers.cold_sqlite import ColdTier, CollectorFields
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.fleet_sqlite import FleetStore

RESULTS = Path(__file__).with_name("results")
SHARD = 250
BEGIN = 1_772_323_200  # 2026-03-01
FIELDS = {"cpu": CollectorFields(key=("core",), samples=("util_pct",), changes=())}
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
                    )  # fmt: skip
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
