"""This machine, polled through the command line over a real OpenSSH server, held against what /proc says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rmm.model.endpoint import Secret
from rmm.vault import Vault, create

PASSPHRASE = "a passphrase of this test"


def configure(folder: Path, sshd: Any, known_hosts: str) -> None:
    keys = sshd.folder
    folder.mkdir()
    (folder / "rmm.yaml").write_text(
        "data: data\nsites:\n  - id: linux\n    name: Linux\n    credential: key\n    transport: ssh\n"
        f"    port: {sshd.port}\n    known_hosts: {json.dumps(str(keys / known_hosts))}\n"
    )
    (folder / "endpoints.csv").write_text(
        f"Id,ComputerName,IPAddress,SiteId\nhere,{socket.gethostname()},127.0.0.1,linux\n"
    )
    (folder / "passphrase").write_text(PASSPHRASE)
    create(folder / "credentials.vault", PASSPHRASE, {})
    vault = Vault.open(folder / "credentials.vault", PASSPHRASE)
    vault.set("key", sshd.user, Secret(""), kind="key", key_file=str(keys / "user"))


def poll(folder: Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "rmm", "poll", "--output", "ndjson", "--config", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60,
        env={**os.environ, "RMM_PASSPHRASE_FILE": str(folder / "passphrase")},
    )  # fmt: skip
    (line,) = done.stdout.splitlines() or [done.stderr]
    return done.returncode, json.loads(line)


def kilobytes(name: str) -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_this_machine_over_ssh_gives_its_real_values(tmp_path: Path, sshd: Any) -> None:
    configure(tmp_path / "c", sshd, "known_hosts")
    code, seen = poll(tmp_path / "c")
    assert (code, seen["status"], seen["fault"]) == (0, "OK", None), seen
    system = seen["collectors"]["system"]["readings"][0]
    assert system["computer_name"].lower() == socket.gethostname().lower()
    assert system["processors"] == os.cpu_count()
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    assert system["uptime_s"] == pytest.approx(uptime, abs=60)
    assert seen["collectors"]["memory"]["readings"][0]["total_b"] == kilobytes("MemTotal") * 1024
    root = next(row for row in seen["collectors"]["volumes"]["readings"] if row["volume"] == "/")
    facts = os.statvfs("/")
    # The collector counts used plus available, as df's percentage does: what is reserved for root is not in it.
    size = (facts.f_blocks - facts.f_bfree + facts.f_bavail) * facts.f_frsize
    assert root["size_b"] == pytest.approx(size, rel=0.01)
    assert root["free_b"] == pytest.approx(facts.f_bavail * facts.f_frsize, rel=0.02)
    cores = {row["core"] for row in seen["collectors"]["cpu"]["readings"]} - {"_Total"}
    assert len(cores) == os.cpu_count()


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_a_changed_host_key_is_one_named_fault(tmp_path: Path, sshd: Any) -> None:
    configure(tmp_path / "c", sshd, "wrong_hosts")
    code, seen = poll(tmp_path / "c")
    assert code == 4
    assert seen["status"] == "TLS_ERROR"
    assert seen["fault"]["code"] == "ssh.host_key"
    assert "ssh-keyscan" in seen["fault"]["hint"]
