"""A small fleet in a data folder, some of whose machines are called what should not be written to a terminal."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rmm.core.alerting.lifecycle import Change
from rmm.model.envelope import Beat
from rmm.model.rule import Alert, Notification
from rmm.model.sites import Contact, Refused
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.sites import SiteStore

HOSTILE = "EVIL\x1b]0;owned\x07\x1b[2J\u202e"
SPACES = "\x9b31m\r\n\u2066"


def endpoint(
    name: str, site: str, *, at: datetime, status: str = "OK", score: int = 100, health: str = "Healthy",
    fault: str = "", duration_s: float = 1.0, facts: dict[str, Any] | None = None, reasons: tuple[str, ...] = (),
) -> tuple[Any, ...]:  # fmt: skip
    """A row of the table `endpoint`."""
    return (
        name.lower()[:8].replace("\x1b", "-"), name, site, 0, status, fault, "a hint", "a message",
        at.astimezone(UTC).isoformat(timespec="microseconds"), "0" * 16, 1, duration_s, score, health,
        json.dumps(list(reasons)), json.dumps(facts or {}),
    )  # fmt: skip


def alert(rule: str, name: str, site: str, *, at: datetime, severity: str = "warning", state: str = "firing") -> Alert:
    identity = name.lower()[:8].replace("\x1b", "-")
    return Alert(
        key=f"{rule}|{identity}|", rule=rule, endpoint=identity, name=name, site=site, severity=severity, state=state,
        summary=f"{rule} on {name}", value=1, first_at=at, last_at=at,
    )  # fmt: skip


def usual(now: datetime) -> tuple[list[tuple[Any, ...]], list[Alert]]:
    """Six endpoints of two sites, and four alerts."""

    def ago(seconds: float) -> datetime:
        return now - timedelta(seconds=seconds)

    facts = {"cpu_pct": 12.5, "memory_pct": 50, "volumes_max_pct": 75.0, "uptime_s": 3600}
    rows = [
        endpoint("HQ-WEB1", "hq", at=ago(30), facts=facts, duration_s=0.4),
        endpoint("HQ-WEB2", "hq", at=ago(60), score=80, health="Warning", reasons=("-20 C: is 91 % full",)),
        endpoint("HQ-SQL1", "hq", at=ago(90), score=60, health="Critical", status="PARTIAL", duration_s=7.5),
        endpoint(
            "BER-DC1", "berlin", at=ago(3600), status="UNREACHABLE", score=0, health="Offline", fault="tcp.refused"
        ),
        endpoint("BER-PC1", "berlin", at=ago(20), status="AUTH_HELD", score=0, health="Unknown", fault="auth.held"),
        endpoint(HOSTILE, "berlin", at=ago(10), score=95, reasons=(SPACES,), facts={"cpu_pct": "x", "uptime_s": True}),
    ]
    alerts = [
        alert("volume_full", "HQ-WEB2", "hq", at=ago(600)),
        alert("service_stopped", "HQ-SQL1", "hq", at=ago(300), severity="critical"),
        alert("cpu_high", "HQ-WEB1", "hq", at=ago(100), state="pending"),
        alert("volume_full", HOSTILE, "berlin", at=ago(50), severity="critical", state="acknowledged"),
    ]
    return rows, alerts


def contact(now: datetime) -> Contact:
    """A site collector, as a hub knows it."""
    beat = Beat(
        site="hq", collector="hq-1", at=now, version="0.1.0", started_at=now, bundle="4", spooled=7, spool_bytes=700,
        dropped=2, endpoints=5, expires_at=now + timedelta(days=30),
    )  # fmt: skip
    return Contact(beat=beat, heard_at=now, offset_s=1.5, lag_s=12.0)


def store(data: Path, rows: list[tuple[Any, ...]], alerts: list[Alert], waiting: int = 0) -> None:
    """Write them as the coordinator does."""

    async def write() -> None:
        async with FleetStore.open(data) as fleet, fleet.transaction():
            await fleet.put_endpoints(rows)
            await fleet.put_changes([Change(one) for one in alerts])
            told = [Notification(id=f"n{n}", kind="firing", at=one.first_at, alerts=(one,))
                    for n, one in enumerate(alerts[:waiting])]  # fmt: skip
            await fleet.outbox.post(("mail", one) for one in told)
            if waiting:
                await SiteStore(fleet).put_contacts([contact(datetime.now(UTC))])
                await SiteStore(fleet).add_refused([Refused("hq", "envelope.signature", datetime.now(UTC), 3)])

    asyncio.run(write())


def folder(place: Path, *, unpolled: int = 1) -> Path:
    """A configuration with this fleet, and endpoints that were never polled."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "rmm.yaml").write_text("sites: [{id: hq}, {id: berlin}]\n", encoding="utf-8")
    listed = [("HQ-WEB1", "hq"), ("HQ-WEB2", "hq"), ("HQ-SQL1", "hq"), ("BER-DC1", "berlin"), ("BER-PC1", "berlin")]
    listed += [(f"NEW-{n}", "hq") for n in range(unpolled)]
    lines = ["ComputerName,SiteId", *(f"{name},{site}" for name, site in listed)]
    (place / "endpoints.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return place


def build(place: Path, *, waiting: int = 1) -> Path:
    """The configuration and its data, as of now."""
    made = folder(place)
    store(made / "data", *usual(datetime.now(UTC)), waiting=waiting)
    return made


def harmless(text: str) -> bool:
    """Whether no character of it steers a terminal; line ends aside."""
    return not any(c != "\n" and (ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066") for c in text)
