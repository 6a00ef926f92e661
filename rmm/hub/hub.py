"""What runs inside a hub, put together: ingest, history, receipts, rounds and the watch, over one bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from rmm.bus.subjects import ask
from rmm.core.alerting.link import Limits
from rmm.core.sealing import KeyOf, Sign, unseal
from rmm.core.share import Shares
from rmm.errors import RmmError
from rmm.hub.books import Books
from rmm.hub.folding import Folding
from rmm.hub.history import History, Keeping
from rmm.hub.ingest import Ingest, Place
from rmm.hub.receipts import ASKED, Receipts
from rmm.hub.rounds import Rounds
from rmm.hub.watch import Watch
from rmm.ports import Bus, Clock
from rmm.tiers.fleet_sqlite import FleetStore

Reply = Callable[[str, bytes], Awaitable[bytes]]


class Trust(NamedTuple):
    """Whom the hub believes, and how it signs.

    Attributes:
        key_of: site, collector id -> what verifies its envelopes; None for one that is unknown or revoked.
        sign: with the hub's key.
    """

    key_of: KeyOf
    sign: Sign


class Plan(NamedTuple):
    """What the configuration says.

    Attributes:
        place: what is taken of whom.
        keeping: how history is kept.
        limits: from when on the hub finds something wrong with a site.
        rate: site -> observations per second that may be taken of it.
        listed: ids of all endpoints.
    """

    place: Place
    keeping: Keeping
    limits: Limits
    rate: Callable[[str], float]
    listed: Collection[str]


class Hub:
    """Use `Hub.open`, then `run`.

    `whole`: it is the only one, and not a worker for the sites of its plan; see `rmm.hub.head` for what those leave.
    """

    def __init__(
        self, coordinator: Folding, history: History, plan: Plan, trust: Trust, clock: Clock,
        on_trouble: Callable[[RmmError | None], None], whole: bool = True,
    ) -> None:  # fmt: skip
        sites = plan.place.sites
        self.books = Books()
        self.history = history
        self.receipts = Receipts(
            self.books, sites, trust.sign, clock, asked=(ASKED,) if whole else [ask(site, "receipt") for site in sites]
        )  # fmt: skip
        self.ingest = Ingest(
            coordinator, history, self.books, unseal=lambda data, site: unseal(data, trust.key_of, site=site),
            place=plan.place, shares=Shares(plan.rate), clock=clock, room=plan.keeping.room,
            on_taken=self.receipts.due, on_trouble=on_trouble,
        )  # fmt: skip
        self.watch = None if not whole else Watch(
            coordinator, self.books, sites=sites, limits=plan.limits, clock=clock,
            known=lambda site, collector: trust.key_of(site, collector) is not None, quiet=self.ingest.heard,
        )  # fmt: skip
        self.rounds = Rounds(coordinator, self.ingest, self.books, clock, plan.listed, passes=whole)
        self._sites = sites
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls, data: Path, coordinator: Folding, plan: Plan, trust: Trust, clock: Clock, *,
        on_trouble: Callable[[RmmError | None], None] = lambda _: None, whole: bool = True,
    ) -> AsyncIterator[Hub]:  # fmt: skip
        """With what an earlier process left; at the end what was taken goes into history. Raises TierError."""
        async with History.open(data, plan.keeping, coordinator.fold) as history:
            hub = cls(coordinator, history, plan, trust, clock, on_trouble, whole)
            await coordinator.change(lambda _: (), hub._load)
            yield hub

    async def _load(self, store: FleetStore) -> None:
        await self.books.load(store, self._sites, self._clock.now())
        if self.watch is not None:
            await self.watch.load(store)

    async def run(self, bus: Bus, answers: Mapping[str, Reply] | None = None) -> None:
        """Until cancelled, or until the bus is closed. `answers`: subject pattern -> who answers questions of it."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for pattern, reply in (answers or {}).items():
                await stack.enter_async_context(bus.answer(pattern, reply))
            others = [
                group.create_task(self.receipts.run(bus)),
                group.create_task(self.rounds.run()),
                group.create_task(self.history.run()),
            ]
            if self.watch is not None:
                others.append(group.create_task(self.watch.run(bus)))
            await self.ingest.run(bus)
            for task in others:
                task.cancel()
