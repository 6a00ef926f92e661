"""The collectors of security: their formulas, which rules each sample raises, and what no document may hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.check import check_script
from rmm.catalog.golden import result_of
from rmm.core.alerting.lifecycle import evaluate
from rmm.core.normalize import Normalizer
from rmm.core.rules import compile_rules
from rmm.lab.windows.state import state_of_sample
from rmm.model.collector import Collector, Field, Manifest, Source
from rmm.model.observation import Observation
from rmm.model.rule import EVENTS, Alert
from tests.collectors.conftest import Sample
from tests.collectors.executor import Executor, Job

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
NAMES = (
    "defender", "antivirus", "firewall", "bitlocker", "platform_security", "hardening", "local_admins", "accounts",
    "policy",
)  # fmt: skip
SECRET = "must-never-be-read"


def one(field: Field, row: dict[str, Any] | None, *, notes: Any = (), optional: bool = True) -> tuple[Any, str]:
    """The field's value and note, of a document whose source `a` has `row` (or nothing), and whose rows are `b`."""
    manifest = Manifest(
        name="x", title="X", schema=1, interval=60, timeout=5, cost="C1", owner="t", rows="b",
        sources={"a": Source(optional=optional), "b": Source()},
        fields={"yes": Field(type="bool", prop="Yes"), "no": Field(type="bool", prop="No"),
                "none": Field(type="bool", prop="None"), "f": field},
    )  # fmt: skip
    document = {"a": [] if row is None else [row], "b": [{"Yes": True, "No": False}], "notes": list(notes)}
    result = Normalizer(manifest).read(document, counters=None, observed_at=AT)
    return result.readings[0]["f"], result.notes.get("f", "")


def some(**args: Any) -> Field:
    return Field(type="bool", source="a", prop="P", formula="some", args=args)


@pytest.mark.parametrize(
    ("state", "on", "current"),
    [
        (397568, True, True), (397584, True, False), (393472, False, False), (266240, True, True),
        (262144, False, False), (0x2000, False, False), (0x3010, False, False), ("397568", True, True),
    ],
)  # fmt: skip
def test_the_bits_of_a_product_state(state: Any, on: bool, current: bool) -> None:
    assert one(some(mask=0xF000, values=[0x1000]), {"P": state}) == (on, "")
    assert one(some(mask=0xF0F0, values=[0x1000]), {"P": state}) == (current, "")
    bits = Field(type="bool", source="a", prop="P", formula="bits", args={"mask": 0xF000, "values": [0x1000]})
    assert one(bits, {"P": state}) == (on, "")


def test_of_no_instance_something_is_said_only_where_the_manifest_says_what() -> None:
    assert one(some(values=[1]), None) == (None, "unsupported")
    assert one(some(values=[1], absent=False), None) == (False, "")
    denied = [{"Source": "a", "Reason": "access_denied"}]
    assert one(some(values=[1], absent=False), None, notes=denied) == (None, "access_denied")
    assert one(some(values=[1], where={"N": "X"}), {"N": "x", "P": 1}) == (True, "")
    assert one(some(values=[1], where={"N": "X"}), {"N": "y", "P": 1}) == (False, "")


def test_a_source_that_could_not_be_had_is_not_counted_as_nothing() -> None:
    count = Field(type="int", source="a", formula="count")
    assert one(count, None) == (0, "")
    assert one(count, None, notes=[{"Source": "a", "Reason": "unsupported"}]) == (None, "unsupported")


@pytest.mark.parametrize(
    ("formula", "args", "kind", "given", "expected"),
    [
        ("contains", {"values": [2]}, "bool", [1, 2], True), ("contains", {"values": [2]}, "bool", 2, True),
        ("contains", {"values": [2]}, "bool", "2", True), ("contains", {"values": [2]}, "bool", [12], False),
        ("contains", {"values": [2]}, "bool", [], False), ("contains", {"values": [2]}, "bool", None, None),
        ("each", {"values": {1: "a", 2: "b"}}, "text", [2, 1, 7], "b, a, 7"),
        ("each", {"values": {1: "a"}}, "text", 1, "a"), ("each", {"values": {1: "a"}}, "text", None, None),
        ("map", {"values": {0: False}, "absent": True}, "bool", None, True),
        ("map", {"values": {0: False}, "absent": True}, "bool", 0, False),
        ("map", {"values": {65535: None}}, "int", 65535, None),
        ("after", {"mark": "-"}, "int", "S-1-5-21-1-2-3-500", 500), ("after", {"mark": "-"}, "text", "none", None),
    ],
)  # fmt: skip
def test_formulas_of_one_value(formula: str, args: dict[str, Any], kind: str, given: Any, expected: Any) -> None:
    value, note = one(Field(type=kind, source="a", prop="P", formula=formula, args=args), {"P": given})
    assert (value, note) == (expected, "")


@pytest.mark.parametrize(
    ("formula", "fields", "expected"),
    [
        ("all_of", ["yes"], (True, "")), ("all_of", ["yes", "no", "none"], (False, "")),
        ("all_of", ["yes", "none"], (None, "unknown")), ("first_known", ["none", "no", "yes"], (False, "")),
        ("first_known", ["none"], (None, "")),
    ],
)  # fmt: skip
def test_formulas_of_earlier_fields(formula: str, fields: list[str], expected: tuple[Any, str]) -> None:
    assert one(Field(type="bool", formula=formula, args={"fields": fields}), {}) == expected


# What an administrator is told of each sample, whatever the time that a rule waits.
RAISED = {
    "accounts/server2016-degraded": {"guest_enabled", "password_not_required"},
    "antivirus/windows10-degraded": {"antivirus_outdated"},
    "antivirus/windows11-empty": {"antivirus_none"},
    "bitlocker/windows10-degraded": {"bitlocker_suspended", "bitlocker_decrypting"},
    "defender/server2016-degraded": {"defender_real_time_off", "defender_signatures_old", "defender_threat_active"},
    "firewall/server2016-degraded": {"firewall_off", "firewall_inbound_open"},
    "firewall/windows10-german": {"firewall_off"},
    "hardening/server2016-degraded": {
        "uac_off", "smb1_on", "wdigest_on", "autologon_password_stored", "rdp_without_nla", "ntlm_level_low",
        "lm_hash_stored",
    },
    "platform_security/server2016-degraded": {"secure_boot_certificates", "secure_boot_certificates_failed"},
    "platform_security/windows11-typical": {"secure_boot_certificates"},
}  # fmt: skip


def test_the_rules_are_raised_by_what_they_are_about_and_by_nothing_else(samples: list[Sample]) -> None:
    raised: dict[str, set[str]] = {}
    for sample in samples:
        if sample.collector.name not in NAMES:
            continue
        rules = [rule for rule in sample.collector.manifest.rules if rule.op not in EVENTS]
        compiled = compile_rules(rules).get(sample.collector.name, [])
        rows = result_of(sample.collector.manifest, sample.content).readings
        matching = [(c, row) for c in compiled for row in rows if c.matches(row)]
        found = {c.rule.id for c, row in matching if c.severity(row, "") in ("warning", "critical")}
        if found:
            raised[f"{sample.collector.name}/{sample.case}"] = found
    assert raised == RAISED


def sample_of(samples: list[Sample], name: str, case: str) -> Sample:
    return next(s for s in samples if (s.collector.name, s.case) == (name, case))


def run(executor: Executor, sample: Sample, *, mode: str = "FullLanguage", edit: Callable[[str], str] = str) -> str:
    state = state_of_sample(sample.collector, sample.content, sample.case)
    (result,) = executor.run(state, [Job(edit(sample.collector.windows), mode, "de-DE")])
    assert result.error is None, result.error
    return result.output[-1]


def test_a_stored_password_is_seen_and_not_read(executor: Executor, samples: list[Sample]) -> None:
    sample = sample_of(samples, "hardening", "server2016-degraded")
    assert SECRET in json.dumps(sample.content["state"])
    written = run(executor, sample)
    assert '"PasswordStored":true' in written
    assert SECRET not in written
    careless = sample.collector.windows.replace("PasswordStored = (", "Password = $found; PasswordStored = (").replace(
        "$mode = $null\n", "$mode = $null\n    $found = (Get-ItemProperty -LiteralPath $key).DefaultPassword\n"
    )
    assert SECRET in run(executor, sample, edit=lambda _: careless)  # the test would see it


def test_members_are_listed_where_the_directory_interface_is_forbidden(
    executor: Executor, samples: list[Sample]
) -> None:
    sample = sample_of(samples, "local_admins", "server2022-typical")
    rows = json.loads(run(executor, sample, mode="ConstrainedLanguage"))["member"]
    expected = [{**row, "Class": None} for row in sample.content["document"]["member"]]
    assert rows == expected


def test_one_orphan_costs_the_plain_way_everything_and_is_told(executor: Executor, samples: list[Sample]) -> None:
    sample = sample_of(samples, "local_admins", "server2016-degraded")
    document = json.loads(run(executor, sample, mode="ConstrainedLanguage"))
    assert document["member"] == []
    assert document["notes"] == [{"Source": "member", "Reason": "unknown"}]
    assert result_of(sample.collector.manifest, {**sample.content, "document": document}).notes["rows"] == "unknown"


def test_an_old_platform_of_defender_is_asked_for_less(executor: Executor, samples: list[Sample]) -> None:
    sample = sample_of(samples, "defender", "server2022-typical")
    written = run(executor, sample, edit=lambda text: text.replace("AMRunningMode, AMProduct", "Newer, AMProduct", 1))
    (row,) = json.loads(written)["status"]
    expected = {**sample.content["document"]["status"][0], "AMRunningMode": None, "IsTamperProtected": None}
    assert row == expected
    assert json.loads(written)["notes"] == []


@pytest.mark.parametrize(
    ("method", "refused"), [("GetKeyProtectors", False), ("GetKeyProtectorNumericalPassword", True), ("Lock", True)]
)
def test_of_a_volume_only_what_is_no_secret_may_be_asked(method: str, refused: bool) -> None:
    query = "Get-CimInstance -Query 'SELECT DeviceID FROM Win32_Volume'"
    script = f"$v = {query}\n$a = Invoke-CimMethod -InputObject $v -MethodName {method}\n"
    script += "ConvertTo-Json -InputObject @{ a = @($a) } -Compress -Depth 4\n"
    assert any(finding.rule == "acts" for finding in check_script(script, "x.ps1")) is refused


def test_no_sample_and_no_reading_holds_a_secret(catalog: dict[str, Collector]) -> None:
    for name in NAMES:
        for path in sorted(Path(catalog[name].folder, "samples").glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            content.pop("state", None)
            assert SECRET not in json.dumps(content), path


@pytest.mark.parametrize(
    ("reason", "stays"), [("access_denied", True), ("unknown", True), ("unsupported", False), ("", False)]
)
def test_an_alert_outlives_a_reading_whose_rows_could_not_be_had(
    catalog: dict[str, Collector], samples: list[Sample], reason: str, stays: bool
) -> None:
    manifest = catalog["bitlocker"].manifest
    rules = compile_rules(manifest.rules)
    live: dict[str, Alert] = {}

    def poll(document: dict[str, Any], day: int) -> None:
        result = Normalizer(manifest).read(document, counters=None, observed_at=AT)
        observation = Observation(
            endpoint="e", name="E", site="hq", shard=0, observed_at=AT + timedelta(days=day), duration_s=0.1,
            status="OK", fault=None, collectors={"bitlocker": result}, epoch="a", seq=day,
        )  # fmt: skip
        for change in evaluate(observation, live, rules, {"bitlocker": manifest.key}):
            if change.dropped or change.alert.state == "resolved":
                del live[change.alert.key]
            else:
                live[change.alert.key] = change.alert

    poll(sample_of(samples, "bitlocker", "windows10-degraded").content["document"], 1)
    assert set(live) == {"bitlocker_suspended|e|C:", "bitlocker_decrypting|e|D:"}
    poll({"volume": [], "notes": [{"Source": "volume", "Reason": reason}] if reason else []}, 2)
    assert len(live) == (2 if stays else 0)


def test_rows_that_are_not_all_there_are_noted(samples: list[Sample]) -> None:
    sample = sample_of(samples, "local_admins", "server2016-degraded")
    result = result_of(sample.collector.manifest, sample.content)
    assert (result.outcome, result.notes["rows"], len(result.readings)) == ("partial", "unknown", 7)
