"""Whether a shard may still be polled, asked where it counts: before a visit, a logon, a script, a query, a write.

A process that was stopped for a while goes on in the middle of whatever it did. So the question is put at each of these
places again, and it costs nothing where there is no other collector.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context

import msgspec

from rmm.errors import LeaseLost
from rmm.model.observation import LEASE, Observation
from rmm.ports import Fence

log = logging.getLogger(__name__)

_check: ContextVar[Callable[[], object] | None] = ContextVar("rmm_fence", default=None)


def still_ours() -> None:
    """Raises LeaseLost when this is part of a visit whose shard may not be polled any more."""
    check = _check.get()
    if check is not None:
        check()


def marked(observation: Observation, fence: int) -> Observation:
    """The observation with the fence under which it was made; it may wait in the spool until there is another one."""
    if not fence:
        return observation
    return msgspec.structs.replace(observation, telemetry=observation.telemetry | {LEASE: float(fence)})


class Fencing:
    """The fence of one round. `dropped` is told once of each shard that is lost."""

    def __init__(self, fence: Fence | None, dropped: Callable[[str, int], None]) -> None:
        self._fence = fence
        self._dropped = dropped
        self._lost: set[tuple[str, int]] = set()

    def may(self, site: str, shard: int) -> bool:
        """Whether the shard may be polled and written. What was lost once stays lost for this round."""
        return self.under(site, shard) is not None

    def under(self, site: str, shard: int) -> int | None:
        """The fence under which the shard may be polled and written now; 0 where there is none, None: it may not be."""
        if self._fence is None:
            return 0
        if (site, shard) in self._lost:
            return None
        try:
            return self._fence.fence_of(site, shard)
        except LeaseLost as error:
            log.warning("the round of this shard ends here: %s", error)
            self.drop(site, shard)
            return None

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
