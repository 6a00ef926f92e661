"""Rows of chosen collectors out of the hot tier, for questions over the whole fleet.

A shard's file is decoded once, and of it only what was asked for: the rest is passed over without being built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.core.query import Part
from rmm.core.query.schema import READING_FIELDS
from rmm.tiers import hot_json

Row = tuple[Any, ...]
UNREAD = ("unsupported", "fault", "not_run")  # of these outcomes nothing follows about rows


class Known(NamedTuple):
    """The last state of one endpoint."""

    endpoint: str
    state: Mapping[str, Any]  # status, fault, observed_at, succeeded_at, failures, duration_s
    parts: Mapping[str, Part]


def last_states(data: Path, site: str, wanted: Mapping[str, Sequence[str]]) -> Iterator[Known]:
    """Every endpoint of a site, with the `wanted` fields (by collector) of each row, in their order.

    After a crash in the middle of a move an endpoint comes twice, with one state. A file that does not decode counts as
    empty, with a warning. Raises TierError for one that cannot be read.
    """
    decoder = _decoder(wanted)
    takers = {name: _taker(fields) for name, fields in wanted.items()}
    for shard in hot_json.shards_of(data, site):
        content = hot_json.read_file(hot_json.path_of(data, site, shard), decoder)
        states: dict[str, Any] = content.endpoints if content is not None else {}
        for name, state in states.items():
            parts = {collector: take(getattr(state.collectors, collector)) for collector, take in takers.items()}
            yield Known(name, state.plain(), parts)


class _Fault(msgspec.Struct):
    code: str


class _State(msgspec.Struct):
    observed_at: datetime
    status: str
    fault: _Fault | None
    duration_s: float
    failures: int = 0
    succeeded_at: datetime | None = None

    def plain(self) -> dict[str, Any]:
        return {
            "status": self.status, "fault": self.fault.code if self.fault else None, "observed_at": self.observed_at,
            "succeeded_at": self.succeeded_at, "failures": self.failures, "duration_s": self.duration_s,
        }  # fmt: skip


def _decoder(wanted: Mapping[str, Sequence[str]]) -> msgspec.json.Decoder[Any]:
    """A decoder of a shard's file that builds the wanted collectors and fields alone."""
    make = msgspec.defstruct
    parts: list[tuple[str, Any, Any]] = []
    for collector, fields in wanted.items():
        names = {f"f{place}": field for place, field in enumerate(fields) if field not in READING_FIELDS}
        row = make("Row", [(name, Any, None) for name in names], rename=names, gc=False)
        result = make("Result", [("outcome", str, ""), ("readings", list[row], [])])  # type: ignore[valid-type]
        state = make(
            "Part", [("at", datetime | None, None), ("fault", _Fault | None, None), ("result", result | None, None)]
        )
        parts.append((collector, state | None, None))
    whole = make("State", [("collectors", make("Parts", parts))], bases=(_State,), kw_only=True)
    return msgspec.json.Decoder(make("File", [("schema", int), ("endpoints", dict[str, whole])]))  # type: ignore[valid-type]


def _taker(fields: Sequence[str]) -> Callable[[Any], Part]:
    """Makes what a query asks of one collector's part of a state."""
    own = [(place, field) for place, field in enumerate(fields) if field in READING_FIELDS]
    nothing = (None,) * (len(fields) - len(own))

    def take(state: Any) -> Part:
        result = state.result if state is not None else None
        about = {
            "@at": state.at if state is not None else None,
            "@outcome": result.outcome if result is not None else None,
            "@fault": state.fault.code if state is not None and state.fault is not None else None,
        }
        values = [(place, about[field]) for place, field in own]
        blank = _with(nothing, values)
        if result is None or result.outcome in UNREAD:
            return Part(None, blank)
        rows: list[Row] = [msgspec.structs.astuple(row) for row in result.readings]
        return Part([_with(row, values) for row in rows] if values else rows, blank)

    return take


def _with(row: Row, values: Sequence[tuple[int, Any]]) -> Row:
    whole = list(row)
    for place, value in values:  # ascending
        whole.insert(place, value)
    return tuple(whole)
