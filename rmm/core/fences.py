"""Which leases of shards were in use since when, and what was written under one that was over. Pure.

An entry is stale when another collector had begun under a later lease before it was written. Not only the newest lease
counts: a collector that was cut off has its shards back by the time at which its backlog comes, and what it wrote while
another one had them is between two leases of its own. Leases of the same collector never make each other's entries
stale: it is one process at a time, whatever its clock does.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from datetime import UTC

from rmm.model.envelope import Entry
from rmm.model.sites import Fence

MOST = 64  # leases of a shard that are remembered; each start of a collector takes one


class Fences:
    """All of all sites. `moved` is to be written, `dropped` to be forgotten, then `written` says how much of it was."""

    def __init__(self, known: Iterable[Fence] = ()) -> None:
        self._known: dict[tuple[str, int], list[Fence]] = {}  # the newest at the end
        self.moved: list[Fence] = []
        self.dropped: list[Fence] = []
        for one in known:
            self._add(one)

    def is_stale(self, site: str, collector: str, entry: Entry) -> bool:
        """Whether it was written when its lease was over; what is newer is remembered.

        Of a site whose collectors need no leases nothing is.
        """
        if not entry.fence:
            return False
        at = entry.at.astimezone(UTC)
        for one in reversed(self._known.get((site, entry.shard), ())):
            if one.fence <= entry.fence:
                if one.fence == entry.fence and at >= one.since:
                    return False
                break
            if one.since < at and one.collector != collector:
                return True
        fence = Fence(site, entry.shard, entry.fence, at, collector)
        self._add(fence)
        self.moved.append(fence)
        return False

    def written(self, moved: int, dropped: int) -> None:
        """The first so many are durable; others may have come meanwhile."""
        del self.moved[:moved]
        del self.dropped[:dropped]

    def _add(self, fence: Fence) -> None:
        known = self._known.setdefault((fence.site, fence.shard), [])
        known[:] = [one for one in known if one.fence != fence.fence]
        insort(known, fence, key=lambda one: one.fence)
        if len(known) > MOST:
            self.dropped.append(known.pop(0))
