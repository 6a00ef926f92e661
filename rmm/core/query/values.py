"""How values are taken out of a row, compared and ordered. Nothing here raises, whatever a row holds."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Take = Callable[[Any], Any]  # a raw value -> one of the field's type, or None

_PARTS = re.compile(r"[0-9]{1,300}|[^0-9]+")
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def text(value: Any) -> str | None:
    """A text."""
    return value if type(value) is str else None


def number(value: Any) -> int | float | None:
    """A number, which a yes-or-no is not."""
    return value if (type(value) is int or type(value) is float) and value == value else None


def boolean(value: Any) -> bool | None:
    """Yes or no."""
    return value if type(value) is bool else None


def moment(value: Any) -> datetime | None:
    """A time, from the text that a reading has or ready."""
    if type(value) is str:
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else None
    except (ValueError, OverflowError):
        return None


def listed(value: Any) -> tuple[Any, ...] | None:
    """A list of texts that has something in it."""
    return tuple([one for one in value if type(one) is str]) or None if isinstance(value, list | tuple) else None


TAKE: dict[str, Take] = {"text": text, "number": number, "bool": boolean, "time": moment, "list": listed}


def natural(value: str) -> list[tuple[int, int, str]]:
    """A text's place in an order in which 10.2 comes after 9.1: digits are compared as numbers."""
    return [
        (0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in _PARTS.findall(value.casefold())
    ]
