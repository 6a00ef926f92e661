"""What a coordinator holds does not grow with what its rules look back on: that is in the database."""

from __future__ import annotations

import gc
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

from folding import CPU, KEYS, START, Time, encoded

from rmm.coordinator import Coordinator
from rmm.model.rule import Rule

FORECAST = Rule(
    id="filling", collector="volumes", field="used_pct", measure="forecast", reach=100, op="<", warning=24,
    window_s=86_400, span_s=21_600,
)  # fmt: skip
ENDPOINTS, STEP_MIN = 40, 10
WARM, MORE = 12, 70  # rounds: the second part fills half a day of the forecast's window, and all of what was seen
MOST_GROWTH = 1000  # bytes for an endpoint; with the windows in memory it was 4,500


def _round(number: int) -> list[bytes]:
    at = START + timedelta(minutes=STEP_MIN * number)
    rows: dict[str, Any] = {
        "cpu": [{"core": "_Total", "util_pct": 20.0 + number % 7}],
        "volumes": [{"volume": name, "used_pct": 40.0 + number / 8 + len(name)} for name in ("C", "D")],
    }
    return [encoded(f"srv-{n}", at + timedelta(seconds=n), number + 1, **rows) for n in range(ENDPOINTS)]


async def test_memory_does_not_grow_with_windows(tmp_path: Path) -> None:
    clock = Time()
    async with Coordinator.open(tmp_path, rules=[CPU, FORECAST], keys=KEYS, channels=[], clock=clock) as one:

        async def rounds(first: int, count: int) -> int:
            """Bytes that are held after them."""
            for number in range(first, first + count):
                clock.at = START + timedelta(minutes=STEP_MIN * number, seconds=ENDPOINTS)
                await one.fold(_round(number))
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            before = await rounds(0, WARM)
            after = await rounds(WARM, MORE)
        finally:
            tracemalloc.stop()
    assert (after - before) / ENDPOINTS < MOST_GROWTH
