"""What one poll of one endpoint left behind: `Observation`, with readings or faults, and its encoding.

An observation is immutable; (`site`, `epoch`, `seq`) identifies it, so redelivery can be told from news.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rmm.model.identity import Refusal

SCHEMA = 1

Scalar = str | int | float | bool | None
Row = dict[str, Any]  # field name -> Scalar; every key column and every declared field is present
Document = dict[str, list[dict[str, Any]]]  # raw output: source name -> instances -> property -> JSON scalar or list

# The status words of an observation.
OK, PARTIAL = "OK", "PARTIAL"
UNREACHABLE, TIMEOUT, REBOOTING = "UNREACHABLE", "TIMEOUT", "REBOOTING"
AUTH_REJECTED, AUTH_HELD, ACCESS_DENIED = "AUTH_REJECTED", "AUTH_HELD", "ACCESS_DENIED"
TLS_ERROR, IDENTITY_MISMATCH, QUOTA, CONFIG = "TLS_ERROR", "IDENTITY_MISMATCH", "QUOTA", "CONFIG"
PROTOCOL_ERROR, UNSUPPORTED = "PROTOCOL_ERROR", "UNSUPPORTED"
SITE_DOWN, COLLECTOR_FAULT = "SITE_DOWN", "COLLECTOR_FAULT"

LEASE = "lease"  # in the telemetry: the fence under which one of several collectors polled it


class Fault(msgspec.Struct, frozen=True):
    """Machine-readable cause of a failure; `message` is for people and may hold text from the endpoint.

    `sample` is the beginning of what could not be read, scrubbed of names and secrets (`rmm.core.sample`).
    """

    code: str
    retry: str = "R0"  # R0 | R1 | RB | RH
    hint: str = ""
    message: str = ""
    sample: str = ""


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change of an inventory: a row was added or removed, or one of its fields changed.

    `key`: the row's key fields, joined by |; empty where there is one row only. `row`: as it is now; of one that was
    removed, as it was.
    """

    what: str  # added | removed | changed
    key: str = ""
    field: str = ""
    before: Any = None
    after: Any = None
    row: Row = {}


class CollectorResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One collector's part of an observation.

    `outcome`: ok (readings), partial (readings, and `notes` says which fields are missing and why), unsupported,
    fault, or not_run (it did not fit into the poll, `fault` says why, and it comes first in the next one). A field
    that could not be had is None in its row and `notes[field]` is one of no_data_yet,
    unsupported, access_denied, unknown, invalid.
    """

    outcome: str
    readings: tuple[Row, ...] = ()
    fault: Fault | None = None
    notes: dict[str, str] = {}
    gather_ms: float = 0.0  # on the endpoint, as the runner measured it
    bytes: int = 0  # size of the raw output
    changes: tuple[Change, ...] = ()  # of an inventory, since the reading before
    counters: dict[str, Any] = {}  # what the next poll needs of this one: raw samples, bookmarks; not shown to people


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Exactly one per poll, success or not.

    Attributes:
        endpoint: endpoint id. name: its ComputerName as configured.
        observed_at: when the poll began, the site collector's clock, UTC-aware.
        duration_s: from the first byte to the last.
        epoch: random per start of the poller (16 hex digits); seq: 1, 2, ... within site, shard and epoch.
        identity: evidence gathered in the session, such as {"name": "SRV01"}.
        refused: of IDENTITY_MISMATCH, which machine answered; it is no evidence of this endpoint.
        errors: error identifiers that the pipeline left although it completed; the observation is PARTIAL for them.
        telemetry: requests, bytes_in, bytes_out, and milliseconds of connect, auth, open, run;
            unknown_messages where PSRP messages came whose types the protocol does not have; `LEASE`.
    """

    endpoint: str
    name: str
    site: str
    shard: int
    observed_at: datetime
    duration_s: float
    status: str
    fault: Fault | None
    collectors: dict[str, CollectorResult]
    epoch: str
    seq: int
    identity: dict[str, str] = {}
    telemetry: dict[str, float] = {}
    errors: tuple[str, ...] = ()
    schema: int = SCHEMA
    refused: Refusal | None = None

    @property
    def id(self) -> str:
        """`site/shard/epoch/seq`."""
        return f"{self.site}/{self.shard}/{self.epoch}/{self.seq}"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Observation)


def encode_observation(observation: Observation) -> bytes:
    """One JSON object, UTF-8, without a line end. This is the format of the spool and of the bus."""
    return _encoder.encode(observation)


def decode_observation(data: bytes) -> Observation:
    """The inverse; raises `msgspec.ValidationError` or `msgspec.DecodeError` for anything else."""
    try:
        return _decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(type(error).__name__) from error
