"""Inventory of Linux endpoints: what collect.sh says of this machine is what this machine's own files and tools say."""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.model.collector import Collector
from tests.collectors.linux import HERE, awk_of, program, read

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux and its /proc")


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


def test_processes(catalog: dict[str, Collector]) -> None:
    """A child with an evil name that keeps a processor busy, held against what /proc says of it."""
    name = b'a) R 1\n1 (x\\"'
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"open('/proc/self/comm', 'wb').write({name!r})\nb = b'x' * 64_000_000\nwhile True: pass",
        ]
    )
    try:
        until = time.monotonic() + 20
        while Path(f"/proc/{child.pid}/comm").read_bytes().strip() != name or resident(child.pid) < 64_000_000:
            assert time.monotonic() < until
            time.sleep(0.05)
        before = read(catalog["processes"])
        time.sleep(1.5)
        result = read(catalog["processes"], before=before)
    finally:
        child.kill()
        child.wait()
    assert result.outcome == "ok"
    row = next(row for row in result.readings if row["pid"] == child.pid)
    assert row["process"] == 'a) R 1 1 (x\\"'
    assert 5 < row["cpu_pct"] * (os.cpu_count() or 1) <= 110
    assert row["working_set_b"] > row["private_b"] > 64_000_000
    assert row["threads"] == 1
    assert abs((datetime.now(UTC) - datetime.fromisoformat(row["started"])).total_seconds()) < 60
    (whole,) = [row for row in result.readings if row["process"] == "_Total"]
    assert whole["threads"] >= len(list(Path("/proc").glob("[0-9]*"))) - 20
    assert whole["handles"] == pytest.approx(int(Path("/proc/sys/fs/file-nr").read_text().split()[0]), rel=0.5)


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_tcp(catalog: dict[str, Collector]) -> None:
    before = read(catalog["tcp"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        ends = []
        for _ in range(40):
            ends += [socket.create_connection(server.getsockname()), server.accept()[0]]
        time.sleep(1)
        row = read(catalog["tcp"], before=before).readings[0]
        states = read(catalog["tcp_states"]).readings[0]
        for end in ends:
            end.close()
    assert row["v4_established"] >= 80
    assert row["v4_accepted_per_s"] > 40 / 20
    assert states["established"] >= 80
    assert states["listening"] >= 1
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert states["dynamic_ports"] == high - low + 1
    assert states["dynamic_used"] >= 40


def test_accounts(catalog: dict[str, Collector]) -> None:
    rows = read(catalog["accounts"]).readings
    assert {row["account"]: row["rid"] for row in rows} == {one.pw_name: one.pw_uid for one in pwd.getpwall()}
    admins = {row["account"]: row for row in read(catalog["local_admins"]).readings}
    assert admins["root"]["builtin_administrator"]


@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip")
def test_net_config(catalog: dict[str, Collector]) -> None:
    rows = {row["nic"]: row for row in read(catalog["net_config"]).readings}
    told = subprocess.run(["ip", "-j", "addr"], capture_output=True, text=True, check=True)
    links = {one["ifname"]: one for one in json.loads(told.stdout) if one["ifname"] in rows}
    assert set(links) == set(rows)
    for name, link in links.items():
        assert rows[name]["mac"] == link["address"].replace(":", "").upper()
        assert (rows[name]["index"], rows[name]["mtu"]) == (link["ifindex"], link["mtu"])
        assert rows[name]["enabled"] == ("UP" in link["flags"])
        assert (rows[name]["addresses"] or "") == ", ".join(one["local"] for one in link["addr_info"])


@pytest.mark.parametrize("shell", HERE)
def test_every_shell_and_awk_reads_the_same(catalog: dict[str, Collector], tmp_path: Path, shell: str) -> None:
    for name in (
        "accounts",
        "local_admins",
        "pending_reboot",
        "certificates",
        "scheduled_tasks",
        "updates",
        "net_config",
        "os",
    ):
        other = read(catalog[name], shell=shell, path=awk_of(shell, tmp_path))
        assert other.readings == read(catalog[name]).readings, name
