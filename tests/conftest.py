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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

APART = frozenset(
    {"channels", "fleet", "lab_pwsh", "leases", "live", "poller", "test_exit_codes.py", "test_messages.py"}
)
"""Folders and files whose tests ask a clock how long something took: they run one after the other, as slow ones do."""

PATIENT = frozenset({"bundles", "fuzz", "hub", "hub_workers", "postgres", "sites", "sites_forward"})
"""Folders of which the slow tests too may run two at a time, as all others that are not slow do."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        parts = item.path.relative_to(config.rootpath / "tests").parts
        marked = any(item.iter_markers("slow")) or any(item.iter_markers("crash"))
        if APART.isdisjoint(parts) and (not marked or not PATIENT.isdisjoint(parts)):
            item.add_marker("together")


class SharedLab:
    """A lab of healthy machines. Tests must not change it, and must leave no shell behind."""

    def __init__(self, folder: Path, count: int = 50, engine: str = "samples") -> None:
        self.config = folder / "lab"
        ready = folder / "ready"
        command = [sys.executable, "-m", "rmm.lab", str(count), str(self.config), str(ready), "", engine]
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
def lab_pwsh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLab]:
    """One lab in which real PowerShell executes what comes."""
    pwsh()
    one = SharedLab(tmp_path_factory.mktemp("pwsh-lab"), 8, "pwsh")
    yield one
    one.process.terminate()
    one.process.wait(30)


class Sshd:
    """A real OpenSSH server on a free port of loopback, with keys of its own; `log()` is what it says of its logons."""

    def __init__(self, folder: Path, *lines: str) -> None:
        server = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
        if server is None or sys.platform == "win32":
            pytest.skip("no sshd here: install openssh-server")
        self.folder = folder
        self.user = getpass.getuser()
        for name in ("host", "user", "other"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
        shutil.copy(folder / "user.pub", folder / "authorized_keys")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        Path("/run/sshd").mkdir(exist_ok=True)
        given = [line.split()[0] for line in lines]
        common = {
            "Port": self.port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none",
            "AuthorizedKeysFile": folder / "authorized_keys", "StrictModes": "no", "UsePAM": "no",
            "PasswordAuthentication": "no", "PermitRootLogin": "yes", "MaxStartups": "100", "LogLevel": "VERBOSE",
        }  # fmt: skip
        text = [*lines, *(f"{key} {value}" for key, value in common.items() if key not in given)]
        (folder / "sshd_config").write_text("\n".join(text) + "\n")
        self._log = folder / "log"
        self.process = subprocess.Popen(
            [server, "-D", "-E", str(self._log), "-f", str(folder / "sshd_config")], start_new_session=True
        )
        self._await_start()
        for name, key in (("known_hosts", "host"), ("wrong_hosts", "other")):
            kind, data = (folder / f"{key}.pub").read_text().split()[:2]
            (folder / name).write_text(f"[127.0.0.1]:{self.port} {kind} {data}\n")

    def _await_start(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert self.process.poll() is None, f"sshd did not start: {self.log()}"
            time.sleep(0.05)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[Callable[..., Sshd]]:
    """SSH servers with lines of sshd_config of the test's own."""
    started: list[Sshd] = []

    def start(*lines: str) -> Sshd:
        folder = tmp_path / f"sshd-{len(started)}"
        folder.mkdir()
        started.append(Sshd(folder, *lines))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An SSH server without PowerShell; its user logs on by key."""
    one = Sshd(tmp_path_factory.mktemp("sshd"))
    yield one
    one.stop()


def pwsh() -> str:
    """PowerShell's path; skips where there is none."""
    found = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not found:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    return found


@pytest.fixture(scope="session")
def sshd_pwsh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """The same with PowerShell as its subsystem, as Microsoft describes it."""
    one = Sshd(tmp_path_factory.mktemp("sshd-pwsh"), f"Subsystem powershell {pwsh()} -SSHServerMode -NoLogo")
    yield one
    one.stop()


sys.path.insert(0, str(Path(__file__).parent / "postgres"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A PostgreSQL server of this run: `cluster.Cluster` of tests/postgres."""
    from cluster import Cluster

    one = Cluster()
    yield one
    one.remove()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The mark `databases` says over which of them a test runs; the mark nearest to it counts."""
    mark = metafunc.definition.get_closest_marker("databases")
    if mark is not None:
        metafunc.parametrize("database", mark.args, indirect=True)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the fleet's database of a data folder is kept: `sqlite` in it, or `postgres`."""
    kind = str(getattr(request, "param", "sqlite"))
    if kind == "postgres":
        from cluster import instead_of_files

        instead_of_files(monkeypatch, request.getfixturevalue("cluster"))
    return kind
