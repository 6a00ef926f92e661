"""The rows of the live view as texts: harmless, short, and one for each column."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from rmm.core.board import WORDS, SiteLine
from rmm.core.harmless import clean
from rmm.live.source import part
from rmm.model.board import Line, LiveAlert
from rmm.model.state import EndpointState

NO_DATA = "no data yet: `rmm poll` has not stored anything here"
LONGEST = 200  # characters of a cell; combining ones take no room on a screen, and a machine's text may be full of them

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sites": (
        "SITE", "ENDPOINTS", *(word.upper() for word in WORDS), "SCORE", "ALERTS", "STALE", "OBSERVED", "WRITTEN",
    ),
    "alerts": ("NO", "SEVERITY", "STATE", "ENDPOINT", "SITE", "WHAT", "COUNT", "SINCE"),
    "endpoints": ("ENDPOINT", "SITE", "STATUS", "SCORE", "HEALTH", "OBSERVED", "POLL S", "WHY"),
    "slow": ("ENDPOINT", "SITE", "POLL S", "STATUS", "OBSERVED", "FAULT"),
    "collectors": ("COLLECTOR", "OBSERVED", "OUTCOME", "GATHER MS", "BYTES", "FAULT"),
}  # fmt: skip
NUMBERS = frozenset(
    {"ENDPOINTS", *(word.upper() for word in WORDS), "SCORE", "ALERTS", "STALE", "NO", "COUNT", "POLL S", "GATHER MS",
     "BYTES"}
)  # fmt: skip
DROPPED = (
    "WRITTEN", "BYTES", "COUNT", "UNKNOWN", "NO", "STALE", "HEALTH", "WARNING", "GATHER MS", "SITE", "OBSERVED",
    "STATE", "CRITICAL", "SINCE", "POLL S", "OFFLINE", "SEVERITY",
)  # fmt: skip
"""Columns that a narrow terminal does without, the first of them first."""


def cells(row: Any, page: str, now: float, written: Mapping[str, float]) -> tuple[str, ...]:
    """The texts of a row, in the order of COLUMNS."""
    if isinstance(row, SiteLine):
        made: tuple[Any, ...] = _site(row, now, written)
    elif isinstance(row, LiveAlert):
        made = (
            row.number, row.severity, row.state, row.name or "-", row.site, row.summary, row.count,
            since(moment(row.first_at), now),
        )  # fmt: skip
    elif page == "slow":
        made = (row.name, row.site, f"{row.duration_s:.1f}", row.status, since(row.at, now), row.fault)
    else:
        made = _endpoint(row, now)
    return tuple(clean(str(one))[:LONGEST] for one in made)


def _site(row: SiteLine, now: float, written: Mapping[str, float]) -> tuple[Any, ...]:
    return (
        row.site, row.endpoints, *(row.words.get(word, 0) for word in WORDS), "-" if row.score is None else row.score,
        f"{row.critical}/{row.warning}", row.stale, since(row.newest, now), since(written.get(row.site, 0.0), now),
    )  # fmt: skip


def _endpoint(row: Line, now: float) -> tuple[Any, ...]:
    known = row.status != "" and row.health != "Unknown"
    return (
        row.name, row.site, row.status or "never polled", row.score if known else "-", row.health, since(row.at, now),
        f"{row.duration_s:.1f}" if row.at else "", why(row),
    )  # fmt: skip


def why(row: Line) -> str:
    """What took points from an endpoint, or its fault."""
    if row.fault:
        return row.fault
    try:
        reasons = msgspec.json.decode(row.reasons, type=list[str])
    except (msgspec.DecodeError, UnicodeError):
        return "?"
    return "; ".join(reasons[:2])


def collectors(state: EndpointState, now: float) -> list[tuple[str, ...]]:
    """One row for each collector of an endpoint, those with a fault first, what it does not have last."""
    found = sorted(state.collectors.items(), key=lambda item: (item[1].fault is None, item[0]))
    rows: list[tuple[str, ...]] = []
    missing: list[tuple[str, ...]] = []
    for name, known in found:
        of = part(bytes(known.result))
        fault = f"{known.fault.code} {known.fault.message}" if known.fault else ""
        at = since(known.at.timestamp() if known.at else 0.0, now)
        made = (name, at, of.outcome, f"{of.gather_ms:.0f}" if of.gather_ms else "", of.bytes or "", fault)
        listed = missing if of.outcome == "unsupported" else rows  # what it does not have is no trouble
        listed.append(tuple(clean(str(one))[:LONGEST] for one in made))
    return rows + missing


def about(state: EndpointState, now: float) -> str:
    """One line on an endpoint."""
    said = [state.name, state.site, state.status, f"observed {since(state.observed_at.timestamp(), now)}"]
    if state.failures:
        said.append(f"{state.failures} failures in a row")
    if state.fault:
        said.append(f"{state.fault.code}: {state.fault.message}. {state.fault.hint}")
    return clean("  ".join(said))[: 5 * LONGEST]


def moment(text: str) -> float:
    """Seconds since 1970; 0 for a text that is no time."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def since(at: float, now: float) -> str:
    """How long ago, in a few characters."""
    if not at:
        return "never"
    seconds = max(0.0, now - at)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"
