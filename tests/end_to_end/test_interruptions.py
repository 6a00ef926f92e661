"""Locks, Ctrl-C, kill -9, full disks: what was acknowledged is kept, and the message is clear."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.tiers.cold_sqlite import ColdReader

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def test_a_second_poll_says_who_holds_the_shard(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(200, "faults:\n  - {kind: hang, machines: [3]}\n")
    first = lab.start("poll", "--timeout", "8", "--output", "ndjson")
    try:
        assert first.stdout is not None
        first.stdout.readline()
        second = lab.rmm("poll")
        assert second.returncode == 4
        assert f"held by process {first.pid} on" in second.stderr
        assert "fix:" in second.stderr
    finally:
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=20)


WAYS = {signal.SIGINT: (130, "stopped"), signal.SIGTERM: (143, "stopped by SIGTERM; what was read until then is kept")}


@pytest.mark.parametrize("number", WAYS, ids=lambda number: number.name)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_signal_stops_within_two_seconds_deletes_shells_and_keeps_what_was_stored(
    lab_of: Callable[..., Any], workers: str, number: signal.Signals
) -> None:
    lab = lab_of(600, "faults:\n  - {kind: hang, share: 0.05}\n")
    lab.few()
    process = lab.start("poll", "--output", "ndjson", "--workers", workers)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(80)]
    began = time.monotonic()
    process.send_signal(number)
    # Not communicate(): it passes over what readline() has read ahead, and begins in the middle of a line.
    assert process.stderr is not None
    with process.stdout, process.stderr:
        rest, errors = process.stdout.read(), process.stderr.read()
    process.wait(20)
    assert time.monotonic() - began < 2.0
    code, said = WAYS[number]
    assert process.returncode == code
    # An SQLite with the WAL-reset bug is told once, by whatever writes first.
    assert [line for line in errors.strip().splitlines() if not line.startswith("WARNING: SQLite ")] == [said]
    assert lab.stats()["shells_open"] == 0
    # What deleted its shells leaves nothing for the next start to look for.
    assert b"".join(path.read_bytes() for path in (lab.data / "locks").glob("*.visits")) == b""
    seen = {json.loads(line)["endpoint"] for line in [*lines, *rest.splitlines()] if line.strip()}
    hot: set[str] = set()
    for path in (lab.data / "hot" / "lab").glob("[0-9]*.json"):
        hot |= set(json.loads(path.read_bytes())["endpoints"])
    spooled = b"".join(path.read_bytes() for path in (lab.data / "spool").rglob("*.spool"))
    assert all(name in hot or name.encode() in spooled for name in seen)


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_twenty_kills_at_random_moments_lose_nothing_that_was_acknowledged(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(300)  # two shards
    lab.few()
    acknowledged: list[dict[str, Any]] = []
    for turn in range(20):
        workers = "1" if turn % 4 else "2"
        process = lab.start("poll", "--output", "ndjson", "--workers", workers)
        assert process.stdout is not None
        lines = [process.stdout.readline()]
        reader = threading.Thread(target=lambda: lines.extend(process.stdout))  # noqa: B023 - joined below
        reader.start()
        time.sleep(random.random() * 2.0)
        os.kill(process.pid, signal.SIGKILL)
        reader.join()
        process.communicate()
        text = "".join(lines)
        acknowledged += [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        for path in (lab.data / "hot").rglob("[0-9]*.json"):
            json.loads(path.read_bytes())
    assert len(acknowledged) > 500
    time.sleep(1.0)  # orphaned workers notice the closed pipe
    # Two kills while a logon was in the air, of which nobody knows what came of it, and the account is held.
    assert lab.rmm("credentials", "release", "lab", "--unlocked").returncode == 0
    whole = lab.observations()
    assert len(whole) == 300
    assert {o["status"] for o in whole} == {"OK"}
    cold = ColdReader(lab.data, "lab")
    by_endpoint: dict[str, set[datetime]] = {}
    for observation in [*acknowledged, *whole]:
        by_endpoint.setdefault(observation["endpoint"], set()).add(datetime.fromisoformat(observation["observed_at"]))
    now = max(at for times in by_endpoint.values() for at in times) + timedelta(minutes=1)
    for endpoint, times in by_endpoint.items():
        stored = [row["at"] for row in cold.statuses(endpoint, since=now - timedelta(hours=1), until=now)]
        assert times <= set(stored)
        assert len(stored) == len(set(stored))
    for path in [*(lab.data / "cold").rglob("*.sqlite"), lab.data / "fleet.sqlite"]:
        check = sqlite3.connect(path)
        assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        check.close()
    assert not list((lab.data / "spool").rglob("*.spool"))
    assert not list(lab.data.rglob("*.damaged*"))


def test_a_full_disk_is_one_clear_message_and_no_success(lab_of: Callable[..., Any], tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    lab = lab_of(150)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "none", str(small)], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        done = lab.rmm("poll", env={**os.environ, "RMM_DATA": str(small)})
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
    assert done.returncode == 1
    assert "endpoints polled" not in done.stdout
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "No space left" in errors[0] or "full" in errors[0]
    assert "Traceback" not in done.stderr


def test_a_read_only_data_folder_is_one_clear_message(lab_of: Callable[..., Any], tmp_path: Path) -> None:
    lab = lab_of(5)
    (tmp_path / "file").write_text("a file where the data folder should be")
    done = lab.rmm("poll", env={**os.environ, "RMM_DATA": str(tmp_path / "file" / "data")})
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if line.startswith("error:")]) == 1
    assert "Traceback" not in done.stderr
