"""Values that satisfy a WQL condition: a sample says what a query selected, not what its WHERE looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.lab.wql import Comparison, Group, spelled


def witness(where: Comparison | Group | None, types: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """Property -> value for what the condition asks of `row` and the row does not say.

    The row's own values are left as they are, so an OR is met by the first branch that they do not contradict.
    """
    found: dict[str, Any] = {}
    _meet(where, types, row, found, wanted=True)
    return found


def _meet(
    where: Comparison | Group | None, types: Mapping[str, str], row: Mapping[str, Any], found: dict[str, Any],
    *, wanted: bool,
) -> bool:  # fmt: skip
    if where is None:
        return True
    if isinstance(where, Comparison):
        return _comparison(where, types, row, found, wanted=wanted)
    if where.kind == "not":
        return _meet(where.parts[0], types, row, found, wanted=not wanted)
    if (where.kind == "and") == wanted:
        return all(_meet(part, types, row, found, wanted=wanted) for part in where.parts)
    for part in where.parts:
        trial = dict(found)
        if _meet(part, types, row, trial, wanted=wanted):
            found.update(trial)
            return True
    return False


def _comparison(
    test: Comparison, types: Mapping[str, str], row: Mapping[str, Any], found: dict[str, Any], *, wanted: bool
) -> bool:
    name = spelled(test.prop, types)
    if name in row:
        return _agrees(test, row[name], wanted=wanted)
    value = _value(test, types[name], wanted=wanted)
    if name in found and found[name] != value:
        return False
    found[name] = value
    return True


def _agrees(test: Comparison, have: Any, *, wanted: bool) -> bool:
    """Only equality is looked at: it decides between the branches of an OR."""
    if test.value is None:
        return (have is None) == (wanted == (test.operator in ("null", "=")))
    if test.operator != "=":
        return True
    return (str(have).casefold() == str(test.value).casefold()) == wanted


def _value(test: Comparison, kind: str, *, wanted: bool) -> Any:
    if test.value is None:
        empty = wanted == (test.operator in ("null", "="))
        return None if empty else _typed("1" if kind != "datetime" else "2026-01-01T00:00:00Z", kind, 0)
    if test.operator == "like":
        return str(test.value).replace("%", "").replace("_", "x") if wanted else "~"
    same = (test.operator in ("=", "<=", ">=")) == wanted
    lower = (test.operator in ("<", "<=")) == wanted
    return _typed(test.value, kind, 0 if same else -1 if lower and test.operator not in ("=", "<>") else 1)


def _typed(value: Any, kind: str, step: int) -> Any:
    if kind == "boolean":
        truth = str(value).casefold() in ("true", "1", "-1")
        return truth if step == 0 else not truth
    if kind in ("string", "reference"):
        return str(value) + ("~" if step else "")
    if kind == "datetime":
        return value
    return (float(value) if kind.startswith("real") else int(value)) + step
