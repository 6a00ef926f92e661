"""What a site collector keeps for the hub: the entries of its outgoing log, and the books about them.

An entry has one number in the log, its `place`: the number of the epoch, then the number within the epoch. Places grow
with time, over all epochs.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import msgspec

from rmm.model.envelope import OBSERVATION, Marks

METRICS, CHANGES, ALERTS, AUDIT = 0, 1, 2, 3  # the grades of entries; a full log gives up METRICS alone


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """Something to be kept until the hub has it.

    `id`: what is known already by it is not kept twice. `endpoint`: of an observation. The rest is as `Entry` has it.
    """

    id: str
    body: bytes
    at: datetime
    grade: int = METRICS
    kind: str = OBSERVATION
    endpoint: str = ""
    shard: int = 0
    fence: int = 0


class Row(NamedTuple):
    """What is to be known of an entry to decide when it is sent."""

    place: int
    span: int  # how many numbers it stands for
    size: int  # bytes, compressed
    at: float  # seconds since 1970
    grade: int


class Books(msgspec.Struct, frozen=True, kw_only=True):
    """What the log knows of itself; stored with every change of it.

    Attributes:
        epoch: the number of the newest epoch.
        names: of epochs, as envelopes have them. last: the highest number in each.
        marks: what the newest receipt said, by number of epoch, and no more than there is.
        hub, number, heard: which receipt that was, and when the hub wrote it. retired: starts of the hub before it.
        entries, bytes: of what is not committed. kept, kept_bytes: of what is. Without those that were given up.
        dropped: entries that were given up, ever.
        days: on which there was work: `rmm.core.clock.noted`.
        full_at: when the last entry was given up for want of room or for its age, while that is not over.
        short_at: when something was forgotten last before its time, for want of room, while that counts.
    """

    epoch: int = 0
    names: dict[int, str] = {}
    last: dict[int, int] = {}
    marks: dict[int, Marks] = {}
    hub: str = ""
    number: int = 0
    heard: datetime | None = None
    retired: tuple[str, ...] = ()
    entries: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    dropped: int = 0
    days: tuple[int, ...] = ()
    full_at: datetime | None = None
    short_at: datetime | None = None


class News(msgspec.Struct, frozen=True):
    """What a receipt says that was not known.

    `again`: what was committed is not any more, or the hub has begun anew: what may be on its way has to be asked for
    again. `come`, `gone`: spans of places that are committed now, and those that are not any more.
    """

    again: bool
    come: tuple[tuple[int, int], ...]
    gone: tuple[tuple[int, int], ...]


class Spooled(msgspec.Struct, frozen=True, kw_only=True):
    """How the log stands, for people."""

    entries: int = 0  # that are not committed at the hub
    bytes: int = 0
    oldest: datetime | None = None  # of them
    kept: int = 0  # that are, and are kept for a hub that is restored
    kept_bytes: int = 0
    dropped: int = 0  # that were given up, ever
    lost: int = 0  # of them, since the log was opened; of its writer alone, like the rest
    heard: datetime | None = None  # when the hub wrote the newest receipt
    limit: int = 0  # bytes that may wait
    problems: tuple[str, ...] = ()  # in words
