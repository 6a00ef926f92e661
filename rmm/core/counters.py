"""The raw samples that a kept reading holds for the next poll's rates. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


class _Counters(msgspec.Struct):
    counters: dict[str, Any] = {}


_counters_decoder = msgspec.json.Decoder(_Counters)


def kept_counters(result: msgspec.Raw) -> dict[str, Any] | None:
    """The raw samples of the last reading; the rest of it stays undecoded."""
    data = bytes(result)
    if b'"counters"' not in data:
        return None
    try:
        return _counters_decoder.decode(data).counters or None
    except msgspec.DecodeError:
        return None  # damage inside the undecoded part of a state costs one rate, not the poll
