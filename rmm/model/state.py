"""The last state of an endpoint, as the hot tier keeps it: `EndpointState`, `CollectorState`, `ShardFile`."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rmm.model.observation import Fault


class CollectorState(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt and the last reading of one collector on one endpoint.

    `result` is the encoded CollectorResult of the last attempt that gave readings (JSON, kept undecoded);
    `fault` is the last attempt's fault, None after a success.
    """

    attempted_at: datetime
    at: datetime | None = None  # when `result` was observed
    result: msgspec.Raw = msgspec.Raw(b"null")
    fault: Fault | None = None
    digest: str = ""  # of the values that are stored when they change; equal digest, nothing to store
    deferred_at: datetime | None = None  # the newest poll since the last attempt in which it did not fit
    hung_at: tuple[datetime, ...] = ()  # the newest attempts that hung since `at`, ascending


class EndpointState(msgspec.Struct, frozen=True, kw_only=True):
    """Newest observation wins; older ones change nothing (see `rmm.core.merge`)."""

    endpoint: str
    name: str
    site: str
    observed_at: datetime
    status: str
    fault: Fault | None
    duration_s: float
    epoch: str
    seq: int
    failures: int = 0  # polls in a row with a fault; counts up to 16
    not_before: datetime | None = None  # back-off: no scheduled poll before
    identity: dict[str, str] = {}
    identity_at: datetime | None = None  # when `identity` was observed
    succeeded_at: datetime | None = None  # the last poll without a fault
    failed_at: tuple[datetime, ...] = ()  # the newest polls with a fault since then, ascending
    telemetry: dict[str, float] = {}  # of the newest observation
    collectors: dict[str, CollectorState] = {}
    ahead: dict[str, datetime] = {}  # collectors with readings from a clock that was set back since, and the newest


class ShardFile(msgspec.Struct, frozen=True, kw_only=True):
    """`data/hot/<site>/<shard>.json`."""

    schema: int
    site: str
    shard: int
    written_at: datetime
    endpoints: dict[str, EndpointState]
    days: tuple[int, ...] = ()  # since 1970, on which it was written: see `rmm.core.clock`
