"""A tree with a schema: names looked up, types checked, units converted; the outcome is functions that answer.

A function answers True, False, or None for unknown: what is compared with nothing known is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rmm.core.query import units
from rmm.core.query.schema import ENDPOINT, Kind, Schema
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
from rmm.core.query.truth import (
    FIRST,
    Bound,
    Facts,
    Places,
    Row,
    Test,
    all_of,
    any_of,
    count_of,
    joined,
    opposite,
    text_test,
    value_test,
)
from rmm.core.query.values import COMPARE, MIRRORED, TAKE, natural
from rmm.core.wildcards import pattern
from rmm.errors import QueryError

KINDS = {"text": "a text", "number": "a number", "bool": "yes or no", "time": "a time", "list": "a list"}
ORDERED = ("<", "<=", ">", ">=")


class _Value(NamedTuple):
    """An operand. `literal` where it is one, and then `get` is not used; `where` a field's value is found."""

    get: Callable[[Places], Any]
    kind: Kind
    places: frozenset[int]
    literal: Literal | None = None
    name: str = ""
    where: tuple[int, int] | None = None

    def test(self, fits: Callable[[Any], bool]) -> Bound:
        """Whether the value fits, unknown where it is."""
        if self.where and self.kind.type == "text":
            return Bound(text_test(*self.where, fits), self.places)
        return Bound(value_test(self.get, fits), self.places)


class Scope:
    """The collectors whose rows a condition is about, in the order of their places."""

    def __init__(self) -> None:
        self.collectors: list[str] = []

    def place(self, collector: str) -> int:
        """The place of a collector's row."""
        if collector == ENDPOINT:
            return 0
        if collector not in self.collectors:
            self.collectors.append(collector)
        return FIRST + self.collectors.index(collector)


class Binder:
    """Binds the parts of one query. `fields` are those that it needs, by collector, in the order of a row's values."""

    def __init__(self, query: str, schema: Schema, now: datetime) -> None:
        self._query = query
        self._schema = schema
        self._now = now
        self.fields: dict[str, list[str]] = {}
        self._numbers = 0  # of any, all and count so far

    def wrong(self, reason: str, column: int) -> QueryError:
        """What is wrong at a place of the query."""
        return QueryError(reason, self._query, column)

    def kind(self, ref: Ref) -> Kind:
        """What a field is. Raises QueryError when there is none."""
        kind = self._schema.fields.get(ref.collector, {}).get(ref.field)
        if kind is None:
            raise self.wrong(self._schema.unknown(ref.collector, ref.field), ref.column)
        return kind

    def position(self, ref: Ref) -> int:
        """The field's position in a row of its collector, which has it from now on."""
        names = self.fields.setdefault(ref.collector, [])
        if ref.field not in names:
            names.append(ref.field)
        return names.index(ref.field)

    def condition(self, part: Condition, scope: Scope) -> Bound:
        """Bind a condition."""
        match part:
            case And(items) | Or(items):
                return joined([self.condition(item, scope) for item in items], every=isinstance(part, And))
            case Not(inner):
                test, places = self.condition(inner, scope)
                return Bound(opposite(test), places)
            case Some(word, inner, column):
                truth = {"any": any_of, "all": all_of}[word]
                return Bound(self._over_rows(truth, inner, column), frozenset())
            case Compare():
                return self._compare(part, scope)
            case In(left, items, column):
                return self._in(left, items, column, scope)
            case Has():
                return self._has(part, scope)
            case Null(ref, column):
                get, _, places, *_ = self._field(ref, scope, column)
                return Bound(lambda at: get(at) is None, places)
            case Truth(ref, column):
                value = self._field(ref, scope, column)
                if value.kind.type != "bool":
                    raise self.wrong(f"{value.name} is {KINDS[value.kind.type]}: compare it with something", column)
                return Bound(value.get, value.places)

    def _field(self, part: Operand, scope: Scope, column: int) -> _Value:
        value = self._value(part, scope)
        if value.literal is not None:
            raise self.wrong("a value alone is no condition: compare a field with it", value.literal.column)
        return value

    def _value(self, part: Operand, scope: Scope) -> _Value:
        if isinstance(part, Literal):
            types = {bool: "bool", int: "number", float: "number", str: "text"}
            kind = Kind(types.get(type(part.value), "time"), part.unit)
            return _Value(lambda at: part.value, kind, frozenset(), part)
        if isinstance(part, Count):
            return _Value(
                self._over_rows(count_of, part.condition, part.column), Kind("number"), frozenset(), None, "count()"
            )
        kind, place = self.kind(part), scope.place(part.collector)
        position, take = self.position(part), TAKE[kind.type]
        return _Value(
            lambda at: take(at[place][position]), kind, frozenset({place} - {0}), None, str(part), (place, position)
        )

    def _over_rows(self, truth: Callable[[Test, Places, Sequence[Row]], Any], inner: Condition, column: int) -> Test:
        """A function over all rows of the one collector that a condition in any, all or count is about."""
        scope = Scope()
        test = self.condition(inner, scope).test
        if len(scope.collectors) != 1:
            raise self.wrong("any, all and count are about the rows of one collector", column)
        collector, number = scope.collectors[0], self._numbers
        self._numbers += 1

        def told(at: Places) -> Any:
            facts: Facts = at[1]
            if number not in facts.told:
                rows = facts.parts[collector].rows
                facts.told[number] = None if rows is None else truth(test, [at[0], facts, None], rows)
            return facts.told[number]

        return told

    def _compare(self, part: Compare, scope: Scope) -> Bound:
        left, right, op = self._value(part.left, scope), self._value(part.right, scope), part.op
        if left.literal is not None:
            if right.literal is not None:
                raise self.wrong("compare a field with a value", left.literal.column)
            if op == "like":
                raise self.wrong("the pattern belongs on the right", left.literal.column)
            left, right, op = right, left, MIRRORED[op]
        self._check_operator(op, left, part.column)
        if right.literal is None:
            return Bound(self._of_two(op, left, right, part.column), left.places | right.places)
        value = self._constant(left, right.literal)
        if op == "like":
            return left.test(pattern(value))
        key, compare = _key(op, left.kind), COMPARE[op]
        wanted = key(value)
        return left.test(lambda value: compare(key(value), wanted))

    def _check_operator(self, op: str, left: _Value, column: int) -> None:
        kind = left.kind.type
        if kind == "list":
            raise self.wrong(f'{left.name} is a list: write "..." in {left.name}', column)
        if op == "like" and kind != "text":
            raise self.wrong(f"only texts have patterns, and {left.name} is {KINDS[kind]}", column)
        if op in ORDERED and kind == "bool":
            raise self.wrong(f"{left.name} is yes or no, which has no order", column)

    def _of_two(self, op: str, left: _Value, right: _Value, column: int) -> Test:
        """A comparison of two fields, in the unit of the left one."""
        if left.kind.type != right.kind.type or op == "like":
            what = "a pattern is a text in quotes" if op == "like" else f"{right.name} is {KINDS[right.kind.type]}"
            raise self.wrong(f"{left.name} is {KINDS[left.kind.type]}, and {what}", column)
        factor: float = 1
        if left.kind.unit and right.kind.unit:
            one = units.converted(1.0, right.kind.unit, left.kind.unit)
            if isinstance(one, str):
                raise self.wrong(f"{left.name} is in {left.kind.unit}, and {right.name} in {right.kind.unit}", column)
            factor = one
        key, compare = _key(op, left.kind), COMPARE[op]
        get, other = left.get, right.get

        def test(at: Places) -> bool | None:
            first, second = get(at), other(at)
            if first is None or second is None:
                return None
            return compare(key(first), key(second) if factor == 1 else second * factor)

        return test

    def _in(self, left: Operand, items: Sequence[Literal], column: int, scope: Scope) -> Bound:
        value = self._field(left, scope, column)
        self._check_operator("==", value, column)
        key = _key("==", value.kind)
        wanted = frozenset(key(self._constant(value, item)) for item in items)
        return value.test(lambda found: key(found) in wanted)

    def _has(self, part: Has, scope: Scope) -> Bound:
        value = self._value(part.ref, scope)
        if value.kind.type != "list":
            raise self.wrong(f"{value.name} is {KINDS[value.kind.type]}, and no list", part.ref.column)
        if not isinstance(part.item, Literal) or not isinstance(part.item.value, str):
            raise self.wrong("a list is asked for a text in quotes", part.column)
        wanted = part.item.value.casefold()
        return value.test(lambda found: any(one.casefold() == wanted for one in found))

    def _constant(self, field: _Value, literal: Literal) -> Any:
        """A literal as a value of the field's type and unit."""
        value, kind = literal.value, field.kind
        if kind.type == "time":
            return self._moment(field, literal)
        number = isinstance(value, int | float) and not isinstance(value, bool) and literal.unit != "now"
        fits = {"text": isinstance(value, str), "number": number, "bool": isinstance(value, bool)}
        if not fits[kind.type]:
            hint = ": write it in quotes" if kind.type == "text" else ""
            raise self.wrong(f"{field.name} is {KINDS[kind.type]}, and this is none{hint}", literal.column)
        if kind.type != "number":
            return value
        assert isinstance(value, int | float)
        found = units.converted(value, literal.unit, kind.unit)
        if isinstance(found, str):
            raise self.wrong(f"{field.name} {found}", literal.column)
        return found

    def _moment(self, field: _Value, literal: Literal) -> datetime:
        value = literal.value
        if isinstance(value, datetime):
            return value
        if literal.unit == "now":
            return self._now
        if isinstance(value, str):
            found: datetime | None = TAKE["time"](value if "T" in value else f"{value}T00:00:00Z")
            if found is None:
                reason = f"{field.name} is a time: write 2026-11-24, 2026-11-24T12:30Z, -30d (ago) or +30d (from now)"
                raise self.wrong(reason, literal.column)
            return found
        if isinstance(value, bool) or (span := units.seconds(value, literal.unit)) is None or not literal.signed:
            reason = f"{field.name} is a time: write -30d for 30 days ago, +30d for 30 days from now, or 2026-11-24"
            raise self.wrong(reason, literal.column)
        try:
            return self._now + timedelta(seconds=span)
        except OverflowError as error:
            raise self.wrong("this is too far from now", literal.column) from error


def _key(op: str, kind: Kind) -> Callable[[Any], Any]:
    if kind.type != "text":
        return _itself
    return natural if op in ORDERED else str.casefold


def _itself(value: Any) -> Any:
    return value
