"""Formulas over the instances that belong to a row, and collectors of a role that the endpoint lacks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rmm.core.normalize import Normalizer
from rmm.core.resting import LACKING
from rmm.errors import OutputError
from rmm.model.collector import Field, Manifest, Source

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
CLOCK = [{"Year": 2026, "Month": 11, "Day": 20, "Hour": 10, "Minute": 0, "Second": 0}]
VMS = [{"Id": "A"}, {"Id": "b"}, {"Id": "C"}]
POINTS = [
    {"Vm": "a", "At": "2026-11-20T09:00:00Z", "Size": 5, "State": 1, "Name": "x"},
    {"Vm": "A", "At": "2026-11-19T10:00:00Z", "Size": "7", "State": 2, "Name": "y"},
    {"Vm": "B", "At": None, "Size": None, "State": 2, "Name": "w"},
]
FIELDS = {
    "vm": Field(type="text", prop="Id"),
    "points": Field(type="int", source="point", formula="count_matching", args={"in": "Vm", "field": "vm"}),
    "size": Field(type="int", source="point", formula="sum_matching", prop="Size", args={"in": "Vm", "field": "vm"}),
    "age_s": Field(
        type="int", source="point", formula="earliest_age", prop="At", args={"in": "Vm", "field": "vm", "clock": "utc"}
    ),
    "bad": Field(type="text", source="point", formula="names_where", prop="Name", args={"by": "State", "values": [2]}),
}


def manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "name": "t", "title": "t", "schema": 1, "interval": 60, "timeout": 5, "cost": "C1", "owner": "t",
        "rows": "vm", "key": ("vm",), "fields": FIELDS,
        "sources": {"vm": Source(), "point": Source(), "utc": Source()},
    }  # fmt: skip
    return Manifest(**(values | changes))


def read(document: dict[str, Any], **changes: Any) -> Any:
    return Normalizer(manifest(**changes)).read(document, counters=None, observed_at=AT)


def test_each_row_sees_its_own_instances() -> None:
    rows = read({"vm": VMS, "point": POINTS, "utc": CLOCK}).readings
    assert [(row["points"], row["size"], row["age_s"]) for row in rows] == [(2, 12, 86400), (1, 0, None), (0, 0, None)]
    assert {row["bad"] for row in rows} == {"w, y"}


def test_none_at_all_is_nought_and_a_denied_source_is_not() -> None:
    sources = {"vm": Source(), "point": Source(optional=True), "utc": Source()}
    row = read({"vm": VMS, "point": [], "utc": CLOCK}, sources=sources).readings[0]
    assert (row["points"], row["size"], row["age_s"], row["bad"]) == (0, 0, None, None)
    denied = read({"vm": VMS, "utc": CLOCK, "notes": [{"Source": "point", "Reason": "access_denied"}]})
    assert denied.outcome == "partial"
    assert {denied.notes[name] for name in ("points", "size", "age_s", "bad")} == {"access_denied"}
    assert denied.readings[0]["points"] is None


def test_a_source_that_gave_nothing_without_a_word_is_unknown() -> None:
    assert read({"vm": VMS, "point": [], "utc": CLOCK}).notes["points"] == "unknown"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1795168800, "2026-11-20T10:00:00Z"), ("60", "1970-01-01T00:01:00Z"), (0, None), (-1, None), (1 << 40, None)],
)
def test_seconds_since_1970(value: Any, expected: str | None) -> None:
    fields = {"vm": FIELDS["vm"], "at": Field(type="time", kind="time", prop="At", formula="unix_time")}
    result = read({"vm": [{"Id": "a", "At": value}]}, fields=fields)
    assert result.readings[0]["at"] == expected


def test_an_optional_source_of_the_rows_without_an_instance_is_a_role_that_is_not_there() -> None:
    sources = {"vm": Source(optional=True), "point": Source(), "utc": Source()}
    result = read({"vm": []}, roles=("hyperv",), sources=sources)
    assert (result.outcome, result.readings) == ("unsupported", ())
    assert result.fault.code in LACKING
    assert "hyperv" in result.fault.message


def test_only_that() -> None:
    """A role without anything in it, what could not be read, and collectors about no role keep their outcome."""
    optional = {"vm": Source(optional=True), "point": Source(), "utc": Source()}
    assert read({"vm": []}, roles=("hyperv",)).outcome == "ok"
    assert read({"vm": []}, sources=optional).outcome == "ok"
    denied = {"vm": [], "notes": [{"Source": "vm", "Reason": "access_denied"}]}
    refused = read(denied, roles=("hyperv",), sources=optional)
    assert (refused.outcome, refused.notes) == ("partial", {"rows": "access_denied"})
    with pytest.raises(OutputError):
        read({}, roles=("hyperv",), sources=optional)
