"""What the hub knows of sites and their collectors."""

from __future__ import annotations

from datetime import datetime

import msgspec

from rmm.model.envelope import Beat, Marks


class Contact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was last heard of one collector of a site.

    Attributes:
        beat: what it said of itself.
        heard_at: when that arrived, by the hub's clock.
        offset_s: how far its clock is ahead of the hub's; negative: behind. The way here counts as well.
        lag_s: how old the oldest of what it has not handed over is, by its own clock: since its `Entry.at`.
        dropped_at: when it was last seen to have given up more than before.
    """

    beat: Beat
    heard_at: datetime
    offset_s: float = 0.0
    lag_s: float = 0.0
    dropped_at: datetime | None = None


class EpochMarks(msgspec.Struct, frozen=True):
    """What is committed of one epoch of a site, and when that last grew."""

    site: str
    epoch: str
    at: datetime
    marks: Marks


class Fence(msgspec.Struct, frozen=True):
    """The revision of a shard's lease under which something was observed, the earliest time under it, and by whom."""

    site: str
    shard: int
    fence: int
    since: datetime
    collector: str = ""


class Refused(msgspec.Struct, frozen=True):
    """How often something of a site was refused for a reason, and when last."""

    site: str
    reason: str
    at: datetime
    number: int
