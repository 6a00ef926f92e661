"""A folder dropped into the user's collectors directory, from `rmm collector new` to the report; and bookmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmm.resources import shipped

RULE = """rules:
  - id: people_at_work
    field: users
    op: ">="
    warning: 0
    summary: "{value} people work on {endpoint}"
"""


def rmm(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rmm", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.timeout(180)
def test_a_users_folder_is_checked_run_polled_stored_alerted_on_and_reported(
    lab_of: Callable[..., Any], tmp_path: Path
) -> None:
    mine = tmp_path / "my collectors"
    before = sorted(path.name for path in shipped("collectors").iterdir())
    written = rmm("collector", "new", "people", "--folder", str(mine), "--title", "People")
    assert str(mine / "people" / "collect.ps1") in written
    manifest = mine / "people" / "collector.yaml"
    manifest.write_text(manifest.read_text().replace("rules: []\n", RULE).replace("interval: 3600", "interval: 60"))
    rmm_golden = [sys.executable, "-m", "rmm.catalog.golden", str(mine)]
    subprocess.run(rmm_golden, check=True, timeout=60)
    assert "no findings" in rmm("collector", "check", str(mine))

    lab = lab_of(3, collectors=mine)
    one = lab.info["endpoints"][0]
    config = ["--config", str(lab.config)]
    # Against one endpoint before it is configured at all, by its path.
    alone = json.loads(rmm("collector", "run", str(mine / "people"), one["id"], *config, "--output", "json"))
    assert (alone["outcome"], alone["fault"]) == ("ok", None)
    assert alone["document"]["os"][0]["CSName"] == one["name"]
    assert alone["readings"][0]["users"] >= 0
    assert alone["gather_ms"] > 0
    assert alone["bytes"] > 50
    assert "raw document:" in rmm("collector", "run", str(mine / "people"), one["id"], *config)
    settings = lab.config / "rmm.yaml"  # the one line that every user of own collectors writes once
    settings.write_text(settings.read_text() + f"collectors:\n  folders: [{json.dumps(str(mine))}]\n")

    measured = json.loads(rmm("collector", "cost", *config, "--output", "json"))
    assert {row["measured"] for row in measured} <= {"not measured yet", "C0"}
    assert "people" in rmm("collector", "list", *config)
    first = {o["endpoint"]: o["collectors"] for o in lab.observations()}
    assert all(parts["people"]["outcome"] == "ok" and parts["people"]["gather_ms"] > 0 for parts in first.values())

    stored = json.loads(rmm("show", one["id"], *config, "--output", "json"))
    assert stored["collectors"]["people"]["readings"] == first[one["id"]]["people"]["readings"]
    assert stored["collectors"]["people"]["gather_ms"] == first[one["id"]]["people"]["gather_ms"]
    assert stored["telemetry"]["requests"] > 0
    assert " ms there, " in rmm("show", one["id"], *config, "--collector", "people")
    assert str(alone["readings"][0]["users"]) in rmm("history", one["id"], "people.users", *config)
    alerts = rmm("alerts", "list", *config)
    assert f"people work on {one['name']}" in alerts
    report = tmp_path / "alerts.csv"
    rmm("report", "alerts", *config, "--format", "csv", "--out", str(report))
    assert f"people work on {one['name']}" in report.read_text(encoding="utf-8-sig")
    measured = {row["name"]: row for row in json.loads(rmm("collector", "cost", *config, "--output", "json"))}
    assert (measured["people"]["measured"], measured["people"]["endpoints"]) == ("C1", 3)
    assert measured["people"]["rows"] == 1
    assert 99 < sum(row["share_pct"] or 0 for row in measured.values()) < 101
    assert sorted(path.name for path in shipped("collectors").iterdir()) == before


@pytest.mark.timeout(180)
def test_events_are_read_on_by_the_next_process_and_cost_no_request(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(4)
    lab.observations("--all")
    rounds = [{o["endpoint"]: o["collectors"]["events"]["readings"] for o in lab.observations()} for _ in range(2)]
    for endpoint, rows in rounds[0].items():
        assert sum(row["new"] or 0 for row in rows) == 0, "the lab's logs do not grow: nothing is told twice"
        assert sum(row["last_day"] or 0 for row in rows) > 0
        assert [row["last_record"] for row in rows] == [row["last_record"] for row in rounds[1][endpoint]]
    requests = json.loads(lab.rmm("show", next(iter(rounds[0])), "--output", "json").stdout)["telemetry"]["requests"]
    assert requests == 7, "a new connection: the eighth is the Delete of the shell, which is not waited for"


def test_a_collector_that_is_not_there_is_wrong_usage(tmp_path: Path, lab_of: Callable[..., Any]) -> None:
    lab = lab_of(1)
    one = lab.info["endpoints"][0]["id"]
    assert lab.rmm("collector", "run", "nothing", one).returncode == 2
    assert lab.rmm("collector", "run", "cpu", "nobody").returncode == 2
    unsupported = tmp_path / "odd"
    assert rmm("collector", "new", "odd", "--folder", str(tmp_path))
    done = lab.rmm("collector", "run", str(unsupported), one)
    assert done.returncode == 3, "the lab does not know this script, as a Windows that lacks a command"
    assert "script.unsupported" in done.stdout
