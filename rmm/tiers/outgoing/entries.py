"""Entries of the outgoing log: from what is handed over to what is kept, and from that to what is sent."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from hashlib import blake2b

from rmm.core.outgoing import lightened, number_of
from rmm.core.sealing import pressed, unpressed
from rmm.errors import EnvelopeError
from rmm.model.envelope import DROPPED, OBSERVATION, Entry
from rmm.model.outgoing import METRICS, Item, Row
from rmm.tiers.outgoing.shelf import Stored

log = logging.getLogger(__name__)

MOST_PRESSED = 440 << 10  # bytes of one entry, compressed: what fits into an envelope
MOST_RAW = 16 << 20  # and before that
ROW = 120  # bytes that an entry takes beside its body
SINCE = datetime(1970, 1, 1, tzinfo=UTC)


def stored_of(item: Item) -> Stored:
    """What a shelf keeps of an item; what no envelope would take is made to fit, or is given up."""
    at = micros(item.at)
    digest = blake2b(item.id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    kind, grade = item.kind, item.grade
    raw: bytes | None = item.body
    body = _pressed(item.body)
    if body is None:
        raw = lightened(item.body, lambda made: _pressed(made) is not None) if kind == OBSERVATION else None
        body = _pressed(raw) if raw is not None else None
        log.warning(
            "%s has %d bytes, more than an envelope may: the hub gets %s, the history of this site has all",
            item.id,
            len(item.body),
            "nothing of it" if raw is None else "it without what the largest collectors found",
        )
    if raw is None or body is None:
        return Stored(Row(0, 1, 0, at / 1e6, METRICS), DROPPED, at, id=digest)
    return Stored(
        Row(0, 1, len(body) + ROW, at / 1e6, grade),
        kind,
        at,
        body,
        len(raw),
        digest,
        item.endpoint if kind == OBSERVATION else "",
        item.shard,
        item.fence,
    )


def _pressed(body: bytes) -> bytes | None:
    """Compressed; None where it does not fit into an envelope."""
    if len(body) > MOST_RAW:
        return None
    made = pressed(body)
    return made if len(made) <= MOST_PRESSED else None


def entry_of(stored: Stored) -> Entry:
    """What is sent of it."""
    number = number_of(stored.row.place)[1]
    at = SINCE + timedelta(microseconds=stored.at)
    if stored.kind == DROPPED:
        return Entry(number, DROPPED, at, count=stored.row.span)
    try:
        body = unpressed(stored.body, stored.raw, MOST_RAW)
    except EnvelopeError as error:
        log.warning("an entry of the outgoing log is given up: %s", error)
        return Entry(number, DROPPED, at)
    return Entry(number, stored.kind, at, body, stored.shard, stored.fence)


def micros(at: datetime) -> int:
    """Microseconds since 1970."""
    return (at - SINCE) // timedelta(microseconds=1)
