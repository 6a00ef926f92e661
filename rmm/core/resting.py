"""How long a single collector is let alone on one endpoint, after what became of its last attempts. Pure.

    last attempt                          next attempt
    reading, or any other fault           by its interval
    the endpoint lacks what it reads      a day later, or after the build of its system changed
    ... which it had within that day      an hour later
    hung, or ended its shell              15 minutes later, then 30, 60 ... up to 6 hours

A collector that hangs costs the others of its endpoint their time. `rmm poll --all` asks all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from rmm.core.records import ERROR_IDS, HRESULTS
from rmm.model.observation import CollectorResult
from rmm.model.state import CollectorState, EndpointState

HUNG = frozenset({"script.timeout", "quota.shell"})
HUNG_FIRST = timedelta(minutes=15)
HUNG_LONGEST = timedelta(hours=6)
MOST_HUNG = 8  # that are counted: the longest rest is reached before
LACKING_FOR = timedelta(days=1)
LACKING_FIRST = timedelta(hours=1)  # where it was there a day ago: a service that stopped takes its counters with it
# A profile that was made anew is there at once, and asking for it costs nothing.
LACKING = frozenset(verdict.code for verdict in (*HRESULTS.values(), *ERROR_IDS.values()) if verdict.unsupported) - {
    "jea.collector"
}


def rest(known: CollectorState, identity: Mapping[str, str]) -> timedelta:
    """How long after its last attempt a collector is not asked, whatever its interval; 0 for most."""
    if known.fault is None:
        return timedelta(0)
    if known.fault.code in LACKING:
        if _built_since(identity, known.attempted_at):
            return timedelta(0)
        return LACKING_FIRST if _had(known) else LACKING_FOR
    if known.fault.code not in HUNG:
        return timedelta(0)
    # A state that an older version kept counts none.
    return min(HUNG_LONGEST, HUNG_FIRST * (1 << max(0, len(known.hung_at) - 1)))


def _had(known: CollectorState) -> bool:
    """Whether the endpoint gave this collector's readings shortly before it lacked them."""
    return known.at is not None and known.attempted_at - known.at < LACKING_FOR


def hung(known: Iterable[datetime], fault_code: str, at: datetime, reading_at: datetime | None) -> tuple[datetime, ...]:
    """Times of the attempts that hung since the last reading, this one included; no order of observations matters."""
    times = {*known, at} if fault_code in HUNG else known
    return tuple(sorted(time for time in times if reading_at is None or time > reading_at)[-MOST_HUNG:])


class _Build(msgspec.Struct):
    readings: tuple[dict[str, object], ...] = ()


_decoder = msgspec.json.Decoder(_Build)


def build_changed(state: EndpointState | None, result: CollectorResult | None, now: datetime) -> dict[str, str]:
    """What is kept with an endpoint's identity of a new build of its system: `build_at`, for as long as it matters.

    `result` is what this poll's `os` collector gave, None where it did not run.
    """
    if state is None:
        return {}
    if result is not None and result.readings and (before := state.collectors.get("os")) is not None:
        try:
            known = _decoder.decode(bytes(before.result)).readings
        except msgspec.DecodeError:
            known = ()
        if known and known[0].get("build") != result.readings[0].get("build"):
            return {"build_at": now.isoformat(timespec="seconds")}
    at = state.identity.get("build_at", "")
    return {"build_at": at} if at and _built_since(state.identity, now - LACKING_FOR) else {}


def _built_since(identity: Mapping[str, str], at: datetime) -> bool:
    try:
        return datetime.fromisoformat(identity.get("build_at", "")) > at
    except (ValueError, TypeError):
        return False
