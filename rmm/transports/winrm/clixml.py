"""CLIXML ([MS-PSRP] 2.2.5) to plain Python values. Nothing is brought to life: no type of the endpoint's is made.

Scalars become str, int, float, bool, bytes or None; times, durations, GUIDs, versions and decimals stay text. Lists,
stacks, queues and enumerables become a list, dictionaries a dict, objects `Properties`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from rmm.errors import ProtocolError
from rmm.transports.winrm.bounded import parse

DEPTH_LIMIT = 48  # elements inside each other
MOST_VALUES = 100_000  # with every reference counted as what it stands for

_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}\Z")
_LISTS = frozenset({"LST", "IE", "STK", "QUE"})


class Properties(dict[str, Any]):
    """The properties of an object; `types` are its type names, the most derived first, `text` its ToString()."""

    __slots__ = ("text", "types")

    def __init__(self, types: tuple[str, ...] = (), text: str = "") -> None:
        super().__init__()
        self.types = types
        self.text = text


def decode(data: bytes) -> Any:
    """The value of one CLIXML element.

    An object that refers to itself, directly or through others, has None in that place.

    Raises:
        ProtocolError: what `bounded.parse` raises, clixml.malformed, clixml.too_large, clixml.secure_string.
    """
    root = parse(data, depth=DEPTH_LIMIT)
    try:
        return _Decoder().value(root)
    except (ValueError, OverflowError) as error:
        raise _malformed(type(error).__name__) from error


def unescape(text: str) -> str:
    """`_xHHHH_` are UTF-16 code units ([MS-PSRP] 2.2.5.3.2): two surrogates are one character, a lone one U+FFFD."""
    if "_x" not in text:
        return text
    text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _malformed(what: str) -> ProtocolError:
    return ProtocolError(f"CLIXML that cannot be read: {what}", code="clixml.malformed")


class _Decoder:
    """One document. `_objects` and `_types` are what RefIds stand for; an object in the making is not yet in them."""

    def __init__(self) -> None:
        self._objects: dict[str, tuple[Any, int]] = {}  # RefId -> (value, how many values it holds)
        self._types: dict[str, tuple[str, ...]] = {}
        self._count = 0

    def value(self, element: Any) -> Any:
        self._add(1)
        tag = element.tag
        if tag == "S":
            return unescape(element.text or "")
        if tag == "Obj":
            return self._object(element)
        if tag == "Ref":
            value, weight = self._objects.get(element.get("RefId", ""), (None, 0))
            self._add(weight)
            return value
        if tag in _LISTS:
            return [self.value(child) for child in element]
        if tag == "DCT":
            return self._dictionary(element)
        scalar = _SCALARS.get(tag)
        if scalar is None:
            raise _malformed("unknown element")
        return scalar(element.text or "")

    def _add(self, weight: int) -> None:
        self._count += weight
        if self._count > MOST_VALUES:
            raise ProtocolError("CLIXML with too many values", code="clixml.too_large")

    def _object(self, element: Any) -> Any:
        before = self._count
        result = Properties()
        inner: list[Any] = []
        for child in element:
            tag = child.tag
            if tag == "TN":
                result.types = tuple(unescape(name.text or "")[:200] for name in child[:16])
                self._types[child.get("RefId", "")] = result.types
            elif tag == "TNRef":
                result.types = self._types.get(child.get("RefId", ""), ())
            elif tag == "ToString":
                result.text = unescape(child.text or "")
            elif tag in ("MS", "Props"):
                for item in child:
                    result[unescape(item.get("N", ""))] = self.value(item)
            else:
                inner.append(self.value(child))
        value: Any = inner[0] if inner else result if result else result.text or None
        self._objects[element.get("RefId", "")] = (value, self._count - before)
        return value

    def _dictionary(self, element: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for entry in element:
            pair = {item.get("N"): self.value(item) for item in entry}
            key = pair.get("Key")
            result[key if isinstance(key, str) else _name(key)] = pair.get("Value")
        return result


def _name(key: Any) -> str:
    """A key that is no text; one that is an object has no name worth having."""
    return str(key) if key is None or isinstance(key, int | float | bool) else type(key).__name__


def _integer(text: str) -> int:
    if not _INTEGER.match(text):
        raise _malformed("not an integer")
    return int(text)


def _number(text: str) -> float:
    if len(text) > 64:
        raise _malformed("not a number")
    return float(text)  # NaN and infinity are values of Double


def _character(text: str) -> str:
    number = _integer(text)
    if not 0 <= number <= 0xFFFF:
        raise _malformed("not a character")
    return chr(number) if not 0xD800 <= number <= 0xDFFF else "\ufffd"


def _secret(_: str) -> Any:
    raise ProtocolError("an encrypted value without a session key", code="clixml.secure_string")


# [MS-PSRP] 2.2.5.1
_SCALARS: dict[str, Callable[[str], Any]] = {
    "Nil": lambda text: None,
    "B": lambda text: text.lower() == "true",
    "C": _character,
    "Db": _number,
    "Sg": _number,
    "BA": lambda text: base64.b64decode(text, validate=True),
    "SS": _secret,
    **dict.fromkeys(("By", "SB", "I16", "U16", "I32", "U32", "I64", "U64"), _integer),
    **dict.fromkeys(("D", "DT", "TS", "G", "URI", "Version", "XD", "SBK"), unescape),
}
