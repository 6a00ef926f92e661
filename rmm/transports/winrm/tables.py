"""Hashtables of texts, whole numbers, truths and hashtables as CLIXML ([MS-PSRP] 2.2.5.1, 2.2.5.2.6.3).

A poll's bookmarks differ from endpoint to endpoint and from poll to poll, and the script that they go with is long: it
is serialised once, with a mark where an argument stands, and only the argument is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

_FIRST_REF = 1_000_000  # above every RefId of the message around it
_TYPE = "<T>System.Collections.Hashtable</T><T>System.Object</T>"
# What XML or CLIXML reads otherwise: markup, controls, what is beyond 16 bits, what looks like an escape.
_SPECIAL = re.compile("[&<>\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U00010000-\U0010ffff]|_(?=[xX][0-9A-Fa-f]{4}_)")
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_INT32 = 2**31


def table(value: Mapping[str, Any], name: str) -> bytes:
    """The element of a hashtable that is called `name` in the object around it. Raises TypeError for other values."""
    refs = count(_FIRST_REF)
    return _table(value, name, refs, first=True).encode()


def _table(value: Mapping[str, Any], name: str, refs: count[int], *, first: bool = False) -> str:
    kind = f'<TN RefId="{_FIRST_REF}">{_TYPE}</TN>' if first else f'<TNRef RefId="{_FIRST_REF}" />'
    head = f'<Obj RefId="{next(refs)}" N="{name}">{kind}<DCT>'
    entries = [f'<En><S N="Key">{escaped(key)}</S>{_value(item, refs)}</En>' for key, item in value.items()]
    return f"{head}{''.join(entries)}</DCT></Obj>"


def _value(value: Any, refs: count[int]) -> str:
    if isinstance(value, Mapping):
        return _table(value, "Value", refs)
    if value is None:
        return '<Nil N="Value" />'
    if type(value) is bool:
        return f'<B N="Value">{"true" if value else "false"}</B>'
    if type(value) is str:
        return f'<S N="Value">{escaped(value)}</S>'
    if type(value) is int and -(2**63) <= value < 2**63:
        kind = "I32" if -_INT32 <= value < _INT32 else "I64"
        return f'<{kind} N="Value">{value}</{kind}>'
    raise TypeError(f"{type(value).__name__} in a table of arguments")


def escaped(text: str) -> str:
    """A text as CLIXML has it ([MS-PSRP] 2.2.5.3.2)."""
    return _SPECIAL.sub(lambda found: _MARKUP.get(found[0]) or _units(found[0]), text)


def _units(character: str) -> str:
    data = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"_x{data[at : at + 2].hex().upper()}_" for at in range(0, len(data), 2))
