"""The lab as a process: ready file, ports, faults, the end."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmm.errors import ConfigError
from rmm.lab.server import _listener


@contextlib.contextmanager
def started(folder: Path, plan: str = "") -> Iterator[tuple[subprocess.Popen[bytes], dict[str, object]]]:
    ready = folder / "ready"
    command = [sys.executable, "-m", "rmm.lab", "5", str(folder / "lab"), str(ready)]
    if plan:
        (folder / "faults.yaml").write_text(plan, encoding="utf-8")
        command.append(str(folder / "faults.yaml"))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not ready.exists():
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process, json.loads((folder / "lab" / "lab.json").read_text(encoding="utf-8"))
    finally:
        process.terminate()
        process.wait(10)


def said(address: str, port: int, seconds: float = 5) -> bytes:
    """What the server answers to one request; b"" when it closes, TimeoutError when it hangs."""
    request = b"POST /wsman HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\n<x/>"
    with socket.create_connection((address, port), seconds) as plug:
        plug.settimeout(seconds)
        plug.sendall(request)
        return plug.recv(4096)


def test_it_stops_within_two_seconds_with_a_client_connected(tmp_path: Path) -> None:
    with started(tmp_path) as (process, info):
        facts = json.loads((tmp_path / "ready").read_text(encoding="utf-8"))
        assert facts["http_port"] == info["http_port"]
        endpoint = info["endpoints"][0]["address"]  # type: ignore[index]
        with socket.create_connection((endpoint, int(facts["http_port"])), 5):
            began = time.monotonic()
            process.terminate()
            assert process.wait(5) == 0 or sys.platform == "win32"
            assert time.monotonic() - began < 2


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken"):
            _listener(port)


def test_faults_do_what_they_say(tmp_path: Path) -> None:
    plan = (
        "faults:\n  - {kind: hang, machines: [0]}\n  - {kind: garbage, machines: [1]}\n"
        "  - {kind: refuse, machines: [2]}\n  - {kind: close, machines: [3], after: 0}\n"
    )
    with started(tmp_path, plan) as (_, info):
        port = int(str(info["http_port"]))
        address = [machine["address"] for machine in info["endpoints"]]  # type: ignore[attr-defined]
        with pytest.raises(TimeoutError):
            said(address[0], port, 1)
        assert b"It works!" in said(address[1], port)
        with pytest.raises(ConnectionError):
            said(address[2], port)
        broken = said(address[3], port)
        assert broken.startswith(b"HTTP/1.1 401")
        assert b"\r\n\r\n" not in broken
        assert said(address[4], port).startswith(b"HTTP/1.1 401")
