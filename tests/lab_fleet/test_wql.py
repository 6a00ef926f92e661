"""The WQL parser: what it takes, what it refuses with WMI's own code, and that conditions mean what they say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.lab import wql
from rmm.lab.machine import INVALID_CLASS, INVALID_NAMESPACE, INVALID_QUERY, CimFault

TYPES = {
    "Name": "string",
    "Size": "uint64",
    "Dirty": "boolean",
    "At": "datetime",
    "Tags": "string[]",
    "Load": "float32",
}


def holds(condition: str, **row: Any) -> bool:
    query = wql.parse(f"SELECT Name FROM Thing WHERE {condition}")
    return wql.predicate(query.where, TYPES)(row)


def test_a_query_is_taken_apart() -> None:
    query = wql.parse("select Name, Size from Win32_Volume where DriveType = 3 and not Name like '%\\\\x' ")
    assert query.class_name == "Win32_Volume"
    assert query.properties == ("Name", "Size")
    assert query.where == wql.Group(
        "and",
        (
            wql.Comparison("DriveType", "=", 3),
            wql.Group("not", (wql.Comparison("Name", "like", "%\\x"),)),
        ),
    )


def test_star_selects_everything() -> None:
    assert wql.parse("SELECT * FROM A").properties == ()


@pytest.mark.parametrize(
    "text",
    [
        "", "SELECT", "SELECT FROM A", "SELECT a, FROM A", "SELECT a b FROM A", "SELECT * FROM",
        "SELECT * FROM A WHERE",
        "SELECT * FROM A WHERE x", "SELECT * FROM A WHERE x = ", "SELECT * FROM A WHERE x = y", "DELETE FROM A",
        "SELECT * FROM A; SELECT * FROM B", "SELECT * FROM A WHERE x = 'open", "SELECT * FROM A WHERE (x = 1",
        "SELECT * FROM A WHERE x = 1)", "SELECT * FROM A WHERE x LIKE 3", "SELECT * FROM A WHERE x == 1",
        "SELECT * FROM A WHERE x NOT 1", "SELECT * FROM A WHERE x IS 1", "SELECT * FROM A B", "SELECT a.b FROM A",
        "SELECT * FROM A WHERE " + "(" * 200 + "x = 1" + ")" * 200, "SELECT * FROM A WHERE " + "NOT " * 5000 + "x = 1",
        "SELECT " + "a," * 9000 + "a FROM A",
    ],
)  # fmt: skip
def test_what_is_no_wql_is_refused(text: str) -> None:
    with pytest.raises(CimFault) as caught:
        wql.parse(text)
    assert caught.value.code == INVALID_QUERY


@given(st.text(max_size=80))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        query = wql.parse(text)
    except CimFault as fault:
        assert fault.code == INVALID_QUERY
    else:
        assert text.strip().casefold().startswith("select")
        assert query.class_name


_words = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,12}", fullmatch=True).filter(
    lambda word: word.lower() not in wql._KEYWORDS
)
_texts = st.text(max_size=12)


@given(st.lists(_words, min_size=1, max_size=5), _words, _words, _texts)
def test_what_is_written_is_read(props: list[str], name: str, prop: str, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    query = wql.parse(f"SELECT {', '.join(props)} FROM {name} WHERE {prop} = '{quoted}'")
    assert query == wql.Query(name, tuple(props), wql.Comparison(prop, "=", value))


@given(_texts)
def test_a_string_without_wildcards_is_like_itself(value: str) -> None:
    pattern = "".join(f"[{c}]" if c in "%_" else c for c in value)
    if "[" not in value:
        assert wql.like(pattern).fullmatch(value)


@given(_texts, _texts, _texts)
def test_percent_stands_for_any_text(head: str, middle: str, tail: str) -> None:
    if not set("%_[") & set(head + tail):
        assert wql.like(f"{head}%{tail}").fullmatch(head + middle + tail)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40))
def test_numbers_are_ordered(have: int, value: int) -> None:
    assert holds(f"Size < {value}", Size=have) == (have < value)
    assert holds(f"Size >= {value}", Size=have) == (have >= value)
    assert holds(f"NOT Size = {value}", Size=have) == (have != value)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Name = 'SPOOLER'", True), ("Name <> 'x'", True), ("Name LIKE 'sp%'", True), ("Name LIKE '_pooler'", True),
        ("Name NOT LIKE '%z%'", True), ("Name LIKE '[r-t]p%'", True), ("Name LIKE '[^r-t]p%'", False),
        ("Size > 9 AND Size <= 10", True), ("Size = '10'", True), ("Size = 1 OR Size = 10", True),
        ("Size = 10 AND (Name = 'a' OR Name = 'b')", False), ("Dirty = TRUE", True), ("Dirty = 1", True),
        ("Dirty <> 'true'", False), ("Label IS NULL", False), ("Load < 0.5", True),
        ("At > '20260101000000.000000+000'", True), ("At > '20270101000000.000000+060'", False),
        ("NOT (Size = 10) OR Dirty = FALSE", False),
    ],
)  # fmt: skip
def test_conditions(condition: str, expected: bool) -> None:
    row = {"Name": "Spooler", "Size": 10, "Dirty": True, "At": datetime(2026, 11, 24, tzinfo=UTC), "Load": 0.25}
    if "Label" in condition:
        with pytest.raises(CimFault):
            holds(condition, **row)
    else:
        assert holds(condition, **row) is expected


def test_null_is_neither_equal_nor_unequal() -> None:
    assert not holds("Size = 0", Size=None)
    assert not holds("Size <> 0", Size=None)
    assert holds("Size IS NULL", Size=None)
    assert holds("Size = NULL", Size=None)
    assert holds("Size IS NOT NULL", Size=0)
    assert not holds("Size <> NULL", Size=None)


@pytest.mark.parametrize(
    "condition",
    ["Nope = 1", "Size = 'ten'", "Dirty = 'maybe'", "Tags = 'a'", "Size LIKE '1%'", "At = 'now'", "Size < NULL"],
)
def test_what_cannot_be_compared_is_refused(condition: str) -> None:
    with pytest.raises(CimFault) as caught:
        holds(condition)
    assert caught.value.code == INVALID_QUERY


def test_a_machine_answers_with_windows_own_codes(fleet: Any, started: datetime) -> None:
    machine = fleet[0]
    for namespace, text, code in [
        ("root/cimv2", "SELECT * FROM Win32_Nonsense", INVALID_CLASS),
        ("root/cimv2", "SELECT Nonsense FROM Win32_Service", INVALID_QUERY),
        ("root/cimv2", "SELECT Name FROM Win32_Service WHERE Nonsense = 1", INVALID_QUERY),
        ("root/cimv2", "SELEKT * FROM Win32_Service", INVALID_QUERY),
        ("root/nowhere", "SELECT * FROM Win32_Service", INVALID_NAMESPACE),
    ]:
        with pytest.raises(CimFault) as caught:
            machine.query(namespace, text, started)
        assert caught.value.code == code


def test_names_compare_without_case_and_keep_the_schema_s_spelling(fleet: Any, started: datetime) -> None:
    found = fleet[0].query("ROOT\\CIMV2", "select NAME, startmode from win32_service where STATE='running'", started)
    assert found.class_name == "Win32_Service"
    assert list(found.types) == ["Name", "StartMode"]
    assert found.types["Name"] == "string"
    assert len(found.rows) > 40
    assert all(list(row) == ["Name", "StartMode"] for row in found.rows)
