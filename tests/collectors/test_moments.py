"""Formulas about times: how long ago, how long until, the latest of many; and error codes as people know them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from rmm.catalog.rules_of_manifests import manifest_problems
from rmm.core.normalize import Normalizer
from rmm.model.collector import Field, Manifest, Source
from rmm.model.observation import CollectorResult

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
WHEN = Field(type="time", kind="time", prop="When")


def manifest(fields: dict[str, Field]) -> Manifest:
    sources = {"a": Source(), "b": Source(optional=True)}
    return Manifest(
        name="x", title="X", schema=1, interval=60, timeout=5, cost="C1", owner="t", rows="a", sources=sources,
        fields=fields,
    )  # fmt: skip


def read(fields: dict[str, Field], row: dict[str, Any], **more: Any) -> CollectorResult:
    return Normalizer(manifest(fields)).read({"a": [row], **more}, counters=None, observed_at=AT)


def derived(formula: str, row: dict[str, Any], kind: str = "float", **args: Any) -> Any:
    field = Field(type=kind, kind="state", prop="Other", formula=formula, args=args)
    return read({"when": WHEN, "f": field}, row).readings[0]["f"]


@pytest.mark.parametrize(
    ("when", "days", "left", "been"),
    [
        ("2026-11-19T10:00:00Z", 1.0, -1.0, True),
        ("2026-11-21T22:00:00Z", 0.0, 1.5, False),
        ("2026-11-20T12:00:00+02:00", 0.0, 0.0, True),
        (None, None, None, None),
        ("yesterday", None, None, None),
    ],
)
def test_how_long_ago_and_how_long_until(when: Any, days: Any, left: Any, been: Any) -> None:
    row = {"When": when}
    assert derived("elapsed", row, field="when", unit=86400) == days
    assert derived("remaining", row, field="when", unit=86400) == left
    assert derived("passed", row, "bool", field="when") == been


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("2026-11-20T02:00:01Z", "2026-11-20T02:00:00Z", True),
        ("2026-11-20T02:00:00Z", "2026-11-20T02:00:00Z", False),
        ("2026-11-20T03:00:00+02:00", "2026-11-20T02:00:00Z", False),
        ("2026-11-20T02:00:00Z", None, True),
        (None, "2026-11-20T02:00:00Z", False),
        (None, None, False),
        ("soon", None, None),
    ],
)
def test_a_failure_counts_while_no_success_is_later(ours: Any, theirs: Any, expected: Any) -> None:
    assert derived("later_than", {"Other": ours, "Good": theirs}, "bool", than="Good") is expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["7/4/2026", "11/14/2026", "2/28/2026"], "2026-11-14T00:00:00Z"),  # by the calendar, not by the text
        (["2026-11-14", "20261113"], "2026-11-14T00:00:00Z"),
        (["2026-11-14T02:38:55.0000000Z", "2026-11-14T02:38:54Z", ""], "2026-11-14T02:38:55Z"),
        (["14.11.2026", "13/13/2026", 7, None, ["x"], "2026-02-30"], None),
        ([], None),
    ],
)
def test_the_newest_of_many_passes_over_what_is_no_time(values: list[Any], expected: Any) -> None:
    field = Field(type="time", kind="time", source="b", prop="On", formula="newest")
    result = read({"f": field}, {}, b=[{"On": value} for value in values])
    assert result.readings[0]["f"] == expected
    assert result.outcome == "ok"


def test_the_newest_of_what_could_not_be_read_is_not_none_at_all() -> None:
    field = Field(type="time", kind="time", source="b", prop="On", formula="newest")
    result = read({"f": field}, {}, b=[], notes=[{"Source": "b", "Reason": "access_denied"}])
    assert (result.readings[0]["f"], result.notes, result.outcome) == (None, {"f": "access_denied"}, "partial")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-2145107924, "0x8024402C"), (2147942402, "0x80070002"), ("-2147024891", "0x80070005"), (1, "0x00000001"),
     (0, None), (None, None), ("x", None)],
)  # fmt: skip
def test_error_codes_are_written_as_windows_does(value: Any, expected: Any) -> None:
    assert derived("hresult", {"Other": value}, "text") == expected


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"field": "later", "unit": 1}, "no such earlier field: later"),
        ({"field": ["when"], "unit": 1}, "a name is expected"),
        ({"field": "when", "unit": 0}, "a positive number is expected"),
        ({"field": "when", "unit": True}, "a positive number is expected"),
        ({"field": "when"}, "argument unit is missing"),
    ],
)
def test_a_manifest_that_cannot_be_meant_is_refused(args: dict[str, Any], words: str) -> None:
    fields = {"when": WHEN, "f": Field(type="float", formula="elapsed", args=args), "later": WHEN}
    problems = manifest_problems(manifest(fields), "x", has_windows=True, linux=False)
    assert [message for _, message in problems] == [words]
