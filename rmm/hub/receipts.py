"""Tells sites what is committed of what they have sent: all of it, signed, after each commit and when they ask."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack

from rmm.bus.subjects import down, site_of
from rmm.core.sealing import seal_receipt
from rmm.errors import BusError
from rmm.hub.books import Books
from rmm.model.envelope import Receipt
from rmm.ports import Bus, Clock

log = logging.getLogger(__name__)

ASKED = "rmm.ask.*.receipt"
APART_S = 0.2  # between two receipts of a site
AGAIN_S = 1.0  # after the bus did not take one


class Receipts:
    """One per process; a receipt says what its process knows, which is what the database had after its last commit.

    Args:
        sign: signs with the hub's key.
        asked: subjects of the questions that are answered here.
    """

    def __init__(
        self, books: Books, sites: Collection[str], sign: Callable[[bytes], bytes], clock: Clock, *,
        asked: Collection[str] = (ASKED,),
    ) -> None:  # fmt: skip
        self._books = books
        self._sites = sites
        self._sign = sign
        self._clock = clock
        self._asked = asked
        self._hub = secrets.token_hex(8)
        self._number = 0
        self._due: dict[str, None] = dict.fromkeys(sites)  # at the start all hear how far they have come
        self._some = asyncio.Event()
        self._some.set()

    def due(self, sites: Iterable[str]) -> None:
        """Something was committed, or came again, of these sites."""
        self._due.update((site, None) for site in sites if site in self._sites)
        self._some.set()

    def receipt(self, site: str) -> bytes:
        """The newest receipt, sealed."""
        self._number += 1
        return seal_receipt(
            Receipt(
                site=site, hub=self._hub, number=self._number, at=self._clock.now(), marks=self._books.marks(site),
                wanted=self._books.wanted(site), refused=dict(self._books.refused(site)),
            ),
            self._sign,
        )  # fmt: skip

    async def answer(self, subject: str, _question: bytes) -> bytes:
        """For a site that asks; who it is, the subject says. Raises BusError for one that there is not."""
        site = site_of(subject)
        if site not in self._sites:
            raise BusError(f"there is no site {site[:64]!r}")
        return self.receipt(site)

    async def run(self, bus: Bus) -> None:
        """Tell what is due, and answer who asks, until cancelled; goes on when the bus is back."""
        while True:
            try:
                async with AsyncExitStack() as stack:
                    for subject in self._asked:
                        await stack.enter_async_context(bus.answer(subject, self.answer))
                    while True:
                        await self._some.wait()
                        await self._tell(bus)
                        await asyncio.sleep(APART_S)
            except BusError as error:
                log.debug("receipts wait: %s", error)
            await asyncio.sleep(AGAIN_S)

    async def _tell(self, bus: Bus) -> None:
        """All that is due. Raises BusError, and then the rest is due still."""
        self._some.clear()
        due, self._due = self._due, {}
        try:
            while due:
                site = next(iter(due))
                await bus.tell(down(site), self.receipt(site))
                del due[site]
        finally:
            if due:
                self.due(due)
