"""The machine's clock is wrong. Option `by_s`: by how much it is ahead; a negative number: behind."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine

_UNITS = ("Year", "Month", "Day", "Hour", "Minute", "Second")


class Clock(Fault):
    def __init__(self, by: timedelta) -> None:
        self._by = by

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        return execution._replace(output=[system_part(item, self._moved) for item in execution.output])

    def _moved(self, row: dict[str, Any]) -> None:
        if "LastBootUpTime" in row:
            row["LastBootUpTime"] = (datetime.fromisoformat(row["LastBootUpTime"]) + self._by).isoformat()
        if set(_UNITS) <= row.keys():
            year, month, day, hour, minute, second = (int(row[unit]) for unit in _UNITS)
            moved = datetime(year, month, day, hour, minute, second, tzinfo=UTC) + self._by
            row.update({unit: getattr(moved, unit.lower()) for unit in _UNITS})


def system_part(item: Any, change: Any) -> Any:
    """A script's output with `change` applied to each row of the part of the collector `system`."""
    if not isinstance(item, str) or '"collector":"system"' not in item:
        return item
    part = json.loads(item)
    for rows in part.get("document", {}).values():
        for row in rows:
            change(row)
    return json.dumps(part, separators=(",", ":"))


def build(by_s: float) -> Clock:
    return Clock(timedelta(seconds=float(by_s)))
