"""Whether a shard may still be polled, asked where it counts: before a visit, a logon, a script, a query, a write.

A process that was stopped for a while goes on in the middle of whatever it did. So the question is put at each of these
places again, and it costs nothing where there is no other collector.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context

from rmm.errors import LeaseLost
from rmm.ports import Fence

log = logging.getLogger(__name__)

_check: ContextVar[Callable[[], object] | None] = ContextVar("rmm_fence", default=None)


def still_ours() -> None:
    """Raises LeaseLost when this is part of a visit whose shard may not be polled any more."""
    check = _check.get()
    if check is not None:
        check()


class Fencing:
    """The fence of one round. `dropped` is told once of each shard that is lost."""

    def __init__(self, fence: Fence | None, dropped: Callable[[str, int], None]) -> None:
        self._fence = fence
        self._dropped = dropped
        self._lost: set[tuple[str, int]] = set()

    def may(self, site: str, shard: int) -> bool:
        """Whether the shard may be polled and written. What was lost once stays lost for this round."""
        if self._fence is None:
            return True
        if (site, shard) in self._lost:
            return False
        try:
            self._fence.fence_of(site, shard)
        except LeaseLost as error:
            log.warning("the round of this shard ends here: %s", error)
            self.drop(site, shard)
            return False
        return True

    def drop(self, site: str, shard: int) -> None:
        """The shard is lost."""
        if (site, shard) not in self._lost:
            self._lost.add((site, shard))
            self._dropped(site, shard)

    def context(self, site: str, shard: int) -> Context | None:
        """The context of a visit, each of whose logons asks first; None: as it is."""
        if self._fence is None:
            return None
        fence, context = self._fence, copy_context()
        context.run(_check.set, lambda: fence.fence_of(site, shard))
        return context
