"""`rmm archive` and the commands of docs/archive.md, over a store that a poller wrote."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from rmm.app import open_app
from rmm.catalog.load import load_catalog
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.settings import Retention
from rmm.resources import shipped
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.series import fields_of
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.shard_store import ShardStore, open_shard

DOCS = Path(__file__).parents[2] / "docs" / "archive.md"
BLOCK = re.compile(r"^```bash run\n(.*?)^```", re.MULTILINE | re.DOTALL)
START = datetime(2026, 11, 24, tzinfo=UTC)


def observed(hour: int) -> Observation:
    failed = hour % 10 == 9
    reading = {"util_pct": hour / 8, "user_pct": 1.0, "privileged_pct": 0.5}
    return Observation(
        endpoint="srv1", name="SRV1", site="hq", shard=0, observed_at=START + timedelta(hours=hour), duration_s=0.1,
        status="TIMEOUT" if failed else "OK", fault=Fault("timeout") if failed else None,
        collectors={} if failed else {"cpu": CollectorResult(outcome="ok", readings=(reading,))}, epoch="a", seq=hour,
    )  # fmt: skip


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    settings = {"data": "data", "sites": [{"id": "hq", "credential": "c"}], "archive": {"after_days": 2}}
    (tmp_path / "rmm.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "endpoints.csv").write_text("Id,ComputerName,SiteId\nsrv1,SRV1,hq\n")
    fields = {name: fields_of(one.manifest) for name, one in load_catalog([shipped("collectors")]).items()}
    async with ColdTier(path_of(tmp_path / "data", "hq", 0), fields) as tier:
        await tier.store([observed(hour) for hour in range(40)])
        await tier.seal(START + timedelta(days=3))
        await tier.merge(START + timedelta(days=3))
    return tmp_path


def rmm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rmm", *arguments, "--config", str(folder)], capture_output=True, text=True, check=False
    )


async def test_archive_and_read(folder: Path) -> None:
    assert "nothing is archived" in rmm(folder, "archive", "list").stdout
    history = (
        "history",
        "srv1",
        "cpu.util_pct",
        "--since",
        "2026-11-20",
        "--until",
        "2026-11-30",
        "--step",
        "raw",
        "-o",
        "json",
    )
    before = json.loads(rmm(folder, *history).stdout)
    assert len(before) == 36
    done = rmm(folder, "archive", "run", "--until", "2026-11-25")
    assert (done.returncode, done.stdout.count("samples")) == (0, 2), done.stderr
    assert "nothing to archive" in rmm(folder, "archive", "run", "--until", "2026-11-25").stdout
    listed = json.loads(rmm(folder, "archive", "list", "-o", "json").stdout)
    assert [(one["day"], one["observations"], one["state"]) for one in listed] == [
        ("2026-11-24", 24, "ok"),
        ("2026-11-25", 16, "ok"),
    ]
    for path in (folder / "data" / "cold" / "hq" / "0").glob("raw-*"):
        path.unlink()
    assert json.loads(rmm(folder, *history).stdout) == before
    path = folder / "data" / "archive" / "hq" / "2026-11-24.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    done = rmm(folder, *history)
    assert len(json.loads(done.stdout)) == 14
    assert "is left out" in done.stderr
    done = rmm(folder, "archive", "verify")
    assert (done.returncode, "damaged" in done.stdout, "kept as" in done.stderr) == (3, True, True)
    assert rmm(folder, "archive", "verify").returncode == 0


async def test_what_could_not_be_read_is_said(folder: Path) -> None:
    raw = next((folder / "data" / "cold" / "hq" / "0").glob("raw-*"))
    with contextlib.closing(sqlite3.connect(raw)) as connection, connection:
        connection.execute("UPDATE segment SET data = substr(data, 2) WHERE place = (SELECT min(place) FROM segment)")
    for command in (("run", "--until", "2026-11-25"), ("list",), ("verify",)):
        done = rmm(folder, "archive", *command)
        assert (done.returncode, done.stderr.count("warning: hq 2026-11-24: 1 segments")) == (0, 1), done
    listed = json.loads(rmm(folder, "archive", "list", "-o", "json").stdout)
    assert [one.get("left_out") for one in listed] == [1, None]


async def test_what_is_wrong_is_said(folder: Path) -> None:
    for arguments, code, text in (
        (("run", "--until", "tomorrow"), 2, "is no day"),
        (("verify", "2026-01-01"), 2, "has no 2026-01-01"),
        (("query", "SELECT 1"), 2, "no day"),
        (("restore",), 2, "name days"),
        (("list", "--site", "x"), 2, "no site"),
    ):
        done = rmm(folder, "archive", *arguments)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
    assert rmm(folder, "archive", "run", "--until", "2026-11-24").returncode == 0
    done = rmm(folder, "archive", "query", "DELETE FROM samples")
    assert (done.returncode, "one SELECT" in done.stderr) == (2, True)


async def test_without_the_extra_it_says_what_to_install(folder: Path) -> None:
    script = """
import importlib.util, sys
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "duckdb" else found(name, *rest)
sys.argv[1:] = ["archive", "list"]
from rmm.cli.main import main
main()
"""
    environment = dict(os.environ, RMM_CONFIG=str(folder))
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "mytech-rmm[archive]" in done.stderr) == (2, True), done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the page's blocks are bash")
async def test_the_page_says_what_works(folder: Path) -> None:
    blocks = BLOCK.findall(DOCS.read_text(encoding="utf-8"))
    assert len(blocks) == 3
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = dict(os.environ, RMM_CONFIG=str(folder), PATH=path)
    outputs = []
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert "raw-2026-W48.sqlite" in outputs[1]
    assert "srv1" in outputs[2]
    assert "timeout,4" in outputs[2]


async def test_a_round_archives_one_day_and_retention_waits_for_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    application = open_app(folder, lambda: "")
    now = START + timedelta(days=90)
    monkeypatch.setattr(application.clock, "now", lambda: now)
    monkeypatch.setattr(ShardStore, "settled", lambda _: True)
    raw = folder / "data" / "cold" / "hq" / "0" / "raw-2026-W48.sqlite"

    async def end_of_round() -> bool:
        keep = Retention(samples=30)
        async with open_shard(
            application.data, "hq", 0, fields=application.fields, now=application.clock.now, keep=keep, archiving=True
        ):
            pass
        application.archive()
        return raw.exists()

    days = folder / "data" / "archive" / "hq"
    assert await end_of_round()
    assert [path.name for path in days.glob("*.parquet")] == ["2026-11-24.parquet"]
    assert await end_of_round()
    assert len(list(days.glob("*.parquet"))) == 2
    assert not await end_of_round()


async def test_a_day_is_archived_when_it_is_so_many_days_old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    application = open_app(folder, lambda: "")
    for later, count in ((1.9, 0), (2, 1), (2.9, 1), (3, 2)):
        now = START + timedelta(days=later)
        monkeypatch.setattr(application.clock, "now", lambda now=now: now)
        application.archive()
        assert len(list((folder / "data" / "archive" / "hq").glob("*.parquet"))) == count


async def test_the_last_of_a_disk_is_not_the_archives(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    application = open_app(folder, lambda: "")
    monkeypatch.setattr(application.clock, "now", lambda: START + timedelta(days=90))
    disk = shutil.disk_usage(folder)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: disk._replace(free=disk.total // 1000))
        application.archive()
    assert "not everything that is due was archived" in caplog.text
    assert not (folder / "data" / "archive").exists()
    application.archive()
    assert len(list((folder / "data" / "archive" / "hq").glob("*.parquet"))) == 1
