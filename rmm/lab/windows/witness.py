"""Values that satisfy a WQL condition: a sample says what a query selected, not what its WHERE looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, product
from typing import Any

from rmm.lab.wql import Comparison, Group, predicate, spelled

MAX_TRIALS = 20_000
_TIMES = ("2026-01-01T00:00:00Z", None)


def witness(where: Comparison | Group | None, types: Mapping[str, str], row: Mapping[str, Any]) -> dict[str, Any]:
    """Property -> value for what the condition asks of `row` and the row does not say; found by trying.

    Empty where nothing is asked, or nothing tried satisfies it (conditions on times are not tried).
    """
    choices: dict[str, list[Any]] = {}
    for test in _comparisons(where):
        name = spelled(test.prop, types)
        if types[name] == "datetime" and test.value is not None:
            return {}
        if name not in row:
            kept = choices.setdefault(name, [])
            kept += [value for value in _near(test, types[name]) if value not in kept]
    if not choices:
        return {}
    holds = predicate(where, types)
    for values in islice(product(*choices.values()), MAX_TRIALS):
        found = dict(zip(choices, values, strict=True))
        if holds({**row, **found}):
            return {name: value for name, value in found.items() if value is not None}
    return {}


def _comparisons(where: Comparison | Group | None) -> Iterator[Comparison]:
    if isinstance(where, Comparison):
        yield where
    elif where is not None:
        for part in where.parts:
            yield from _comparisons(part)


def _near(test: Comparison, kind: str) -> tuple[Any, ...]:
    """Values on every side of what a comparison names; null comes last."""
    if kind == "boolean":
        return (True, False, None)
    if kind == "datetime":
        return _TIMES
    text = "" if test.value is None else str(test.value)
    if kind in ("string", "reference"):
        plain = text.replace("%", "").replace("_", "x") if test.operator == "like" else text
        return (plain, f"{plain}~", "~", None)
    number = float(text or 1) if kind.startswith("real") else int(float(text or 1))
    return (number, number + 1, max(number - 1, 0) if kind.startswith("u") else number - 1, None)
