"""`rmm history` over a cold tier that a poller wrote: one endpoint, many, the whole fleet."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from typer.testing import CliRunner

from rmm.catalog.load import load_catalog
from rmm.cli.main import build
from rmm.cli.printing import figure, sparkline
from rmm.errors import ConfigError
from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import CollectorState, EndpointState
from rmm.resources import shipped
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.series import CollectorFields, fields_of
from rmm.tiers.cold_sqlite.writer import path_of

NOW = datetime.now(UTC).replace(microsecond=0)
YESTERDAY = NOW.replace(hour=0, minute=0, second=0) - timedelta(days=1)
NOON = YESTERDAY + timedelta(hours=12)
SPAN = ("--since", YESTERDAY.isoformat(), "--until", (YESTERDAY + timedelta(hours=23)).isoformat())


def observed(name: str, at: datetime, cpu: float, **used: float) -> Observation:
    parts: dict[str, list[dict[str, Any]]] = {
        "cpu": [{"core": "_Total", "util_pct": cpu}, {"core": "0,0", "util_pct": cpu}],
        "volumes": [{"volume": f"{key}:", "used_pct": value, "label": f"L{cpu:.0f}"} for key, value in used.items()],
        "os": [{"version": "10.0.1" if at < NOON else "10.0.2"}],
    }
    return Observation(
        endpoint=name.lower(), name=name, site="hq", shard=0, observed_at=at, duration_s=0.1, status="OK", fault=None,
        collectors={key: CollectorResult(outcome="ok", readings=tuple(rows)) for key, rows in parts.items()},
        epoch="a", seq=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history")
    sites = [{"id": "hq", "credential": "c"}, {"id": "branch", "credential": "c"}]
    (folder / "rmm.yaml").write_text(yaml.safe_dump({"data": "data", "sites": sites}))
    rows = "srv1,SRV1,hq,web\nsrv2,SRV2,hq,web\nsrv3,SRV3,hq,db\nfar,FAR,branch,\nsilent,SILENT,hq,\n"
    (folder / "endpoints.csv").write_text(f"Id,ComputerName,SiteId,GroupId\n{rows}")
    fields = {name: fields_of(one.manifest) for name, one in load_catalog([shipped("collectors")]).items()}
    found = [
        observed(f"SRV{n}", NOON + timedelta(minutes=minute), n * 10 + minute / 30, C=n, D=n * 2)
        for n in (1, 2, 3)
        for minute in range(0, 120, 30)
    ]
    asyncio.run(_store(folder / "data", "hq", fields, found))
    asyncio.run(_store(folder / "data", "branch", fields, [observed("FAR", NOON, 99.5, C=0.001)]))
    states = {
        f"srv{n}": EndpointState(
            endpoint=f"srv{n}", name=f"SRV{n}", site="hq", observed_at=NOW, status="OK", fault=None, duration_s=1,
            epoch="a", seq=1, collectors={"os": _read({"caption": f"Windows {n}"})},
        )
        for n in (1, 2)
    }  # fmt: skip
    hot_json.write(folder / "data", "hq", 0, states, NOW)
    return folder


async def _store(data: Path, site: str, fields: dict[str, CollectorFields], found: list[Observation]) -> None:
    async with ColdTier(path_of(data, site, 0), fields) as tier:
        await tier.store(found)


def _read(row: dict[str, Any]) -> CollectorState:
    result = CollectorResult(outcome="ok", readings=(row,))
    return CollectorState(attempted_at=NOW, at=NOW, result=msgspec.Raw(msgspec.json.encode(result)))


def run(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(build(["history"]), ["history", "--config", str(folder), *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def rows(folder: Path, *arguments: str) -> Any:
    return json.loads(run(folder, *SPAN, *arguments, "--output", "json"))


def test_one_endpoint(folder: Path) -> None:
    assert rows(folder, "SRV1", "cpu.util_pct") == [
        {
            "endpoint": "SRV1",
            "metric": "cpu.util_pct",
            "at": (NOON + timedelta(minutes=30 * n)).isoformat(),
            "value": 10.0 + n,
        }
        for n in range(4)
    ]
    lines = run(folder, *SPAN, "srv1", "cpu.util_pct").splitlines()
    assert lines[0] == "▁▃▆█  4 samples, min 10, mean 11.5, max 13, last 13"
    assert lines[1].split() == ["AT", "VALUE"]
    assert lines[2].split()[1] == "10"
    assert len(lines) == 6


def test_hours_and_days(folder: Path) -> None:
    hours = rows(folder, "SRV1", "cpu.util_pct", "--step", "hour")
    figures = [tuple(row[name] for name in ("count", "min", "mean", "max", "last")) for row in hours]
    assert figures == [(2, 10.0, 10.5, 11.0, 11.0), (2, 12.0, 12.5, 13.0, 13.0)]
    assert [row["at"] for row in hours] == [NOON.isoformat(), (NOON + timedelta(hours=1)).isoformat()]
    (day,) = rows(folder, "SRV1", "cpu.util_pct", "--step", "day")
    assert (day["at"], day["count"], day["mean"]) == (YESTERDAY.isoformat(), 4, 11.5)
    # A span that begins in the middle of a step has the whole of it.
    part = (
        "--since",
        (NOON + timedelta(minutes=31)).isoformat(),
        "--until",
        (NOON + timedelta(minutes=59)).isoformat(),
    )
    (hour,) = json.loads(run(folder, "SRV1", "cpu.util_pct", *part, "--step", "hour", "--output", "json"))
    assert hour["count"] == 2
    assert json.loads(run(folder, "SRV1", "cpu.util_pct", *part, "--step", "raw", "--output", "json")) == []
    assert "COUNT" in run(folder, "SRV1", "cpu.util_pct", "--last", "7d")  # auto: hours
    assert "COUNT" not in run(folder, "SRV1", "cpu.util_pct", "--last", "2d")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["SRV1", "srv3"], ["SRV1", "SRV3"]),
        (["srv*"], ["SRV1", "SRV2", "SRV3"]),
        (["*"], ["SRV1", "SRV2", "SRV3", "FAR"]),
        ([], ["SRV1", "SRV2", "SRV3", "FAR"]),
        (["--site", "branch"], ["FAR"]),
        (["--group", "WEB"], ["SRV1", "SRV2"]),
        (["*2", "--group", "web"], ["SRV2"]),
        (["--where", 'os.caption ~ "*2"'], ["SRV2"]),
        (["SRV1", "SRV3", "--where", "os.caption is not null"], ["SRV1"]),
    ],
)
def test_many_endpoints(folder: Path, arguments: list[str], names: list[str]) -> None:
    found = rows(folder, *arguments, "cpu.util_pct", "--summary")
    assert [row["endpoint"] for row in found] == names
    points = rows(folder, *arguments, "cpu.util_pct")
    assert list(dict.fromkeys(row["endpoint"] for row in points)) == names


def test_a_line_each(folder: Path) -> None:
    lines = run(folder, *SPAN, "srv*", "cpu.util_pct").splitlines()
    assert lines[0].split() == ["ENDPOINT", "COUNT", "MIN", "MEAN", "MAX", "LAST", "TREND"]
    assert lines[2].split() == ["SRV2", "4", "20", "21.5", "23", "23", "▁▃▆█"]
    text = run(folder, *SPAN, "srv*", "cpu.util_pct", "--summary", "--output", "csv")
    assert next(csv.DictReader(io.StringIO(text))) == {
        "endpoint": "SRV1", "metric": "cpu.util_pct", "count": "4", "min": "10.0", "mean": "11.5", "max": "13.0",
        "last": "13.0",
    }  # fmt: skip


def test_the_highest(folder: Path) -> None:
    assert [row["endpoint"] for row in rows(folder, "cpu.util_pct", "--top", "2")] == ["FAR", "SRV3"]
    assert [row["endpoint"] for row in rows(folder, "cpu.util_pct", "--top", "9", "--step", "day")][-1] == "SRV1"
    table = run(folder, *SPAN, "volumes.used_pct[*]", "--top", "2", "--by", "last").splitlines()
    assert [line.split()[:2] for line in table] == [
        ["ENDPOINT", "METRIC"], ["SRV3", "volumes.used_pct[D:]"], ["SRV2", "volumes.used_pct[D:]"],
    ]  # fmt: skip


def test_rows_of_a_reading(folder: Path) -> None:
    found = rows(folder, "srv1", "volumes.used_pct[*]", "--summary")
    assert [(row["metric"], row["last"]) for row in found] == [
        ("volumes.used_pct[C:]", 1.0),
        ("volumes.used_pct[D:]", 2.0),
    ]
    assert [row["value"] for row in rows(folder, "srv1", "volumes.used_pct[D:]")] == [2.0] * 4
    text = run(folder, *SPAN, "srv1", "volumes.used_pct")
    assert "no samples of volumes.used_pct since" in text
    assert "volumes.used_pct[*]: of every row" in text


def test_texts_and_states(folder: Path) -> None:
    found = rows(folder, "SRV1", "os.version")
    assert [row["value"] for row in found] == ["10.0.2"]
    assert [row["endpoint"] for row in rows(folder, "srv*", "os.version")] == ["SRV1", "SRV2", "SRV3"]
    assert "10.0.2" in run(folder, *SPAN, "SRV1", "os.version")
    assert [row["value"] for row in rows(folder, "SRV1", "volumes.label[C:]")] == ["L10", "L11", "L12", "L13"]


def test_what_there_is(folder: Path) -> None:
    assert "volumes.used_pct[C:]" in run(folder, "--last", "3d", "SRV1")
    assert run(folder, "SILENT") == "no samples in this time\n"
    assert run(folder, *SPAN, "SILENT", "cpu.util_pct").startswith("no samples of cpu.util_pct since ")
    assert rows(folder, "SILENT", "cpu.util_pct") == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "name an endpoint or a metric"),
        (["SRV9"], "there is no endpoint 'SRV9'"),
        (["SRV1", "cpu"], "'cpu' is neither an endpoint nor a metric: write collector.field"),
        (["x*", "cpu.util_pct"], "no endpoint is like 'x*'"),
        (["cpv.util_pct"], "there is no collector 'cpv'; did you mean tcp or cpu?"),
        (["cpu.utilpct"], "cpu has no 'utilpct'; did you mean util_pct?"),
        (["cpu.util_pct", "--group", "nope"], "no endpoint of these is in group 'nope'"),
        (["cpu.util_pct", "--site", "nope"], "there is no site 'nope'"),
        (["cpu.util_pct", "--where", "nope"], "column 1: nope is neither a field"),
        (["cpu.util_pct", "--step", "week"], "--step week: there are auto, raw, hour, day"),
        (["cpu.util_pct", "--top", "2", "--by", "sum"], "--by sum: there are mean, max, min, last"),
        (["srv1", "services.state[*]"], "* stands for rows of numbers only"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(build(["history"]), ["history", "--config", str(folder), *arguments])
    assert isinstance(done.exception, ConfigError), done.output
    assert reason in str(done.exception)


def test_trends_and_figures() -> None:
    assert sparkline([1.0], 10) == "▁"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert len(sparkline([float(n) for n in range(1000)], 60)) == 60
    assert sparkline([1e308, -1e308], 5) == "█▁"
    assert [figure(value) for value in (0.00123456, 12.3456, 1234.5678, 3.0, 2.5e9, 1e16)] == [
        "0.001235", "12.35", "1234.6", "3", "2500000000", "1e+16",
    ]  # fmt: skip
