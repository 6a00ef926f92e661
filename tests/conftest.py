"""Fixtures that several areas share: a lab in a process of its own."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class SharedLab:
    """A lab of fifty healthy machines. Tests must not change it, and must leave no shell behind."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "lab"
        ready = folder / "ready"
        command = [sys.executable, "-m", "rmm.lab", "50", str(self.config), str(ready)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not ready.exists():
            assert self.process.poll() is None, "the lab did not start"
            assert time.monotonic() < until
            time.sleep(0.05)
        info = json.loads((self.config / "lab.json").read_text(encoding="utf-8"))
        self.http_port: int = info["http_port"]
        self.https_port: int = info["https_port"]
        self.username: str = info["username"]
        self.password: str = info["password"]
        self.ca_file: str = info["ca_file"]
        self.endpoints: list[dict[str, str]] = info["endpoints"]

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/lab/stats", timeout=10) as answer:
            return dict(json.load(answer))


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLab]:
    """One lab for the whole run."""
    one = SharedLab(tmp_path_factory.mktemp("shared-lab"))
    yield one
    one.process.terminate()
    one.process.wait(10)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A real OpenSSH server on a free port of loopback."""
    server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if server is None or sys.platform == "win32":
        pytest.skip("no sshd here: install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(exist_ok=True)
    config = folder / "sshd_config"
    config.write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n"
    )
    process = subprocess.Popen([server, "-D", "-e", "-f", str(config)], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        assert process.poll() is None, "sshd did not start"
        time.sleep(0.05)
    key = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {key[0]} {key[1]}\n")
    other = (folder / "other.pub").read_text().split()
    (folder / "wrong_hosts").write_text(f"[127.0.0.1]:{port} {other[0]} {other[1]}\n")
    yield {"port": port, "folder": folder, "user": getpass.getuser()}
    process.terminate()
    process.wait(10)
