"""The normaliser: formulas, rates over resets and reboots, and whatever a hostile endpoint may send."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.normalize import MAX_ROWS, Normalizer
from rmm.errors import OutputError
from rmm.model.collector import Field, Manifest, Source
from rmm.model.observation import CollectorResult

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
BASE = 133_000_000_000_000_000


def manifest(fields: dict[str, Field], **more: Any) -> Manifest:
    sources = {"a": Source(wql="SELECT Name FROM X"), "b": Source(), "c": Source(optional=True), "utc": Source()}
    values: dict[str, Any] = {"rows": "a", "sources": sources, **more}
    return Manifest(
        name="x", title="X", schema=1, interval=60, timeout=5, cost="C1", owner="t", fields=fields, **values
    )


def one(field: Field, row: dict[str, Any], **lists: Any) -> tuple[Any, str]:
    result = Normalizer(manifest({"f": field})).read({"a": [row], **lists}, counters=None, observed_at=AT)
    return result.readings[0]["f"], result.notes.get("f", "")


@pytest.mark.parametrize(
    ("kind", "given_value", "expected"),
    [
        ("int", 5, 5), ("int", "5", 5), ("int", "-5", -5), ("int", 5.0, 5), ("int", 18446744073709551615, 2**64 - 1),
        ("int", None, None), ("float", "1.5e3", 1500.0), ("float", 3, 3.0), ("bool", "True", True), ("bool", 0, False),
        ("text", "  x ", "x"), ("text", "", None), ("text", 7, "7"),
        ("text", "a\x07b\u202ec\ud800", "a\ufffdb\ufffdc\ufffd"),
        ("text", "a\tb\r\nc", "a b  c"), ("text", "Größe\u00a0⚙", "Größe\u00a0⚙"), ("text", "x" * 9000, "x" * 4096),
        ("time", "2026-11-20T10:00:00.1234567Z", "2026-11-20T10:00:00Z"),
        ("time", "2026-11-20T11:00:00+01:00", "2026-11-20T10:00:00Z"),
        ("time", "20261120110000.500000+060", "2026-11-20T10:00:00Z"), ("time", "20240229", "2024-02-29T00:00:00Z"),
    ],
)  # fmt: skip
def test_values_are_taken_as_what_they_plainly_are(kind: str, given_value: Any, expected: Any) -> None:
    value, note = one(Field(type=kind, prop="P"), {"P": given_value})
    assert (value, note) == (expected, "")
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("int", True), ("int", "5.5"), ("int", "1_000"), ("int", " 5"), ("int", "٣"), ("int", 2**64),
        ("int", -(2**63) - 1),
        ("int", 1e300), ("int", [1]), ("int", "9" * 500), ("float", "nan"), ("float", "inf"), ("float", math.nan),
        ("float", math.inf), ("float", "1" * 5000), ("float", True), ("float", "1e999"), ("bool", 2), ("bool", "yes"),
        ("text", 1.5), ("text", True), ("text", ["a"]), ("text", {"a": 1}), ("time", "yesterday"), ("time", 12),
        ("time", "2026-11-20T10:00:00"), ("time", "20261399"), ("time", "0001-01-01T00:00:00+14:00"),
    ],
)  # fmt: skip
def test_anything_else_is_invalid_and_costs_only_itself(kind: str, bad: Any) -> None:
    assert one(Field(type=kind, prop="P"), {"P": bad}) == (None, "invalid")


@pytest.mark.parametrize(
    ("field", "row", "expected"),
    [
        (Field(type="int", prop="P", formula="scale", args={"by": 1024}), {"P": "3"}, 3072),
        (Field(type="float", prop="P", formula="scale", args={"by": 0.5}), {"P": 3}, 1.5),
        (Field(type="text", prop="P", formula="map", args={"values": {9: "x64"}}), {"P": "9"}, "x64"),
        (Field(type="text", prop="P", formula="map", args={"values": {9: "x64"}}), {"P": [9, 1]}, "x64"),
        (Field(type="text", prop="P", formula="map", args={"values": {9: "x"}, "default": "other"}), {"P": 8}, "other"),
        (Field(type="bool", prop="P", formula="equals", args={"values": ["Auto"]}), {"P": "auto"}, True),
        (Field(type="text", prop="P", formula="trim", args={"end": "\\"}), {"P": "C:\\"}, "C:"),
        (Field(type="text", formula="first_of", args={"props": ["A", "B"]}), {"A": "", "B": "b"}, "b"),
        (Field(type="float", formula="percent", args={"part": "A", "whole": "B"}), {"A": 1, "B": 4}, 25.0),
        (Field(type="float", formula="percent", args={"part": "A", "whole": "B"}), {"A": 1, "B": 0}, None),
        (Field(type="float", formula="used_pct", args={"total": "A", "free": "B"}), {"A": 4, "B": 1}, 75.0),
        (Field(type="float", formula="used_pct", args={"total": "A", "free": "B"}), {"A": 4, "B": None}, None),
        (Field(type="float", formula="used_pct", args={"total": "A", "free": "B"}), {"A": 4, "B": 9}, 0.0),
        (Field(type="time", prop="P", formula="day"), {"P": "2/14/2023"}, None),
        (Field(type="time", prop="P", formula="day"), {"P": 20240102}, "2024-01-02T00:00:00Z"),
    ],
)  # fmt: skip
def test_formulas_of_one_instance(field: Field, row: dict[str, Any], expected: Any) -> None:
    assert one(field, row) == (expected, "")


def test_formulas_over_other_sources() -> None:
    some = [{"N": 1, "V": 10, "W": 40}, {"N": "2", "V": 30, "W": 40}]
    assert one(Field(type="int", source="b", prop="V", formula="sum"), {}, b=some) == (40, "")
    assert one(Field(type="int", source="b", formula="count"), {}, b=some) == (2, "")
    args = {"part": "V", "whole": "W"}
    assert one(Field(type="float", source="b", formula="percent_of_sums", args=args), {}, b=some) == (50.0, "")
    assert one(Field(type="bool", source="b", formula="exists"), {}, b=some) == (True, "")
    assert one(Field(type="bool", source="c", formula="exists"), {}, c=[]) == (False, "")
    assert one(Field(type="bool", source="b", formula="present", args={"props": ["V"]}), {}, b=some) == (True, "")
    assert one(Field(type="bool", source="b", formula="present", args={"props": ["Z"]}), {}, b=some) == (False, "")
    assert (
        one(Field(type="bool", source="b", formula="present", args={"props": ["L"]}), {}, b=[{"L": [""]}])[0] is False
    )
    differs = Field(type="bool", source="b", prop="V", formula="differs", args={"from": "c", "prop": "V"})
    assert one(differs, {}, b=[{"V": "A"}], c=[{"V": "a"}]) == (False, "")
    assert one(differs, {}, b=[{"V": "A"}], c=[]) == (None, "unsupported")


def test_a_value_that_is_not_there_says_why() -> None:
    field = Field(type="int", source="b", prop="V")
    assert one(field, {}) == (None, "unknown")
    assert one(msgspec.structs.replace(field, source="c"), {}, c=[]) == (None, "unsupported")
    denied = [{"Source": "b", "Reason": "access_denied"}, {"Source": 5, "Reason": []}, "x"]
    assert one(field, {}, notes=denied) == (None, "access_denied")
    assert one(Field(type="bool", source="b", formula="exists"), {}, notes=denied) == (None, "access_denied")
    assert one(Field(type="int", prop="V", nullable=False), {}) == (None, "unknown")


def test_fields_of_fields() -> None:
    fields = {
        "a": Field(type="bool", kind="bool", prop="A"),
        "b": Field(type="bool", kind="bool", prop="B"),
        "any": Field(type="bool", kind="bool", formula="any_of", args={"fields": ["a", "b"]}),
        "names": Field(type="text", kind="text", formula="names_of", args={"fields": ["a", "b"]}),
    }
    read = Normalizer(manifest(fields)).read
    rows = [
        read({"a": [{"A": a, "B": b}]}, counters=None, observed_at=AT).readings[0]
        for a, b in ((True, True), (False, False), (None, True), (None, False))
    ]
    assert [(row["any"], row["names"]) for row in rows] == [(True, "a, b"), (False, None), (True, "b"), (None, None)]


def test_the_clock_of_the_endpoint() -> None:
    utc = [{"Year": 2026, "Month": 11, "Day": 20, "Hour": "10", "Minute": 1, "Second": 30}]
    assert one(Field(type="float", source="utc", formula="clock_skew"), {}, utc=utc) == (90.0, "")
    age = Field(type="int", prop="P", formula="age", args={"clock": "utc"})
    assert one(age, {"P": "2026-11-20T10:00:00Z"}, utc=utc) == (90, "")
    assert one(age, {"P": "2026-11-20T10:00:00Z"}, utc=[{**utc[0], "Month": 13}]) == (None, "invalid")
    assert one(age, {"P": "2026-11-20T10:00:00Z"}, utc=[{"Year": 1}]) == (None, "unknown")


def test_rows_are_chosen_named_once_and_bounded() -> None:
    fields = {"id": Field(type="text", kind="text", prop="N"), "v": Field(type="int", prop="V")}
    read = Normalizer(manifest(fields, key=("id",), where={"V": ["1", 2]}, exclude={"N": ["x*"]})).read
    rows = [("a", 1), ("A", 2), ("a", "2"), ("xyz", 1), ("b", 3), (None, 1), ("", 1), ("c", None)]
    document = {"a": [{"N": n, "V": v} for n, v in rows], "unknown": 5}
    found = read(document, counters=None, observed_at=AT).readings
    assert found == ({"id": "a", "v": 1}, {"id": "A", "v": 2}), "the first of equal names stays"
    many = {"a": [{"N": f"n{i}", "V": 1} for i in range(MAX_ROWS + 10)]}
    result = read(many, counters=None, observed_at=AT)
    assert len(result.readings) == MAX_ROWS
    assert (result.outcome, result.notes) == ("partial", {"rows": "invalid"})


@pytest.mark.parametrize("document", [{}, {"a": {}}, {"a": None}, {"a": "x"}])
def test_a_document_of_another_shape_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(OutputError):
        Normalizer(manifest({"f": Field(type="int", prop="P")})).read(document, counters=None, observed_at=AT)


RATES = {
    "per_s": Field(type="float", prop="C", formula="per_second"),
    "wrap_s": Field(type="float", prop="W", formula="per_second", args={"wraps": 32}),
    "busy": Field(type="float", prop="I", formula="percent_of_time", args={"inverse": True}),
    "share": Field(type="float", prop="I", formula="percent_of_time"),
    "idle": Field(type="float", prop="I", formula="percent_of_base", args={"base": "IB"}),
    "level": Field(type="float", prop="Q", formula="average_level"),
    "duration": Field(type="float", prop="D", formula="average_duration", args={"base": "DB", "wraps": 32}),
    "wait": Field(type="float", prop="Q", formula="average_wait", args={"base": "DB"}),
    "util": Field(type="float", formula="rate_pct", args={"props": ["C", "W"], "whole": "B", "times": 8, "wraps": 32}),
}
CLOCKS = {"Timestamp_Sys100NS": BASE, "Timestamp_PerfTime": 1000, "Frequency_PerfTime": 10_000_000}
FIRST = {**CLOCKS, "C": 100, "W": 2**32 - 50, "I": 10, "IB": 10, "Q": 0, "D": 0, "DB": 5, "B": 16_000}
SECOND = {
    "Timestamp_Sys100NS": BASE + 100_000_000, "Timestamp_PerfTime": 100_001_000, "Frequency_PerfTime": 10_000_000,
    "C": 1100, "W": 50, "I": 25_000_010, "IB": 50_000_010, "Q": 300_000_000, "D": 40_000_000, "DB": 105, "B": 16_000,
}  # fmt: skip


def two(first: dict[str, Any], second: dict[str, Any]) -> CollectorResult:
    normalizer = Normalizer(manifest(RATES))
    kept = normalizer.read({"a": [first]}, counters=None, observed_at=AT).counters
    # Through JSON, as the hot tier keeps it.
    kept = msgspec.json.decode(msgspec.json.encode(kept))
    return normalizer.read({"a": [second]}, counters=kept, observed_at=AT + timedelta(seconds=10))


def test_rates_by_the_definitions_of_the_counter_types() -> None:
    result = two(FIRST, SECOND)
    assert result.notes == {}
    assert result.readings[0] == {
        "per_s": 100.0, "wrap_s": 10.0, "busy": 75.0, "share": 25.0, "idle": 50.0, "level": 3.0, "duration": 0.04,
        "wait": 0.3, "util": 5.0,
    }  # fmt: skip


def test_a_counter_that_went_back_has_no_rate_and_the_others_have() -> None:
    result = two(FIRST, {**SECOND, "C": 99})
    assert result.readings[0]["per_s"] is None
    assert result.notes == {"per_s": "no_data_yet"}
    assert result.readings[0]["share"] == 25.0
    # Wider than the width in which it would wrap: then it did not wrap.
    assert two({**FIRST, "W": 2**33}, {**SECOND, "W": 5}).readings[0]["wrap_s"] is None


@pytest.mark.parametrize(
    "changed",
    [
        {"Timestamp_PerfTime": 500},  # rebooted: ticks start again
        {"Timestamp_PerfTime": 20_001_000},  # rebooted, and up for longer than before
        {"Timestamp_Sys100NS": BASE - 1},  # its clock was set back
        {"Timestamp_Sys100NS": BASE + 36_000_000_000},  # or far forward
        {"Timestamp_Sys100NS": BASE, "Timestamp_PerfTime": 1000},  # the same sample again
        {"Frequency_PerfTime": 0}, {"Frequency_PerfTime": -5}, {"Frequency_PerfTime": 3}, {"Timestamp_PerfTime": None},
        {"Timestamp_Sys100NS": "x"},
    ],
)  # fmt: skip
def test_nothing_is_said_across_a_reboot_or_a_broken_clock(changed: dict[str, Any]) -> None:
    result = two(FIRST, {**SECOND, **changed})
    assert {value for name, value in result.readings[0].items()} == {None}
    assert set(result.notes.values()) == {"no_data_yet"}
    assert result.outcome == "ok"


@pytest.mark.parametrize(
    "counters",
    [{}, {"layout": "other"}, {"layout": None}, {"layout": "?", "a": 5}, {"layout": "?", "a": {"": "x"}},
     {"layout": "?", "a": {"": [1]}}, {"layout": "?", "a": {"": [None] * 10}}, {"layout": "?", "a": {"": ["1"] * 10}}],
)  # fmt: skip
def test_counters_of_another_shape_are_as_none(counters: dict[str, Any]) -> None:
    normalizer = Normalizer(manifest(RATES))
    layout = normalizer.read({"a": [FIRST]}, counters=None, observed_at=AT).counters["layout"]
    counters = {key: layout if value == "?" else value for key, value in counters.items()}
    result = normalizer.read({"a": [SECOND]}, counters=counters, observed_at=AT)
    assert set(result.notes.values()) == {"no_data_yet"}


def test_a_counter_that_is_negative_says_nothing() -> None:
    result = two({**FIRST, "W": 0}, {**SECOND, "W": -(2**32) - 1})
    assert result.readings[0]["wrap_s"] is None


def test_counters_of_another_manifest_are_not_compared() -> None:
    normalizer = Normalizer(manifest(RATES))
    kept = normalizer.read({"a": [FIRST]}, counters=None, observed_at=AT).counters
    result = normalizer.read({"a": [SECOND]}, counters={**kept, "layout": "00000000"}, observed_at=AT)
    assert set(result.notes.values()) == {"no_data_yet"}


numbers = st.one_of(
    st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.none(), st.booleans(), st.just([1])
)


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({key: numbers for key in FIRST}), st.fixed_dictionaries({key: numbers for key in FIRST}))
def test_no_input_gives_a_negative_or_infinite_rate(first: dict[str, Any], second: dict[str, Any]) -> None:
    sound = {key: SECOND[key] for key in CLOCKS}
    for pair in ((first, second), ({**first, **CLOCKS}, {**second, **sound})):
        for value in two(*pair).readings[0].values():
            assert value is None or (0 <= value < math.inf)


values = st.recursive(numbers, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))
props = st.sampled_from(
    ["Name", "Capacity", "FreeSpace", "PercentProcessorTime", "KeyName", "Year", "CSName", "Source"]
)
rows = st.lists(st.dictionaries(props, values, max_size=5) | values, max_size=4)


@settings(max_examples=150, deadline=None)
@given(document=st.data())
def test_no_document_breaks_a_shipped_collector(document: st.DataObject, catalog: dict[str, Any]) -> None:
    collector = document.draw(st.sampled_from(sorted(catalog)))
    shape = catalog[collector].manifest
    raw = document.draw(st.fixed_dictionaries({name: rows for name in [*shape.sources, "notes"]}))
    result = Normalizer(shape).read(raw, counters=raw, observed_at=AT)
    msgspec.json.encode(result)
    for row in result.readings:
        assert set(row) == set(shape.fields)


def test_a_thousand_services_cost_little(catalog: dict[str, Any]) -> None:
    """About 4 ms of processor time; the bound leaves room for slow machines, not for a slow design."""
    service = {"DisplayName": "x", "State": "Running", "StartMode": "Auto", "DelayedAutoStart": False, "ProcessId": 4}
    document = {"service": [{"Name": f"s{n}", **service} for n in range(1000)], "triggers": [{"KeyName": "s7"}]}
    normalizer = Normalizer(catalog["services"].manifest)
    best = math.inf
    for _ in range(5):
        began = time.process_time()
        result = normalizer.read(document, counters=None, observed_at=AT)
        best = min(best, time.process_time() - began)
    assert len(result.readings) == 1000
    assert [row["service"] for row in result.readings if row["trigger_start"]] == ["s7"]
    assert best < 0.04
