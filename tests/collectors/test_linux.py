"""Inventory of Linux endpoints: what collect.sh says of this machine is what this machine's own files and tools say."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.bundle import shell_bundle
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.model.collector import Collector
from rmm.model.observation import CollectorResult

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux and its /proc")


def read(one: Collector, *, path: Sequence[Path] = (), before: CollectorResult | None = None) -> CollectorResult:
    """What the collector reads here; `path` comes before PATH."""
    environment = {**os.environ, "PATH": ":".join([*map(str, path), os.environ["PATH"]])}
    done = subprocess.run(
        ["sh"], input=shell_bundle([one]).text, capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stderr == ""
    part = read_part(done.stdout.splitlines()[0])
    assert part.error is None, part.error
    counters = before.counters if before else None
    return Normalizer(one.manifest).read(part.document, counters=counters, observed_at=datetime.now(UTC))


def program(folder: Path, name: str, text: str) -> Path:
    """A stand-in for a program of another distribution; returns the folder."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return folder


def test_os(catalog: dict[str, Collector]) -> None:
    row = read(catalog["os"]).readings[0]
    release = platform.freedesktop_os_release()
    assert (row["caption"], row["edition"]) == (release["PRETTY_NAME"], release["ID"])
    assert row["version"] == release.get("VERSION_ID")
    assert row["architecture"] == {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]


def test_hardware(catalog: dict[str, Collector]) -> None:
    row = read(catalog["hardware"]).readings[0]
    assert row["cpu_logical"] == os.cpu_count()
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    assert row["memory_b"] == int(total.split()[1]) * 1024
    names = [f for f in Path("/sys/block").iterdir() if (f / "device").exists() and not f.name.startswith(("sr", "fd"))]
    assert row["disks"] == len(names)
    assert row["disk_b"] == sum(int((f / "size").read_text()) * 512 for f in names) or not names


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs dpkg")
def test_software_of_dpkg(catalog: dict[str, Collector]) -> None:
    rows = {row["id"]: row for row in read(catalog["software"]).readings}
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    installed = {line.split()[0]: line.split()[1] for line in listed.splitlines() if line.endswith(" installed")}
    assert {name: row["version"] for name, row in rows.items()} == installed
    day = datetime.fromtimestamp(Path("/var/lib/dpkg/info/dpkg.list").stat().st_mtime, UTC).date()
    assert rows["dpkg"]["install_date"][:10] == day.isoformat()


def test_software_of_rpm(catalog: dict[str, Collector], tmp_path: Path) -> None:
    lines = ["bash\\t5.1.8-9.el9\\tRed Hat, Inc.\\tx86_64\\t1704067200", 'odd"one\\t1\\t(none)\\tnoarch\\t951782400']
    program(tmp_path, "rpm", "printf '%b\\n' '" + "' '".join(lines) + "'")
    one = catalog["software"]
    # No dpkg here: its name is hidden from the script.
    hidden = Collector(manifest=one.manifest, folder="", linux=one.linux.replace("dpkg-query", "no-such-dpkg"))
    rows = read(hidden, path=[tmp_path]).readings
    assert [(r["name"], r["architecture"], r["publisher"], r["install_date"][:10]) for r in rows] == [
        ("bash", "x64", "Red Hat, Inc.", "2024-01-01"),
        ('odd"one', "any", None, "2000-02-29"),
    ]


def test_disk(catalog: dict[str, Collector], tmp_path: Path) -> None:
    whole = [f.name for f in Path("/sys/block").iterdir() if not f.name.startswith(("loop", "ram", "zram", "sr", "fd"))]
    before = read(catalog["disk"])
    if not before.readings:
        pytest.skip(f"no disk is to be seen here: {whole}")
    with (tmp_path / "file").open("wb") as file:
        file.write(os.urandom(8 << 20))
        os.fsync(file.fileno())
    time.sleep(1)
    rows = {row["disk"]: row for row in read(catalog["disk"], before=before).readings}
    assert set(rows) <= {*whole, "_Total"}
    assert rows["_Total"]["write_b_per_s"] == pytest.approx(
        sum(row["write_b_per_s"] for name, row in rows.items() if name != "_Total"), abs=1
    )
    assert 0 <= rows["_Total"]["idle_pct"] <= 100
    assert rows["_Total"]["split_io_per_s"] is None


def test_what_a_machine_writes_of_itself_is_harmless(catalog: dict[str, Collector], tmp_path: Path) -> None:
    program(tmp_path, "hostname", "printf 'a\"b\\\\c\\001$(touch /tmp/owned)\\n'")
    result: Any = read(catalog["os"], path=[tmp_path])
    assert result.outcome == "ok"
