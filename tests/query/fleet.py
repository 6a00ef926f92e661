"""The fleet that docs/query.md asks."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rmm.catalog.load import load_catalog
from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import CollectorState, EndpointState
from rmm.resources import shipped
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.series import fields_of
from rmm.tiers.cold_sqlite.writer import path_of

AT = datetime(2024, 5, 1, tzinfo=UTC)
Rows = list[dict[str, Any]]


def volume(name: str, used: float, free: int) -> dict[str, Any]:
    return {"volume": name, "used_pct": used, "free_b": free, "size_b": None, "label": None, "dirty": False}


def service(name: str, state: str, mode: str = "Auto") -> dict[str, Any]:
    return {"service": name, "state": state, "start_mode": mode, "account": "LocalSystem", "pid": 4}


def program(name: str, version: str) -> dict[str, Any]:
    return {"id": name, "architecture": "x64", "name": name, "version": version}


SEVEN = program("7-Zip 24.08 (x64)", "24.08.00.0")
LAST: dict[str, dict[str, Rows]] = {
    "HQ-WEB1": {
        "volumes": [volume("C:", 91.0, 9 * 10**9)],
        "services": [service("Spooler", "Stopped"), service("W3SVC", "Running")],
        "software": [SEVEN],
        "os": [{"caption": "Microsoft Windows Server 2022 Standard"}],
    },
    "HQ-PC1": {
        "volumes": [volume("C:", 55.0, 10**9)],
        "services": [service("Spooler", "Running"), service("Fax", "Stopped", "Manual")],
        "software": [SEVEN],
        "os": [{"caption": "Microsoft Windows 11 Pro"}],
    },
    "BER-SQL1": {
        "volumes": [volume("C:", 40.0, 80 * 10**9), volume("D:", 97.5, 5 * 10**9)],
        "services": [service("SQLSERVERAGENT", "Stopped")],
        "software": [program("Microsoft SQL Server 2019", "15.0.2000.5")],
        "os": [{"caption": "Microsoft Windows Server 2019 Standard"}],
    },
}
SITES = {"HQ": "hq", "BER": "berlin"}


def site_of(name: str) -> str:
    return SITES[name.split("-", maxsplit=1)[0]]


def build(folder: Path) -> Path:
    """A configuration folder with hot and cold data."""
    sites = [{"id": site, "credential": "c"} for site in SITES.values()]
    (folder / "rmm.yaml").write_text(yaml.safe_dump({"data": "data", "sites": sites}))
    rows = "HQ-WEB1,hq,web,prod\nHQ-PC1,hq,clients,\nBER-SQL1,berlin,db,prod;sql\nHQ-NEW,hq,,\n"
    (folder / "endpoints.csv").write_text(f"ComputerName,SiteId,GroupId,Tags\n{rows}")
    for site in SITES.values():
        states = {name.lower(): _state(name, parts) for name, parts in LAST.items() if site_of(name) == site}
        hot_json.write(folder / "data", site, 0, states, AT)
        asyncio.run(_store(folder / "data", site))
    return folder


def _state(name: str, parts: Mapping[str, Rows]) -> EndpointState:
    return EndpointState(
        endpoint=name.lower(), name=name, site=site_of(name), observed_at=AT, status="OK", fault=None, duration_s=1.0,
        epoch="a", seq=1, collectors={key: _read(rows) for key, rows in parts.items()},
    )  # fmt: skip


def _read(rows: Rows) -> CollectorState:
    result = CollectorResult(outcome="ok", readings=tuple(rows))
    return CollectorState(attempted_at=AT, at=AT, result=msgspec.Raw(msgspec.json.encode(result)))


async def _store(data: Path, site: str) -> None:
    fields = {name: fields_of(one.manifest) for name, one in load_catalog([shipped("collectors")]).items()}
    async with ColdTier(path_of(data, site, 0), fields) as tier:
        for name in ("HQ-WEB1", "BER-SQL1"):
            if site_of(name) == site:
                await tier.store([_observed(name, n) for n in range(6)])


def _observed(name: str, number: int) -> Observation:
    more = 2 if name == "BER-SQL1" else 0
    parts: dict[str, Rows] = {
        "cpu": [{"core": "_Total", "util_pct": 10 * (number + 1) + more}],
        "volumes": [volume("C:", 40, 1), volume("D:", 95 + number / 2, 1)],
    }
    return Observation(
        endpoint=name.lower(), name=name, site=site_of(name), shard=0, observed_at=AT + timedelta(minutes=30 * number),
        duration_s=0.1, status="OK", fault=None, epoch="a", seq=number,
        collectors={key: CollectorResult(outcome="ok", readings=tuple(rows)) for key, rows in parts.items()},
    )  # fmt: skip
