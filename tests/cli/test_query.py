"""`rmm query` over a hot tier that a poller left."""

from __future__ import annotations

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

from rmm.cli.main import build
from rmm.errors import ConfigError
from rmm.model.observation import CollectorResult, Fault
from rmm.model.state import CollectorState, EndpointState
from rmm.tiers import hot_json

NOW = datetime.now(UTC).replace(microsecond=0)


def read(*rows: dict[str, Any], outcome: str = "ok") -> CollectorState:
    result = CollectorResult(outcome=outcome, readings=rows)
    fault = None if outcome == "ok" else Fault("wmi.class", "R0", "", "")
    return CollectorState(attempted_at=NOW, at=NOW, result=msgspec.Raw(msgspec.json.encode(result)), fault=fault)


def state(name: str, site: str = "hq", **collectors: CollectorState) -> EndpointState:
    return EndpointState(
        endpoint=name.lower(), name=name, site=site, observed_at=NOW, status="OK", fault=None, duration_s=0.0042,
        epoch="a", seq=1, succeeded_at=NOW, collectors=collectors,
    )  # fmt: skip


def volume(name: str, used: float | None, free: int = 10**9) -> dict[str, Any]:
    return {"volume": name, "label": "=cmd()", "file_system": "\x1b[31mNTFS", "free_b": free, "used_pct": used,
            "size_b": None, "dirty": False}  # fmt: skip


def service(name: str, state: str) -> dict[str, Any]:
    return {"service": name, "state": state, "start_mode": "Auto", "pid": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sites = [{"id": "hq", "credential": "c"}, {"id": "berlin", "credential": "c", "shards": 2}]
    (tmp_path / "rmm.yaml").write_text(yaml.safe_dump({"data": "data", "sites": sites}))
    (tmp_path / "endpoints.csv").write_text(
        "Id,ComputerName,SiteId,GroupId,Tags,Enabled\nsrv1,SRV1,hq,g1,prod;web,true\nsrv2,SRV2,berlin,,prod,true\n"
        "srv3,SRV3,berlin,,,true\nnew,NEW,hq,,,true\noff,OFF,hq,,,false\n"
    )
    data = tmp_path / "data"
    boot = {"boot_time": (NOW - timedelta(days=40)).isoformat(), "uptime_s": 40 * 86_400}
    one = state("SRV1", volumes=read(volume("C:", 95.5), volume("D:", 5)), system=read(boot),
                services=read(service("Spooler", "Stopped"), service("W32Time", "Running")))  # fmt: skip
    two = state(
        "SRV2", "berlin", volumes=read(volume("C:", 91, 5)), services=read(), hyperv=read(outcome="unsupported")
    )
    three = state("SRV3", "berlin", volumes=read(volume("C:", None)))
    gone = state("GONE", volumes=read(volume("C:", 99)))  # no more on the list
    hot_json.write(data, "hq", 0, {"srv1": one, "gone": gone, "off": state("OFF", volumes=read(volume("C:", 99)))}, NOW)
    hot_json.write(data, "berlin", 0, {"srv2": two}, NOW)
    hot_json.write(data, "berlin", 1, {"srv2": two, "srv3": three}, NOW)  # as a crash in the middle of a move leaves it
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(build(["query"]), ["query", "--config", str(folder), *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def found(folder: Path, *arguments: str) -> list[Any]:
    return [list(row.values()) for row in json.loads(run(folder, *arguments, "--output", "json"))]


def test_rows_and_their_columns(folder: Path) -> None:
    rows = json.loads(run(folder, "volumes.used_pct > 90", "--output", "json"))
    assert rows == [
        {"endpoint.name": "SRV1", "volumes.volume": "C:", "volumes.used_pct": 95.5},
        {"endpoint.name": "SRV2", "volumes.volume": "C:", "volumes.used_pct": 91},
    ]
    named = run(folder, "volumes.used_pct > 90", "--columns", "endpoint,endpoint.tags , system.boot_time", "-o", "csv")
    boot = (NOW - timedelta(days=40)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert list(csv.reader(io.StringIO(named))) == [
        ["endpoint.name", "endpoint.tags", "system.boot_time"], ["SRV1", "prod, web", boot], ["SRV2", "prod", ""],
    ]  # fmt: skip
    table = run(folder, "volumes.used_pct > 90").splitlines()
    assert table[0].split() == ["ENDPOINT", "VOLUMES.VOLUME", "VOLUMES.USED_PCT"]
    assert table[1].split() == ["SRV1", "C:", "95.5"]


def test_a_small_number_is_not_rounded_to_nothing(folder: Path) -> None:
    table = run(
        folder, "volumes.used_pct > 90 and system.uptime_s > 0", "--columns", "endpoint.duration_s,volumes.used_pct"
    )
    assert table.splitlines()[1].split() == ["0.0042", "95.5"]


def test_endpoints(folder: Path) -> None:
    for condition, names in (
        ('endpoint.site == "berlin"', ["SRV2", "SRV3"]),
        ('endpoint.group == "G1"', ["SRV1"]),
        ('"prod" in endpoint.tags', ["SRV1", "SRV2"]),
        ("endpoint.status is null", ["NEW"]),
        ("endpoint.observed_at > -1h and endpoint.failures == 0", ["SRV1", "SRV2", "SRV3"]),
        ("volumes.used_pct is null", ["NEW", "SRV3"]),
        ("system.boot_time < -30d", ["SRV1"]),
        ('not any(services.service == "spooler")', ["SRV2"]),  # of the others it is not known
        ('hyperv.@outcome == "unsupported" and hyperv.@fault == "wmi.class"', ["SRV2"]),
        ("volumes.@at > -1h and volumes.@fault is null", ["SRV1", "SRV2", "SRV3"]),
        ("count(hyperv.@at is not null) is null", ["NEW", "SRV1", "SRV2", "SRV3"]),
    ):
        assert found(folder, condition, "--columns", "endpoint") == [[name] for name in names], condition
    assert found(folder, "volumes.used_pct > 90", "--columns", "endpoint", "--site", "hq") == [["SRV1"]]


def test_how_many(folder: Path) -> None:
    assert run(folder, "volumes.used_pct > 1", "--count") == "3 rows of 2 endpoints\n"
    assert json.loads(run(folder, "volumes.used_pct > 1", "--count", "-o", "json")) == {"rows": 3, "endpoints": 2}
    assert run(folder, "volumes.used_pct > 1", "--count", "-o", "csv") == "rows,endpoints\n3,2\n"
    by = found(folder, "volumes.volume is not null", "--count", "--columns", "volumes.volume")
    assert by == [["C:", 3], ["D:", 1]]


def test_order_and_limit(folder: Path) -> None:
    wanted = ("volumes.volume is not null", "--columns", "endpoint,volumes.volume", "--sort", "-volumes.used_pct")
    assert [row[:2] for row in found(folder, *wanted)] == [
        ["SRV1", "C:"],
        ["SRV2", "C:"],
        ["SRV1", "D:"],
        ["SRV3", "C:"],
    ]
    assert found(folder, *wanted, "--most", "1") == [["SRV1", "C:", 95.5]]
    assert "... and 3 more; --most 0 shows all" in run(folder, *wanted, "--most", "1")
    assert run(folder, "volumes.used_pct > 200") == "no row of the last readings meets this\n"
    assert json.loads(run(folder, "volumes.used_pct > 200", "--output", "json")) == []


def test_texts_of_endpoints_steer_nothing(folder: Path) -> None:
    wanted = ("volumes.used_pct > 95", "--columns", "volumes.label,volumes.file_system")
    assert "\x1b" not in run(folder, *wanted)
    (_, cells) = csv.reader(io.StringIO(run(folder, *wanted, "--output", "csv")))
    assert cells == ["'=cmd()", " [31mNTFS"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["service.state == 1"], "column 1: there is no collector 'service'; did you mean services?"),
        (["volumes.used_pct > 1", "--columns", "x"], "column 'x': there is no collector 'x'"),
        (["volumes.used_pct > 1", "--sort", "-volumes"], "column 'volumes': name a field of volumes"),
        (["volumes.used_pct > 1", "--site", "nope"], "there is no site 'nope'"),
        (["volumes.used_pct > 1", "--output", "xml"], "--output xml"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], reason: str) -> None:
    done = CliRunner().invoke(build(["query"]), ["query", "--config", str(folder), *arguments])
    assert isinstance(done.exception, ConfigError)
    assert reason in str(done.exception)


def test_a_damaged_shard_hides_no_other(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = hot_json.path_of(folder / "data", "berlin", 0)
    path.write_bytes(path.read_bytes()[:-30])
    assert found(folder, "volumes.used_pct > 90", "--columns", "endpoint") == [["SRV1"], ["SRV2"]]  # of the other file
    assert "0.json is damaged" in caplog.text
    assert path.exists()
