"""What holds when the collector's clock is set: states from a future that is none, and ages that are none. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from rmm.model.state import CollectorState, EndpointState

AHEAD = timedelta(minutes=30)  # how far in the future a time may be: site collectors have clocks of their own
WITNESS = 8  # days in which there must have been another day of work before anything is forgotten
KEPT = 16  # days of work that are remembered


def is_ahead(at: datetime, now: datetime) -> bool:
    """Whether a time comes from a clock that was set back since."""
    return at > now + AHEAD


def brought_back(state: EndpointState, now: datetime) -> EndpointState:
    """The state as if it were of a moment ago where it is ahead of the clock, so that what is observed now is newer.

    Otherwise an endpoint would show what it was in an hour, or in a year, until that comes. `ahead` keeps what times
    the cold tier has readings of.
    """
    if not is_ahead(state.observed_at, now):
        return state
    then = now - timedelta(microseconds=1)
    ahead = {name: known.at for name, known in state.collectors.items() if known.at is not None and known.at > then}
    return msgspec.structs.replace(
        state,
        observed_at=then,
        succeeded_at=_least(state.succeeded_at, then),
        failed_at=_distinct(state.failed_at, then),
        identity_at=_least(state.identity_at, then),
        collectors={name: _collector(known, then) for name, known in state.collectors.items()},
        ahead=still_ahead({**ahead, **{n: max(at, ahead.get(n, at)) for n, at in state.ahead.items()}}, then),
    )


def still_ahead(ahead: dict[str, datetime], at: datetime) -> dict[str, datetime]:
    """Those that are newer than `at`."""
    return {name: newest for name, newest in ahead.items() if newest > at} if ahead else ahead


def _collector(known: CollectorState, then: datetime) -> CollectorState:
    return msgspec.structs.replace(
        known,
        attempted_at=min(known.attempted_at, then),
        at=_least(known.at, then),
        deferred_at=_least(known.deferred_at, then),
        hung_at=_distinct(known.hung_at, then),
    )


def _least(at: datetime | None, then: datetime) -> datetime | None:
    return None if at is None else min(at, then)


def _distinct(times: Iterable[datetime], then: datetime) -> tuple[datetime, ...]:
    return tuple(sorted({min(at, then) for at in times}))


def noted(days: tuple[int, ...], today: int) -> tuple[int, ...]:
    """The days (since 1970) on which there was work, in the order in which they were noted, with today."""
    return (*(day for day in days if day != today), today)[-KEPT:]


def settled(days: tuple[int, ...], today: int) -> bool:
    """Whether an age can be believed: a clock that has just been set, or a collector that was off, has no day before.

    Yesterday may have been a minute ago, so it does not count: a clock that is a year ahead for a day forgets nothing.
    """
    return any(today - WITNESS <= day < today - 1 for day in days)
