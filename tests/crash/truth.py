"""What the harness's endpoints say, minute by minute: every value follows from the endpoint and the minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.model.observation import CollectorResult, Observation
from rmm.tiers.cold_sqlite import CollectorFields

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW = "hq", "branch"  # sites: one with a store of the oldest schema, one that begins with nothing
SITES = {OLD: ("srv-0", "srv-1", "srv-2", "srv-3", "srv-4", "srv-5"), NEW: ("pc-0", "pc-1", "pc-2")}
FIELDS = {
    "cpu": CollectorFields(key=("core",), samples=("util_pct", "switches"), changes=()),
    "services": CollectorFields(key=("service",), samples=(), changes=("state", "account")),
}
CORES, SERVICES = 4, 6

Ident = tuple[str, int]  # (endpoint, minute): each minute of an endpoint is observed once


def moment(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


def minute_of(at: datetime) -> int:
    return round((at - START) / timedelta(minutes=1))


def _salt(endpoint: str) -> int:
    return sum(endpoint.encode())


def util(endpoint: str, minute: int, core: int) -> float:
    return ((minute * 37 + core * 11 + _salt(endpoint)) % 1000) / 10


def switches(endpoint: str, minute: int, core: int) -> int:
    return minute * 60_000 + core * 7 + _salt(endpoint)


def state(endpoint: str, minute: int, service: int) -> str:
    """Changes every few minutes, another service at another minute."""
    return "Running" if (minute + service + _salt(endpoint)) // 3 % 2 else "Stopped"


def observe(site: str, endpoint: str, minute: int, *, shard: int = 0, epoch: str = "e0") -> Observation:
    cpu: list[dict[str, Any]] = [
        {"core": str(n), "util_pct": util(endpoint, minute, n), "switches": switches(endpoint, minute, n)}
        for n in range(CORES)
    ]
    services = [
        {"service": f"svc{n}", "state": state(endpoint, minute, n), "account": "LocalSystem"} for n in range(SERVICES)
    ]
    parts = {"cpu": cpu, "services": services}
    return Observation(
        endpoint=endpoint,
        name=endpoint.upper(),
        site=site,
        shard=shard,
        observed_at=moment(minute),
        duration_s=0.25,
        status="OK",
        fault=None,
        collectors={name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in parts.items()},
        epoch=epoch,
        seq=minute,
    )
