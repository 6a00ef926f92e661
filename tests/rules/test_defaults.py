"""Every default threshold that the product promises is a shipped rule."""

from __future__ import annotations

from typing import Any

import pytest

from rmm.catalog.load import load_catalog
from rmm.core.query import schema_of
from rmm.core.rule_check import misfits, rule_problems, when_problems
from rmm.model.rule import Rule
from rmm.resources import shipped
from rmm.settings.rules import shipped_rules

CATALOG = load_catalog([shipped("collectors")])
RULES: dict[str, Rule] = {rule.id: rule for rule in shipped_rules()} | {
    rule.id: rule for one in CATALOG.values() for rule in one.manifest.rules
}
DAY = 86_400

# What the product says, in its order: the rule, and what it must have.
DEFAULTS: list[tuple[str, dict[str, Any]]] = [
    ("cpu_high", {"field": "util_pct", "warning": 80, "critical": 95, "for_s": 300}),
    ("memory_high", {"field": "used_pct", "warning": 80, "critical": 95, "for_s": 300}),
    ("volume_full", {"field": "used_pct", "warning": 80, "critical": 90}),
    ("volume_filling", {"measure": "forecast", "reach": 100, "op": "<", "warning": 24}),
    ("disk_queue", {"field": "queue", "warning": 10, "critical": 20}),
    ("disk_read_latency", {"warning": 0.02, "critical": 0.05}),
    ("disk_write_latency", {"warning": 0.02, "critical": 0.05}),
    ("network_busy", {"field": "util_pct", "warning": 80, "critical": 95, "for_s": 300}),
    ("service_stopped", {"where": {"start_mode": "Auto", "trigger_start": False}, "warning": "Stopped"}),
    ("event_errors", {"field": "last_hour", "over": "sum", "op": ">=", "warning": 10}),
    ("event_warnings", {"field": "last_hour", "over": "sum", "op": ">=", "warning": 50}),
    ("uptime_long", {"field": "uptime_s", "warning": 90 * DAY}),
    ("event_unexpected_shutdown", {"op": ">=", "warning": 1}),
    ("reboot_pending", {"field": "pending", "for_s": 7 * DAY}),
    ("security_update_missing", {"warning": 14, "critical": 30}),
    ("certificate_in_use_expires", {"op": "<", "warning": 30, "critical": 7}),
    ("stored_certificate_expires", {"op": "<", "warning": 30, "critical": 7}),
    ("backup_old", {"field": "age_h", "warning": 48, "critical": 72}),
    ("temperature_high", {"field": "temp_c", "warning": 70, "critical": 85}),
    ("response_slow", {"warning": 1000, "critical": 5000}),
    ("clock_ahead", {"field": "clock_skew_s", "warning": 60}),
    ("clock_behind", {"field": "clock_skew_s", "op": "<", "warning": -60}),
]


@pytest.mark.parametrize(("name", "wanted"), DEFAULTS, ids=[name for name, _ in DEFAULTS])
def test_defaults(name: str, wanted: dict[str, Any]) -> None:
    rule = RULES[name]
    assert {key: getattr(rule, key) for key in wanted} == wanted


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_shipped_rules_are_rules(rule: Rule) -> None:
    assert list(rule_problems(rule)) == []
    if rule.collector:
        assert list(misfits(rule, CATALOG[rule.collector].manifest)) == []
    if rule.when:
        assert list(when_problems(rule, schema_of(one.manifest for one in CATALOG.values()))) == []
