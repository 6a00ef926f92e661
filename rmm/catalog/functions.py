"""The functions that collectors' scripts may call, of `functions.ps1`: a bundle holds those that its scripts name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files
from typing import NamedTuple

from rmm.catalog.wire import wire_form

# The form of that file alone: a test holds it against what PowerShell's own parser sees.
_FUNCTION = re.compile(r"^function (?P<name>\S+) \{\n    param\((?P<given>[^\n]*)\)\n.*?^\}$", re.MULTILINE | re.DOTALL)
_PARAMETER = re.compile(r"\$([A-Za-z]+)")


class Function(NamedTuple):
    """A function; `text` is its wire form."""

    name: str
    parameters: tuple[str, ...]
    text: str


@lru_cache(maxsize=1)
def functions() -> dict[str, Function]:
    """Lower-case name -> function, in the file's order, in which none calls one that comes after it."""
    found = {}
    for match in _FUNCTION.finditer((files("rmm.catalog") / "functions.ps1").read_text(encoding="utf-8")):
        one = Function(match["name"], tuple(_PARAMETER.findall(match["given"])), wire_form(match[0]))
        found[one.name.casefold()] = one
    return found


@lru_cache(maxsize=1)
def taken() -> frozenset[str]:
    """Lower-case names of functions that no script may define: these, and the runner's own."""
    runner = (files("rmm.catalog") / "prologue.ps1").read_text(encoding="utf-8")
    return frozenset(functions()) | {name.casefold() for name in re.findall(r"^function (\S+)", runner, re.MULTILINE)}


def functions_of(script: str) -> list[str]:
    """The wire forms of the functions that `script` names, and of those that these name, in the file's order."""
    return list(_named(script))[::-1]


def _named(script: str) -> Iterator[str]:
    text = script.casefold()
    for name, one in reversed(functions().items()):
        if name in text:
            text += one.text.casefold()
            yield one.text
