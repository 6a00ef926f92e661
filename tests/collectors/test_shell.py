"""collect.sh, run for real on this machine where it is Linux; and the shell runner with collectors that misbehave."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.bundle import shell_bundle
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.model.collector import Collector, Manifest
from rmm.model.observation import CollectorResult

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux and its /proc")
SHELLS = [shell for shell in ("sh", "bash") if shutil.which(shell)]


def run(collectors: list[Collector], shell: str = "sh") -> list[str]:
    text = shell_bundle(collectors).text
    done = subprocess.run([shell], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


def poll(collectors: list[Collector], shell: str, before: dict[str, CollectorResult]) -> dict[str, CollectorResult]:
    results = {}
    for line in run(collectors, shell):
        part = read_part(line)
        assert part.error is None, part
        last = before.get(part.collector)
        manifest = next(c.manifest for c in collectors if c.name == part.collector)
        results[part.collector] = Normalizer(manifest).read(
            part.document, counters=last.counters if last else None, observed_at=datetime.now(UTC)
        )
    return results


@linux
@pytest.mark.parametrize("shell", SHELLS)
def test_the_values_of_this_machine(catalog: dict[str, Collector], shell: str) -> None:
    collectors = [c for c in catalog.values() if c.linux]
    first = poll(collectors, shell, {})
    busy_until = time.monotonic() + 1.2
    while time.monotonic() < busy_until:
        pass
    second = poll(collectors, shell, first)
    assert set(second) == {c.name for c in collectors}
    system = rows(second["system"])[0]
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert system["uptime_s"] == pytest.approx(uptime, abs=3)
    assert abs(system["clock_skew_s"]) < 5
    assert system["processors"] == os.cpu_count()
    assert 0 < system["processes"] <= system["threads"] + 100
    assert system["context_switches_per_s"] > 0
    cores = {row["core"]: row for row in rows(second["cpu"])}
    assert len(cores) == (os.cpu_count() or 0) + 1
    total = sum(row["util_pct"] for name, row in cores.items() if name != "_Total")
    assert cores["_Total"]["util_pct"] == pytest.approx(total / (len(cores) - 1), abs=5)
    assert total > 25, "one of the processors was kept busy"
    memory = rows(second["memory"])[0]
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert memory["total_b"] == int(meminfo["MemTotal"].split()[0]) * 1024
    assert 0 < memory["used_pct"] < 100
    root = next(row for row in rows(second["volumes"]) if row["volume"] == "/") if rows(second["volumes"]) else None
    if root is not None:
        usage = shutil.disk_usage("/")
        assert root["free_b"] == pytest.approx(usage.free, rel=0.05)
        assert root["used_pct"] == pytest.approx(100 * usage.used / (usage.used + usage.free), abs=2)
    assert not {row["nic"] for row in rows(second["network"])} & {"lo"}
    for result in second.values():
        assert result.outcome == "ok", result.notes


def rows(result: CollectorResult) -> tuple[dict[str, Any], ...]:
    return result.readings


def collector(name: str, script: str) -> Collector:
    manifest = Manifest(name=name, title=name, schema=1, interval=60, timeout=5, cost="C1", owner="t", fields={})
    return Collector(manifest=manifest, folder="", linux=script)


SCRIPTS = {
    "good": """printf '{"a":[{"b":1}]}\\n'""",
    "exits": "printf '%s\\n' 'no \"such\" \\thing' second >&2\nexit 3",
    "silent": "true",
    "noise": "echo hello",
    "unknown": "no_such_program_here",
    "settings": "rmm_host=x; PATH=/; set -e; false",
    "flood": "while :; do echo 0123456789012345678901234567890123456789012345678901234567890123; done",
    "fails_large": "head -c 6000000 /dev/zero | tr '\\0' x; exit 3",
    "wordy": "head -c 9000000 /dev/zero | tr '\\0' x >&2; exit 4",
    "last": "echo '{}'",
}


@linux
@pytest.mark.parametrize("shell", SHELLS)
def test_each_collector_of_a_bundle_is_isolated(shell: str) -> None:
    parts = {part.collector: part for part in map(read_part, run([collector(n, s) for n, s in SCRIPTS.items()], shell))}
    assert list(parts) == list(SCRIPTS)
    assert len({part.host for part in parts.values()}) == 1
    assert parts["good"].document == {"a": [{"b": 1}]}
    assert parts["last"].error is None
    errors = {name: part.error for name, part in parts.items() if part.error}
    assert {name: error.id for name, error in errors.items()} == {
        "exits": "exit.3", "silent": "no.document", "noise": "no.document", "unknown": "exit.127", "settings": "exit.1",
        "flood": "DocumentTooLarge", "fails_large": "DocumentTooLarge", "wordy": "exit.4",
    }  # fmt: skip
    assert set(errors["wordy"].message) == {"x"}
    assert len(errors["wordy"].message) <= 2000
    assert errors["exits"].message == 'no "such" \\thing\nsecond'


SYSTEMCTL = """#!/bin/sh
cat <<'END'
Type=notify
MainPID=601
ExecMainStatus=0
User=
Id=ssh.service
Description=OpenBSD "Secure" Shell \\\\ server
ActiveState=active
UnitFileState=enabled
TriggeredBy=ssh.socket

Type=oneshot
MainPID=0
ExecMainStatus=0
Id=fstrim.service
Description=Discard
ActiveState=inactive
UnitFileState=static

Type=simple
MainPID=0
ExecMainStatus=1
Id=nginx.service
Description=Größe
ActiveState=failed
UnitFileState=enabled

Id=getty@.service
END
"""


@linux
def test_services_of_systemd(catalog: dict[str, Collector], tmp_path: Path) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL)
    program.chmod(0o755)
    text = catalog["services"].linux.replace("/run/systemd/system", str(tmp_path))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh"], input=text, capture_output=True, text=True, timeout=30, env=environment, check=True)
    part = read_part(f'{{"collector":"services","host":"x","ms":0,"document":{done.stdout.strip()}}}')
    result = Normalizer(catalog["services"].manifest).read(part.document, counters=None, observed_at=datetime.now(UTC))
    seen = {row["service"]: (row["state"], row["start_mode"], row["trigger_start"], row["pid"]) for row in rows(result)}
    assert seen == {
        "ssh": ("Running", "Auto", True, 601),
        "fstrim": ("Completed", "Manual", False, 0),
        "nginx": ("Stopped", "Auto", False, 0),
    }
    assert rows(result)[0]["display_name"] == 'OpenBSD "Secure" Shell \\\\ server'
    assert rows(result)[2]["display_name"] == "Größe"
