"""The fold of observations into an endpoint's last state: idempotent and order-free.

Newest `observed_at` wins, for the endpoint and for each collector by itself; (epoch, seq), and for a collector the
encoded result, break ties. So every order of the same observations, each any number of times, gives the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from rmm.core.clock import still_ahead
from rmm.core.resting import hung
from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import CollectorState, EndpointState

GAVE_READINGS = frozenset({"ok", "partial", "unsupported"})
MOST_FAILED = 16  # failures that are counted; back-off has reached its longest step before

_encode = msgspec.json.Encoder().encode
_never = datetime(1, 1, 1, tzinfo=UTC)


def merge(
    state: EndpointState | None,
    observation: Observation,
    not_before: datetime | None = None,
    digests: Mapping[str, str] | None = None,
) -> EndpointState:
    """`state` after `observation`; `state` itself (the same object) where the observation is known already.

    `not_before` is the back-off that was decided for this observation; it is kept with the newest one. `digests`
    (collector name -> digest) is kept beside the readings it belongs to.
    """
    if state is None:
        state = _nothing(observation)
    newest = (observation.observed_at, observation.epoch, observation.seq) > (state.observed_at, state.epoch, state.seq)
    failed = observation.fault is not None
    succeeded_at, failed_at = _run_of_failures(state, observation.observed_at, failed=failed)
    identity, identity_at = _identity(state, observation)
    collectors = _collectors(state.collectors, observation, digests or {})
    if not newest:
        same = succeeded_at == state.succeeded_at and failed_at == state.failed_at and identity is state.identity
        if same and collectors is state.collectors:
            return state
    last = observation if newest else state
    return EndpointState(
        endpoint=last.endpoint,
        name=last.name,
        site=last.site,
        observed_at=last.observed_at,
        status=last.status,
        fault=last.fault,
        duration_s=last.duration_s,
        epoch=last.epoch,
        seq=last.seq,
        failures=len(failed_at),
        not_before=state.not_before if not newest else not_before if failed else None,
        identity=identity,
        identity_at=identity_at,
        succeeded_at=succeeded_at,
        failed_at=failed_at,
        telemetry=last.telemetry,
        collectors=collectors,
        ahead=still_ahead(state.ahead, last.observed_at),
    )


def _nothing(observation: Observation) -> EndpointState:
    """The state of an endpoint of which nothing is known: older than every observation."""
    return EndpointState(
        endpoint=observation.endpoint,
        name=observation.name,
        site=observation.site,
        observed_at=_never,
        status="",
        fault=None,
        duration_s=0.0,
        epoch="",
        seq=0,
    )


def _run_of_failures(
    state: EndpointState, at: datetime, *, failed: bool
) -> tuple[datetime | None, tuple[datetime, ...]]:
    """(last success, the newest failures since): kept as times, because a mere count would depend on the order."""
    succeeded_at = state.succeeded_at
    if not failed and (succeeded_at is None or at > succeeded_at):
        succeeded_at = at
    times = {*state.failed_at, at} if failed else state.failed_at
    since = sorted(time for time in times if succeeded_at is None or time > succeeded_at)
    return succeeded_at, tuple(since[-MOST_FAILED:])


def _identity(state: EndpointState, observation: Observation) -> tuple[dict[str, str], datetime | None]:
    """The newest evidence; polls that found none keep it."""
    at = observation.observed_at
    if not observation.identity or (state.identity_at is not None and at < state.identity_at):
        return state.identity, state.identity_at
    if at == state.identity_at and sorted(observation.identity.items()) <= sorted(state.identity.items()):
        return state.identity, state.identity_at
    return observation.identity, at


def _collectors(
    known: dict[str, CollectorState], observation: Observation, digests: Mapping[str, str]
) -> dict[str, CollectorState]:
    at = observation.observed_at
    changed: dict[str, CollectorState] = {}
    for name, result in observation.collectors.items():
        before = known.get(name)
        after = _collector(before or CollectorState(attempted_at=_never), result, at, digests.get(name, ""))
        if after is not before:
            changed[name] = after
    if not changed:
        return known
    # By name, so that the order in which collectors were first seen leaves no trace.
    return dict(sorted({**known, **changed}.items()))


def _collector(before: CollectorState, result: CollectorResult, at: datetime, digest: str) -> CollectorState:
    """The newest attempt gives `fault`, the newest reading gives `result`; what did not fit was no attempt."""
    if result.outcome == "not_run":
        if at <= max(before.attempted_at, before.deferred_at or _never):
            return before
        return msgspec.structs.replace(before, deferred_at=at)
    attempt = at > before.attempted_at or (at == before.attempted_at and _encode(result.fault) > _encode(before.fault))
    encoded = b""
    if result.outcome in GAVE_READINGS and (before.at is None or at >= before.at):
        encoded = _encode(result)
        if at == before.at and encoded <= bytes(before.result):
            encoded = b""
    read_at = at if encoded else before.at
    hung_at = hung(before.hung_at, result.fault.code if result.fault else "", at, read_at)
    if not attempt and not encoded and hung_at == before.hung_at:
        return before
    return CollectorState(
        attempted_at=at if attempt else before.attempted_at,
        at=read_at,
        result=msgspec.Raw(encoded) if encoded else before.result,
        fault=result.fault if attempt else before.fault,
        digest=digest if encoded else before.digest,
        deferred_at=before.deferred_at if before.deferred_at and before.deferred_at > at else None,
        hung_at=hung_at,
    )
