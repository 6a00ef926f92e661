"""`rmm changes` over a cold tier that a poller wrote."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from rmm.catalog.load import load_catalog
from rmm.cli.main import build
from rmm.model.observation import CollectorResult, Observation
from rmm.resources import shipped
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.series import fields_of
from rmm.tiers.cold_sqlite.writer import path_of

NOW = datetime.now(UTC).replace(microsecond=0)


def program(name: str, version: str) -> dict[str, Any]:
    return {
        "id": name, "architecture": "x64", "name": name, "version": version, "publisher": "P",
        "install_date": None, "scope": "machine",
    }  # fmt: skip


def observed(days_ago: float, *programs: dict[str, Any], **more: Any) -> Observation:
    return Observation(
        endpoint="srv1", name="SRV1", site="hq", shard=0, observed_at=NOW - timedelta(days=days_ago), duration_s=0.1,
        status="OK", fault=None, collectors={"software": CollectorResult(outcome="ok", readings=programs)} | more,
        epoch="a", seq=1,
    )  # fmt: skip


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    settings = {"data": "data", "sites": [{"id": "hq", "name": "HQ", "credential": "c"}]}
    (tmp_path / "rmm.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "endpoints.csv").write_text("Id,ComputerName,SiteId\nsrv1,SRV1,hq\nsrv2,SRV2,hq\n")
    catalog = load_catalog([shipped("collectors")])
    fields = {name: fields_of(one.manifest) for name, one in catalog.items()}
    async with ColdTier(path_of(tmp_path / "data", "hq", 0), fields) as tier:
        await tier.store([observed(9, program("7-Zip", "23"), program("Old", "1"))])
        await tier.store([observed(8, program("7-Zip", "24"), program("Old", "1"))])
        await tier.store([observed(1, program("7-Zip", "24"), program("=New", "2"))])
    return tmp_path


def run(folder: Path, *arguments: str) -> str:
    done = CliRunner().invoke(build(["changes"]), ["changes", "--config", str(folder), *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_when_from_and_to(folder: Path) -> None:
    rows = json.loads(run(folder, "--since", "30d", "--output", "json"))
    assert [
        (row["endpoint"], row["collector"], row["what"], row["row"], row["field"], row["from"]) for row in rows
    ] == [
        ("SRV1", "software", "changed", "7-Zip|x64", "version", "23"),
        ("SRV1", "software", "added", "=New|x64", "", None),
        ("SRV1", "software", "removed", "Old|x64", "", None),
    ]
    assert rows[0]["to"] == "24"
    assert rows[1]["to"]["version"] == "2"
    assert rows[0]["at"] == (NOW - timedelta(days=8)).isoformat()


def test_spans_endpoints_and_forms(folder: Path) -> None:
    assert [row["what"] for row in json.loads(run(folder, "srv1", "--output", "json"))] == ["added", "removed"]
    assert "nothing has changed since" in run(folder, "srv2", "--since", "30d")
    assert "nothing has changed since" in run(folder, "--collector", "hardware", "--since", "30d")
    table = run(folder, "--since", "30d", "--most", "1")
    assert "removed" in table
    assert "... and 2 older ones; --most 0 shows all" in table
    rows = list(csv.DictReader(io.StringIO(run(folder, "--output", "csv"))))
    assert rows[0]["row"] == "'=New|x64"  # no spreadsheet takes it for a formula


def test_a_collector_and_a_time_that_are_none(folder: Path) -> None:
    for arguments, text in (
        (("--collector", "softwear"), "there is no collector"),
        (("--since", "soon"), "is no time"),
    ):
        done = CliRunner().invoke(build(["changes"]), ["changes", "--config", str(folder), *arguments])
        assert done.exit_code
        assert text in str(done.exception)
