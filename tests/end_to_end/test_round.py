"""Whole rounds through the command line, against a lab on a real wire."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.tiers.cold_sqlite import ColdReader


def watch_hot(folder: Path, stop: threading.Event, found: list[str]) -> None:
    """Read every hot file again and again while a round runs; each must be valid JSON at every moment."""
    while not stop.is_set():
        for path in folder.glob("*/*.json"):
            try:
                json.loads(path.read_bytes())
                found.append("ok")
            except ValueError as error:
                found.append(f"{path}: {error}")
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_thousand_endpoints_give_a_thousand_observations_each_its_own(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(1000)
    lab.few()
    names = {endpoint["id"]: endpoint["name"] for endpoint in lab.info["endpoints"]}
    stop, found = threading.Event(), []  # type: ignore[var-annotated]
    watcher = threading.Thread(target=watch_hot, args=(lab.data / "hot", stop, found))
    watcher.start()
    try:
        rounds = [lab.observations(), lab.observations("--workers", "2")]
    finally:
        stop.set()
        watcher.join()
    assert Counter(found).keys() == {"ok"}
    for observations in rounds:
        assert Counter(o["endpoint"] for o in observations) == Counter(names.keys())
        assert {o["status"] for o in observations} == {"OK"}
        assert all(o["identity"]["name"] == names[o["endpoint"]] for o in observations)
        assert all(
            o["collectors"]["system"]["readings"][0]["computer_name"] == names[o["endpoint"]] for o in observations
        )
    assert lab.stats()["shells_open"] == 0
    same_in_both_tiers(lab, rounds[-1][::50])


def same_in_both_tiers(lab: Any, observations: list[dict[str, Any]]) -> None:
    hot: dict[str, Any] = {}
    for path in (lab.data / "hot" / "lab").glob("[0-9]*.json"):
        hot |= json.loads(path.read_bytes())["endpoints"]
    cold = ColdReader(lab.data, "lab")
    for observation in observations:
        at = datetime.fromisoformat(observation["observed_at"])
        span = {"since": at - timedelta(seconds=1), "until": at + timedelta(seconds=1)}
        for name, field, key in (
            ("memory", "available_b", ""),
            ("volumes", "free_b", "volume"),
            ("cpu", "util_pct", "core"),
        ):
            for row in observation["collectors"][name]["readings"]:
                metric = f"{name}.{field}" + (f"[{row[key]}]" if key else "")
                stored = cold.history(observation["endpoint"], metric, **span)
                assert [value for _, value in stored] == [row[field]]
            assert (
                hot[observation["endpoint"]]["collectors"][name]["result"]["readings"]
                == observation["collectors"][name]["readings"]
            )


def test_rates_come_with_the_second_round(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(5)
    first = lab.observations()
    assert all(o["collectors"]["cpu"]["readings"][0]["util_pct"] is None for o in first)
    assert all(o["collectors"]["cpu"]["notes"]["util_pct"] == "no_data_yet" for o in first)
    time.sleep(1.2)
    for observation in lab.observations():
        assert "software" not in observation["collectors"]  # once a day
        for row in observation["collectors"]["cpu"]["readings"]:
            assert 0 <= row["util_pct"] <= 100
        assert all(row["rx_b_per_s"] >= 0 for row in observation["collectors"]["network"]["readings"])
    assert lab.rmm("poll", "--due", "--output", "ndjson").stdout == ""  # nothing is due a moment later
    assert "software" in lab.observations("--all")[0]["collectors"]


FAULTS = """
faults:
  - {kind: refuse, machines: [1]}
  - {kind: hang, machines: [2]}
  - {kind: trickle, machines: [3]}
  - {kind: garbage, machines: [4]}
  - {kind: close, machines: [5], after: 3}
  - {kind: reject, machines: [6]}
  - {kind: garbage, machines: [7], text: "nonsense"}
"""
EXPECTED = {
    1: ("UNREACHABLE", "tcp.reset"),
    2: ("TIMEOUT", "timeout"),
    3: ("TIMEOUT", "timeout.trickle"),
    4: ("PROTOCOL_ERROR", "http.not_winrm"),
    5: ("PROTOCOL_ERROR", "http.short"),
    6: ("AUTH_REJECTED", "auth.host"),  # the others accept the account, so it is this machine
    7: ("PROTOCOL_ERROR", "http.garbage"),
}


def test_a_bad_endpoint_is_one_observation_and_delays_nobody(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(60, FAULTS)
    observations = {o["endpoint"]: o for o in lab.observations("--timeout", "6")}
    assert len(observations) == 60
    ids = [endpoint["id"] for endpoint in lab.info["endpoints"]]
    for index, (status, code) in EXPECTED.items():
        fault = observations[ids[index]]["fault"]
        assert fault is not None, (index, observations[ids[index]]["status"])
        assert (observations[ids[index]]["status"], fault["code"]) == (status, code), index
        assert fault["hint"]
        assert fault["retry"] in ("R0", "R1", "RB", "RH")
    seen = {index: observations[ids[index]]["collectors"]["availability"]["readings"][0] for index in EXPECTED}
    assert seen[6]["verdict"] == "auth"
    assert seen[6]["tcp_ms"] > 0
    assert seen[6]["identify_ms"] > 0  # it is WinRM, so the logon is what fails
    assert seen[4]["verdict"] == "http"
    assert seen[4]["identify_ms"] is None
    assert seen[1]["verdict"] == "tcp"
    healthy = [observations[name] for index, name in enumerate(ids) if index not in EXPECTED]
    assert {o["status"] for o in healthy} == {"OK"}
    assert all(o["fault"] is None for o in healthy)
    assert max(o["duration_s"] for o in healthy) < 5
    assert lab.stats()["shells_open"] == 0
    again = lab.rmm("poll", "--timeout", "6", "--quiet")
    assert (again.returncode, again.stdout) == (3, "")


def test_a_wrong_password_is_tried_once_and_then_held(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(80)
    wrong = lab.rmm("credentials", "set", "lab", "--username", lab.info["username"], input="not it\n")
    assert wrong.returncode == 0, wrong.stderr
    counts = []
    for _ in range(3):
        done = lab.rmm("poll", "--output", "ndjson", "--workers", "1")
        assert done.returncode == 4
        statuses = Counter(json.loads(line)["status"] for line in done.stdout.splitlines())
        assert sum(statuses.values()) == 80
        counts.append(lab.stats()["logons_rejected"])
    assert counts == [1, 1, 1]
    right = lab.rmm("credentials", "set", "lab", "--username", lab.info["username"], input=lab.info["password"] + "\n")
    assert right.returncode == 0
    assert {o["status"] for o in lab.observations()} == {"OK"}


def test_several_processes_try_a_wrong_password_once(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(600)
    lab.rmm("credentials", "set", "lab", "--username", lab.info["username"], input="not it\n")
    assert lab.rmm("poll", "--quiet", "--workers", "3").returncode == 4
    assert lab.stats()["logons_rejected"] <= 2


def test_parts_of_a_fleet_make_the_whole(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(520)  # three shards
    parts = [{o["endpoint"] for o in lab.observations("--shard", f"{part}/3")} for part in (1, 2, 3)]
    assert sum(map(len, parts)) == 520
    assert len(set.union(*parts)) == 520
    assert all(parts)


def test_states_follow_when_the_number_of_shards_is_changed(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(40)
    lab.observations()
    settings = lab.config / "rmm.yaml"
    settings.write_text(settings.read_text().replace("shards: 1", "shards: 4"))
    second = lab.observations()
    assert len(second) == 40
    assert all("software" not in o["collectors"] for o in second)  # its state, and with it what is due, came along
    shards = {o["shard"] for o in second}
    assert shards == {0, 1, 2, 3}
    assert len(list((lab.data / "hot" / "lab").glob("[0-9].json"))) == 4


# A small process measures: the high-water mark of a child begins with what its parent held when it was forked.
MEASURE = """
import os, subprocess, sys
poll = subprocess.Popen([sys.executable, "-m", "rmm", "poll", "--config", sys.argv[1]])
_, status, usage = os.wait4(poll.pid, 0)
poll.returncode = os.waitstatus_to_exitcode(status)
print("MEASURED", poll.returncode, usage.ru_maxrss // 1024, round(usage.ru_utime + usage.ru_stime))
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ten_thousand_endpoints_in_one_process(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(10_000)
    lab.few()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(lab.config)], capture_output=True, text=True, check=True, timeout=500
    )
    print(done.stdout[-300:], done.stderr[-300:])
    assert "10000 of 10000 endpoints polled" in done.stdout
    assert "10000 OK" in done.stdout
    _, code, megabytes, _ = done.stdout.splitlines()[-1].split()
    assert code == "0"
    # Shards that wait for their slow endpoints stay open, so that the next ones are not kept waiting: 25 MB each.
    assert int(megabytes) <= 400
    assert lab.stats()["shells_open"] == 0
