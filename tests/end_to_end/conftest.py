"""A lab in a process of its own, and the command line as a user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rmm.resources import shipped

sys.path.insert(0, str(Path(__file__).parent))


class Lab:
    """A running lab. `config` is the folder that polls it."""

    def __init__(self, folder: Path, count: int, faults: str, collectors: Path | None = None) -> None:
        self.config = folder / "lab"
        ready = folder / "ready"
        command = [sys.executable, "-m", "rmm", "lab", "up", "--endpoints", str(count), "--config", str(self.config)]
        command += ["--ready-file", str(ready)]
        if collectors:
            command += ["--collectors", str(collectors)]
        if faults:
            (folder / "faults.yaml").write_text(faults)
            command += ["--faults", str(folder / "faults.yaml")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not ready.exists():
            assert self._process.poll() is None, "the lab did not start"
            assert time.monotonic() < until, "the lab was not ready in time"
            time.sleep(0.05)
        self.info = json.loads((self.config / "lab.json").read_text(encoding="utf-8"))

    @property
    def data(self) -> Path:
        return self.config / "data"

    def few(self) -> None:
        """Only the collectors that a round is about; all sixty take 10,000 endpoints eight minutes at first."""
        kept = {"availability", "system", "cpu", "memory", "volumes", "disk", "network", "services", "os", "hardware"}
        settings = self.config / "rmm.yaml"
        content = yaml.safe_load(settings.read_text(encoding="utf-8"))
        names = {path.parent.name for path in shipped("collectors").glob("*/collector.yaml")}
        content["collectors"] = {"disable": sorted(names - kept)}
        settings.write_text(yaml.safe_dump(content), encoding="utf-8")

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.info['http_port']}/lab/stats", timeout=10) as answer:
            return dict(json.load(answer))

    def rmm(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run `rmm ARGUMENTS --config CONFIG` to its end."""
        options.setdefault("timeout", 300)
        return subprocess.run(
            [sys.executable, "-m", "rmm", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
            **options,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `rmm ARGUMENTS --config CONFIG`; SIGINT reaches it as from a terminal."""
        return subprocess.Popen(
            [sys.executable, "-m", "rmm", *arguments, "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def observations(self, *arguments: str) -> list[dict[str, Any]]:
        """One round, as `--output ndjson` prints it."""
        done = self.rmm("poll", "--output", "ndjson", *arguments)
        assert done.returncode in (0, 3, 4), done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def lab_of(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    labs: list[Lab] = []

    def make(count: int, faults: str = "", collectors: Path | None = None, folder: Path | None = None) -> Lab:
        """`folder`: of a lab that was stopped, which goes on with its data."""
        place = folder or tmp_path / str(len(labs))
        place.mkdir(exist_ok=True)
        (place / "ready").unlink(missing_ok=True)
        labs.append(Lab(place, count, faults, collectors))
        return labs[-1]

    yield make
    for lab in labs:
        lab.stop()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Sixty healthy machines, shared by a module's tests."""
    lab = Lab(tmp_path_factory.mktemp("fleet"), 60, "")
    yield lab
    lab.stop()
