"""The main process of a hub with workers: what concerns all sites is done here, once; see `rmm.hub.crew`.

It hears beats and watches sites, lets time pass for alerts, and answers questions. Of what sites send it knows what
workers say of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Protocol

from rmm.errors import LeaseLost, RmmError, TierError
from rmm.hub.books import Books
from rmm.hub.crew import Crew
from rmm.hub.folding import Folding
from rmm.hub.frames import Order, State
from rmm.hub.hub import Plan, Reply, Trust
from rmm.hub.rounds import DEFECT_S, PASS_S
from rmm.hub.watch import Watch
from rmm.ports import Bus, Clock

log = logging.getLogger(__name__)

AGAIN_S = 5.0  # after the database was busy


class Heading(Folding, Protocol):
    """A coordinator that takes nothing itself."""

    def others_saw(self, seen: Mapping[str, datetime], since: datetime | None) -> None:
        """What workers have taken of sites and not judged, and the first of what they judged."""
        ...


class Head:
    """Use `load`, then `run`. `on_trouble` and `ready` as of `Ingest` and `Crew`, for all workers together."""

    def __init__(
        self, coordinator: Heading, plan: Plan, trust: Trust, clock: Clock, orders: Sequence[Order], *,
        on_trouble: Callable[[RmmError | None], None], ready: Callable[[], None],
    ) -> None:  # fmt: skip
        self._coordinator = coordinator
        self._plan = plan
        self._clock = clock
        self._on_trouble = on_trouble
        self._books = Books()  # of beats that are refused; marks are the workers'
        self._heard: dict[str, float] = {}
        self._seen: dict[int, dict[str, datetime]] = {}  # by worker
        self._since: datetime | None = None
        self._troubled: set[int] = set()
        self._watch = Watch(
            coordinator, self._books, sites=plan.place.sites, limits=plan.limits, clock=clock,
            known=lambda site, collector: trust.key_of(site, collector) is not None, quiet=self._heard,
        )  # fmt: skip
        self._crew = Crew(orders, on_state=self._state, on_trouble=self._trouble, ready=ready)

    async def load(self) -> None:
        """What was heard before. Raises TierError and LeaseLost."""
        await self._coordinator.change(lambda _: (), self._watch.load)

    async def run(self, bus: Bus, answers: Mapping[str, Reply]) -> None:
        """Until cancelled, or until the bus is closed. `answers`: subject pattern -> who answers questions of it."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for pattern, reply in answers.items():
                await stack.enter_async_context(bus.answer(pattern, reply))
            others = [group.create_task(self._watch.run(bus)), group.create_task(self._pass())]
            await self._crew.run(bus)
            for task in others:
                task.cancel()

    async def _pass(self) -> None:
        """What time does, until cancelled."""
        while True:
            await asyncio.sleep(PASS_S)
            try:
                await self.look()
            except (TierError, LeaseLost) as error:
                log.debug("what time does waits: %s", error)
                await asyncio.sleep(AGAIN_S)
            except Exception:  # a defect must not keep the hub from taking what comes
                log.exception("what time does failed inside rmm")
                await asyncio.sleep(DEFECT_S)

    async def look(self) -> None:
        """What is due now. Raises TierError and LeaseLost, and then it is due still."""
        seen = {site: at for one in self._seen.values() for site, at in one.items()}
        self._coordinator.others_saw(seen, self._since)
        self._since = None
        await self._coordinator.pass_time(self._plan.listed)
        await self._books.flush(self._coordinator, self._clock.now())

    def _state(self, number: int, state: State) -> None:
        at = self._clock.monotonic()
        self._heard.update((site, at) for site in state.heard if site in self._plan.place.sites)
        self._seen[number] = state.seen
        if state.since is not None:
            self._since = min(state.since, self._since or state.since)

    def _trouble(self, number: int, text: str) -> None:
        """Told once, however many workers have it."""
        before = bool(self._troubled)
        if text:
            self._troubled.add(number)
        else:
            self._troubled.discard(number)
        if bool(self._troubled) != before:
            self._on_trouble(_said(text) if text else None)


def _said(text: str) -> RmmError:
    """What a worker says, which has its advice in it."""
    error = RmmError(text)
    error.hint = ""
    return error
