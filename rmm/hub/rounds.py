"""When the coordinator judges a site, and what it does as time passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence

from rmm.errors import LeaseLost, TierError
from rmm.hub.books import Books
from rmm.hub.folding import Folding
from rmm.hub.ingest import Ingest
from rmm.model.observation import Fault
from rmm.ports import Clock
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.database import UNFIT

log = logging.getLogger(__name__)

LOOK_S = 1.0
PATIENCE_S = 120.0  # a site that sends observations and no end of a round is judged after that
FAULTS_S = 900.0
PASS_S = 15.0
FORGET_S = 3600.0
FLUSH_S = 5.0
DEFECT_S = 10.0  # after a defect of ours


class Rounds:
    """One per process.

    Args:
        listed: ids of all endpoints that the configuration has.
        passes: whether what time does is done here, and not by another process.
    """

    def __init__(
        self, coordinator: Folding, ingest: Ingest, books: Books, clock: Clock, listed: Collection[str], *,
        passes: bool = True,
    ) -> None:  # fmt: skip
        self._coordinator = coordinator
        self._ingest = ingest
        self._books = books
        self._clock = clock
        self._listed = listed
        self._passes = passes
        self._waiting: dict[str, float] | None = None  # site -> since when something of it is not judged
        self._faults: dict[str, tuple[float, Sequence[Fault]]] = {}  # what its last round found, and when that came
        self._passed = self._flushed = clock.monotonic()
        self._forgot = float("-inf")

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                await self.look()
            except (TierError, LeaseLost) as error:
                log.debug("judging waits: %s", error)
            except Exception:  # a defect must not keep the hub from taking what comes
                log.exception("judging failed inside rmm")
                await asyncio.sleep(DEFECT_S)

    async def look(self) -> None:
        """What is due now. Raises TierError and LeaseLost, and then it is due still."""
        at = self._clock.monotonic()
        if self._waiting is None:  # what an earlier process took and did not judge
            self._waiting = {site: at for site in self._coordinator.awaiting if self._books.knows(site)}
        for site in self._coordinator.seen:
            self._waiting.setdefault(site, at)
        ended = dict(self._ingest.ended)
        due = {site: self._known_faults(site, at) for site, since in self._waiting.items() if at - since > PATIENCE_S}
        if due := {**due, **ended}:
            await self._judge(due)
            for site, faults in ended.items():
                self._faults[site] = at, faults
                if self._ingest.ended.get(site) == faults:
                    del self._ingest.ended[site]
            for site in due:
                self._waiting.pop(site, None)
        if self._passes and at - self._passed >= PASS_S:
            await self._coordinator.pass_time(self._listed)
            self._passed = at
        if at - self._flushed >= FLUSH_S:  # beats that were refused, of sites that send nothing else
            await self._books.flush(self._coordinator, self._clock.now())
            self._flushed = at
        if at - self._forgot >= FORGET_S:
            await self._coordinator.change(lambda _: (), self._forget)
            self._forgot = at

    async def _judge(self, due: Mapping[str, Sequence[Fault]]) -> None:
        """These sites; one of which something cannot be judged keeps no other one from it. TierError, LeaseLost."""
        try:
            await self._coordinator.judge(due, self._listed)
        except Exception as error:
            if isinstance(error, TierError | LeaseLost) and error.code != UNFIT:
                raise
            if len(due) > 1:
                for site, faults in due.items():
                    await self._judge({site: faults})
                return
            log.exception("site %s cannot be judged", *due)

    def _known_faults(self, site: str, at: float) -> Sequence[Fault]:
        """What the last round of a site found wrong with its collector: nothing says that it is over."""
        since, faults = self._faults.get(site, (at, ()))
        return faults if at - since <= FAULTS_S else ()

    async def _forget(self, store: FleetStore) -> None:
        await self._books.forget(store, self._clock.now())
