"""Real PowerShell with the stand-ins for Windows' commands, as one process that serves many scripts."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rmm.lab.windows.classes import MODULES

CULTURES = ("", "de-DE", "fr-FR", "ja-JP", "tr-TR")  # the first is the invariant one
TIMEOUT_S = 120.0


class Job(NamedTuple):
    """A script, how it is run and with which arguments."""

    script: str
    mode: str = "FullLanguage"
    culture: str = ""
    arguments: Mapping[str, Any] = MappingProxyType({})

    def request(self) -> dict[str, Any]:
        return {"script": self.script, "mode": self.mode, "culture": self.culture, "arguments": dict(self.arguments)}


class Result(NamedTuple):
    """What one run of a script gave: its output, the error that ended it, and what it asked in vain."""

    output: list[str]
    error: dict[str, Any] | None
    refusals: list[str]


class Executor:
    """Starts `program` at once; `close()` ends it."""

    def __init__(self, program: str) -> None:
        script = str(Path(__file__).with_name("run_cases.ps1"))
        self._process = subprocess.Popen(
            [program, "-NoProfile", "-NonInteractive", "-File", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            env={**os.environ, "PSModulePath": str(MODULES), "TZ": "Europe/Berlin"},
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def run(self, state: Mapping[str, Any], jobs: Sequence[Job]) -> list[Result]:
        """Execute each job on the machine that `state` is."""
        request = {"state": state, "jobs": [job.request() for job in jobs]}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._lines.get(timeout=TIMEOUT_S)
        assert line, f"PowerShell ended with {self._process.wait(5)}"
        return [Result(one["output"], one["error"], one["refusals"]) for one in json.loads(line)]

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._reader.join(5)
        if self._process.stdout is not None:
            self._process.stdout.close()
