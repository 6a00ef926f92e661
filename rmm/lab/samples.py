"""Replays a collector's golden samples for what cannot be derived from a machine's state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from rmm.lab.fixtures import owned, traits_of
from rmm.lab.moved import age_of, moved
from rmm.lab.nearest import Traits, nearest_sample
from rmm.lab.simulated import LabMachine
from rmm.model.collector import Collector

MAX_KEPT = 256


class SampleStore:
    """Typical raw documents by collector and operating system; read once, at most `MAX_KEPT` kept."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str, Traits, float], dict[str, Any]] = {}

    def document(self, collector: Collector, machine: LabMachine, prefix: str = "") -> dict[str, Any]:
        """The typical document of the nearest system, or of files that begin with `prefix`, as this machine's own."""
        key = (collector.folder, prefix, traits_of(machine), machine.started)
        found = self._kept.get(key)
        if found is None:
            traits = traits_of(machine)._replace(system=prefix or machine.os.name)
            found = _read(nearest_sample(Path(collector.folder).glob("samples/*.raw.json"), traits), machine.started)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[key] = found
        return {name: _owned(rows, machine) for name, rows in found.items()}


def _read(file: Path | None, started: float) -> dict[str, Any]:
    """A raw document, bare or as the `document` of a part, its times moved to the lab's; empty without a sample."""
    if file is None:
        return {}
    content = msgspec.json.decode(file.read_bytes())
    if not isinstance(content, dict):
        return {}
    inner = content.get("document")
    document: dict[str, Any] = moved(inner if isinstance(inner, dict) else content, age_of(content, started))
    return document


def _owned(rows: Any, machine: LabMachine) -> Any:
    if not isinstance(rows, list):
        return rows
    return [owned(row, machine) if isinstance(row, dict) else row for row in rows]
