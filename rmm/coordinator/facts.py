"""The few facts of an endpoint that lists and reports show, taken out of its readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.model.observation import CollectorResult, Observation

# fact -> (collector, field) of one-row readings
_SINGLE = {
    "os": ("os", "caption"),
    "os_build": ("os", "build"),
    "domain": ("os", "domain"),
    "manufacturer": ("hardware", "manufacturer"),
    "model": ("hardware", "model"),
    "serial": ("hardware", "serial"),
    "uuid": ("hardware", "uuid"),
    "cpu_model": ("hardware", "cpu_model"),
    "cpu_cores": ("hardware", "cpu_cores"),
    "memory_b": ("hardware", "memory_b"),
    "memory_pct": ("memory", "used_pct"),
    "uptime_s": ("system", "uptime_s"),
    "pending_reboot": ("pending_reboot", "pending"),
}


def facts_of(observation: Observation, known: Mapping[str, Any]) -> dict[str, Any]:
    """`known` brought up to date by what this observation has."""
    facts = dict(known)
    parts = observation.collectors
    for fact, (collector, field) in _SINGLE.items():
        result = parts.get(collector)
        if result is not None and result.readings:
            value = result.readings[0].get(field)
            if value is not None:
                facts[fact] = value
    _busiest(facts, "cpu_pct", [row.get("util_pct") for row in _rows(parts.get("cpu")) if row.get("core") == "_Total"])
    _busiest(facts, "volumes_max_pct", [row.get("used_pct") for row in _rows(parts.get("volumes"))])
    if name := observation.identity.get("name"):
        facts["computer_name"] = name
    if machine := observation.identity.get("machine"):
        facts["installation"] = machine
    if _rows(parts.get("software")):
        facts["software"] = len(_rows(parts["software"]))
    return facts


def _rows(result: CollectorResult | None) -> tuple[dict[str, Any], ...]:
    return result.readings if result is not None else ()


def _busiest(facts: dict[str, Any], name: str, values: list[Any]) -> None:
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers:
        facts[name] = max(numbers)
