"""Fields about a matching instance, values that stand for none, the highest rows; formulas over lists and SDDL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.catalog.rules_of_manifests import manifest_problems
from rmm.core.coerce import Invalid
from rmm.core.normalize import Normalizer
from rmm.core.sddl import access
from rmm.core.top import highest
from rmm.model.collector import Field, Manifest, Source, Top
from rmm.model.observation import CollectorResult
from rmm.tiers.cold_sqlite.series import CollectorFields, fields_of

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
CLOCKS = "Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime"


def manifest(fields: dict[str, Field], **more: Any) -> Manifest:
    sources = {
        "a": Source(wql=f"SELECT Name, Id, N, {CLOCKS} FROM X"),
        "b": Source(wql="SELECT Id, V FROM Y", optional=True),
        "c": Source(),
    }
    values: dict[str, Any] = {"rows": "a", "sources": sources, **more}
    return Manifest(
        name="x", title="X", schema=1, interval=60, timeout=5, cost="C1", owner="t", fields=fields, **values
    )


def read(fields: dict[str, Field], document: dict[str, Any], **more: Any) -> CollectorResult:
    return Normalizer(manifest(fields, **more)).read(document, counters=None, observed_at=AT)


def one(field: Field, row: dict[str, Any], **lists: Any) -> tuple[Any, str]:
    result = read({"f": field}, {"a": [row], **lists})
    return result.readings[0]["f"], result.notes.get("f", "")


MATCHED = Field(type="int", source="b", prop="V", match={"Id": "Id"})


def test_a_field_is_about_the_instance_that_matches_its_row() -> None:
    rows = [{"Id": 1}, {"Id": "2"}, {"Id": 3}, {}]
    document = {"a": rows, "b": [{"Id": 2, "V": 20}, {"Id": "1", "V": 10}, {"Id": 2, "V": 99}]}
    result = read({"f": MATCHED}, document)
    assert [row["f"] for row in result.readings[:1]] == [10]
    keyed = read({"id": Field(type="text", prop="Id"), "f": MATCHED}, document, key=("id",))
    assert [(row["id"], row["f"]) for row in keyed.readings] == [("1", 10), ("2", 20), ("3", None)]
    assert keyed.notes == {}, "a row without its counterpart is no fault"


@pytest.mark.parametrize(("notes", "reason"), [([], "unsupported"), ([("b", "access_denied")], "access_denied")])
def test_without_the_other_source_the_reason_is_told(notes: list[tuple[str, str]], reason: str) -> None:
    told = [{"Source": source, "Reason": why} for source, why in notes]
    assert one(MATCHED, {"Id": 1}, b=[], notes=told) == (None, reason)


def test_every_formula_works_on_the_matching_instance() -> None:
    field = Field(type="text", source="b", prop="V", match={"Id": "Id"}, formula="map", args={"values": {7: "seven"}})
    assert one(field, {"Id": 1}, b=[{"Id": 0, "V": 0}, {"Id": 1, "V": 7}]) == ("seven", "")


@pytest.mark.parametrize(("value", "expected"), [(5, 5), (71582788, None), ("71582788", None), (None, None)])
def test_a_value_that_stands_for_none_is_none(value: Any, expected: Any) -> None:
    assert one(Field(type="int", prop="N", missing=(71582788,)), {"N": value}) == (expected, "")
    scaled = Field(type="int", prop="N", missing=(71582788,), formula="scale", args={"by": 60})
    assert one(scaled, {"N": value})[0] == (None if expected is None else expected * 60)
    matched = Field(type="int", source="b", prop="V", match={"Id": "Id"}, missing=(71582788,))
    assert one(matched, {"Id": 1}, b=[{"Id": 1, "V": value}]) == (expected, "")


def test_a_field_may_say_nothing_of_some_rows() -> None:
    fields = {"id": Field(type="text", prop="Id"), "f": Field(type="int", prop="N", unless={"Id": ["_total"]})}
    result = read(fields, {"a": [{"Id": "x", "N": 1}, {"Id": "_Total", "N": 2}]}, key=("id",))
    assert [row["f"] for row in result.readings] == [1, None]
    assert result.notes == {}


@pytest.mark.parametrize(
    ("reason", "outcome"), [("unsupported", "ok"), ("access_denied", "partial"), ("unknown", "partial")]
)
def test_rows_that_could_not_be_read_are_told_from_none(reason: str, outcome: str) -> None:
    document = {"a": [], "notes": [{"Source": "a", "Reason": reason}]}
    result = read({"f": Field(type="int", prop="N")}, document)
    assert (result.readings, result.notes, result.outcome) == ((), {"rows": reason}, outcome)
    assert read({"f": Field(type="int", prop="N")}, {"a": []}).notes == {}


def test_what_is_only_of_now_is_not_kept_by_the_cold_tier() -> None:
    fields = {"id": Field(type="text", kind="text", prop="Id"), "f": Field(type="int", kind="now", prop="N")}
    assert fields_of(manifest(fields, key=("id",))) == CollectorFields(("id",), (), ())


SINGLE: list[tuple[str, dict[str, Any], str, Any, Any]] = [
    ("scale", {"by": 0.1, "plus": -273.15}, "float", 3022, 29.05),
    ("scale", {"by": 2, "plus": 1}, "int", 3, 7),
    ("has_bits", {"mask": 0x80000000}, "bool", 2147483648, True),
    ("has_bits", {"mask": 0x80000000}, "bool", 0, False),
    ("has_bits", {"mask": 3}, "bool", 2, False),
    ("has_bits", {"mask": 1}, "bool", None, None),
    ("joined", {}, "text", ["a", "b", None, "", 5], "a, b, 5"),
    ("joined", {}, "text", "only", "only"),
    ("joined", {}, "text", [], None),
    ("joined", {}, "text", None, None),
    ("up_to", {"mark": "#"}, "text", "chrome#12", "chrome"),
    ("up_to", {"mark": "#"}, "text", "chrome", "chrome"),
    ("up_to", {"mark": "#"}, "text", None, None),
    ("filetime", {}, "time", 116444736000000000 + 15_000_000, "1970-01-01T00:00:02Z"),
    ("filetime", {}, "time", 0, None),
    ("filetime", {}, "time", 0x7FFFFFFFFFFFFFFF, None),
    ("granted", {"to": ["WD"]}, "text", "D:(A;;0x1200a9;;;WD)", "read"),
    ("granted", {"to": ["WD"]}, "text", None, None),
]


@pytest.mark.parametrize(("formula", "args", "kind", "value", "expected"), SINGLE)
def test_formulas_of_one_property(formula: str, args: dict[str, Any], kind: str, value: Any, expected: Any) -> None:
    found, note = one(Field(type=kind, prop="N", formula=formula, args=args), {"N": value})
    assert found == expected
    assert note == ""


@pytest.mark.parametrize("formula", ["joined", "up_to", "filetime", "granted", "has_bits"])
@given(st.one_of(st.text(max_size=40), st.integers(-(2**70), 2**70), st.floats(), st.lists(st.none()), st.just({})))
def test_hostile_values_cost_no_more_than_their_value(formula: str, value: Any) -> None:
    args: dict[str, dict[str, Any]] = {"up_to": {"mark": "#"}, "granted": {"to": ["WD"]}, "has_bits": {"mask": 1}}
    kind = {"filetime": "time", "has_bits": "bool"}.get(formula, "text")
    found, note = one(Field(type=kind, prop="N", formula=formula, args=args.get(formula, {})), {"N": value})
    assert note in ("", "invalid")
    assert found is None or note == ""


def test_formulas_over_all_instances_of_a_source() -> None:
    users = [{"D": "CONTOSO", "U": "anna"}, {"D": None, "U": "zoe"}, {"D": "CONTOSO", "U": "anna"}, {"D": "A", "U": ""}]
    collected = Field(type="text", source="c", formula="collected", args={"props": ["D", "U"], "between": "\\"})
    assert one(collected, {}, c=users) == ("A, CONTOSO\\anna, zoe", "")
    assert one(collected, {}, c=[]) == (None, "unknown")
    optional = Field(type="text", source="b", formula="collected", args={"props": ["V"]})
    assert one(optional, {}, b=[]) == (None, "")
    states = Field(type="int", source="c", prop="S", formula="count_where", args={"values": [5, 8]})
    assert one(states, {}, c=[{"S": 5}, {"S": "8"}, {"S": 2}, {}]) == (2, "")
    assert one(states, {}, c=[]) == (None, "unknown")


def test_the_share_of_all_processors() -> None:
    field = Field(
        type="float", prop="N", formula="percent_of_processors", args={"from": "b", "prop": "V"}, nullable=True
    )
    normalizer = Normalizer(manifest({"f": field}))
    first = {"N": 0, "Timestamp_Sys100NS": 10**17, "Timestamp_PerfTime": 0, "Frequency_PerfTime": 10**7}
    second = {**first, "N": 4 * 10**8, "Timestamp_Sys100NS": 10**17 + 10**8, "Timestamp_PerfTime": 10**8}
    kept = normalizer.read({"a": [first], "b": [{"V": 8}]}, counters=None, observed_at=AT).counters
    kept = msgspec.json.decode(msgspec.json.encode(kept))

    def then(processors: list[dict[str, Any]]) -> CollectorResult:
        later = AT + timedelta(seconds=10)
        return normalizer.read({"a": [second], "b": processors}, counters=kept, observed_at=later)

    assert then([{"V": 8}]).readings[0]["f"] == 50.0, "four of eight processors"
    assert then([{"V": 2}]).readings[0]["f"] == 100.0
    assert then([]).notes == {"f": "unsupported"}


def test_the_highest_rows_of_each_field_are_kept_in_their_order() -> None:
    numbers = [(1, 9), (8, 1), (None, 8), (7, None), (2, 2), (3, 7), (0, 0)]
    rows = [{"id": place, "cpu": cpu, "ws": ws} for place, (cpu, ws) in enumerate(numbers)]
    kept = highest(rows, Top(rows=2, by=("cpu", "ws"), always={"id": [6]}))
    assert [row["id"] for row in kept] == [0, 1, 2, 3, 6]
    assert highest([], Top(rows=2, by=("cpu",))) == []


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers()), st.one_of(st.none(), st.floats(allow_nan=False)))))
def test_no_row_that_was_left_out_is_higher_than_one_that_was_kept(values: list[tuple[Any, Any]]) -> None:
    rows = [{"id": place, "a": a, "b": b} for place, (a, b) in enumerate(values)]
    kept = highest(rows, Top(rows=3, by=("a",)))
    assert len(kept) == min(3, sum(row["a"] is not None for row in rows))
    left = [row["a"] for row in rows if row not in kept and row["a"] is not None]
    assert not left or max(left) <= min(row["a"] for row in kept)


def test_a_normaliser_keeps_the_counters_of_rows_that_it_leaves_out() -> None:
    fields = {"id": Field(type="text", prop="Id"), "f": Field(type="float", prop="N", formula="per_second")}
    normalizer = Normalizer(manifest(fields, key=("id",), top=Top(rows=1, by=("f",))))
    rows = [{"Id": n, "N": n, "Timestamp_Sys100NS": 5, "Timestamp_PerfTime": 5, "Frequency_PerfTime": 1} for n in "123"]
    result = normalizer.read({"a": rows}, counters=None, observed_at=AT)
    assert (len(result.readings), len(result.counters["a"])) == (0, 3), "without rates nothing is highest"


SHARE = "O:SYG:SYD:PAI(A;OICI;FA;;;BA)(A;;{rights};;;WD)"


@pytest.mark.parametrize(
    ("sddl", "expected"),
    [
        (SHARE.format(rights="FA"), "full"), (SHARE.format(rights="0x1f01ff"), "full"),
        (SHARE.format(rights="GA"), "full"), (SHARE.format(rights="0x10000000"), "full"),
        (SHARE.format(rights="0x1301bf"), "change"), (SHARE.format(rights="0x1200a9"), "read"),
        (SHARE.format(rights="FR"), "read"), (SHARE.format(rights="SDRC"), "other"), (SHARE.format(rights=""), "none"),
        ("O:BAG:BA", "full"), ("D:NO_ACCESS_CONTROL", "full"), ("D:", "none"), ("D:P(A;;FA;;;BA)", "none"),
        ("D:(D;;FA;;;WD)(A;;FA;;;WD)", "none"), ("D:(A;;FA;;;WD)(D;;FA;;;WD)", "full"),
        ("D:(D;;0x2;;;WD)(A;;FA;;;WD)", "read"), ("D:(A;IO;FA;;;WD)", "none"), ("D:(A;;FR;;;WD)(A;;FA;;;AU)", "read"),
        ("D:(A;;FR;;;S-1-1-0)", "none"), ("D:(A;;FR;;;WD)S:(AU;SAFA;FA;;;WD)", "read"),
    ],
)  # fmt: skip
def test_what_a_descriptor_grants(sddl: str, expected: str) -> None:
    assert access(sddl, ["WD"]) == expected


def test_the_most_that_any_trustee_has_counts_and_garbage_is_refused() -> None:
    assert access("D:(A;;FR;;;S-1-1-0)(A;;0x1301bf;;;WD)", ["WD", "S-1-1-0"]) == "change"
    for text in ("", "x", "Everyone: Full", "(A;;FA;;;WD)"):
        with pytest.raises(Invalid):
            access(text, ["WD"])


@pytest.mark.parametrize(
    ("fields", "more", "words"),
    [
        ({"f": Field(type="int", source="b", prop="V", match={"Nope": "Id"})}, {}, "no property Nope"),
        ({"f": Field(type="int", source="b", prop="V", match={"Id": "Nope"})}, {}, "no property Nope"),
        ({"f": Field(type="int", source="b", prop="V", match={"Id": "Id", "V": "N"})}, {}, "one pair"),
        ({"f": Field(type="int", prop="N", match={"Id": "Id"})}, {}, "another source"),
        ({"f": Field(type="int", source="b", prop="V", formula="sum", match={"Id": "Id"})}, {}, "does not go with"),
        (
            {"f": Field(type="text", formula="first_of", args={"props": ["N"]}, missing=(0,))}, {}, "needs a formula",
        ),
        ({"f": Field(type="int", prop="N")}, {"top": Top(rows=0, by=("f",))}, "1 to 100"),
        ({"f": Field(type="text", prop="N")}, {"top": Top(rows=5, by=("f",))}, "with a number"),
        ({"f": Field(type="int", prop="N")}, {"top": Top(rows=5, by=("f",), always={"g": 1})}, "no field g"),
        ({"f": Field(type="int", prop="N")}, {"top": Top(rows=5, by=())}, "needs `rows`"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_meant_is_refused(fields: dict[str, Field], more: dict[str, Any], words: str) -> None:
    found = manifest_problems(manifest(fields, **more), "x", has_windows=True, linux=False)
    assert any(words in message for _, message in found), found
