"""What is wrong with a rule, by itself and for its collector; the same for manifests and configurations. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rmm.core.change import is_inventory
from rmm.core.health import QUARTERS
from rmm.model.collector import Manifest
from rmm.model.rule import EVENTS, Rule

ORDERED = (">", ">=", "<", "<=")
OPERATORS = (*ORDERED, "==", "!=", "in", *EVENTS)
ROWS = ("added", "removed")  # events of whole rows, which no field tells

Found = Iterator[tuple[str, str]]  # key, problem


def rule_problems(rule: Rule) -> Found:
    """Of any rule."""
    for key, allowed in (("op", OPERATORS), ("quarter", QUARTERS)):
        if getattr(rule, key) not in allowed:
            yield key, f"{getattr(rule, key)!r} is not one of {' '.join(allowed)}"
    if rule.warning is None and rule.critical is None:
        yield "id", f"{rule.id}: name a threshold, `warning` or `critical`"
    for key in ("warning", "critical"):
        yield from _threshold(rule, key)
    if rule.op in EVENTS and (rule.for_s or rule.hysteresis):
        yield "op", f"`op: {rule.op}` fires at once: no `for_s`, no `hysteresis`"
    for key in ("for_s", "hold_s", "hysteresis"):
        if getattr(rule, key) < 0:
            yield key, "cannot be negative"
    if not 0 <= rule.points <= 25:
        yield "points", "0 to 25 are allowed"


def _threshold(rule: Rule, key: str) -> Found:
    threshold = getattr(rule, key)
    if threshold is None:
        return
    if rule.op == "in" and not isinstance(threshold, list):
        yield key, "`op: in` compares with a list"
    if rule.op in ORDERED and not isinstance(threshold, int | float):
        yield key, f"`op: {rule.op}` compares with a number"
    if rule.op in EVENTS and threshold is not True:
        yield key, f"`op: {rule.op}` has no threshold: say `{key}: true`"


def misfits(rule: Rule, manifest: Manifest) -> Found:
    """Of a rule about the collector with this manifest."""
    if rule.op in EVENTS and not is_inventory(manifest):
        yield "op", f"changes are told of inventories only, and {manifest.name} is none: it has no unchanged_ttl"
    if rule.op in ROWS and not manifest.key:
        yield "op", f"rows come and go only where there is a `key`, and {manifest.name} has none"
    fields = () if rule.op in ROWS and not rule.field else (rule.field,)
    for section, names in (("field", fields), ("where", rule.where), ("unless", rule.unless)):
        for name in names:
            if name not in manifest.fields:
                known = ", ".join(sorted(manifest.fields))
                yield section, f"{manifest.name} has no {name!r}; it has {known}"
