"""Leases of shards, as data: what is written into the bucket, and what a holder knows. See `rmm.core.lease`."""

from __future__ import annotations

import msgspec

BUCKET = "rmm_leases"

HELD, EXPIRED, LOST, OFFLINE = "held", "expired", "lost", "offline"


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """How long things take, in seconds. `ttl` is the bucket's too; `renew` fits into it at least twice."""

    ttl: float = 15.0  # after so long without a write the broker forgets a key
    renew: float = 5.0
    margin: float = 2.0  # a holder stops so long before the broker forgets, by its own clock
    patience: float = 3.0  # for one turn of questions to the broker
    verify: float = 6.0  # a broker that answered nothing for so long, to two turns, cannot be reached
    settle: float = 8.0  # who has just come (back) takes nothing that it did not hold, nor is anything given to it
    give_up: float = 120.0  # a round that goes on for so long does not keep a shard that belongs to another


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """The value of `<site>.shard.<n>`. JSON.

    `fence` is 0 in the write that takes the shard, as nobody knows a revision before it is given: `fence_of` tells.
    `floor`: the highest fence that its holder has seen of this shard: a broker that has lost its store begins to
    count anew, and what was fenced at the hub would fence those who come after it.
    """

    collector: str
    holder: str  # random per start of the process
    fence: int = 0
    floor: int = 0


class Member(msgspec.Struct, frozen=True):
    """The value of `<site>.member.<collector>`. JSON."""

    holder: str


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """The right to a shard, as its holder knows it.

    Attributes:
        site: where.
        shard: which.
        fence: the revision at which it was taken; it stays the same until somebody else takes the shard.
        state: held | expired | lost | offline.
        until: the reading of the holder's clock up to which it may poll and write.
        revision: of the key, as far as the holder knows.
    """

    site: str
    shard: int
    fence: int
    state: str = HELD
    until: float = float("inf")
    revision: int = 0


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a collector keeps of its leases on its own disk. JSON."""

    held: dict[int, int] = {}  # shard -> fence, of those that it held last
    floors: dict[int, int] = {}  # shard -> the highest fence that it has seen
