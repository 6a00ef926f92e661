"""Replays a collector's golden samples for what cannot be derived from a machine's state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from rmm.lab.simulated import LabMachine
from rmm.model.collector import Collector

MAX_KEPT = 256
# Properties that say whose a document is.
_NAMES = frozenset({"CSName", "SystemName", "PSComputerName", "ComputerName", "MachineName", "HostName", "Hostname"})


class SampleStore:
    """Typical raw documents by collector and operating system; read once, at most `MAX_KEPT` kept."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], dict[str, Any]] = {}

    def document(self, collector: Collector, machine: LabMachine, prefix: str = "") -> dict[str, Any]:
        """The typical document of the nearest system, or of files that begin with `prefix`, as this machine's own."""
        wanted = prefix or machine.os.name
        key = (collector.folder, wanted)
        found = self._kept.get(key)
        if found is None:
            found = _read(_nearest(Path(collector.folder) / "samples", wanted, machine.os.kind))
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = found
        return {name: _owned(rows, machine) for name, rows in found.items()}


def _nearest(folder: Path, wanted: str, kind: str) -> Path | None:
    # The shorter name first: server2022-typical before server2022-dc-typical.
    files = sorted(folder.glob("*.raw.json"), key=lambda file: (len(file.name), file.name))
    family = ("server",) if kind == "server" else ("windows", "win")
    candidates: Sequence[tuple[str, ...]] = (
        ((wanted,), family, ("",)) if not wanted.startswith("linux") else ((wanted,), ("linux",))
    )
    if not wanted.startswith("linux"):
        files = [file for file in files if not file.name.startswith("linux")]
    fitting = [file for starts in candidates for file in files if file.name.startswith(starts)]
    # Another system's ordinary day rather than this one's bad one.
    return next((file for file in fitting if "typical" in file.name), next(iter(fitting), None))


def _read(file: Path | None) -> dict[str, Any]:
    """A raw document, bare or as the `document` of a part; empty without a sample."""
    if file is None:
        return {}
    content = msgspec.json.decode(file.read_bytes())
    inner = content.get("document") if isinstance(content, dict) else None
    document = inner if isinstance(inner, dict) else content
    return document if isinstance(document, dict) else {}


def _owned(rows: Any, machine: LabMachine) -> Any:
    if not isinstance(rows, list):
        return rows
    return [_mine(row, machine) if isinstance(row, dict) else row for row in rows]


def _mine(row: dict[str, Any], machine: LabMachine) -> dict[str, Any]:
    own = {name: machine.name for name in row if name in _NAMES and row[name] is not None}
    if "UUID" in row:
        own["UUID"] = machine.uuid
    return {**row, **own}


@lru_cache(maxsize=MAX_KEPT)
def previous_of(folder: str, system: str, kind: str) -> dict[str, Any]:
    """The document of the poll before, of the sample that a machine of this system is given; empty without one."""
    file = _nearest(Path(folder) / "samples", system, kind)
    content = msgspec.json.decode(file.read_bytes()) if file is not None else None
    before = content.get("previous") if isinstance(content, dict) else None
    return dict(before["document"]) if isinstance(before, dict) else {}
