"""Hands the outgoing log over to the hub: the shell of `rmm.core.forwarding`. Polling never waits for it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from rmm.core.forwarding import NEWEST, Ask, Forwarding, Look, Send, Wait
from rmm.core.outgoing import uncommitted_from
from rmm.core.sealing import Sign, Verify, open_receipt, seal
from rmm.errors import BusError, BusFull, EnvelopeError, RmmError, TierError
from rmm.model.envelope import Beat, Entry, Envelope, Receipt
from rmm.model.outgoing import Books, Item, News, Row, Spooled
from rmm.model.settings import SiteSettings
from rmm.ports import Bus, Clock

log = logging.getLogger(__name__)

BEAT_S = 5.0
TEND_S = 30.0
ASK_TIMEOUT_S = 5.0
FULL_S = 1.0  # until the bus may have room again
DISK_S = 5.0  # until the log may be read again
RETRY_S, LONGEST_RETRY_S = 1.0, 5.0
MOST_RAW = 8 << 20  # bytes of entries in an envelope; more only where one entry has more
INLINE = 256 << 10  # what is larger is compressed in a thread, and the event loop goes on
REACHED = frozenset({"bus.nobody", "bus.timeout"})  # nobody answers, but the bus has been asked


class OutgoingLog(Protocol):
    """`rmm.tiers.outgoing.OutgoingLog`, as far as it is used here."""

    opened: int

    @property
    def books(self) -> Books: ...

    async def append(self, items: Sequence[Item], now: datetime | None = None) -> list[Row]: ...

    async def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]: ...

    async def newest(self) -> list[Row]: ...

    async def read(self, places: Sequence[int]) -> list[tuple[int, str, Entry]]: ...

    async def cover(self, receipt: Receipt) -> News | None: ...

    async def tend(self, now: datetime) -> bool: ...

    async def spooled(self) -> Spooled: ...


class Forwarder:
    """One per outgoing log. `run` it as a task; `append` to the log through it."""

    def __init__(
        self, bus: Bus, outgoing: OutgoingLog, *, site: str, collector: str, sign: Sign, verify: Verify, clock: Clock,
        settings: SiteSettings, describe: Callable[[], Beat],
    ) -> None:  # fmt: skip
        self._bus = bus
        self._log = outgoing
        self._site, self._collector = site, collector
        self._sign, self._verify = sign, verify
        self._clock = clock
        self._settings = settings
        self._describe = describe
        self._generation = outgoing.opened
        self._core = Forwarding(settings.rate, clock.monotonic())
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None
        self._reached = False
        self._told_lost = False  # people know that the link is down
        self._told: set[str] = set()  # what else they know

    @property
    def reached(self) -> bool:
        """Whether the bus could be reached a moment ago."""
        return self._reached

    @property
    def catching_up(self) -> bool:
        """Whether history is behind what is new."""
        return self._core.catching_up

    async def append(self, items: Sequence[Item]) -> None:
        """Durable in the outgoing log on return; sending follows. Raises TierError, and then nothing is promised."""
        rows = await self._log.append(items, self._clock.now())
        self._check_generation()
        self._core.appended(rows, self._clock.monotonic())
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear())
            tasks.create_task(self._beat())
            tasks.create_task(self._tend())
            try:
                await self._work(tasks)
            finally:
                self._asking = None

    async def drain(self, timeout_s: float) -> bool:
        """Wait until the hub has committed all of the log; False when it has not in this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._log.books.entries:
                    self._progress.clear()
                    await self._progress.wait()
        return not self._log.books.entries

    # Sending.

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        retry_s = RETRY_S
        while True:
            if not self._reached:
                if await self._ask():
                    self._online()
                    retry_s = RETRY_S
                else:
                    self._offline()
                    await asyncio.sleep(retry_s * random.uniform(0.5, 1.0))
                    retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                continue
            self._check_generation()
            try:
                await self._step(tasks)
            except TierError as error:
                self._tell_once("log", "the outgoing log cannot be read, forwarding waits: %s", error)
                await asyncio.sleep(DISK_S)
            except BusError as error:
                log.debug("the bus was lost: %s", error)
                self._offline()

    async def _step(self, tasks: asyncio.TaskGroup) -> None:
        step = self._core.next(self._clock.monotonic())
        if isinstance(step, Send):
            await self._send(step)
        elif isinstance(step, Look):
            newest = step.way == NEWEST
            rows = await (
                self._log.newest() if newest else self._log.rows(step.after, step.most, graded=step.way == "graded")
            )
            self._core.found(step, rows)
            self._told.discard("log")
        elif isinstance(step, Ask):
            if self._asking is None or self._asking.done():
                self._asking = tasks.create_task(self._ask_again())
        else:
            await self._wait(step)

    async def _wait(self, step: Wait) -> None:
        left = step.until - self._clock.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(left, 0.001) if left < 3600 else None):
                await self._wake.wait()
        self._wake.clear()

    async def _send(self, step: Send) -> None:
        try:
            found = await self._log.read(step.places)
        except TierError:
            self._core.kept_back(step.number, self._clock.monotonic(), DISK_S)
            raise
        self._core.gone(step.number, set(step.places) - {place for place, _, _ in found})
        try:
            for part in _parts([(epoch, entry) for _, epoch, entry in found]):
                await self._bus.publish(f"rmm.up.{self._site}", await self._sealed(part))
        except BusFull as error:
            self._tell_once("full", "the broker holds as much of this site as it may, forwarding waits: %s", error)
            self._core.kept_back(step.number, self._clock.monotonic(), FULL_S)
            return
        self._core.sent(step.number, self._clock.monotonic())
        self._told.discard("full")

    async def _sealed(self, part: Sequence[tuple[str, Entry]]) -> bytes:
        envelope = Envelope(
            site=self._site,
            collector=self._collector,
            epoch=part[0][0],
            sent_at=self._clock.now(),
            entries=tuple(entry for _, entry in part),
        )
        if sum(len(entry.body) for entry in envelope.entries) < INLINE:
            return seal(envelope, self._sign)
        return await asyncio.to_thread(seal, envelope, self._sign)

    # The link.

    def _online(self) -> None:
        self._reached = True
        self._core.online(self._clock.monotonic())
        if self._told_lost:
            log.info("the hub's broker can be reached again: %d entries wait for it", self._log.books.entries)
            self._told_lost = False

    def _offline(self) -> None:
        self._reached = False
        self._core.offline()
        if not self._told_lost:
            log.warning("the hub's broker cannot be reached; polling goes on, and what is observed waits here for it")
            self._told_lost = True

    def _check_generation(self) -> None:
        """With another file, all places are others."""
        if self._log.opened != self._generation:
            self._generation = self._log.opened
            self._core = Forwarding(self._settings.rate, self._clock.monotonic())
            if self._reached:
                self._core.online(self._clock.monotonic())

    def _tell_once(self, what: str, text: str, error: RmmError) -> None:
        if what not in self._told:
            log.warning(text, error.told)
            self._told.add(what)

    # Receipts.

    async def _ask(self) -> bool:
        """Ask for a receipt; False where the bus cannot be reached."""
        try:
            answer = await self._bus.ask(f"rmm.ask.{self._site}.receipt", b"", timeout_s=ASK_TIMEOUT_S)
        except BusError as error:
            return error.code in REACHED
        await self._take(answer)
        return True

    async def _ask_again(self) -> None:
        await self._ask()

    async def _hear(self) -> None:
        while True:
            with contextlib.suppress(BusError):
                async with self._bus.hear(f"rmm.down.{self._site}") as told:
                    async for one in told:
                        await self._take(one.data)
            await asyncio.sleep(RETRY_S)

    async def _take(self, data: bytes) -> None:
        try:
            receipt = open_receipt(data, self._verify, site=self._site)
            news = await self._log.cover(receipt)
        except EnvelopeError as error:
            self._tell_once("receipt", "a receipt is not taken: %s", error)
            return
        except TierError as error:
            self._tell_once("log", "the outgoing log cannot take a receipt: %s", error)
            return
        if news is None:
            return
        self._check_generation()
        books = self._log.books
        self._core.receipt(books.marks, uncommitted_from(books), self._clock.monotonic(), again=news.again)
        self._wake.set()
        self._progress.set()

    # What goes on by itself.

    async def _beat(self) -> None:
        while True:
            beat = await self._described()
            try:
                await self._bus.tell(f"rmm.beat.{self._site}", msgspec.json.encode(beat))
            except BusError as error:
                if self._reached:
                    log.debug("the bus was lost: %s", error)
                    self._offline()
                    self._wake.set()
            await asyncio.sleep(BEAT_S)

    async def _described(self) -> Beat:
        beat = self._describe()
        try:
            spooled = await self._log.spooled()
        except TierError as error:
            return msgspec.structs.replace(beat, problems=(*beat.problems, f"outgoing log: {error}"))
        return with_log(beat, spooled)

    async def _tend(self) -> None:
        while True:
            try:
                while await self._log.tend(self._clock.now()):
                    continue
                self._told.discard("tend")
            except TierError as error:
                self._tell_once("tend", "the outgoing log cannot be looked after: %s", error)
            await asyncio.sleep(TEND_S)


def with_log(beat: Beat, spooled: Spooled) -> Beat:
    """A beat with what is to be said of the outgoing log."""
    return msgspec.structs.replace(
        beat,
        spooled=spooled.entries,
        spool_bytes=spooled.bytes,
        oldest=spooled.oldest,
        dropped=spooled.lost,
        spool_limit=spooled.limit,
        problems=(*beat.problems, *spooled.problems),
    )


def _parts(entries: Sequence[tuple[str, Entry]]) -> Iterator[list[tuple[str, Entry]]]:
    """As many envelopes as it takes, in order."""
    part: list[tuple[str, Entry]] = []
    size = 0
    for epoch, entry in entries:
        if part and size + len(entry.body) > MOST_RAW:
            yield part
            part, size = [], 0
        part.append((epoch, entry))
        size += len(entry.body)
    if part:
        yield part
