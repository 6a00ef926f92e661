"""Observations for the tests of the tiers."""

from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.tiers.cold_sqlite.series import CollectorFields

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FIELDS = {
    "cpu": CollectorFields(key=("core",), samples=("util_pct", "frequency_mhz"), changes=()),
    "services": CollectorFields(key=("service",), samples=(), changes=("state", "account")),
    "volumes": CollectorFields(key=("volume",), samples=("size_b", "free_b"), changes=("label",)),
    "os": CollectorFields(key=(), samples=("build",), changes=("caption",)),
}


def observe(
    endpoint: str = "srv-1", minute: float = 0, *, seq: int = 1, fault: Fault | None = None, **parts: Any
) -> Observation:
    """One observation; `parts` are collector name -> rows."""
    return Observation(
        endpoint=endpoint,
        name=endpoint.upper(),
        site="hq",
        shard=0,
        observed_at=START + timedelta(minutes=minute),
        duration_s=0.25,
        status="TIMEOUT" if fault else "OK",
        fault=fault,
        collectors={name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in parts.items()},
        epoch="e1",
        seq=seq,
    )


def typical(endpoint: str, minute: float, seq: int = 1, services: int = 100) -> Observation:
    """About 60 samples and a hundred services."""
    cores = [{"core": f"0,{n}", "util_pct": (minute * 7 + n) % 100, "frequency_mhz": 2400} for n in range(30)]
    listed = [{"service": f"svc{n}", "state": "Running", "account": "LocalSystem"} for n in range(services)]
    return observe(endpoint, minute, seq=seq, cpu=cores, services=listed)
