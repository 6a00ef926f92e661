"""Records of the spool and of the worker pipe, after a disk or a defect has changed them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rmm.model.observation import CollectorResult, Fault, Observation, decode_observation, encode_observation

MAY_RAISE_DECODE_ERROR = True  # what its docstring says; the tiers quarantine such a record


def seeds() -> Iterator[bytes]:
    result = CollectorResult(outcome="ok", readings=({"core": "0", "pct": 1.5},), counters={"perf": {"0": [1, 2, 3]}})
    broken = CollectorResult(outcome="fault", fault=Fault("script.failed", "R0", "hint", "message"))
    for collectors in ({}, {"cpu": result, "disk": broken}):
        yield encode_observation(
            Observation(
                endpoint="e", name="E", site="s", shard=0, observed_at=datetime(2026, 1, 1, tzinfo=UTC), duration_s=1.0,
                status="OK", fault=None, collectors=collectors, epoch="0" * 16, seq=1, telemetry={"a": 1.0},
            )
        )  # fmt: skip


def run(data: bytes) -> Any:
    return decode_observation(data)
