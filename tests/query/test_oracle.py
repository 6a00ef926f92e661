"""Any query gives what its definition says, and any text gives an answer or a QueryError."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from querying import NOW, SCHEMA, Rows, answer, naive

from rmm.core.query import ENDPOINT, compile_query
from rmm.core.query.parse import parse
from rmm.core.query.tree import (
    And,
    Compare,
    Condition,
    Count,
    Has,
    In,
    Literal,
    Not,
    Null,
    Operand,
    Or,
    Ref,
    Some,
    Truth,
)
from rmm.errors import QueryError

TEXTS = ["C:", "c:", "E9", "E10", 'say "hi"', "\\\\srv\\x", "a*b", ""]
COLUMNS = ["endpoint.name", "disk.volume", "disk.used_pct", "system.age_d"]
REFS = [Ref(name.split(".")[0], name.split(".")[1]) for name in COLUMNS]


def written(tree: Any) -> str:
    """A tree as a query's text."""
    match tree:
        case And(items) | Or(items):
            word = " and " if isinstance(tree, And) else " or "
            return word.join(f"({written(item)})" for item in items)
        case Not(inner):
            return f"not ({written(inner)})"
        case Some(word, inner):
            return f"{word}({written(inner)})"
        case Count(inner):
            return f"count({written(inner)})"
        case Null(inner):
            return f"{written(inner)} is null"
        case Truth(inner):
            return written(inner)
        case In(left, items):
            return f"{written(left)} in ({', '.join(written(item) for item in items)})"
        case Has(item, ref):
            return f"{written(item)} in {written(ref)}"
        case Compare(op, left, right):
            return f"{written(left)} {op} {written(right)}"
    return str(tree) if isinstance(tree, Ref) else _literal(tree.value, tree.unit, signed=tree.signed)


def _literal(value: Any, unit: str, *, signed: bool) -> str:
    if unit == "now":
        return "now"
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{'+' if signed and value >= 0 else ''}{value}{unit}"


def _compared(refs: list[Ref], values: st.SearchStrategy[Literal], ops: list[str]) -> st.SearchStrategy[Condition]:
    ref = st.sampled_from(refs)
    alone = st.builds(Compare, st.sampled_from(ops), ref, values)
    several = st.builds(In, ref, st.lists(values, min_size=1, max_size=3).map(tuple))
    return st.one_of(alone, several, st.builds(Null, ref)) if "==" in ops else alone


ORDER = ["==", "!=", "<", "<=", ">", ">="]
text = st.sampled_from(TEXTS).map(Literal)
percent = st.sampled_from([0, 10, 10.5, 90, -1]).map(Literal)
size = st.builds(Literal, st.sampled_from([0, 1, 2]), st.sampled_from(["", "B", "kB", "KiB", "GB"]))
span = st.builds(Literal, st.sampled_from([0, 1, 48]), st.sampled_from(["h", "d"]))
time = st.builds(Literal, st.sampled_from([-1, 0, 2]), st.sampled_from(["h", "d"]), st.just(True)) | st.just(
    Literal(0, "now", True)
)
pattern = st.sampled_from(["c*", "*:", "?9", "*1*", "hi", "e?*", "*", "", "**b", "\\*"]).map(Literal)


def asked_of(*collectors: str) -> st.SearchStrategy[Condition]:
    """Single tests of fields of these collectors and of the endpoint."""
    every = {
        "disk": [
            _compared([Ref("disk", "volume")], text, ORDER),
            _compared([Ref("disk", "volume")], pattern, ["like"]),
            _compared([Ref("disk", "used_pct")], percent, ORDER),
            _compared([Ref("disk", "free_b")], size, ORDER),
            st.just(Truth(Ref("disk", "dirty"))),
        ],
        "system": [
            _compared([Ref("system", "boot_time")], time, ORDER),
            _compared([Ref("system", "age_d")], span, ORDER),
            _compared([Ref("system", "uptime_s")], span, ORDER),
        ],
        ENDPOINT: [
            _compared([Ref(ENDPOINT, "site"), Ref(ENDPOINT, "name")], text, ORDER),
            st.builds(Has, text, st.just(Ref(ENDPOINT, "tags"))),
        ],
    }
    return st.one_of([one for name in collectors for one in every[name]])


def _deeper(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(st.builds(Not, inner), st.builds(And, several), st.builds(Or, several))


def _rows_of(collector: str) -> st.SearchStrategy[Condition]:
    """A condition in which that collector is named for certain."""
    return st.builds(lambda a, b: Or((a, b)), asked_of(collector), asked_of(collector, ENDPOINT))


over_rows = st.one_of(
    st.builds(Some, st.sampled_from(["any", "all"]), _rows_of("disk") | _rows_of("system")),
    st.builds(
        Compare, st.sampled_from(ORDER), st.builds(Count, _rows_of("disk")), st.sampled_from([0, 1, 2]).map(Literal)
    ),
)
conditions = st.recursive(asked_of("disk", "system", ENDPOINT) | over_rows, _deeper, max_leaves=8)

disk_rows = st.fixed_dictionaries(
    {
        "volume": st.none() | st.sampled_from(TEXTS),
        "used_pct": st.none() | st.sampled_from([0, 10, 10.5, 95.0]),
        "free_b": st.none() | st.sampled_from([0, 1, 1000, 1024, 2 * 10**9]),
        "dirty": st.none() | st.booleans(),
    }
)
system_rows = st.fixed_dictionaries(
    {
        "boot_time": st.none()
        | st.sampled_from(["2026-11-24T12:00:00Z", "2026-11-23T12:00:00Z", "2026-11-26T12:00:00Z"]),
        "uptime_s": st.none() | st.sampled_from([0, 3600, 86_400.5]),
        "age_d": st.none() | st.sampled_from([0, 1.0, 2, 48]),
    }
)
readings = st.fixed_dictionaries(
    {"disk": st.none() | st.lists(disk_rows, max_size=3), "system": st.none() | st.lists(system_rows, max_size=1)}
)
endpoints = st.fixed_dictionaries(
    {
        "name": st.sampled_from(TEXTS),
        "site": st.none() | st.sampled_from(TEXTS),
        "tags": st.none() | st.lists(st.sampled_from(TEXTS), min_size=1, max_size=2),
    }
)


@settings(max_examples=1500, deadline=None)
@given(conditions, endpoints, readings)
def test_a_query_is_true_of_the_combinations_that_its_definition_says(
    tree: Condition, endpoint: dict[str, Any], rows: Rows
) -> None:
    query = compile_query(written(tree), SCHEMA, columns=COLUMNS, now=NOW)
    # Asked first are the collectors in the order in which the condition names them; the order of lines may differ.
    assert sorted(answer(query, endpoint, rows), key=repr) == sorted(naive(tree, REFS, endpoint, rows), key=repr)


pieces = st.sampled_from(
    [
        "disk", ".", "used_pct", "volume", "endpoint", "site", "system", "boot_time", "@at", "and", "or", "not", "in",
        "is", "null", "like", "any", "all", "count", "(", ")", ",", "==", "!=", "<", ">=", "~", "!~", "=", "-", "+",
        "10", "5GB", "3d", "90%", "1e400", "2026-11-24", "2026-99-99", '"x"', "'", '"', "now", "true", "\x00", "é",
        "\n",
    ]
)  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(st.one_of(st.text(max_size=200), st.lists(pieces, max_size=30).map(" ".join)))
@example("(" * 3999)
@example("not " * 900)
@example("any(" * 300)
@example("-" * 100)
@example("disk.used_pct > " + "9" * 3000)
@example("system.boot_time < -99999999999999999999d")
@example("system.boot_time < +1" + "0" * 39 + "w")
@example("disk.free_b > 1" + "0" * 39 + "PB")
@example('disk.volume ~ "' + "*a" * 1500 + '"')
@example(" or ".join(["disk.dirty"] * 240))
def test_any_text_is_a_query_or_a_query_error(text: str) -> None:
    with contextlib.suppress(QueryError):
        query = compile_query(text, SCHEMA, now=NOW)
        rows: Rows = {"disk": [{"volume": "a" * 4000, "used_pct": 1}], "system": []}
        answer(query, {"name": "x"}, rows)


@settings(max_examples=300, deadline=None)
@given(conditions)
def test_what_is_written_is_what_is_read(tree: Condition) -> None:
    assert written(parse(written(tree))) == written(tree)


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(conditions, st.lists(hostile, min_size=4, max_size=4))
def test_no_value_of_a_row_breaks_a_query(tree: Condition, values: list[Any]) -> None:
    rows = {"disk": [dict(zip(["volume", "used_pct", "free_b", "dirty"], values, strict=True))],
            "system": [dict(zip(["boot_time", "uptime_s", "age_d"], values, strict=False))]}  # fmt: skip
    query = compile_query(written(tree), SCHEMA, columns=COLUMNS, sort=["-disk.volume", "system.age_d"], now=NOW)
    found = answer(query, {"name": values[0], "tags": values[1]}, rows)
    query.sorted([*found, *found], lambda line: line)


def test_the_operand_types_are_all_covered() -> None:
    """The generator above makes each kind of operand that there is."""
    assert set(Operand.__args__) == {Ref, Literal, Count}
