"""A query, ready: which fields it needs, and which rows of an endpoint it is true of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeVar

from rmm.core.query.bind import Binder, Scope
from rmm.core.query.parse import parse, parse_ref
from rmm.core.query.schema import ENDPOINT, NAME, Kind, Schema
from rmm.core.query.tree import And, Compare, Condition, Count, Has, In, Not, Null, Or, Ref, Truth
from rmm.core.query.truth import FIRST, Bound, Facts, Part, Places, Row, Test
from rmm.core.query.values import TAKE, natural
from rmm.errors import QueryError

T = TypeVar("T")
Line = tuple[Any, ...]

MOST_PAIRS = 1_000_000  # of rows of two and more collectors, on one endpoint
MOST_COLUMNS = 40


class Column(NamedTuple):
    """A value of the answer: `name` as it is written, and what it is."""

    name: str
    kind: Kind
    place: int
    position: int


class Query:
    """Made by `compile_query`.

    Attributes:
        fields: collector -> the fields that are needed of it, `endpoint` among them; a row that `lines` is given is a
            sequence of their values, in this order.
        columns: what a line of the answer holds; by `sort` asked for, also what it is sorted by.
    """

    def __init__(self, text: str, schema: Schema, columns: Sequence[str], sort: Sequence[str], now: datetime) -> None:
        self.text = text
        binder, self._scope = Binder(text, schema, now), Scope()
        tree = parse(text)
        conditions = [
            binder.condition(part, self._scope) for part in (tree.items if isinstance(tree, And) else (tree,))
        ]
        refs = [_column(name, schema) for name in columns] or _default_columns(tree, schema, self._scope.collectors)
        order = [(_column(name.removeprefix("-"), schema), name.startswith("-")) for name in sort]
        refs = list(dict.fromkeys([*refs, *(ref for ref, _ in order)]))
        if len(refs) > MOST_COLUMNS:
            raise QueryError(f"there may be {MOST_COLUMNS} columns at most")
        self.columns = tuple(
            Column(str(ref), binder.kind(ref), self._scope.place(ref.collector), binder.position(ref)) for ref in refs
        )
        self._order = [(refs.index(ref), falling) for ref, falling in order]
        self.fields: dict[str, tuple[str, ...]] = {name: tuple(names) for name, names in binder.fields.items()}
        self._sort_out(conditions)

    @property
    def collectors(self) -> tuple[str, ...]:
        """The collectors of whose rows it is true or not, outside any, all and count."""
        return tuple(self._scope.collectors)

    def _sort_out(self, conditions: Sequence[Bound]) -> None:
        """What one collector's rows alone decide is asked of them before they are paired with others."""
        self._first = [one.test for one in conditions if not one.places]
        self._of_place: dict[int, list[Test]] = {}
        self._of_pairs = [one.test for one in conditions if len(one.places) > 1]
        for one in conditions:
            if len(one.places) == 1:
                self._of_place.setdefault(next(iter(one.places)), []).append(one.test)

    def lines(self, endpoint: Row, parts: Mapping[str, Part]) -> Iterator[Line]:
        """The answer's lines for one endpoint, each once: values of the columns' types, times as datetime, or None.

        `parts` has each collector of `fields` but `endpoint`. One without rows counts as one blank row, except in any,
        all and count. Raises QueryError where too many rows would have to be paired.
        """
        seen: set[Line] = set()
        places = [(TAKE[column.kind.type], column.place, column.position) for column in self.columns]
        for at in self._matches(endpoint, parts):
            line = tuple([take(at[place][position]) for take, place, position in places])
            if line not in seen:
                seen.add(line)
                yield line

    def sorted(self, found: Iterable[T], line: Callable[[T], Line]) -> list[T]:
        """What was found in the order that was asked for; `line` gives a line of it. The unknown comes last."""
        items = list(found)
        for place, falling in reversed(self._order):
            key = natural if self.columns[place].kind.type == "text" else lambda value: value
            known = [item for item in items if line(item)[place] is not None]
            known.sort(key=lambda item: key(line(item)[place]), reverse=falling)
            items = known + [item for item in items if line(item)[place] is None]
        return items

    def _matches(self, endpoint: Row, parts: Mapping[str, Part]) -> Iterator[Places]:
        at: Places = [endpoint, Facts(parts, {}), *[None] * len(self._scope.collectors)]
        if not all(test(at) for test in self._first):
            return
        kept: list[list[Row]] = []
        for place, collector in enumerate(self._scope.collectors, FIRST):
            part = parts[collector]
            fitting = _fitting(part.rows or (part.blank,), self._of_place.get(place, ()), at, place)
            if not fitting:
                return
            kept.append(fitting)
        if prod(map(len, kept)) > MOST_PAIRS:
            names = ", ".join(f"{len(own)} of {name}" for name, own in zip(self._scope.collectors, kept, strict=True))
            raise QueryError(f"too many pairs of rows on one endpoint ({names}): use any(), or a condition for each")
        for chosen in product(*kept):
            at[FIRST:] = chosen
            if all(test(at) for test in self._of_pairs):
                yield at


def _fitting(rows: Sequence[Row], tests: Sequence[Test], at: Places, place: int) -> list[Row]:
    """The rows of which every test is true. Most of the time of a query is spent here."""
    fitting = []
    for row in rows:
        at[place] = row
        for test in tests:
            if not test(at):
                break
        else:
            fitting.append(row)
    return fitting


def compile_query(
    text: str, schema: Schema, *, columns: Sequence[str] = (), sort: Sequence[str] = (), now: datetime
) -> Query:
    """A query of this text.

    Args:
        text: docs/query.md says what is understood.
        schema: what can be asked.
        columns: fields that a line of the answer has; without: the endpoint, the keys of the collectors whose rows are
            asked, and the fields that the query names.
        sort: fields by which `Query.sorted` sorts, the first one first; with a minus before it, highest first.
        now: what relative times are relative to.

    Raises:
        QueryError: with what is wrong and where.
    """
    return Query(text, schema, columns, sort, now)


def _column(text: str, schema: Schema) -> Ref:
    """The field that a column's name means. Raises QueryError."""
    try:
        ref = parse_ref(text)
        if ref.collector == ENDPOINT and not ref.field:
            ref = Ref(ENDPOINT, NAME, ref.column)
        if ref.field not in schema.fields.get(ref.collector, {}):
            raise QueryError(schema.unknown(ref.collector, ref.field), text, ref.column)
    except QueryError as error:
        raise QueryError(f"column {text!r}: {error.reason}") from error
    return Ref(ref.collector, ref.field)


def _default_columns(tree: Condition, schema: Schema, collectors: Sequence[str]) -> list[Ref]:
    found = [Ref(ENDPOINT, NAME)]
    found += [Ref(name, field) for name in collectors for field in schema.keys.get(name, ())]
    found += [Ref(ref.collector, ref.field) for ref in _named(tree)]
    return list(dict.fromkeys(found))[:MOST_COLUMNS]


def _named(part: Any) -> Iterator[Ref]:
    """The fields that a condition names outside of any, all and count."""
    match part:
        case Ref():
            yield part
        case And(items) | Or(items):
            for item in items:
                yield from _named(item)
        case Compare(_, left, right):
            yield from _named(left)
            yield from _named(right)
        case Not(inner) | In(inner) | Null(inner) | Truth(inner) | Has(_, inner):
            yield from _named(inner)
        case Count():
            return
