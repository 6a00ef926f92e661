"""Conditions on readings: rules compiled to closures, evaluated row by row. Pure.

A rule answers `critical`, `warning` or nothing for a row. A field that is None answers nothing at all: what is not
known neither raises an alert nor ends one.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rmm.core.conditions import Condition
from rmm.core.measures import HELD, MEASURED
from rmm.core.query.schema import Schema
from rmm.model.rule import EVENTS, VALUE, Rule

Row = Mapping[str, Any]

UNKNOWN, CLEAR = "unknown", ""

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "in": lambda value, listed: value in listed,
}


def _equal(value: Any, other: Any) -> bool:
    return bool(value == other)


class Compiled(NamedTuple):
    """One rule, ready.

    `matches(row)` is None when the row does not say. `severity(row, held)` -> critical, warning, CLEAR or UNKNOWN;
    `held` is the severity that fires already, or CLEAR. `field` is where a row has what is tested; the rows of a rule
    that is `derived` are made for it, and match. `concerns(rows)` is False where no row of a reading can raise an
    alert: of nearly all rules and readings that is all that is asked, so it asks for nothing else.
    """

    rule: Rule
    matches: Callable[[Row], bool | None]
    severity: Callable[[Row, str], str]
    field: str
    concerns: Callable[[Sequence[Row]], bool]
    derived: bool = False
    condition: Condition | None = None


def compile_rules(rules: Iterable[Rule], schema: Schema | None = None) -> dict[str, list[Compiled]]:
    """Rules by collector; those on the status of observations are under the empty name.

    Free conditions need the schema; they are under each collector that they name. Raises QueryError.
    """
    compiled: dict[str, list[Compiled]] = {}
    for rule in rules:
        one = compile_rule(rule, schema)
        for collector in one.condition.collectors if one.condition else (rule.collector,):
            compiled.setdefault(collector, []).append(one)
    return compiled


def compile_rule(rule: Rule, schema: Schema | None = None) -> Compiled:
    """One rule. Raises QueryError where its `when` cannot be asked."""
    condition = Condition(rule, schema) if rule.when and schema is not None else None
    measured = rule.measure != VALUE or rule.when != ""
    field = MEASURED if measured else rule.field
    derived = measured or rule.over != ""
    matches = _matcher(rule)
    concerns = _always if derived else _concerns(rule, matches)
    return Compiled(rule, matches, _severity(rule), field, concerns, derived, condition)


def _always(rows: Sequence[Row]) -> bool:
    return True


def _concerns(rule: Rule, matches: Callable[[Row], bool | None]) -> Callable[[Sequence[Row]], bool]:
    levels = [level for level in (rule.warning, rule.critical) if level is not None]
    field = rule.field
    compare: Callable[[Any, Any], bool] = _COMPARE.get(rule.op, _equal)
    if rule.op in (">", ">=", "<", "<="):
        try:
            levels = [min(levels) if rule.op in (">", ">=") else max(levels)]
        except TypeError:
            return _always

    def concerns(rows: Sequence[Row]) -> bool:
        try:
            for row in rows:
                value = row.get(field)
                if value is not None:
                    for level in levels:
                        if compare(value, level) and matches(row) is not False:
                            return True
        except TypeError:
            return True
        return False

    return concerns


def _matcher(rule: Rule) -> Callable[[Row], bool | None]:
    wanted = [(field, _values(value)) for field, value in rule.where.items()]
    unwanted = [(field, _values(value)) for field, value in rule.unless.items()]
    if not wanted and not unwanted:
        return lambda row: True

    def matches(row: Row) -> bool | None:
        if any(row.get(field) in values for field, values in unwanted):
            return False
        known: bool | None = True
        for field, values in wanted:
            value = row.get(field)
            if value not in values:
                if value is not None:
                    return False
                known = None
        return known

    return matches


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _severity(rule: Rule) -> Callable[[Row, str], str]:
    if rule.op in EVENTS:
        return lambda row, held: UNKNOWN  # no row has it: it is told of changes
    if rule.when:
        named = "critical" if rule.critical else "warning"
        return lambda row, held: UNKNOWN if row.get(MEASURED) is None else named if row[MEASURED] else CLEAR
    levels = [("critical", rule.critical), ("warning", rule.warning)]
    tests = [(name, _test(rule, threshold)) for name, threshold in levels if threshold is not None]
    derived = rule.measure != VALUE

    def severity(row: Row, held: str) -> str:
        value = row.get(rule.field) if not derived else row.get(HELD if held and HELD in row else MEASURED)
        if value is None:
            return UNKNOWN
        try:
            for name, test in tests:
                # A warning does not become critical by an eased threshold, only stays what it is.
                if test(value, held in ("critical", name)):
                    return name
        except TypeError:
            return UNKNOWN  # a text where a number belongs says nothing
        return CLEAR

    return severity


def _test(rule: Rule, threshold: Any) -> Callable[[Any, bool], bool]:
    """`value op threshold`; while the condition holds already, the threshold is eased by the hysteresis."""
    compare = _COMPARE[rule.op]
    eased = threshold
    if rule.hysteresis and isinstance(threshold, int | float) and not isinstance(threshold, bool):
        sign = {">": -1, ">=": -1, "<": 1, "<=": 1}.get(rule.op, 0)
        eased = threshold + sign * rule.hysteresis

    def test(value: Any, holding: bool) -> bool:
        return compare(value, eased if holding else threshold)

    return test


def row_name(row: Row, key: Sequence[str]) -> str:
    """The row's part of an alert's key."""
    if len(key) == 1:
        return str(row.get(key[0]))
    return "|".join(str(row.get(field)) for field in key)


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def summary_of(rule: Rule, row: Row, value: Any, endpoint: str) -> str:
    """The rule's text for a row; placeholders that do not exist show as a question mark."""
    shown = round(value, 1) if isinstance(value, float) else value
    text = rule.summary or f"{rule.id}: {{value}} on {{endpoint}}"
    values = _Blank({name: _short(item) for name, item in row.items()} | {"value": _short(shown), "endpoint": endpoint})
    try:
        return text.format_map(values)[:300]
    except (ValueError, IndexError, KeyError, AttributeError):
        return f"{rule.id} on {endpoint}"


def _short(value: Any) -> str:
    """Text without attributes to reach for, so that a rule's summary cannot."""
    return str(round(value, 1) if isinstance(value, float) else value)[:200]
