"""A small schema, rows, and a naive evaluation of trees, for the tests of the query language."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.core.query import ENDPOINT, Kind, Part, Query, Schema
from rmm.core.query.schema import ENDPOINT_FIELDS, READING_FIELDS
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
    Or,
    Ref,
    Some,
    Truth,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DISK = {"volume": Kind("text"), "free_b": Kind("number", "B"), "used_pct": Kind("number", "%"), "dirty": Kind("bool")}
SYSTEM = {"boot_time": Kind("time"), "uptime_s": Kind("number", "s"), "age_d": Kind("number", "d")}
SCHEMA = Schema(
    {ENDPOINT: ENDPOINT_FIELDS, "disk": DISK | READING_FIELDS, "system": SYSTEM | READING_FIELDS},
    {"disk": ("volume",), "system": ()},
)
Rows = Mapping[str, Sequence[Mapping[str, Any]] | None]
SPANS = {"m": 60, "h": 3600, "d": 86_400}
SIZES = {"B": 1, "kB": 10**3, "KiB": 2**10, "GB": 10**9}


def answer(query: Query, endpoint: Mapping[str, Any], rows: Rows) -> list[tuple[Any, ...]]:
    """The lines that a query gives for one endpoint whose rows are dictionaries."""
    parts = {
        name: Part(
            None if (own := rows.get(name)) is None else [tuple(row.get(field) for field in fields) for row in own],
            (None,) * len(fields),
        )
        for name, fields in query.fields.items()
        if name != ENDPOINT
    }
    return list(query.lines(tuple(endpoint.get(field) for field in query.fields.get(ENDPOINT, ())), parts))


def naive(tree: Condition, refs: Sequence[Ref], endpoint: Mapping[str, Any], rows: Rows) -> list[tuple[Any, ...]]:
    """The same by the definition: every combination of rows, each asked all of the condition."""
    named = dict.fromkeys([*_outside(tree), *(ref.collector for ref in refs)])
    collectors = [name for name in named if name != ENDPOINT]
    found: dict[tuple[Any, ...], None] = {}
    for chosen in itertools.product(*(rows.get(name) or [{}] for name in collectors)):
        at = {ENDPOINT: endpoint, **dict(zip(collectors, chosen, strict=True))}
        if truth(tree, at, rows) is True:
            found[tuple(at[ref.collector].get(ref.field) for ref in refs)] = None
    return list(found)


def _outside(tree: Any) -> Iterator[str]:
    match tree:
        case Ref(collector):
            yield collector
        case And(items) | Or(items):
            for item in items:
                yield from _outside(item)
        case Compare(_, left, right):
            yield from _outside(left)
            yield from _outside(right)
        case Not(inner) | In(inner) | Null(inner) | Truth(inner) | Has(_, inner):
            yield from _outside(inner)


def truth(tree: Condition, at: Mapping[str, Mapping[str, Any]], rows: Rows) -> bool | None:
    """Kleene's three values, in the plainest form."""
    match tree:
        case And(items):
            return _worst([truth(item, at, rows) for item in items])
        case Or(items):
            return _no(_worst([_no(truth(item, at, rows)) for item in items]))
        case Not(inner):
            return _no(truth(inner, at, rows))
        case Some(word, inner):
            told = _of_rows(inner, at, rows)
            if told is None:
                return None
            return _worst(told) if word == "all" else _no(_worst([_no(one) for one in told]))
    return _test(tree, at, rows)


def _test(tree: Condition, at: Mapping[str, Mapping[str, Any]], rows: Rows) -> bool | None:
    match tree:
        case Null(inner):
            return _value(inner, at, rows) is None
        case Truth(inner):
            found = _value(inner, at, rows)
            return found if found is None else bool(found)
        case In(left, items):
            return _no(_worst([_no(truth(Compare("==", left, item), at, rows)) for item in items]))
        case Has(Literal(wanted), ref):
            listed = _value(ref, at, rows)
            return None if not listed else any(one.lower() == str(wanted).lower() for one in listed)
        case Compare(op, left, right):
            first, second = _value(left, at, rows, right), _value(right, at, rows, left)
            return None if first is None or second is None else _holds(op, first, second)
    raise AssertionError(tree)


def _of_rows(inner: Condition, at: Mapping[str, Mapping[str, Any]], rows: Rows) -> list[bool | None] | None:
    (collector,) = [name for name in dict.fromkeys(_outside(inner)) if name != ENDPOINT]
    own = rows.get(collector)
    return None if own is None else [truth(inner, {**at, collector: row}, rows) for row in own]


def _value(operand: Any, at: Mapping[str, Mapping[str, Any]], rows: Rows, other: Any = None) -> Any:
    match operand:
        case Ref(collector, field):
            found = at[collector].get(field)
            if isinstance(found, str) and SCHEMA.fields[collector][field].type == "time":
                return datetime.fromisoformat(found)
            return found
        case Count(inner):
            told = _of_rows(inner, at, rows)
            return None if told is None else sum(one is True for one in told)
        case Literal(value, unit):
            kind = SCHEMA.fields[other.collector][other.field] if isinstance(other, Ref) else Kind("number")
            if kind.type == "time":
                if isinstance(value, datetime):
                    return value
                return NOW + timedelta(seconds=float(value) * SPANS[unit]) if unit != "now" else NOW
            if unit and isinstance(value, int | float):
                scale = {**SPANS, **SIZES}[unit] * value
                return scale / 86_400 if kind.unit == "d" else scale
            return value
    raise AssertionError(operand)


def _holds(op: str, first: Any, second: Any) -> bool:
    if isinstance(first, str):
        first, second = first.lower(), second.lower()
    if op in ("==", "!="):
        return bool((first == second) is (op == "=="))
    if op == "like":
        return _like(first, second)
    if isinstance(first, str):
        first, second = _pieces(first), _pieces(second)
    return bool({"<": first < second, "<=": first <= second, ">": first > second, ">=": first >= second}[op])


def _pieces(text: str) -> list[tuple[int, int, str]]:
    """Digits before letters, and as numbers."""
    pieces = [(digits, "".join(part)) for digits, part in itertools.groupby(text, lambda c: c in "0123456789")]
    return [(0, int(part), "") if digits else (1, 0, part) for digits, part in pieces]


def _like(text: str, wanted: str) -> bool:
    if "*" not in wanted and "?" not in wanted:
        return wanted in text
    return _glob(text, wanted)


def _glob(text: str, wanted: str) -> bool:
    if not wanted:
        return not text
    if wanted[0] == "*":
        return any(_glob(text[n:], wanted[1:]) for n in range(len(text) + 1))
    return bool(text) and wanted[0] in ("?", text[0]) and _glob(text[1:], wanted[1:])


def _worst(values: Sequence[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _no(value: bool | None) -> bool | None:
    return None if value is None else not value
