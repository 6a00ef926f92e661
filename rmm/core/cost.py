"""What each collector costs, from what polls measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

import msgspec

from rmm.model.state import EndpointState

CLASSES = (("C1", 50.0), ("C2", 300.0), ("C3", 3000.0))  # below so many milliseconds; C4 is all above
DAY_S = 86_400
NOT_MEASURED = "not measured yet"


class _Measured(msgspec.Struct):
    """The part of a kept result that says what it cost."""

    gather_ms: float = 0.0
    bytes: int = 0
    readings: tuple[msgspec.Raw, ...] = ()


class Declared(msgspec.Struct, frozen=True):
    """What a manifest says."""

    cost: str
    interval: int  # seconds between two polls, as configured
    session_free: bool


_decoder = msgspec.json.Decoder(_Measured)


def costs(declared: Mapping[str, Declared], states: Iterable[EndpointState]) -> list[dict[str, Any]]:
    """One row per collector, dearest first.

    name, declared, measured (a cost class, or `not measured yet`), endpoints (how many measured it), gather_ms and
    max_ms (median and largest, on the endpoint), bytes and max_bytes (of its raw output), rows (median), interval,
    share_pct (of the time that all collectors together take on an endpoint in a day).
    """
    found: dict[str, list[_Measured]] = {name: [] for name in declared}
    for state in states:
        for name, known in state.collectors.items():
            if name in found and (one := _measured(bytes(known.result))) is not None:
                found[name].append(one)
    rows = [_row(name, one, found[name]) for name, one in declared.items()]
    whole = sum(row["day_ms"] for row in rows)
    for row in rows:
        row["share_pct"] = round(100 * row["day_ms"] / whole, 1) if whole and row["measured"] != NOT_MEASURED else None
        del row["day_ms"]
    return sorted(rows, key=lambda row: (-(row["share_pct"] or 0.0), row["name"]))


def _measured(result: bytes) -> _Measured | None:
    try:
        one = _decoder.decode(result)
    except msgspec.DecodeError:  # `null`, or damage inside the undecoded part of a state
        return None
    return one if one.bytes > 0 else None


def _row(name: str, declared: Declared, measured: list[_Measured]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": name, "declared": declared.cost, "measured": "C0" if declared.session_free else NOT_MEASURED,
        "endpoints": len(measured), "gather_ms": None, "max_ms": None, "bytes": None, "max_bytes": None, "rows": None,
        "interval": declared.interval, "day_ms": 0.0,
    }  # fmt: skip
    if not measured:
        return row
    # What an endpoint says of its own time is its own word: bounded, or one could spoil the sum.
    times = [min(max(0.0, one.gather_ms), 1000.0 * DAY_S) for one in measured]
    middle = median(times)
    return row | {
        "measured": next((name for name, limit in CLASSES if middle < limit), "C4"),
        "gather_ms": round(middle, 1),
        "max_ms": round(max(times), 1),
        "bytes": round(median(one.bytes for one in measured)),
        "max_bytes": max(one.bytes for one in measured),
        "rows": round(median(len(one.readings) for one in measured)),
        "day_ms": middle * DAY_S / max(1, declared.interval),
    }
