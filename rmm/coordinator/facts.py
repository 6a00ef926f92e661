"""The few facts of an endpoint that lists and reports show, taken out of its readings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.core.identity import machine_sid
from rmm.model.observation import CollectorResult, Observation

# fact -> (collector, field) of one-row readings
_SINGLE = {
    "os": ("os", "caption"),
    "os_build": ("os", "build"),
    "product_type": ("os", "product_type"),
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
    _machine_sid(facts, _rows(parts.get("accounts")))
    if _rows(parts.get("software")):
        facts["software"] = len(_rows(parts["software"]))
    return facts


def uptime_of(observation: Observation) -> float | None:
    """For how many seconds the machine was up when this was read; None where it was not."""
    rows = _rows(observation.collectors.get("system"))
    value = rows[0].get("uptime_s") if rows else None
    return float(value) if isinstance(value, int | float) else None


def _machine_sid(facts: dict[str, Any], accounts: tuple[dict[str, Any], ...]) -> None:
    """The accounts of a domain controller are its domain's, and so is their SID: all of them have the same."""
    if facts.get("product_type") == "domain controller":
        facts.pop("machine_sid", None)
        return
    found = [sid for row in accounts if isinstance(text := row.get("sid"), str) and (sid := machine_sid(text))]
    if found:
        facts["machine_sid"] = found[0]


def _rows(result: CollectorResult | None) -> tuple[dict[str, Any], ...]:
    return result.readings if result is not None else ()


def _busiest(facts: dict[str, Any], name: str, values: list[Any]) -> None:
    numbers = [value for value in values if isinstance(value, int | float)]
    if numbers:
        facts[name] = max(numbers)
