"""What travels between a site and the hub: envelopes up, receipts down; their encoding, and what is signed of them.

Both are MessagePack maps, so that a party one version older or newer skips fields that it does not know and fills in
those that it lacks. The body of an envelope is compressed as a whole. A signature is Ed25519 (RFC 8032) over a prefix
that says what is signed, then the signed bytes; who has the keys is no business of this module.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

SCHEMA = 1

OBSERVATION, AUDIT, ROUND, DROPPED = "observation", "audit", "round", "dropped"  # the kinds of entries

ENVELOPE_CONTEXT, RECEIPT_CONTEXT = b"rmm envelope 1\0", b"rmm receipt 1\0"


def _schema() -> int:
    """A default that `omit_defaults` does not leave out: a reader of another version would put its own in its place."""
    return SCHEMA


Span = tuple[int, int]  # first and last, both part of it


class Marks(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of 1 to `high`, and the spans `above` it: ascending, apart from each other and from `high`."""

    high: int = 0
    above: tuple[Span, ...] = ()


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a site has to tell. Its identity is (site, epoch, seq).

    Attributes:
        seq: 1, 2, ... within the epoch, without gaps.
        kind: observation | audit | round | dropped; the hub keeps the number of a kind that it does not know.
        at: when the site wrote it down, by its own clock; of an observation with a fence, when its poll was over.
        body: observation: as `encode_observation` has it. audit: an `Act`. round: a `RoundEnd`. dropped: nothing.
        shard: of an observation. fence: the revision of the lease under which it was polled; 0 where there is none.
        count: of dropped, how many numbers from `seq` on it stands for.
    """

    seq: int
    kind: str
    at: datetime
    body: bytes = b""
    shard: int = 0
    fence: int = 0
    count: int = 1


class RoundEnd(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of a round at a site: what `Coordinator.finish` is told. JSON in an entry."""

    began: datetime
    ended: datetime
    planned: int = 0
    tried: int = 0
    faults: tuple[tuple[str, str, str, str], ...] = ()  # code, retry, hint, message of the collector's own


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """Some entries of one epoch, ascending; what is between the first and the last is not always in it."""

    site: str
    collector: str  # the id of the site collector, made when it was enrolled
    epoch: str  # random per start of the collector's forwarding, 16 hex digits
    sent_at: datetime
    entries: tuple[Entry, ...]
    schema: int = SCHEMA


class Sealed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An envelope as it travels. `body`: the entries as MessagePack, compressed by zstd.

    The signature is over ENVELOPE_CONTEXT and this map without it.
    """

    schema: int
    site: str
    collector: str
    epoch: str
    sent_at: datetime
    first: int
    last: int
    size: int  # of the body before it was compressed, in bytes
    body: bytes
    signature: bytes = b""


class Receipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the hub's database has of a site, after it has committed: all that it knows, not what is new.

    `hub` is random per start of the hub, `number` grows within it: a receipt that is older than one that was seen is
    ignored. An epoch that is not in `marks` is one that the hub knows nothing of (any more). `wanted`: the gaps.
    """

    site: str
    hub: str
    number: int
    at: datetime
    marks: dict[str, Marks]  # by epoch
    wanted: dict[str, tuple[Span, ...]] = {}
    refused: dict[str, int] = {}  # reason -> envelopes and observations of this site that were refused
    schema: int = msgspec.field(default_factory=_schema)
    signature: bytes = b""  # the last field that is sent, of whatever version


class Beat(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a site collector says of itself every few seconds; it is not spooled. JSON."""

    site: str
    collector: str
    at: datetime  # its clock
    version: str
    started_at: datetime
    bundle: str = ""  # version of the configuration that it runs
    spooled: int = 0  # entries that are not committed
    spool_bytes: int = 0
    oldest: datetime | None = None  # `Entry.at` of the oldest of them
    dropped: int = 0  # entries that were given up since the start
    spool_limit: int = 0  # bytes that may wait; 0: it does not say
    shards: tuple[int, ...] = ()  # that it holds
    endpoints: int = 0
    expires_at: datetime | None = None  # of its certificate
    polled_at: datetime | None = None  # the last end of a round
    problems: tuple[str, ...] = ()  # in words
    refused: int = 0  # configurations of the hub that were refused, ever
