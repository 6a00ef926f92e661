"""A lab in a process of its own, and `rmm` as a user runs it, with something wrong at the collector's side."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rmm.tiers.fleet_sqlite import FleetFile

AT_ONCE = """rules:
  - {id: endpoint_unreachable, field: status, op: in, critical: [UNREACHABLE, TIMEOUT], quarter: availability}
"""


class Site:
    """A lab of `count` machines with a fault plan, and the configuration that polls it."""

    def __init__(self, folder: Path, count: int, faults: str = "faults: []", **poll: Any) -> None:
        self.config = folder / "lab"
        ready = folder / "ready"
        plan = folder / "plan.yaml"
        plan.write_text(faults)
        command = [sys.executable, "-m", "rmm", "lab", "up", "--endpoints", str(count), "--config", str(self.config)]
        self.lab = subprocess.Popen(
            [*command, "--ready-file", str(ready), "--faults", str(plan)], stdout=subprocess.DEVNULL
        )
        until = time.monotonic() + 90
        while not ready.exists():
            assert self.lab.poll() is None, "the lab did not start"
            assert time.monotonic() < until
            time.sleep(0.05)
        (self.config / "rules").mkdir()
        (self.config / "rules" / "at-once.yaml").write_text(AT_ONCE)
        self.data = self.config / "data"
        self.of_polls = OF_POLLS
        # Each end is told in the round that sees it.
        self.settings(lambda document: document.update(alerts={"resolve_after": 0}))
        if poll:
            self.settings(lambda document: document["poll"].update(poll))

    def settings(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change rmm.yaml; the line that lets the lab write it again goes with it."""
        path = self.config / "rmm.yaml"
        document = yaml.safe_load(path.read_text())
        change(document)
        path.write_text(yaml.safe_dump(document))

    def endpoints(self, change: Callable[[dict[str, str]], None]) -> None:
        """Change each row of endpoints.csv."""
        path = self.config / "endpoints.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            change(row)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "rmm", *arguments, "--config", str(self.config)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def poll(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> dict[str, Any]:
        """One round; its exit code, output and error output."""
        process = self.start("poll", *arguments, env={**os.environ, **(env or {})}, **options)
        return self.ended(process)

    def ended(self, process: subprocess.Popen[str], seconds: float = 120) -> dict[str, Any]:
        out, err = process.communicate(timeout=seconds)
        assert "Traceback" not in err, err
        return {"code": process.returncode, "out": out, "err": err}

    def alerts(self) -> list[str]:
        """Rules of the alerts that fire because of what became of polls; those on readings are another matter."""
        found = FleetFile(self.data).alerts(states=("firing",))
        return sorted(alert["rule"] for alert in found if not alert["endpoint"] or alert["rule"] in self.of_polls)

    def told(self) -> list[str]:
        """`kind rule` of all that the log channel was given, in order, readings' alerts left out."""
        path = self.data / "notifications.log"
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [
            f"{one['kind']} {alert['rule']}"
            for one in lines
            for alert in one["alerts"]
            if not alert["endpoint"] or alert["rule"] in self.of_polls
        ]

    def statuses(self) -> dict[str, int]:
        shown: dict[str, int] = {}
        for row in FleetFile(self.data).endpoints():
            shown[row["status"]] = shown.get(row["status"], 0) + 1
        return shown

    def stop(self) -> None:
        self.lab.terminate()
        try:
            self.lab.wait(10)
        except subprocess.TimeoutExpired:
            self.lab.kill()
            self.lab.wait()


OF_POLLS = frozenset(
    {
        "endpoint_unreachable", "logon_rejected", "access_denied", "protocol_error", "certificate_refused",
        "identity_mismatch",
    }
)  # fmt: skip


def dead_port() -> int:
    """A UDP port on which nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
