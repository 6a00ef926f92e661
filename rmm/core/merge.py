"""The fold of observations into an endpoint's last state: idempotent and order-free.

Newest `observed_at` wins, for the endpoint and for each collector by itself; (epoch, seq) breaks ties, so every order
of the same observations, each any number of times, gives the same state. Only `failures`, the length of the current
run of faults, is counted as observations arrive.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import CollectorState, EndpointState

_encode = msgspec.json.Encoder().encode

GAVE_READINGS = frozenset({"ok", "partial", "unsupported"})


def merge(
    state: EndpointState | None,
    observation: Observation,
    not_before: datetime | None = None,
    digests: Mapping[str, str] | None = None,
) -> EndpointState:
    """`state` after `observation`; `state` itself (the same object) where the observation is old news.

    `not_before` is the back-off that was decided for this observation; it is kept with the newest one. `digests`
    (collector name -> digest) is kept beside the readings it belongs to.
    """
    digests = digests or {}
    stamp = (observation.observed_at, observation.epoch, observation.seq)
    if state is None:
        return _fresh(observation, not_before, digests)
    newest = (state.observed_at, state.epoch, state.seq)
    if stamp == newest:
        return state
    collectors = _collectors(state.collectors, observation, digests)
    if stamp < newest:
        return state if collectors is state.collectors else msgspec.structs.replace(state, collectors=collectors)
    failed = observation.fault is not None
    return EndpointState(
        endpoint=observation.endpoint,
        name=observation.name,
        site=observation.site,
        observed_at=observation.observed_at,
        status=observation.status,
        fault=observation.fault,
        duration_s=observation.duration_s,
        epoch=observation.epoch,
        seq=observation.seq,
        failures=state.failures + 1 if failed else 0,
        not_before=not_before if failed else None,
        identity=observation.identity or state.identity,
        collectors=collectors,
    )


def _fresh(observation: Observation, not_before: datetime | None, digests: Mapping[str, str]) -> EndpointState:
    failed = observation.fault is not None
    return EndpointState(
        endpoint=observation.endpoint,
        name=observation.name,
        site=observation.site,
        observed_at=observation.observed_at,
        status=observation.status,
        fault=observation.fault,
        duration_s=observation.duration_s,
        epoch=observation.epoch,
        seq=observation.seq,
        failures=1 if failed else 0,
        not_before=not_before if failed else None,
        identity=observation.identity,
        collectors=_collectors({}, observation, digests),
    )


def _collectors(
    known: dict[str, CollectorState], observation: Observation, digests: Mapping[str, str]
) -> dict[str, CollectorState]:
    at = observation.observed_at
    changed: dict[str, CollectorState] = {}
    for name, result in observation.collectors.items():
        before = known.get(name)
        after = _collector(before, result, at, digests.get(name, ""))
        if after is not before:
            changed[name] = after
    return {**known, **changed} if changed else known


def _collector(before: CollectorState | None, result: CollectorResult, at: datetime, digest: str) -> CollectorState:
    """The newest attempt gives `fault`, the newest reading gives `result`; a tie changes nothing."""
    if before is None:
        before = CollectorState(attempted_at=datetime.min.replace(tzinfo=at.tzinfo))
    newer_attempt = at > before.attempted_at
    newer_reading = result.outcome in GAVE_READINGS and (before.at is None or at > before.at)
    if not newer_attempt and not newer_reading:
        return before
    return CollectorState(
        attempted_at=at if newer_attempt else before.attempted_at,
        at=at if newer_reading else before.at,
        result=msgspec.Raw(_encode(result)) if newer_reading else before.result,
        fault=result.fault if newer_attempt else before.fault,
        digest=digest if newer_reading else before.digest,
    )
