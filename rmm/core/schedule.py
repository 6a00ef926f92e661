"""What is due on an endpoint, and how long a failing one is left alone. Pure: `now` and the jitter are arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from rmm.core.resting import rest
from rmm.core.shard import phase
from rmm.model.state import CollectorState, EndpointState

FAST_S = 300  # collectors at most this slow run in every round that a person starts
STAGGER_FROM_S = 3600  # slower collectors are spread over their interval, endpoint by endpoint
BACKOFF_FIRST_S = 60.0
BACKOFF_CAP_S = 3600.0

# A timer that fires every 300 s is late or early by some seconds; such a visit still counts as the next one.
SLACK_S = 15.0


def due(
    intervals: Mapping[str, int],
    state: EndpointState | None,
    now: datetime,
    *,
    mode: str,
    endpoint: str,
    since: datetime | None = None,
) -> tuple[str, ...]:
    """Names of the collectors to run now: those that did not fit into the last poll first, then by `intervals`.

    Args:
        intervals: collector name -> seconds.
        state: last known state; None for an endpoint that was never polled, on which everything is due.
        now: the time of the round.
        mode: `all` (everything), `round` (fast ones always, slower ones by interval), `due` (strictly by interval).
        endpoint: id, for the stagger.
        since: when another machine was accepted: what was read before is not of this one, and is due at once.
    """
    if state is None:
        return tuple(intervals)
    names = [
        name
        for name, each in intervals.items()
        if mode == "all" or _is_of_before(name, state, since) or _is_due(name, each, state, now, mode, endpoint)
    ]
    return tuple(sorted(names, key=lambda name: not _deferred(state.collectors.get(name))))


def _is_of_before(name: str, state: EndpointState, since: datetime | None) -> bool:
    known = state.collectors.get(name)
    return since is not None and known is not None and known.attempted_at < since


def _deferred(known: CollectorState | None) -> bool:
    return known is not None and known.deferred_at is not None


def _is_due(name: str, interval: int, state: EndpointState, now: datetime, mode: str, endpoint: str) -> bool:
    known = state.collectors.get(name)
    if known is None or known.deferred_at is not None:
        return True
    if known.attempted_at > now + timedelta(seconds=SLACK_S):
        return True  # the clock was set back: an attempt in the future must not hold the collector for ever
    if known.fault is not None and now < known.attempted_at + rest(known, state.identity):
        return False
    if mode == "round" and interval <= FAST_S:
        return True
    return now >= next_due(known.attempted_at, interval, endpoint) - timedelta(seconds=min(SLACK_S, interval / 4))


def next_due(last: datetime, interval: int, endpoint: str) -> datetime:
    """When a collector that ran at `last` is due again.

    Slow collectors keep to their endpoint's own slot of the interval, so that 10,000 endpoints added on one morning
    do not run their daily collectors together for ever; a slot that comes too early (under half an interval) is passed.
    """
    if interval < STAGGER_FROM_S:
        return last + timedelta(seconds=interval)
    offset = phase(endpoint, interval)
    elapsed = last.timestamp() - offset
    slot = (elapsed // interval + 1) * interval + offset
    if slot - last.timestamp() < interval / 2:
        slot += interval
    return datetime.fromtimestamp(slot, UTC)


def backoff(failures: int, jitter: float) -> timedelta:
    """How long an endpoint is left alone after this many failed polls in a row (1, 2, ...).

    Exponential with full jitter (`jitter` in [0, 1)), at least half of the step so that a failing endpoint is never
    hammered, at most an hour.
    """
    if failures < 1:
        return timedelta(0)
    step = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** min(failures - 1, 16))
    return timedelta(seconds=step * (0.5 + 0.5 * jitter))


def rest_after(retry: str, failures: int, jitter: float) -> timedelta:
    """How long an endpoint is left alone after a fault with this retry word.

    R0: not at all, the next round tries as always. RH: as long as the longest back-off, from the first failure on; a
    change of configuration or credential ends it (`held_back`), and so does a person's own round. R1, RB: `backoff`.
    """
    if retry == "R0":
        return timedelta(0)
    return timedelta(seconds=BACKOFF_CAP_S) if retry == "RH" else backoff(failures, jitter)


def held_back(state: EndpointState | None, now: datetime, *, mode: str, changed_at: datetime | None = None) -> bool:
    """Whether back-off keeps a scheduled round (`due`) from this endpoint; a person's own round tries everything.

    `changed_at` is when configuration or credentials were changed last: what was found before says nothing any more.
    """
    if mode != "due" or state is None or state.not_before is None:
        return False
    if changed_at is not None and state.observed_at < changed_at <= now:
        return False
    # A date further away than the longest back-off comes from a clock that was set back since.
    return now < state.not_before <= now + timedelta(seconds=BACKOFF_CAP_S)


def spread(endpoints: Iterable[str], seconds: float) -> list[tuple[float, str]]:
    """Start offsets in seconds, ascending, for a round whose starts are spread over `seconds`."""
    return sorted((phase(endpoint, seconds), endpoint) for endpoint in endpoints)
