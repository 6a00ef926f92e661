"""Strict coercion of raw values, from JSON or from WS-Enumeration's text, to a field's type.

Every byte that arrives here is hostile: whatever is not plainly of the type raises `Invalid`. None stays None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

MAX_TEXT = 4096  # characters of one value
MAX_ITEMS = 256  # of one list value that is joined to a text

Convert = Callable[[Any], Any]

# Control characters, lone surrogates, and the marks that turn the direction of text around (they forge what a person
# reads on a terminal or in a report).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?\Z")
_DMTF = re.compile(r"([0-9]{14})\.[0-9]{1,6}([+-])([0-9]{3})\Z")
_DAY = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})\Z")
_BOOLS = {"true": True, "false": False, "1": True, "0": False}


class Invalid(ValueError):
    """A value is not of the type that the manifest declares."""


def text(value: Any) -> str | None:
    """Text without control characters, direction marks and lone surrogates, stripped, bounded; empty is None."""
    if type(value) is not str:
        if value is None:
            return None
        if type(value) is not int:  # a registry value may be a DWORD where text is usual
            raise Invalid
        value = str(integer(value))
    if len(value) <= MAX_TEXT and value.isprintable():
        return value.strip() or None
    cleaned = _UNSAFE.sub(_replace, value[:MAX_TEXT]).strip()
    return cleaned or None


def shown(value: Any, most: int) -> str:
    """A text of an endpoint's for people: one line of at most `most` characters without anything that `text` removes.

    Empty for what is no scalar.
    """
    if value is None or not isinstance(value, str | int | float):
        return ""
    return _UNSAFE.sub(_replace, str(value)[:most]).strip()


def _replace(match: re.Match[str]) -> str:
    return " " if match[0] in "\t\r\n" else "\ufffd"


def integer(value: Any) -> int | None:
    """An integer of 64 bits, signed or unsigned."""
    if type(value) is not int:
        if value is None:
            return None
        whole = type(value) is float and value.is_integer() and abs(value) < 2**53
        if not whole and not (type(value) is str and _INTEGER.match(value)):
            raise Invalid
        value = int(value)
    if -(2**63) <= value < 2**64:
        return int(value)
    raise Invalid


def number(value: Any) -> float | None:
    """A finite number."""
    if value is None:
        return None
    if type(value) is str and _DECIMAL.match(value):
        value = float(value)
    elif type(value) is int:
        value = integer(value)
    elif type(value) is not float:
        raise Invalid
    result = float(value)
    if result - result != 0.0:  # infinite or not a number
        raise Invalid
    return result


def boolean(value: Any) -> bool | None:
    """True and false, also as text and as 0 and 1."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int and value in (0, 1):
        return value == 1
    if type(value) is str and (found := _BOOLS.get(value.lower() if len(value) < 6 else "")) is not None:
        return found
    raise Invalid


def moment(value: Any) -> datetime | None:
    """An aware time: ISO 8601 with offset, a DMTF datetime, or a bare day (yyyymmdd, taken as UTC)."""
    if value is None or value == "":
        return None
    if type(value) is not str or len(value) > 40:
        raise Invalid
    try:
        if found := _DMTF.match(value):
            offset = timezone(timedelta(minutes=int(found[2] + found[3])))
            return datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=offset).astimezone(UTC)
        if found := _DAY.match(value):
            return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC)
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None:
            raise Invalid
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Invalid from error


def time(value: Any) -> str | None:
    """The same as text in UTC, to the second: Windows computes some times anew and gets other fractions."""
    at = moment(value)
    return None if at is None else stamp(at)


def stamp(at: datetime) -> str:
    """`2026-11-24T12:30:00Z`."""
    rounded = (at + timedelta(microseconds=500_000)).replace(microsecond=0) if at.microsecond else at
    return rounded.strftime("%Y-%m-%dT%H:%M:%SZ") if rounded.year >= 1000 else rounded.isoformat()[:19] + "Z"


TYPES: dict[str, Convert] = {"text": text, "int": integer, "float": number, "bool": boolean, "time": time}
