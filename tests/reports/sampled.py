"""A fleet without a lab: the collectors' own samples as last readings, and made-up history, in a real store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from rmm.app import App, open_app
from rmm.model.observation import CollectorResult, Fault, Observation, encode_observation
from rmm.model.report import Asked, Bar, Bars, Column, Document, Figure, Figures, Line, Lines, Table, Text
from rmm.model.state import CollectorState, EndpointState
from rmm.resources import shipped
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.writer import path_of

KINDS = ("server2022-typical", "windows11-typical", "windows10-german", "server2016-degraded", "windows11-empty")
SITES = ("hq", "berlin")
GROUPS = ("servers", "clients", 'k"iosk')
STEP = timedelta(minutes=10)
Rows = list[dict[str, Any]]
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-->]]><svg onload=alert(1)>",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r\n=1+1",
    "\u202egnp.exe",
    "\x00\x1b[31mred\x07",
    "{{ 7*7 }}{% raw %}",
    "http://evil.example/?a=1",
    "x" * 3000,
    "＝1+1",
    '=HYPERLINK("http://evil.example")',
    '#eval(read("/etc/passwd")) $x$ *b* _i_ @ref <label> \\ `raw` #image("x.png")',
    "Subject: x\r\nBcc: evil@evil.example",
    "</style><style>@import url(http://evil.example)</style>",
]


def build(folder: Path, count: int, *, days: int, hostile: bool = False, shards: int = 1) -> Path:
    """A configuration folder whose data folder has all tiers."""
    sites = [{"id": site, "credential": "c", "shards": shards} for site in SITES]
    (folder / "rmm.yaml").write_text(yaml.safe_dump({"data": "data", "sites": sites}))
    rows = [
        f'PC-{n:05d},{SITES[n % 2]},"{GROUPS[n % 3].replace(chr(34), chr(34) * 2)}",t{n % 4}\n' for n in range(count)
    ]
    (folder / "endpoints.csv").write_text("ComputerName,SiteId,GroupId,Tags\n" + "".join(rows) + "PC-NEW,hq,,\n")
    app = open_app(folder, lambda: "")
    asyncio.run(_fill(app, days, hostile=hostile))
    return folder


async def _fill(app: App, days: int, *, hostile: bool) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    parts = [samples(app, kind) for kind in KINDS]
    listed: dict[tuple[str, int], list[tuple[int, Any]]] = {}
    for number, endpoint in enumerate(one for one in app.settings.endpoints if one.name != "PC-NEW"):
        listed.setdefault((endpoint.site, app.shard(endpoint)), []).append((number, endpoint))
    folded = []
    for (site, shard), members in listed.items():
        states = {}
        async with ColdTier(path_of(app.data, site, shard), app.fields) as tier:
            for number, endpoint in members:
                own = parts[number % len(parts)]
                own = poisoned(app, own, number) if hostile else own
                history = list(past(endpoint, number, shard, now, days))
                last = observation(endpoint, shard, now - timedelta(minutes=1), 10**6, own, number)
                before = observation(
                    endpoint, shard, now - timedelta(days=min(2, days)), 10**6 - 1, earlier(own), number
                )
                await tier.store([*history, before, last])
                states[endpoint.id] = state(last)
                folded.append(encode_observation(last))
            if days > 6:  # history as it is kept: days that are merged, hours that are sealed, rows
                await tier.seal(now - timedelta(hours=3))
                await tier.merge(now - timedelta(days=2))
        hot_json.write(app.data, site, shard, states, now)
    async with app.coordinator() as coordinator:
        for begin in range(0, len(folded), 500):
            await coordinator.fold(folded[begin : begin + 500])
        await coordinator.finish()


def samples(app: App, kind: str) -> dict[str, Rows]:
    """The readings of a kind of machine, by collector."""
    found = {}
    for name in app.catalog:
        path = shipped("collectors") / name / "samples" / f"{kind}.readings.json"
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8")).get("readings") or []
    return found


def poisoned(app: App, parts: dict[str, Rows], number: int) -> dict[str, Rows]:
    """Every text replaced by a payload, a different one for each field."""
    made: dict[str, Rows] = {}
    turn = number
    for name, rows in parts.items():
        texts = [field for field, one in app.catalog[name].manifest.fields.items() if one.type == "text"]
        made[name] = []
        for place, row in enumerate(rows):
            new = dict(row)
            for field in texts:
                turn += 1
                # What some reports choose rows by stays, so that the other texts of these rows are shown.
                if (name, field) not in (("os", "product_type"), ("defender", "running_mode")):
                    new[field] = PAYLOADS[turn % len(PAYLOADS)] + (
                        f" {place}" if field in app.catalog[name].manifest.key else ""
                    )
            made[name].append(new)
    return made


def earlier(parts: dict[str, Rows]) -> dict[str, Rows]:
    """Readings of some days ago, from which something has changed since."""
    software = [{**row, "version": "1.0"} for row in parts.get("software", [])[1:]]
    return {"os": parts.get("os", []), "hardware": parts.get("hardware", []), "software": software}


def observation(
    endpoint: Any, shard: int, at: datetime, seq: int, parts: dict[str, Rows], number: int, status: str = "OK"
) -> Observation:
    down = number % 11 == 10
    fault = Fault(code="tcp.timeout", message="no answer", hint="Is it on?") if down or status != "OK" else None
    return Observation(
        endpoint=endpoint.id, name=endpoint.name, site=endpoint.site, shard=shard, observed_at=at, duration_s=0.5,
        status="UNREACHABLE" if down else status, fault=fault, epoch="a", seq=seq,
        collectors={} if fault else {
            name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in parts.items()
        },
    )  # fmt: skip


def past(endpoint: Any, number: int, shard: int, now: datetime, days: int) -> Iterator[Observation]:
    """One every STEP: now and then the endpoint is down, and once nobody looked for three hours."""
    begin = now - timedelta(days=days)
    for place in range(int(timedelta(days=days) / STEP)):
        at = begin + place * STEP
        if place % 700 in range(300, 318):
            continue
        down = place % 500 < number % 5
        grown = 50 + number % 7 + place / 144 * (number % 4)
        rows: dict[str, Rows] = {
            "cpu": [{"core": "_Total", "util_pct": float((place * 7 + number) % 60)}],
            "memory": [{"used_pct": float(40 + number % 30)}],
            "availability": [{"tcp_ms": 1.5}],
            "volumes": [{"volume": "C:", "used_pct": min(100.0, grown), "free_b": 10**9, "size_b": 10**11}],
        }
        yield observation(endpoint, shard, at, place, rows, 0, "UNREACHABLE" if down else "OK")


def state(last: Observation) -> EndpointState:
    at = last.observed_at
    read = {
        name: CollectorState(attempted_at=at, at=at, result=msgspec.Raw(msgspec.json.encode(one)))
        for name, one in last.collectors.items()
    }
    return EndpointState(
        endpoint=last.endpoint, name=last.name, site=last.site, observed_at=last.observed_at, status=last.status,
        fault=last.fault, duration_s=last.duration_s, epoch="a", seq=last.seq, collectors=read,
    )  # fmt: skip


def everywhere(text: str) -> Document:
    """A report with one text in every place that there is, headings and names of lines among them."""
    columns = (
        Column(key="a", heading=text),
        Column(key="b", heading=text, kind="command"),
        Column(key="c", heading="n", kind="number"),
    )
    asked = Asked(now=NOW, since=NOW - timedelta(days=7), until=NOW, site=text, group=text)
    return Document(
        name="x", title=text, asked=asked, blocks=(
            Figures(title=text, items=(Figure(label=text, value=text, unit=text, command=text),)),
            Table(title=text, columns=columns, rows=((text, text, 50.5), ({text: text}, [text], None)), command=text,
                  note=text, main=True),
            Bars(title=text, bars=(Bar(label=text, value=1.0),), unit=text, command=text),
            Lines(title=text, days=("2026-02-28", "2026-03-01"), unit=text, command=text,
                  lines=(Line(name=text, values=(1.0, None)),)),
            Text(text=text),
        ),
    )  # fmt: skip
