"""What tests of the coordinator share: time that the test moves, observations, what a database holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cluster import rows

from rmm.coordinator import Coordinator
from rmm.model.alerting import AlertSettings
from rmm.model.observation import CollectorResult, Fault, Observation, encode_observation
from rmm.model.rule import Rule

AT_ONCE = AlertSettings(resolve_after=0)  # each end is told in the round that sees it
START = datetime(2026, 3, 1, tzinfo=UTC)
CPU = Rule(
    id="cpu_high",
    collector="cpu",
    field="util_pct",
    where={"core": "_Total"},
    warning=80,
    critical=95,
    for_s=300,
    hysteresis=5,
)
KEYS: dict[str, tuple[str, ...]] = {"cpu": ("core",), "volumes": ("volume",)}
DISK = Rule(id="volume_full", collector="volumes", field="used_pct", warning=80, critical=90, hysteresis=2)


class Time:
    """`ports.Clock`."""

    def __init__(self) -> None:
        self.at = START

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def add(self, **passed: float) -> None:
        self.at += timedelta(**passed)


def observation(
    endpoint: str,
    at: datetime,
    seq: int,
    status: str = "OK",
    site: str = "hq",
    code: str = "tcp.timeout",
    **rows: Any,
) -> Observation:
    """`rows` is collector=[row, ...]."""
    fault = None if status == "OK" else Fault(code, "R1", "hint", "message")
    results = {name: CollectorResult(outcome="ok", readings=tuple(found)) for name, found in rows.items()}
    return Observation(
        endpoint=endpoint, name=endpoint.upper(), site=site, shard=0, observed_at=at, duration_s=0.1, status=status,
        fault=fault, collectors=results, epoch="00" * 8, seq=seq,
    )  # fmt: skip


def encoded(*arguments: Any, **rows: Any) -> bytes:
    return encode_observation(observation(*arguments, **rows))


def content(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    """What the database holds, without the running numbers and the times of delivery."""
    return {
        "endpoint": rows(data, "SELECT * FROM endpoint ORDER BY id"),
        "alert": rows(data, "SELECT key, state, last_at, body FROM alert ORDER BY key, last_at"),
        "outbox": rows(data, "SELECT id, held FROM notification ORDER BY id"),
    }


Opener = Callable[..., AbstractAsyncContextManager[Coordinator]]
