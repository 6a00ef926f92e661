"""What a round has to do: shards with their endpoints, and each endpoint whose turn has come."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from rmm.core.coerce import shown
from rmm.errors import RmmError
from rmm.model.endpoint import Endpoint
from rmm.model.observation import COLLECTOR_FAULT, TIMEOUT, Fault, Observation
from rmm.model.state import EndpointState
from rmm.poller.lanes import Countdown
from rmm.ports import Session, ShardStore


class ShardWork(msgspec.Struct, frozen=True):
    """One shard of one site with the endpoints to visit."""

    site: str
    shard: int
    endpoints: tuple[Endpoint, ...]

    @property
    def key(self) -> tuple[str, int]:
        """Site and shard."""
        return self.site, self.shard


class Due(NamedTuple):
    """One endpoint on which something is due, and whom its end concerns."""

    endpoint: Endpoint
    shard: ShardWork
    seq: int
    collectors: tuple[str, ...]
    state: EndpointState | None
    store: ShardStore
    fast: Countdown
    all_done: Countdown
    turn: float  # monotonic time at which it was to begin
    sessions: list[Session]  # that its visit has opened


def was_slow(state: EndpointState | None) -> bool:
    """Whether the last poll ran out of time after it was connected."""
    return state is not None and state.status == TIMEOUT


def broken(one: Due, error: Exception, epoch: str, now: datetime) -> Observation:
    """The observation of a visit that failed by a defect of ours."""
    return Observation(
        endpoint=one.endpoint.id,
        name=one.endpoint.name,
        site=one.shard.site,
        shard=one.shard.shard,
        observed_at=now,
        duration_s=0.0,
        status=COLLECTOR_FAULT,
        fault=Fault("internal", "R0", RmmError.hint, shown(f"{type(error).__name__}: {error}", 500)),
        collectors={},
        epoch=epoch,
        seq=one.seq,
    )
