"""The outgoing log for the event loop: a thread of its own, the file's lock, and a new file where one is damaged."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from rmm.durable import hold
from rmm.errors import TierError
from rmm.model.envelope import Entry, Receipt
from rmm.model.outgoing import Books, Item, News, Row, Spooled
from rmm.model.settings import SiteSettings
from rmm.tiers.migrations import set_aside, tier_error, warn_once
from rmm.tiers.outgoing.log import Log, spooled
from rmm.tiers.outgoing.shelf import Shelf
from rmm.tiers.outgoing.sqlite import SqliteShelf, path_of, prepare

log = logging.getLogger(__name__)

T = TypeVar("T")


def new_epoch() -> str:
    """A name that no other epoch has."""
    return secrets.token_hex(8)


class OutgoingLog:
    """What `Log` does, without holding up the event loop. Use `open_outgoing`.

    What is under way is done to its end when the caller is cancelled. `opened` counts the files: with another one, all
    that was known of places is void.
    """

    def __init__(self, make: Callable[[], Log], renew: Callable[[], Log] | None = None) -> None:
        self._make = make
        self._renew = renew
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="outgoing")
        self._log: Log | None = None
        self._closed = False
        self.opened = 0

    async def start(self) -> None:
        """Open it. Raises TierError."""
        self._log = await self._in_thread(self._make)
        self.opened += 1

    async def append(self, items: Sequence[Item], now: datetime | None = None) -> list[Row]:
        """See `Log.append`."""
        return await self._run(lambda one: one.append(items, now))

    async def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]:
        """See `Log.rows`."""
        return await self._run(lambda one: one.rows(after, most, graded=graded))

    async def newest(self) -> list[Row]:
        """See `Log.newest`."""
        return await self._run(lambda one: one.newest())

    async def read(self, places: Sequence[int]) -> list[tuple[int, str, Entry]]:
        """See `Log.read`."""
        return await self._run(lambda one: one.read(places))

    async def cover(self, receipt: Receipt) -> News | None:
        """See `Log.cover`."""
        return await self._run(lambda one: one.cover(receipt))

    async def tend(self, now: datetime) -> bool:
        """See `Log.tend`."""
        return await self._run(lambda one: one.tend(now))

    async def spooled(self) -> Spooled:
        """See `Log.spooled`."""
        return await self._run(lambda one: one.spooled())

    @property
    def books(self) -> Books:
        """As they stand."""
        return self._opened.books

    @property
    def end(self) -> int:
        """The place of the newest entry."""
        return self._opened.end

    @property
    def _opened(self) -> Log:
        if self._log is None:
            raise TierError("the outgoing log is closed")
        return self._log

    async def _run(self, work: Callable[[Log], T]) -> T:
        if self._log is None and self.opened and not self._closed:
            await self.start()  # a damaged one could not be begun anew: now perhaps
        before = self.opened
        try:
            return await self._in_thread(lambda: work(self._opened))
        except TierError as error:
            if error.code != "tier.damaged" or self._renew is None:
                raise
            log.warning("the outgoing log cannot go on: %s", error)
        await self._in_thread(lambda: self._begin_anew(before))
        return await self._in_thread(lambda: work(self._opened))

    def _begin_anew(self, before: int) -> None:
        if self.opened != before or self._renew is None:
            return  # another call was first
        damaged, self._log = self._log, None
        if damaged is not None:
            with contextlib.suppress(TierError):
                damaged.close()
        self._log = self._renew()
        self.opened += 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, work))

    async def aclose(self) -> None:
        """Wait for what is under way, and let go. Idempotent."""
        self._closed = True
        opened, self._log = self._log, None
        try:
            if opened is not None:
                await self._in_thread(opened.close)
        except TierError as error:
            log.warning("the outgoing log could not be closed as it should: %s", error)
        finally:
            self._thread.shutdown(wait=True)


@asynccontextmanager
async def open_outgoing(data: Path, site: str, settings: SiteSettings) -> AsyncIterator[OutgoingLog]:
    """The outgoing log of this site collector, alone. A damaged file is set aside, and a new one is begun.

    Raises LeaseLost while another process has it, and TierError.
    """
    path = path_of(data, site)
    warn_once(data)
    with hold(data / "locks" / f"outgoing-{site}.lock", f"the outgoing log of site {site}"):
        try:
            await prepare(path)
        except TierError as error:
            if error.code != "tier.damaged":
                raise
            _set_aside(path)
            await prepare(path)

        def make() -> Log:
            try:
                return _open(path, settings)
            except TierError as error:
                if error.code != "tier.damaged":
                    raise
                return renew()

        def renew() -> Log:
            _set_aside(path)
            asyncio.run(prepare(path))  # in the log's own thread, which has no event loop
            return _open(path, settings)

        outgoing = OutgoingLog(make, renew)
        try:
            await outgoing.start()
            yield outgoing
        finally:
            await outgoing.aclose()


def _open(path: Path, settings: SiteSettings) -> Log:
    shelf = SqliteShelf(path)
    try:
        return Log(shelf, settings, new_epoch())
    except BaseException:
        shelf.close()  # or Windows does not let it be renamed
        raise


def in_memory(shelf: Shelf, settings: SiteSettings, epoch: str = "") -> OutgoingLog:
    """The same over a shelf of the caller's."""
    return OutgoingLog(lambda: Log(shelf, settings, epoch or new_epoch()))


def _set_aside(path: Path) -> None:
    log.warning(
        "%s is damaged; kept as %s, and a new one is begun. What the hub did not have of it is in the history of this "
        "site alone",
        path,
        set_aside(path).name,
    )


def spooled_at(data: Path, site: str) -> Spooled | None:
    """How the outgoing log stands, for commands, also while it is written; None where there is none. TierError."""
    path = path_of(data, site)
    try:
        if not path.exists():
            return None
    except OSError as error:
        raise tier_error(path, error) from error
    shelf = SqliteShelf(path, readonly=True)
    try:
        return spooled(shelf, shelf.books())
    finally:
        shelf.close()
