"""This machine, polled through the command line over a real OpenSSH server, held against what /proc says."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.lab.fleet import LabFleet
from rmm.lab.windows.of_machine import state_of_machine
from rmm.model.endpoint import Secret
from rmm.resources import shipped
from rmm.vault import Vault, create
from tests.conftest import pwsh

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
        command, capture_output=True, text=True, check=False, timeout=100,
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


def rmm(folder: Path, *words: str, typed: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rmm", *words, "--config", str(folder)], input=typed,
        capture_output=True, text=True, check=False, timeout=90,
        env={**os.environ, "RMM_PASSPHRASE_FILE": str(folder / "passphrase"), **environment},
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_a_fleet_with_and_without_powershell(tmp_path: Path, sshd: Any, sshd_pwsh: Any) -> None:
    """One machine, three ways: no PowerShell there; PowerShell on Linux; PowerShell because the list says so."""
    folder, host = tmp_path / "c", socket.gethostname()
    configure(folder, sshd, "known_hosts")
    known = (sshd_pwsh.folder / "known_hosts").read_text()
    (folder / "hosts").write_text(
        (sshd.folder / "known_hosts").read_text() + known + known.replace("127.0.0.1", "localhost")
    )
    text = (folder / "rmm.yaml").read_text().splitlines()
    text = [line for line in text if line.split(":")[0].strip() not in ("known_hosts", "port")]
    (folder / "rmm.yaml").write_text("\n".join([*text, "    known_hosts: hosts", ""]))
    (folder / "endpoints.csv").write_text(
        f"Id,ComputerName,IPAddress,SiteId,Port,Shell,Credential\nplain,{host},127.0.0.1,linux,{sshd.port},,\n"
        f"both,{host}.lan,127.0.0.1,linux,{sshd_pwsh.port},,second\n"
        f"forced,{host}.ps,localhost,linux,{sshd_pwsh.port},powershell,second\n"
    )
    done = rmm(
        folder, "credentials", "set", "second", "--username", sshd_pwsh.user,
        "--key-file", str(sshd_pwsh.folder / "user"), typed="\n",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = (polled(rmm(folder, "poll", "--all", "--output", "ndjson")) for _ in range(2))
    for seen in (first, second):
        for name in ("plain", "both"):
            assert (seen[name]["status"], seen[name]["identity"].get("language")) == ("OK", "sh"), seen[name]["fault"]
            assert seen[name]["collectors"]["memory"]["readings"][0]["total_b"] == kilobytes("MemTotal") * 1024
        # Windows' collectors on Linux: none can be read, each says so for itself, and the poll is whole.
        collectors = {
            name: one for name, one in seen["forced"]["collectors"].items() if name not in ("availability", "self")
        }
        assert seen["forced"]["fault"] is None
        assert len(collectors) > 8
        faults = {name: one["fault"]["code"] for name, one in collectors.items() if one.get("fault")}
        # What looks for a key or file first finds none, and says that it is not supported.
        assert set(faults) >= {"cpu", "memory", "system", "services", "os", "hardware", "volumes"}
        # A role whose counters no command can ask for is told as one that is not there.
        roles = {name for name, code in faults.items() if code == "wmi.not_found"}
        assert all(collectors[name]["outcome"] == "unsupported" for name in roles)
        assert {name: code for name, code in faults.items() if not code.startswith("script.")}.keys() == roles
    started = [seen["both"]["collectors"]["availability"]["readings"][0]["open_ms"] for seen in (first, second)]
    assert (started[0] > 0, started[1]) == (True, None), "PowerShell is not started again to find out"
    assert "language" not in first["forced"]["identity"]
    assert rmm(folder, "doctor", "both").returncode == 0
    assert "PowerShell" not in rmm(folder, "doctor", "plain").stdout
    assert json.loads(rmm(folder, "show", "both", "--output", "json").stdout)["identity"]["language"] == "sh"


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_windows_collectors_over_ssh_from_real_powershell(tmp_path: Path, start_sshd: Any) -> None:
    """PowerShell as the subsystem of a real sshd, prepared as one machine of a lab: a German domain controller."""
    machine = LabFleet(1, profiles=["server2022-dc-de"])[0]
    state = state_of_machine(machine, datetime.now(UTC)) | {"computer": socket.gethostname()[:15].upper()}
    (tmp_path / "state.json").write_text(json.dumps(state))
    program = f"{sys.executable} -m rmm.lab.pwsh.subsystem {pwsh()} {tmp_path}/state.json"
    server = start_sshd(f"Subsystem powershell {program}")
    configure(tmp_path / "c", server, "known_hosts")
    text = (tmp_path / "c" / "endpoints.csv").read_text().splitlines()
    (tmp_path / "c" / "endpoints.csv").write_text(f"{text[0]},Shell\n{text[1]},powershell\n")
    code, seen = poll(tmp_path / "c")
    assert (code, seen["status"], seen["fault"]) == (0, "OK", None), seen
    parts = {name: one["readings"] for name, one in seen["collectors"].items() if not one.get("fault")}
    assert len(parts) > 20
    assert parts["os"][0]["build"] == machine.os.build
    assert parts["hardware"][0]["uuid"].casefold() == machine.uuid.casefold()
    assert {row["volume"] for row in parts["volumes"]} == {f"{drive.letter}:" for drive in machine.drives}
    assert len(parts["services"]) > 20
    assert started_through(server.port) == [], "nothing is left of the session"


def started_through(port: int, seconds: float = 10.0) -> list[str]:
    """Command lines that came of a session with the server on this port and are still there after a while."""
    until = time.monotonic() + seconds
    while True:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (folder / "environ").read_bytes()
                if f" {port}\0".encode() in environment or b"rmm-subsystem-" in environment:
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        if not found or time.monotonic() > until:
            return found
        time.sleep(0.1)


def polled(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == 3, done.stderr
    return {one["endpoint"]: one for one in found}


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_a_key_of_the_agent_by_the_command_line(tmp_path: Path, sshd: Any) -> None:
    program = shutil.which("ssh-agent")
    if program is None:
        pytest.skip("no ssh-agent here: install openssh-client")
    folder, path = tmp_path / "c", str(tmp_path / "agent")
    configure(folder, sshd, "known_hosts")
    set_it = ("credentials", "set", "key", "--username", sshd.user, "--agent")
    agent = subprocess.Popen([program, "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        while not Path(path).exists():
            assert agent.poll() is None
        subprocess.run(
            ["ssh-add", "-q", str(sshd.folder / "user")], check=True, env={**os.environ, "SSH_AUTH_SOCK": path}
        )
        done = rmm(folder, *set_it, "--key-file", str(sshd.folder / "user.pub"))
        assert done.returncode == 0, done.stderr
        done = rmm(folder, "credentials", "test", "key", SSH_AUTH_SOCK=path)
        assert f"{sshd.user} logged on" in done.stdout, done.stderr
        done = rmm(folder, "credentials", "test", "key", SSH_AUTH_SOCK="")
        assert done.returncode != 0
        assert "SSH_AUTH_SOCK is not set" in done.stderr
    finally:
        agent.terminate()
        agent.wait(10)


@pytest.mark.skipif(sys.platform == "win32", reason="an SSH server of this machine's own is a Linux matter here")
def test_every_collector_for_linux_is_read_over_ssh(tmp_path: Path, sshd: Any) -> None:
    folder = tmp_path / "c"
    configure(folder, sshd, "known_hosts")
    wanted = {path.parent.name for path in shipped("collectors").glob("*/collect.sh")}
    assert len(wanted) > 20
    first, second = (poll(folder)[1]["collectors"] for _ in range(2))
    assert wanted <= set(first)
    for name in sorted(wanted):
        assert first[name].get("fault") is None, (name, first[name])
        assert first[name]["outcome"] in ("ok", "partial"), (name, first[name])
    assert first["processes"]["notes"]["cpu_pct"] == "no_data_yet"
    rows = {row["pid"]: row for row in second["processes"]["readings"]}
    assert sum(row["cpu_pct"] or 0 for row in rows.values()) > 0
    assert second["tcp"]["readings"][0]["v4_sent_per_s"] > 0
