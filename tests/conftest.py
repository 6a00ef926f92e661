"""Fixtures that several areas share: a lab in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

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
