"""What the language means, sentence by sentence of docs/query.md, and what it says of mistakes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from querying import NOW, SCHEMA, answer

from rmm.catalog.load import load_catalog
from rmm.core.query import compile_query, schema_of
from rmm.errors import ConfigError, QueryError
from rmm.resources import shipped

ROWS: dict[str, Any] = {
    "disk": [
        {"volume": "C:", "free_b": 5 * 10**9, "used_pct": 95.0, "dirty": False},
        {"volume": "D:", "free_b": 90 * 10**9, "used_pct": 10.0, "dirty": True},
        {"volume": "E:", "free_b": None, "used_pct": None, "dirty": None},
    ],
    "system": [{"boot_time": "2026-10-01T00:00:00Z", "uptime_s": 90_000, "age_d": 54.5}],
}
ENDPOINT = {"name": "SRV1", "site": "Berlin", "tags": ("prod", "web"), "observed_at": NOW}


def volumes(condition: str, rows: dict[str, Any] | None = None) -> list[Any]:
    query = compile_query(condition, SCHEMA, columns=["disk.volume"], now=NOW)
    return [line[0] for line in answer(query, ENDPOINT, ROWS if rows is None else rows)]


def holds(condition: str, rows: dict[str, Any] | None = None) -> bool:
    query = compile_query(condition, SCHEMA, columns=["endpoint"], now=NOW)
    return bool(answer(query, ENDPOINT, ROWS if rows is None else rows))


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("disk.used_pct > 90", ["C:"]),
        ("90 < disk.used_pct", ["C:"]),
        ("disk.used_pct > 90%", ["C:"]),
        ("not disk.used_pct > 90", ["D:"]),  # of E: it is unknown
        ("disk.used_pct is null", ["E:"]),
        ("disk.used_pct != NULL", ["C:", "D:"]),
        ("disk.used_pct is not unknown", ["C:", "D:"]),
        ("disk.dirty", ["D:"]),
        ("disk.dirty == false", ["C:"]),
        ("disk.dirty in (true, false)", ["C:", "D:"]),
        ("disk.free_b < 6GB", ["C:"]),
        ("disk.free_b < 6gb", ["C:"]),
        ("disk.free_b == 5GB", ["C:"]),
        ("disk.free_b < 5GiB", ["C:"]),
        ("disk.free_b == 5000000kB", ["C:"]),
        ("disk.volume == 'c:'", ["C:"]),
        ('disk.volume in ("c:", "e:")', ["C:", "E:"]),
        ('disk.volume not in ("c:", "e:")', ["D:"]),
        ('disk.volume ~ "*:"', ["C:", "D:", "E:"]),
        ('disk.volume like "?" or disk.volume like "d?"', ["D:"]),
        ('disk.volume !~ "c*"', ["D:", "E:"]),
        ('disk.volume not like "c*"', ["D:", "E:"]),
        ('disk.volume ~ "C"', ["C:"]),  # without a wildcard: anywhere
        ('disk.volume >= "D"', ["D:", "E:"]),
        ("system.boot_time < -30d and disk.used_pct > 90", ["C:"]),
        ("disk.used_pct > 90 and (system.age_d > 100 or disk.dirty)", []),
        ("disk.used_pct > 90 or disk.dirty", ["C:", "D:"]),
        ("disk.used_pct > 90 and disk.free_b > 6GB", []),  # of one row, not of two
    ],
)
def test_rows(condition: str, wanted: list[str]) -> None:
    assert volumes(condition) == wanted


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ('endpoint.site == "BERLIN"', True),
        ('"PROD" in endpoint.tags', True),
        ('"pro" in endpoint.tags', False),
        ('"x" not in endpoint.tags', True),
        ("endpoint.group is null", True),
        ("endpoint.observed_at == now", True),
        ("endpoint.observed_at > -1m", True),
        ("system.boot_time < 2026-10-02", True),
        ("system.boot_time == 2026-10-01T02:00+02:00", True),
        ('system.boot_time < "2026-10-02"', True),
        ("system.boot_time < +1w", True),
        ("system.uptime_s > 1d", True),
        ("system.uptime_s > 26h", False),
        ("system.age_d > 7w", True),
        ("system.age_d < 1300h", False),
        ("system.uptime_s < system.age_d", True),  # of two units, in that of the left one
        ("any(disk.used_pct > 90)", True),
        ("all(disk.used_pct > 90)", False),
        ("all(disk.used_pct > 1)", False),  # unknown of E:
        ("all(disk.volume ~ ':')", True),
        ("not any(disk.used_pct > 99)", False),  # E: might
        ("not any(disk.volume == 'F:')", True),
        ("count(disk.used_pct > 1) == 2", True),
        ("count(disk.volume is not null) > 2", True),
        ("disk.@outcome is null", True),
    ],
)
def test_endpoints(condition: str, wanted: bool) -> None:
    assert holds(condition) is wanted


def test_what_was_never_read_is_unknown_and_what_has_no_rows_has_none() -> None:
    unread: dict[str, Any] = {"disk": None, "system": None}
    for condition in ("disk.used_pct > 0", "not disk.used_pct > 0", "any(disk.dirty)", "not any(disk.dirty)",
                      "count(disk.dirty) == 0", "all(disk.dirty)"):  # fmt: skip
        assert not holds(condition, unread), condition
    assert holds("disk.used_pct is null", unread)
    assert holds("count(disk.dirty) is null", unread)
    empty: dict[str, Any] = {"disk": [], "system": None}
    for condition in ("disk.used_pct is null", "not any(disk.dirty)", "count(disk.dirty) == 0", "all(disk.dirty)"):
        assert holds(condition, empty), condition


def test_columns_and_order() -> None:
    query = compile_query(
        "disk.volume is not null", SCHEMA, columns=["endpoint", "disk.volume"], sort=["-disk.used_pct"], now=NOW
    )
    assert [column.name for column in query.columns] == ["endpoint.name", "disk.volume", "disk.used_pct"]
    lines = query.sorted(reversed(answer(query, ENDPOINT, ROWS)), lambda line: line)
    assert [line[1] for line in lines] == ["C:", "D:", "E:"]  # the unknown last
    default = compile_query("disk.used_pct > 90 and system.age_d > 1 and any(disk.dirty)", SCHEMA, now=NOW)
    assert [column.name for column in default.columns] == [
        "endpoint.name", "disk.volume", "disk.used_pct", "system.age_d",
    ]  # fmt: skip
    assert "dirty" in default.fields["disk"]


def test_versions_are_ordered_by_their_numbers() -> None:
    query = compile_query('disk.volume < "10.2"', SCHEMA, columns=["disk.volume"], sort=["-disk.volume"], now=NOW)
    rows = [{"volume": version} for version in ("9.10", "10.10", "10.2", "10.1", "9.9")]
    assert [line[0] for line in query.sorted(answer(query, {}, {"disk": rows}), lambda line: line)] == [
        "10.1", "9.10", "9.9",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason", "column"),
    [
        ("", "the query is empty", 0),
        ("dosk.used_pct > 1", "there is no collector 'dosk'; did you mean disk?", 1),
        ("disk.used > 1", "disk has no 'used'; did you mean used_pct?", 1),
        ("disk.boot_time > 1", "disk has no 'boot_time'; did you mean system.boot_time?", 1),
        ("disk.used_pct > 1GB", "disk.used_pct is in %, and 1GB is a size", 17),
        ("disk.free_b > 5M", "5M is in a unit that is not known", 15),
        ("endpoint.failures > 5d", "has no unit, so 5d says nothing of it", 21),
        ("disk.used_pct > 'x'", "disk.used_pct is a number, and this is none", 17),
        ("disk.volume == 5", "disk.volume is a text, and this is none: write it in quotes", 16),
        ("disk.volume == C", 'C is neither a field (collector.field) nor a text ("C" in quotes)', 16),
        ("disk.used_pct ~ 'x'", "only texts have patterns", 15),
        ("disk.dirty > true", "disk.dirty is yes or no, which has no order", 12),
        ("disk.volume", "disk.volume is a text: compare it with something", 12),
        ("5 > 3", "compare a field with a value", 1),
        ("true", "a value alone is no condition", 1),
        ("system.boot_time < 30d", "write -30d for 30 days ago", 20),
        ("system.boot_time < -30GB", "write -30d for 30 days ago", 20),
        ("system.uptime_s > now", "system.uptime_s is a number, and this is none", 19),
        ("system.boot_time < 2026-13-01", "this is no time", 20),
        ("system.boot_time < -9999999d", "this is too far from now", 20),
        ("disk.used_pct = 1", "'=' is no word; write ==", 15),
        ("disk.dirty && disk.dirty", "'&' is no word; write and", 12),
        ("disk.dirty disk.dirty", "'disk' is where `and`, `or`, or the end should be", 12),
        ("not " * 40 + "disk.dirty", "more than 40 levels", 161),
        ("(" * 40 + "disk.dirty" + ")" * 40, "more than 40 levels", 41),
        ("any(" * 40 + "disk.dirty" + ")" * 40, "more than 40 levels", 161),
        ("disk.used_pct >", "the query ends where a value should be", 16),
        ("(disk.dirty", "the query ends where a closing parenthesis should be", 12),
        ('disk.volume == "x', "this text has no closing quote", 16),
        ("sum(disk.used_pct)", "there is no sum(); there are any, all and count", 1),
        ("any(disk.dirty and system.age_d > 1)", "any, all and count are about the rows of one collector", 1),
        ("any(endpoint.failures > 1)", "any, all and count are about the rows of one collector", 1),
        ("endpoint.tags == 'x'", 'endpoint.tags is a list: write "..." in endpoint.tags', 15),
        ("'x' in disk.volume", "disk.volume is a text, and no list", 8),
        ("disk.free_b < disk.used_pct", "disk.free_b is in B, and disk.used_pct in %", 13),
        ("disk.volume < disk.used_pct", "disk.volume is a text, and disk.used_pct is a number", 13),
        ("'x' ~ disk.volume", "the pattern belongs on the right", 1),
        ("disk.volume ~ disk.volume", "a pattern is a text in quotes", 13),
    ],
)
def test_mistakes(text: str, reason: str, column: int) -> None:
    with pytest.raises(QueryError) as caught:
        compile_query(text, SCHEMA, now=NOW)
    assert reason in caught.value.reason
    assert caught.value.column == column
    if column:
        message, shown, mark = str(caught.value).split("\n")
        assert message == f"column {column}: {caught.value.reason}"
        assert f"{shown} "[mark.index("^")] == f"{text} "[column - 1]


def test_a_mistake_far_to_the_right_is_shown_with_what_is_around_it() -> None:
    text = " and ".join(["disk.used_pct > 1"] * 50) + " and \x1b[31m = 3"
    with pytest.raises(QueryError) as caught:
        compile_query(text, SCHEMA, now=NOW)
    _, shown, mark = str(caught.value).split("\n")
    assert len(shown) < 130
    assert "\x1b" not in shown
    assert text[caught.value.column - 1] == "\x1b"
    assert mark.index("^") < len(shown)


def test_wrong_columns() -> None:
    for name, reason in (
        ("disk.size", "column 'disk.size': disk has no 'size'"),
        ("disk", "column 'disk': name a field of disk: volume, "),
        ("disk.volume disk", "column 'disk.volume disk': 'disk' is where"),
        ("x", "there is no collector 'x'"),
    ):
        with pytest.raises(ConfigError) as caught:
            compile_query("disk.dirty", SCHEMA, columns=[name], now=NOW)
        assert reason in str(caught.value)


def test_pairs_are_bounded() -> None:
    wide = schema_of(one.manifest for one in load_catalog([shipped("collectors")]).values())
    query = compile_query("services.pid != processes.pid", wide, now=NOW)
    many = [{"pid": n} for n in range(1001)]
    with pytest.raises(QueryError, match=r"too many pairs of rows on one endpoint \(1001 of services, 1001 of proc"):
        answer(query, {}, {"services": many, "processes": many})
    narrow = compile_query("services.pid == 7 and processes.pid == 9 and services.pid != processes.pid", wide, now=NOW)
    assert len(answer(narrow, {"name": "x"}, {"services": many, "processes": many})) == 1


def test_a_pattern_takes_no_longer_than_it_must() -> None:
    query = compile_query('disk.volume ~ "' + "*a" * 1000 + '*b"', SCHEMA, now=NOW)
    began = time.perf_counter()
    assert answer(query, {}, {"disk": [{"volume": "a" * 4096}]}) == []
    assert time.perf_counter() - began < 1
