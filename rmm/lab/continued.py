"""Raw counters of a sample as a running machine would give them: they grow as they did since the sample's last poll."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.core.formulas import FORMULAS
from rmm.core.rates import CLOCKS
from rmm.model.collector import Manifest

Row = dict[str, Any]


def continued(
    rows: list[Row], before: list[Row], widths: Mapping[str, int], stamps: Mapping[str, int], elapsed: float
) -> list[Row]:
    """The rows at another time: each counter is what its growth per second makes of the time since boot.

    Args:
        rows: a source's instances in the sample.
        before: the same in the sample's previous poll; an instance that is not there stands still.
        widths: `counters_of` this source.
        stamps: Timestamp_Sys100NS, Timestamp_PerfTime and Frequency_PerfTime of the machine.
        elapsed: seconds since boot.
    """
    earlier = {_identity(row): row for row in before}
    return [_grown(row, earlier.get(_identity(row), row), widths, stamps, elapsed) for row in rows]


def counters_of(manifest: Manifest, source: str) -> dict[str, int]:
    """The properties of a source from which rates are made, and their width in bits; 0 where they do not wrap."""
    found: dict[str, int] = {}
    for field in manifest.fields.values():
        if (field.source or manifest.rows) == source and FORMULAS[field.formula].rate:
            args = field.args
            named = [field.prop, args.get("base", ""), *args.get("props", ())]
            found.update({prop: args.get("wraps", 0) for prop in named if prop})
    return found


def _identity(row: Row) -> tuple[Any, Any]:
    return row.get("Name"), row.get("IDProcess")


def _grown(row: Row, before: Row, widths: Mapping[str, int], stamps: Mapping[str, int], elapsed: float) -> Row:
    if any(row.get(clock) is None for clock in CLOCKS):
        return row
    period = (row[CLOCKS[0]] - (before.get(CLOCKS[0]) or 0)) / 10_000_000
    new = {clock: stamps[clock] for clock in CLOCKS}
    for prop, bits in widths.items():
        now, then = row.get(prop), before.get(prop)
        if type(now) is int and type(then) is int and now > then and period > 0:
            new[prop] = int((now - then) / period * elapsed) % (1 << (bits or 64))
    return {**row, **new}
