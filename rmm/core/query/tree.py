"""What a query is made of, as it was written: names are not looked up and types are not checked yet.

`column` is the place of a part in the text, from 1.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Ref(msgspec.Struct, frozen=True):
    """`collector.field`; `collector.@field` is something about the reading and not in it."""

    collector: str
    field: str
    column: int = 0

    def __str__(self) -> str:
        return f"{self.collector}.{self.field}"


class Literal(msgspec.Struct, frozen=True):
    """A value; `unit` of a number as written, and `signed` where a sign was written."""

    value: int | float | str | bool | datetime
    unit: str = ""
    signed: bool = False
    column: int = 0


class Count(msgspec.Struct, frozen=True):
    """How many rows of one collector meet a condition."""

    condition: Condition
    column: int = 0


class Compare(msgspec.Struct, frozen=True):
    """`op`: == != < <= > >= like."""

    op: str
    left: Operand
    right: Operand
    column: int = 0


class In(msgspec.Struct, frozen=True):
    """Whether a value is one of several."""

    left: Operand
    items: tuple[Literal, ...]
    column: int = 0


class Has(msgspec.Struct, frozen=True):
    """`"text" in collector.field`, of a field that is a list."""

    item: Operand
    ref: Ref
    column: int = 0


class Null(msgspec.Struct, frozen=True):
    """Whether nothing is known of a field. This itself is always known."""

    ref: Operand
    column: int = 0


class Truth(msgspec.Struct, frozen=True):
    """A yes-or-no field that stands alone."""

    ref: Operand
    column: int = 0


class Some(msgspec.Struct, frozen=True):
    """`any(...)` and `all(...)` over the rows of one collector."""

    word: str
    condition: Condition
    column: int = 0


class Not(msgspec.Struct, frozen=True):
    """The opposite; of the unknown the unknown."""

    condition: Condition


class And(msgspec.Struct, frozen=True):
    """True where all are, false where one is, else unknown."""

    items: tuple[Condition, ...]


class Or(msgspec.Struct, frozen=True):
    """True where one is, false where all are, else unknown."""

    items: tuple[Condition, ...]


Operand = Ref | Literal | Count
Condition = Compare | In | Has | Null | Truth | Some | Not | And | Or
