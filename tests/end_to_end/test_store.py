"""`rmm store` through the command line: a backup while a round runs, deletion, restore, and what each command says."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.cold_sqlite.whole import SiteSamples


def store(config: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "rmm", "store", *words, "--config", str(config)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, (words, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done


def checksum(config: Path) -> str:
    return store(config, "check", "--checksum").stdout.splitlines()[-1]


def test_backup_in_a_round_deletion_and_restore(lab_of: Callable[..., Any], tmp_path: Path) -> None:
    lab = lab_of(60)
    lab.few()
    lab.observations()
    config, data = lab.config, lab.data
    command = [sys.executable, "-m", "rmm", "poll", "--all", "--output", "ndjson", "--config", str(config)]
    acknowledged, copies = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.append(json.loads(line))
            if len(acknowledged) in (1, 20, 40):
                target = tmp_path / f"copy-{len(acknowledged)}"
                store(config, "backup", str(target))
                copies.append((target, len(acknowledged)))
        assert process.wait() == 0
    assert len(acknowledged) == 60
    kept = checksum(config)
    store(config, "backup", str(tmp_path / "quiet"))
    shutil.rmtree(data)
    store(config, "restore", str(tmp_path / "quiet"))
    assert checksum(config) == kept
    for target, count in copies:  # each of a round at work: what was acknowledged before it began is there
        store(config, "restore", str(target), code=2)
        store(config, "restore", str(target), "--force")
        lab.observations("--endpoint", lab.info["endpoints"][0]["id"])  # what was in the spool goes where it belongs
        has = {o["endpoint"]: _moments(data, o["endpoint"]) for o in acknowledged}
        missing = [o["endpoint"] for o in acknowledged[:count] if o["observed_at"][:19] not in has[o["endpoint"]]]
        assert missing == []
        assert all(len(found) == len(set(found)) for found in has.values())
    assert store(config, "check").stdout.endswith("nothing damaged\n")


def _moments(data: Path, endpoint: str) -> list[str]:
    from datetime import UTC, datetime

    span = {"since": datetime(2020, 1, 1, tzinfo=UTC), "until": datetime(2099, 1, 1, tzinfo=UTC)}
    return [one["at"].isoformat()[:19] for one in ColdReader(data, "lab").statuses(endpoint, **span)]


def test_what_the_commands_say(lab_of: Callable[..., Any], tmp_path: Path) -> None:
    lab = lab_of(3)
    lab.few()
    assert "holds nothing yet" in store(lab.config, "status").stdout
    assert store(lab.config, "check").stdout == "0 files read, nothing damaged\n"
    lab.observations()
    told = json.loads(store(lab.config, "status", "--output", "json").stdout)
    assert {line["kind"] for line in told["lines"]} == {"fleet", "hot", "shard"}
    assert told["forecast"]["total"] > 10_000
    assert "after two days of history" in store(lab.config, "status").stdout
    assert "nothing to repair" in store(lab.config, "repair").stdout
    assert "pages are free" in store(lab.config, "vacuum").stdout
    before = SiteSamples(lab.data, "lab").checksum()
    store(lab.config, "vacuum", "--all")
    assert SiteSamples(lab.data, "lab").checksum() == before
    hot = lab.data / "hot" / "lab" / "0.json"
    hot.write_bytes(hot.read_bytes()[:-100])
    damaged = store(lab.config, "check", "--output", "json", code=3)
    assert [(one["severity"], one["file"]) for one in json.loads(damaged.stdout)] == [("damaged", "hot/lab/0.json")]
    assert "rmm store repair" in store(lab.config, "check", code=3).stdout
    store(lab.config, "backup", str(tmp_path / "copy"), code=1)
    assert "renamed to 0.damaged-1" in store(lab.config, "repair").stdout
    assert "set aside" in store(lab.config, "check").stdout
    with_lease = [sys.executable, "-c", LEASE, str(lab.data / "locks" / "lab-0.lock")]
    with subprocess.Popen(with_lease, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for words in (["repair"], ["vacuum"]):
            assert "left alone: shard 0 of site lab is held by" in store(lab.config, *words, code=3).stderr
        store(lab.config, "backup", str(tmp_path / "copy"))  # locks nothing and waits for nobody
        store(lab.config, "restore", str(tmp_path / "copy"), "--force", code=4)
        holder.communicate("\n")


LEASE = """
import pathlib, sys
from rmm.durable import hold
with hold(pathlib.Path(sys.argv[1]), "a poll"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("words", [["backup", "full"], ["restore", "none"], ["status", "--output", "xml"]])
def test_wrong_usage(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "rmm.yaml").write_text("sites: [{id: hq}]\n")
    (tmp_path / "endpoints.csv").write_text("ComputerName\nSRV01\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    done = store(tmp_path, words[0], *([str(tmp_path / words[1])] if words[0] != "status" else words[1:]), code=2)
    assert "error: " in done.stderr
    assert "fix: " in done.stderr


def alerts(config: Path, **environment: str) -> dict[str, str]:
    command = [sys.executable, "-m", "rmm", "alerts", "list", "--output", "json", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **environment})
    found = {one["rule"]: one["severity"] for one in json.loads(done.stdout)}
    return {rule: severity for rule, severity in found.items() if rule.startswith("collector")}


def poll(config: Path, **environment: str) -> str:
    command = [sys.executable, "-m", "rmm", "poll", "--all", "--config", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_budget_is_told_before_anything_happens_and_taken_back(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(3)
    lab.few()
    settings = lab.config / "rmm.yaml"
    plain = settings.read_text(encoding="utf-8")
    settings.write_text(plain + "disk: {budget_gb: 0.00001}\n", encoding="utf-8")
    assert "this site collector: the data folder has reached its budget of 1e-05 GB" in poll(lab.config)
    assert alerts(lab.config) == {"collector_budget": "warning"}
    settings.write_text(plain, encoding="utf-8")
    assert "this site collector" not in poll(lab.config)
    assert alerts(lab.config) == {}


def test_on_a_disk_that_is_nearly_full_history_waits_and_polling_goes_on(
    lab_of: Callable[..., Any], tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=60m", "none", str(small)]
    if sys.platform != "linux" or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root on Linux")
    try:
        lab = lab_of(5)
        lab.few()
        there = {"RMM_DATA": str(small)}
        poll(lab.config, **there)
        assert (small / "reserve").stat().st_size > 1_000_000
        (small / "filler").write_bytes(bytes(shutil.disk_usage(small).free - 2_500_000))  # of 3 MB that are kept free
        said = [poll(lab.config, **there) for _ in range(3)]
        assert all("history waits, and readings are kept in the spool alone" in text for text in said)
        assert "5 of 5 endpoints polled" in said[-1]
        assert alerts(lab.config, **there)["collector_disk"] == "critical"
        name = lab.info["endpoints"][0]["id"]
        assert len(_moments(small, name)) == 1
        (small / "filler").unlink()
        assert "history waits" not in poll(lab.config, **there)
        assert "collector_disk" not in alerts(lab.config, **there)
        assert len(set(_moments(small, name))) == 5
        assert list((small / "spool").rglob("*.spool")) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)
