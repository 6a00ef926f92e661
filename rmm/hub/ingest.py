"""Takes what sites send: checks it, keeps it, folds it, and only then acknowledges it.

    delivery   whose turn is it, sealed right   refused: counted, one line in log and audit per site, reason and hour
    entries    not committed yet, not fenced    known: skipped
    inbox      durable in the shard's own       -> history, in bunches (rmm.hub.history)
    fold       one transaction with the marks   -> alerts, receipts
    ack        the broker may forget it

A crash between any two of these is followed by a redelivery, of the broker or of the site itself, that finds in the
marks how far it came.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

import msgspec

from rmm.bus.subjects import UP, site_of
from rmm.core.share import Shares
from rmm.errors import BusError, EnvelopeError, LeaseLost, RmmError, TierError
from rmm.hub.books import Books, Epoch, Numbered, act_of, check_time
from rmm.hub.folding import Folding
from rmm.hub.history import History, Item
from rmm.model.envelope import AUDIT, OBSERVATION, ROUND, Entry, Envelope, RoundEnd
from rmm.model.observation import Fault, Observation, decode_observation
from rmm.ports import Bus, Clock, Delivery
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.database import UNFIT

log = logging.getLogger(__name__)

MOST, MOST_BYTES = 64, 4 << 20  # deliveries that are read at once, and their bytes
MOST_ENTRIES, MOST_WORK = 2048, 8 << 20  # entries of one transaction, and the bytes in them
ENTRY_BYTES = 64 << 10  # what is larger counts as several observations
LINGER_S = 0.1  # how long a batch waits for company
AGAIN_S, MOST_AGAIN_S = 1.0, 10.0  # after a failure of the store
REFUSAL_COST = 10  # observations that an envelope counts as which is refused
UNKNOWN = "unknown"  # whoever speaks for a site that there is not
MOST_UNLISTED = 1000  # endpoints of a site that the configuration does not list
MOST_FAULTS = 16
FRESH = timedelta(minutes=15)  # the end of a round that is older says nothing of now
MOST_SHARDS = 4096  # of a site, as the configuration may have it
MOST_NUMBER = (1 << 63) - 1  # that a database can keep
LONGEST_S = 1e9  # of a poll

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LONG = re.compile(rb"[0-9]{19}")  # a number that may be larger than any that is encoded
_pack = msgspec.msgpack.Encoder().encode
_round_end = msgspec.json.Decoder(RoundEnd).decode


class Place(NamedTuple):
    """What the configuration says that decides what is taken of whom.

    Attributes:
        sites: ids.
        owners: endpoint id -> site.
        shard: of an endpoint id at a site, here; a site may have another number of shards for a while.
    """

    sites: Collection[str]
    owners: Mapping[str, str]
    shard: Callable[[str, str], int]


class Work(NamedTuple):
    """An entry that is to be committed, with what is in it."""

    numbered: Numbered
    observation: Observation | None = None
    record: bytes = b""
    end: RoundEnd | None = None


class Ingest:
    """One per process.

    Args:
        unseal: the envelope of a site. Raises EnvelopeError.
        place: what is taken of whom.
        shares: of sites, in observations per second.
        room: raises TierError where nothing more may be written.
        on_taken: is told of the sites of which something was taken or asked for, after it is durable.
        on_trouble: is told when nothing can be stored, once, and with None when that is over.
    """

    def __init__(
        self, coordinator: Folding, history: History, books: Books, *,
        unseal: Callable[[bytes, str], Envelope], place: Place, shares: Shares, clock: Clock,
        room: Callable[[], None] = lambda: None, on_taken: Callable[[Iterable[str]], None] = lambda _: None,
        on_trouble: Callable[[RmmError | None], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self._coordinator = coordinator
        self._history = history
        self._books = books
        self._unseal = unseal
        self._place = place
        self._shares = shares
        self._clock = clock
        self._room = room
        self._on_taken = on_taken
        self._on_trouble = on_trouble
        self._unlisted: dict[str, set[str]] = {}
        self._troubled = False
        self.ended: dict[str, tuple[Fault, ...]] = {}  # sites whose round is over, for whoever judges them
        self.heard: dict[str, float] = {}  # site -> when something that it signed came last, by the monotonic clock
        self.taken = 0  # observations

    async def run(self, bus: Bus) -> None:
        """Until cancelled; goes on when the bus is back."""
        while True:
            try:
                async with bus.subscribe(UP) as deliveries:
                    await self._listen(deliveries)
                    return  # the bus was closed
            except BusError as error:
                log.warning("nothing comes from sites: %s", error.told)
                await asyncio.sleep(AGAIN_S)

    async def _listen(self, deliveries: AsyncIterator[Delivery]) -> None:
        feed = _Feed()
        reading = asyncio.create_task(feed.read(deliveries))
        try:
            while batch := await feed.batch():
                await self.take(batch)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def take(self, batch: Sequence[Delivery]) -> None:
        """Deliveries of several sites, each of them in order; on return they are acknowledged or put off."""
        now = asyncio.get_running_loop().time()
        done: list[Delivery] = []
        envelopes: list[Envelope] = []
        entries = size = 0
        for delivery in batch:
            site = site_of(delivery.subject)
            payer = site if site in self._place.sites else UNKNOWN
            wait = self._shares.wait(payer, now)
            if wait > 0:
                with contextlib.suppress(BusError):
                    await delivery.later(wait)
                continue
            done.append(delivery)
            envelope = self._opened(site, delivery.data)
            if envelope is None:
                self._shares.spend(payer, REFUSAL_COST, now)
                continue
            bytes_in = sum(len(entry.body) for entry in envelope.entries)
            self._shares.spend(payer, max(len(envelope.entries), bytes_in / ENTRY_BYTES), now)
            envelopes.append(envelope)
            entries, size = entries + len(envelope.entries), size + bytes_in
            if entries >= MOST_ENTRIES or size >= MOST_WORK:
                await self._take(envelopes)
                envelopes, entries, size = [], 0, 0
        await self._take(envelopes)
        self._on_taken({site_of(delivery.subject) for delivery in done})
        for delivery in done:
            with contextlib.suppress(BusError):  # it comes again, and the marks know it
                await delivery.ack()

    async def _take(self, envelopes: Sequence[Envelope]) -> None:
        """What is news in them, durable on return; and what was refused."""
        await self._recall({(one.site, one.epoch): None for one in envelopes})
        seen: set[tuple[str, str, int]] = set()
        work = [one for envelope in envelopes for one in self._news(envelope, seen)]
        if work or self._books.unwritten:
            await self._committed(work)

    def _opened(self, site: str, data: bytes) -> Envelope | None:
        try:
            if site not in self._place.sites:
                raise EnvelopeError(f"there is no site {site[:64]!r}", code="envelope.site")
            envelope = self._unseal(data, site)
        except EnvelopeError as error:
            self._refuse(site if site in self._place.sites else UNKNOWN, error.code, str(error))
            return None
        self.heard[site] = self._clock.monotonic()
        return envelope

    def _refuse(self, site: str, reason: str, text: str) -> None:
        if self._books.refuse(site, reason, text, self._clock.now()):
            log.warning("refused of site %s: %s (%s); said once an hour", site, text, reason)

    def _news(self, envelope: Envelope, seen: set[tuple[str, str, int]]) -> Iterable[Work]:
        site, epoch = envelope.site, envelope.epoch
        for entry in envelope.entries:
            key = (site, epoch, entry.seq)
            if key in seen or (entry.count == 1 and self._books.has(site, epoch, entry.seq)):
                continue
            seen.add(key)
            try:
                yield self._read(envelope, entry)
            except EnvelopeError as error:
                self._refuse(site, error.code, str(error))
                yield Work(Numbered(site, epoch, entry))  # its number counts, or it would come for ever

    def _read(self, envelope: Envelope, entry: Entry) -> Work:
        """What is in an entry. Raises EnvelopeError."""
        site, epoch = envelope.site, envelope.epoch
        try:
            if entry.kind == OBSERVATION:
                return self._observed(envelope, entry)
            if entry.kind == AUDIT:
                return Work(Numbered(site, epoch, entry, act_of(site, entry)))
            if entry.kind == ROUND:
                end = _round_end(entry.body)
                check_time(end.began)
                check_time(end.ended)
                return Work(Numbered(site, epoch, entry), end=end)
        except (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise EnvelopeError(f"a {entry.kind} that cannot be read: {error}", code="entry.format") from error
        return Work(Numbered(site, epoch, entry))

    def _observed(self, envelope: Envelope, entry: Entry) -> Work:
        site, epoch = envelope.site, envelope.epoch
        check_time(entry.at)
        if entry.shard >= MOST_SHARDS or entry.fence > MOST_NUMBER:
            raise EnvelopeError(f"shard {entry.shard}, lease {entry.fence}", code="entry.format")
        one = decode_observation(entry.body)
        _check_numbers(one, entry.body)
        if self._books.is_stale(site, envelope.collector, entry):
            text = f"shard {entry.shard} was polled under lease {entry.fence}, which was over"
            raise EnvelopeError(text, code="lease.stale")
        if one.site != site or self._place.owners.get(one.endpoint, site) != site:
            raise EnvelopeError(f"an observation of another site's endpoint {one.endpoint[:64]!r}", code="entry.site")
        if one.endpoint not in self._place.owners:
            unlisted = self._unlisted.setdefault(site, set())
            if not _ID.fullmatch(one.endpoint) or (one.endpoint not in unlisted and len(unlisted) >= MOST_UNLISTED):
                text = f"endpoint {one.endpoint[:64]!r} is not listed, like {len(unlisted)} others before"
                raise EnvelopeError(text, code="entry.endpoint")
            unlisted.add(one.endpoint)
        return Work(Numbered(site, epoch, entry), one, entry.body)

    def _round_over(self, site: str, end: RoundEnd) -> None:
        if self._clock.now() - end.ended > FRESH:
            return
        faults = (Fault(*(part[:500] for part in one)) for one in end.faults[:MOST_FAULTS])
        self.ended[site] = (*self.ended.get(site, ()), *faults)[-MOST_FAULTS:]

    async def _recall(self, epochs: Collection[Epoch]) -> None:
        """What is committed of these is known on return, also of those that were long forgotten."""
        if all(self._books.holds(*one) for one in epochs):
            return

        async def within(store: FleetStore) -> None:
            await self._books.recall(store, epochs, self._clock.now())

        await self._patiently(lambda: self._coordinator.change(lambda _: (), within))

    async def _committed(self, work: Sequence[Work]) -> None:
        """Return when all of it is durable, however long that takes."""
        await self._patiently(lambda: self._commit(work))
        for one in work:
            self.taken += one.observation is not None
            if one.end is not None:
                self._round_over(one.numbered.site, one.end)

    async def _patiently(self, write: Callable[[], Awaitable[None]]) -> None:
        """Do it, again and again until the store can."""
        pause = AGAIN_S
        while True:
            try:
                await write()
                break
            except (TierError, LeaseLost) as error:
                if not self._troubled:
                    log.warning("nothing is taken of sites, which keep what they have: %s", error.told)
                    self._on_trouble(error)
                self._troubled = True
            await asyncio.sleep(pause)
            pause = min(MOST_AGAIN_S, pause * 2)
        if self._troubled:
            self._troubled = False
            log.warning("what sites have sent can be stored again")
            self._on_trouble(None)

    async def _commit(self, work: Sequence[Work]) -> None:
        """Inboxes, then the fold with the marks."""
        self._room()
        shard = self._place.shard
        await self._history.append(
            [
                Item(one.observation.site, shard(one.observation.site, one.observation.endpoint), one.record)
                for one in work
                if one.observation is not None
            ]
        )
        await self._fold(work)

    async def _fold(self, work: Sequence[Work]) -> None:
        async def within(store: FleetStore) -> None:
            await self._books.commit(store, [one.numbered for one in work], self._clock.now())

        try:
            await self._coordinator.take([one.observation for one in work if one.observation is not None], within)
        except Exception as error:  # a defect of ours; one entry must not keep all sites from being heard
            if isinstance(error, RmmError) and error.code != UNFIT:
                raise
            failure = error
        else:
            self._books.committed()
            return
        await self._fold_less(work, failure)

    async def _fold_less(self, work: Sequence[Work], failure: Exception) -> None:
        """The same with less: in halves; of one entry without what is in it; at last nothing of it."""
        if len(work) > 1:
            half = len(work) // 2
            await self._fold(work[:half])
            await self._fold(work[half:])
            return
        where = "what was refused of sites"
        if work:
            (one,) = work
            site = one.numbered.site
            where = f"entry {one.numbered.entry.seq} of site {site}"
            self._shares.spend(site, REFUSAL_COST, asyncio.get_running_loop().time())
            if one.observation is not None or one.numbered.act is not None:
                log.error("%s cannot be stored", where, exc_info=failure)
                self._refuse(site, "internal", f"an entry that cannot be stored: {failure}")
                await self._fold([one._replace(numbered=one.numbered._replace(act=None), observation=None)])
                return
        # Not even the number of an entry: it comes again, which keeps no other one from coming.
        log.error("%s cannot be stored at all", where, exc_info=failure)
        self._books.give_up()


def _check_numbers(one: Observation, body: bytes) -> None:
    """EnvelopeError or OverflowError for what no poll can have; JSON has numbers of any size."""
    check_time(one.observed_at)
    if _LONG.search(body):
        _pack(one)  # as what rules remember is
    if not (0 <= one.shard < MOST_SHARDS and 0 <= one.seq <= MOST_NUMBER and 0 <= one.duration_s <= LONGEST_S):
        raise EnvelopeError("an observation with numbers that are none", code="entry.format")


class _Feed:
    """Deliveries in batches; up to MOST of them are read ahead."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Delivery | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(MOST)

    async def read(self, deliveries: AsyncIterator[Delivery]) -> None:
        """All of them, however that ends."""
        try:
            async for delivery in deliveries:
                await self._room.acquire()
                self._queue.put_nowait(delivery)
        finally:
            self._queue.put_nowait(None)

    async def batch(self) -> list[Delivery]:
        """Some deliveries; none at the end."""
        found: list[Delivery] = []
        size, until = 0, None
        while len(found) < MOST and size < MOST_BYTES:
            try:
                async with asyncio.timeout_at(until):
                    one = await self._queue.get()
            except TimeoutError:
                break
            if one is None:
                self._queue.put_nowait(None)  # for the next call
                break
            self._room.release()
            found.append(one)
            size += len(one.data)
            until = until or asyncio.get_running_loop().time() + LINGER_S
        return found
