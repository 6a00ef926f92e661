"""The history of all sites: what was taken is durable in an inbox of its shard, and goes into hot and cold in bunches.

A store of 250 endpoints that is open takes 12 to 25 MB, so one is open at a time, for all that its shard's inbox has
gathered. An inbox is a spool below that of the shard (`spool/SITE/SHARD/in-N`, N the slot of this process), so a backup
copies it before what it goes to, and after a crash it is taken over from its beginning.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rmm.durable import hold
from rmm.errors import LeaseLost, TierError
from rmm.model.settings import Retention
from rmm.tiers.cold_sqlite import CollectorFields
from rmm.tiers.shard_store import ShardStore, open_shard
from rmm.tiers.spool import Spool
from rmm.tiers.store.places import shards_of

log = logging.getLogger(__name__)

MOST, MOST_BYTES, AGE_S = 256, 8 << 20, 30.0  # observations, bytes and seconds that an inbox gathers
SEGMENT_BYTES = 1 << 20  # one at a time is in memory; with more, a hub whose history is behind would grow with that
BEHIND_S, YIELD_S = 2 * AGE_S, 0.25  # what waits for longer has whoever appends pause so long each time
LOOK_S = 1.0
UPKEEP_S = 3600.0  # how often what is old is forgotten, sealed and merged
AGAIN_S = 15.0  # after a failure
STOP_S = 20.0  # for what is gathered, at the end
SLOTS = 64  # processes that may take at once
BATCH = 64

Shard = tuple[str, int]
Fold = Callable[[Sequence[bytes]], Awaitable[None]]


class Item(NamedTuple):
    """An encoded observation and where it belongs."""

    site: str
    shard: int
    record: bytes


class Keeping(NamedTuple):
    """How history is kept; see `rmm.tiers.shard_store.open_shard`."""

    fields: Mapping[str, CollectorFields]
    now: Callable[[], datetime]
    keep: Retention
    room: Callable[[], None] = lambda: None
    archiving: bool = False


class _Inbox:
    """One shard's, of one slot."""

    def __init__(self, shard: Shard, folder: Path, since: float) -> None:
        self.shard = shard
        self.folder = folder
        self.count, self.bytes = 0, 0
        self.since = since  # of the oldest in it
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> _Inbox:
        """With its spool, behind what it holds already."""
        self.spool = await self._stack.enter_async_context(Spool(self.folder, SEGMENT_BYTES))
        return self

    async def close(self) -> None:
        """Idempotent."""
        await self._stack.aclose()


class History:
    """Use `History.open`. One per process."""

    def __init__(self, data: Path, keeping: Keeping, fold: Fold, slot: int) -> None:
        self._data = data
        self._keeping = keeping
        self._fold = fold
        self._slot = slot
        self._inboxes: dict[Path, _Inbox] = {}  # by folder
        self._looked: dict[Shard, float] = {}
        self._not_before: dict[Shard, float] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, data: Path, keeping: Keeping, fold: Fold) -> AsyncIterator[History]:
        """With what crashes left in inboxes taken over; at the end what is gathered goes into history, within STOP_S.

        `fold` is given observations that a poll left in the shard's own spool. Raises LeaseLost when SLOTS processes
        are at work already, and TierError.
        """
        with contextlib.ExitStack() as locks:
            # Of others only those in which something is left, or processes that begin at once would take more and more.
            slots = [slot for slot in _slots(data) if any(_left(data, slot)) and _claimed(locks, data, slot)]
            own = next((slot for slot in range(SLOTS) if slot in slots or _claimed(locks, data, slot)), None)
            if own is None:
                raise LeaseLost(f"{SLOTS} processes take what sites send, into {data}")
            history = cls(data, keeping, fold, own)
            try:
                for folder, shard in (found for slot in {*slots, own} for found in _left(data, slot)):
                    inbox = history._inboxes[folder] = await _Inbox(shard, folder, 0.0).open()
                    inbox.count = 1  # or more
                    await history.settle(inbox)
                yield history
            finally:
                await history._close()

    async def append(self, items: Sequence[Item]) -> None:
        """Durable on return. Raises TierError, and then nothing is promised.

        It pauses while history is behind, which otherwise would get hardly any time for as long as sites catch up.
        """
        if self.behind:
            await asyncio.sleep(YIELD_S)
        now = asyncio.get_running_loop().time()
        inboxes = {shard: await self._inbox(shard, now) for shard in dict.fromkeys((one[0], one[1]) for one in items)}
        for one in items:
            inbox = inboxes[one.site, one.shard]
            inbox.since = inbox.since if inbox.count else now
            inbox.count += 1
            inbox.bytes += len(one.record)
        results = await asyncio.gather(
            *(inboxes[one.site, one.shard].spool.append(one.record) for one in items), return_exceptions=True
        )
        failed = next((result for result in results if isinstance(result, BaseException)), None)
        if failed is not None:
            # A spool that failed once promises nothing more: begin with others, behind what these hold.
            for inbox in inboxes.values():
                await inbox.close()
                await inbox.open()
            raise failed

    @property
    def behind(self) -> bool:
        """Whether something has waited for BEHIND_S, and not because it failed."""
        now = asyncio.get_running_loop().time()
        return any(
            one.count and now - one.since > BEHIND_S and self._may(one.shard, now) for one in self._inboxes.values()
        )

    async def _inbox(self, shard: Shard, now: float) -> _Inbox:
        folder = self._data / "spool" / shard[0] / str(shard[1]) / f"in-{self._slot}"
        if folder not in self._inboxes:
            self._inboxes[folder] = await _Inbox(shard, folder, now).open()
        return self._inboxes[folder]

    async def run(self) -> None:
        """Bring what is gathered into history, and look after it, until cancelled."""
        while True:
            now = asyncio.get_running_loop().time()
            due = sorted((one for one in self._inboxes.values() if self._is_due(one, now)), key=lambda one: one.since)
            for inbox in due:
                await self.settle(inbox)
            if not due and self._looked:  # nothing is urgent: whose upkeep is due?
                shard, looked = next(iter(self._looked.items()))
                if now - looked >= UPKEEP_S and self._may(shard, now):
                    await self._settle(shard, None, 0)
            await asyncio.sleep(LOOK_S)

    def _may(self, shard: Shard, now: float) -> bool:
        return self._not_before.get(shard, now) <= now

    def _is_due(self, inbox: _Inbox, now: float) -> bool:
        if not inbox.count or not self._may(inbox.shard, now):
            return False
        return inbox.count >= MOST or inbox.bytes >= MOST_BYTES or now - inbox.since >= AGE_S

    async def settle(self, inbox: _Inbox) -> bool:
        """Bring what an inbox holds into history; False when it has to wait, which the log tells."""
        mark = inbox.spool.seal()
        count, size, since = inbox.count, inbox.bytes, inbox.since
        inbox.count = inbox.bytes = 0
        done = False
        try:
            done = await self._settle(inbox.shard, inbox.spool, mark)
        finally:
            if not done:
                inbox.count, inbox.bytes, inbox.since = inbox.count + count, inbox.bytes + size, since
        if done and not inbox.count and any(inbox.folder.glob("*.spool")):
            # Or more, which were on their way when the mark was set: they came just now.
            inbox.count, inbox.since = 1, asyncio.get_running_loop().time()
        if done and not inbox.count:
            del self._inboxes[inbox.folder]
            await inbox.close()
        return done

    async def _settle(self, shard: Shard, spool: Spool | None, mark: int) -> bool:
        site, number = shard
        now = asyncio.get_running_loop().time()
        upkeep = now - self._looked.get(shard, now - UPKEEP_S) >= UPKEEP_S
        try:
            with hold(self._data / "locks" / f"{site}-{number}.lock", f"shard {number} of site {site}"):
                async with open_shard(
                    self._data, site, number, fields=self._keeping.fields, now=self._keeping.now,
                    keep=self._keeping.keep if upkeep else None, room=self._keeping.room,
                    archiving=self._keeping.archiving,
                ) as store:  # fmt: skip
                    await self._fill(store, spool, mark)
        except (LeaseLost, TierError) as error:
            self._not_before[shard] = now + AGAIN_S
            mere_upkeep = spool is None and isinstance(error, LeaseLost)  # of a site that is polled from here
            log.log(
                logging.DEBUG if mere_upkeep else logging.WARNING,
                *("the history of shard %s/%d waits: %s", site, number, error),
            )
            return False
        except Exception:  # a defect must not take the other shards' history with it
            self._not_before[shard] = now + AGAIN_S
            log.exception("the history of shard %s/%d failed inside rmm", site, number)
            return False
        if upkeep:
            self._looked.pop(shard, None)  # and to the end of the line
            self._looked[shard] = now
        self._not_before.pop(shard, None)
        return True

    async def _fill(self, store: ShardStore, spool: Spool | None, mark: int) -> None:
        if spool is not None:
            await store.take_over(spool, mark)
        await store.flush()
        if store.postponed is not None:
            raise store.postponed
        if spool is not None:
            spool.release(mark)
        pending = store.pending()
        while batch := list(islice(pending, BATCH)):
            await self._fold(batch)
        await store.release()

    def look_after(self, shards: Sequence[Shard], mine: Callable[[str], bool] = lambda _: True) -> None:
        """These shards, and those on the disk, are looked after also when nothing comes for them.

        `mine`: whether that is done here for a site, and not by another process.
        """
        for shard in sorted(shard for shard in {*shards, *shards_of(self._data)} if mine(shard[0])):
            self._looked.setdefault(shard, asyncio.get_running_loop().time())

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                for inbox in list(self._inboxes.values()):
                    if inbox.count:
                        await self.settle(inbox)
        for inbox in self._inboxes.values():
            await inbox.close()
        self._inboxes = {}


def _claimed(locks: contextlib.ExitStack, data: Path, slot: int) -> bool:
    try:
        locks.enter_context(hold(data / "locks" / f"hub-in-{slot}.lock", f"slot {slot} of the hub"))
    except LeaseLost:
        return False
    return True


def _left(data: Path, slot: int) -> Iterator[tuple[Path, Shard]]:
    """The inboxes of a slot in which there is something."""
    for folder in sorted((data / "spool").glob(f"*/*/in-{slot}")):
        if folder.parent.name.isdigit() and any(folder.glob("*.spool")):
            yield folder, (folder.parent.parent.name, int(folder.parent.name))


def _slots(data: Path) -> list[int]:
    """Slots that ever had an inbox."""
    names = {folder.name.removeprefix("in-") for folder in (data / "spool").glob("*/*/in-*")}
    return sorted(int(name) for name in names if name.isdigit() and int(name) < SLOTS)
