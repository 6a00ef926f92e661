"""Clocks that are set, by an hour and by a year, ahead and back, and set right again, while rounds go on."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

from rmm.tiers import hot_json
from rmm.tiers.fleet_sqlite.reader import FleetFile
from tests.crash import cycle
from tests.crash.judge import Expected, history, integrity, quiet
from tests.crash.truth import OLD, SITES, moment

HOUR, YEAR = 60, 365 * 24 * 60
STEPS = {"an hour ahead": HOUR, "an hour back": -HOUR, "a year ahead": YEAR, "a year back": -YEAR}

Finding = tuple[str, list[str]]


def run(folder: Path) -> tuple[list[Finding], float]:
    """Each step, and back again; (what is wrong, seconds)."""
    findings, began = [], time.monotonic()
    for name, minutes in STEPS.items():
        place = folder / name.replace(" ", "-")
        place.mkdir()
        with quiet():
            if wrong := asyncio.run(_stepped(place, minutes)):
                findings.append((name, wrong))
    return findings, time.monotonic() - began


async def _stepped(folder: Path, minutes: int) -> list[str]:
    data, wrong = folder / "data", []
    before = cycle.prepare(data)
    work = cycle.Run(data, os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    for word, step in (("as it was", 0), ("stepped", minutes), ("set right", 7 - minutes), ("later", 2 * HOUR)):
        work.minute += step
        for _ in range(3):
            await cycle.one_round(work, OLD, keep=cycle.KEEP)
            expected = Expected.of(before, cycle.said((folder / "log").read_bytes()))
            wrong += [f"{word}: {what}" for what in (*_last(data, work.minute), *history(data, OLD, expected))]
    os.close(work.log)
    return wrong + integrity(data / "cold" / OLD / "0.sqlite") + integrity(data / "fleet.sqlite")


def _last(data: Path, minute: int) -> Iterator[str]:
    """What is shown is what was observed last, whatever the clock said before."""
    hot = hot_json.load(data, OLD, 0, owner=False)
    fleet = {row["endpoint"]: row["observed_at"] for row in FleetFile(data).endpoints()}
    for endpoint in SITES[OLD]:
        if hot[endpoint].observed_at != moment(minute):
            yield f"the hot tier shows {endpoint} at {hot[endpoint].observed_at}, and it is {moment(minute)}"
        if fleet[endpoint] != moment(minute).isoformat(timespec="microseconds"):
            yield f"the coordinator shows {endpoint} at {fleet[endpoint]}, and it is {moment(minute)}"
