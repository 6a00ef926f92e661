"""What the tests of this folder share: the shipped collectors, their samples, and PowerShell where there is one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rmm.catalog.load import load_catalog
from rmm.lab.windows.classes import MODULES
from rmm.model.collector import Collector
from rmm.resources import shipped
from tests.collectors.executor import Executor


class Sample(NamedTuple):
    """One raw sample with its collector."""

    collector: Collector
    path: Path
    content: dict[str, Any]

    @property
    def case(self) -> str:
        return self.path.name.removesuffix(".raw.json")


@pytest.fixture(scope="session")
def catalog() -> dict[str, Collector]:
    return load_catalog([shipped("collectors")])


def read_samples(catalog: dict[str, Collector]) -> Iterator[Sample]:
    for collector in catalog.values():
        for path in sorted((Path(collector.folder) / "samples").glob("*.raw.json")):
            yield Sample(collector, path, json.loads(path.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def samples(catalog: dict[str, Collector]) -> list[Sample]:
    return list(read_samples(catalog))


def pwsh_program() -> str:
    """PowerShell's path; skips where there is none."""
    program = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not program:
        pytest.skip("no PowerShell: set RMM_PWSH to its program")
    return program


@pytest.fixture(scope="session")
def executor() -> Iterator[Executor]:
    """Real PowerShell with the stand-ins for Windows' commands."""
    one = Executor(pwsh_program())
    yield one
    one.close()


@pytest.fixture(scope="session")
def pwsh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[str]]:
    """Runs a script in real PowerShell ($RMM_PWSH) and gives its output lines."""
    program = pwsh_program()
    folder = tmp_path_factory.mktemp("pwsh")

    def run(script: str) -> list[str]:
        file = folder / "script.ps1"
        file.write_text(script, encoding="utf-8")
        command = [program, "-NoProfile", "-NonInteractive", "-File", str(file)]
        done = subprocess.run(
            command, capture_output=True, text=True, encoding="utf-8", timeout=100, check=False,
            env={**os.environ, "PSModulePath": str(MODULES)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr or done.stdout
        return done.stdout.splitlines()

    return run
