"""Reads what a bundle's runner writes: one `Part` per collector, strictly and bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from rmm.errors import OutputError

MAX_DOCUMENT = 4 << 20  # characters; the runners on the endpoint have the same limit and write an error instead
MAX_PART = MAX_DOCUMENT + (64 << 10)
MAX_VALUES = 500_000  # commas and open brackets: what is written in two characters may take a hundred bytes in memory

Value = str | int | float | bool | None | list[str | int | float | bool | None]


class PartError(msgspec.Struct, frozen=True):
    """A collector's terminating error by its language-independent parts; `message` is localised text for people."""

    id: str = ""
    category: str = ""
    hresult: int | None = None
    message: str = ""

    def __str__(self) -> str:
        code = f" (0x{self.hresult & 0xFFFFFFFF:08X})" if self.hresult else ""
        return f"{self.id[:200] or 'error'}{code}: {self.message[:1000]}"


class Part(msgspec.Struct, frozen=True):
    """One collector's raw output: its document, or the error that ended it."""

    collector: str
    host: str
    ms: float
    document: dict[str, list[dict[str, Value]]] = {}
    error: PartError | None = None
    machine: str | None = None  # the installation: MachineGuid on Windows, machine-id on Linux, where it could be read


_decoder = msgspec.json.Decoder(Part)
# Backslash pairs and surrogate pairs are consumed whole, so what is left is a surrogate without its partner.
_ESCAPES = re.compile(r"\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..|\\u[dD][89a-fA-F]..")


def read_part(text: str) -> Part:
    """Decode one part.

    Raises:
        OutputError: it is not what a runner writes: another shape, a nested value, a number that is not finite, a key
            that is there twice, too long, too many values. A lone surrogate is replaced, since a single odd name must
            not lose the whole document.
    """
    if len(text) > MAX_PART:
        raise OutputError(f"a part of {len(text)} characters", code="output.too_large")
    if len(text) > MAX_VALUES and text.count(",") + text.count("{") + text.count("[") > MAX_VALUES:
        raise OutputError("a part with more values than any collector writes", code="output.too_large")
    try:
        part = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, UnicodeError) or "\\ud" in text or "\\uD" in text:
            part, text = _repaired(text)
        else:
            raise OutputError(f"not a part: {error}"[:300]) from error
    if text.count('":') != _keys(part):  # a key twice, one that is not ours, or a text that looks like one
        _refuse_doubles(text)
    return part


def _keys(part: Part) -> int:
    own = 4 if part.machine is None else 5
    if part.error is not None:
        return own + 4
    return own + len(part.document) + sum(sum(map(len, rows)) for rows in part.document.values())


def _refuse_doubles(text: str) -> None:
    """Decoders differ in which of two equal keys counts, so neither does."""

    def pairs(found: Sequence[tuple[str, object]]) -> None:
        if len(dict(found)) != len(found):
            raise OutputError("not a part: a key is there twice")

    try:
        json.loads(text, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:  # in a field that is not ours
        raise OutputError(f"not a part: {error}"[:300]) from error


def _repaired(text: str) -> tuple[Part, str]:
    clean = _ESCAPES.sub(lambda match: match[0] if len(match[0]) in (2, 12) else "\\ufffd", text)
    try:
        return _decoder.decode(clean.encode("utf-8", "replace")), clean
    except (ValueError, RecursionError) as error:
        raise OutputError(f"not a part: {error}"[:300]) from error
