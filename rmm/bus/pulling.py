"""One subscription of the stream: pulls by the one durable consumer of a pattern, and purges what is acknowledged.

Limits retention keeps a message whatever was acknowledged, and that is wanted: with work-queue retention servers have
lost what nobody had acknowledged. So what is acknowledged is purged from here, in bunches, up to the consumer's
acknowledgement floor, below which everything is acknowledged, by whichever of the subscribers; and one by one where one
that is held back keeps the floor down.

A server that purges also forgets which messages it was about to deliver again (they come after ACK_WAIT_S then). So it
is asked to while a pull is waiting, which has taken those already, and before anything is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator

import msgspec
from nats.aio.client import Client
from nats.aio.msg import Msg

from rmm.bus import subjects
from rmm.bus.api import NO_CONSUMER, NO_STREAM, Refused, call
from rmm.bus.link import Link, Listening, begin, end
from rmm.errors import BusError

log = logging.getLogger(__name__)

ACK_WAIT_S = 30.0
MOST_UNACKED = 16_384  # of all subscribers of a pattern: the shares of 128 sites that have to wait
PREFETCH, PREFETCH_BYTES = 64, 8 << 20  # that wait here to be taken
EXPIRES_S, HEARTBEAT_S = 30.0, 2.0  # of one pull; without three heartbeats it is asked again
HOLD_S = 120.0  # that somebody may work on a message before another gets it
SWEEP_S = 0.5
BUNCH = 512  # acknowledged ones are purged at the latest when there are so many
PULL_S = 2.0  # that a purge waits for a pull
SINGLES = 128  # deleted one by one in one sweep
REMEMBERED = 8192  # acknowledged ones that are told from new ones, should they come again
LEAVE_S = 3.0  # for giving back and purging at the end

_NS = 1_000_000_000


class _Floor(msgspec.Struct, frozen=True):
    stream_seq: int = 0


class _Info(msgspec.Struct, frozen=True):
    """Of a consumer."""

    created: str = ""
    ack_floor: _Floor = _Floor()


class JetDelivery:
    """`ports.Delivery`. `attempt` counts what the broker handed out, also to whoever left before looking at it."""

    __slots__ = ("_puller", "attempt", "data", "gone", "place", "reply", "since", "subject", "touched")

    def __init__(self, puller: Puller, message: Msg, place: Place, attempt: int, now: float) -> None:
        self._puller = puller
        self.subject = message.subject
        self.data = message.data
        self.reply = message.reply
        self.place = place
        self.attempt = attempt
        self.since = self.touched = now
        self.gone = False

    async def ack(self) -> None:
        """Never deliver this message again; idempotent. Without a connection it is said with the next one."""
        if not self.gone:
            self.gone = True
            await self._puller.acknowledge(self)

    async def later(self, delay_s: float) -> None:
        """Deliver it again, not before so many seconds."""
        await self._puller.give_back(self, delay_s)


Place = tuple[int, int]  # sequence in the stream and time of storage, which a stream that was made anew has not again


def place_of(reply: str) -> tuple[Place, int]:
    """(place, how many times delivered) from the subject of an acknowledgement.

    `$JS.ACK.stream.consumer.delivered.sequence...`, or with domain and account before the stream (ADR-15 of NATS).
    ValueError for another.
    """
    words = reply.split(".")
    if words[:2] != ["$JS", "ACK"] or len(words) < 9:
        raise ValueError("no subject of an acknowledgement")
    first = 4 if len(words) == 9 else 6
    return (int(words[first + 1]), int(words[first + 3])), int(words[first])


class Puller:
    """What `JetStreamBus.subscribe` gives: iterate over it."""

    def __init__(self, link: Link, pattern: str, ack_wait_s: float = ACK_WAIT_S) -> None:
        self._link = link
        self._ack_wait_s = ack_wait_s
        self._pattern = pattern
        self._consumer = subjects.durable(pattern)
        self._waiting: deque[JetDelivery] = deque()
        self._bytes = 0
        self._held: dict[Place, JetDelivery] = {}  # waiting here, or taken and not acknowledged
        self._acked: dict[Place, float] = {}  # acknowledged, still in the stream for all we know -> since when
        self._known: dict[Place, None] = {}  # the last acknowledged, oldest first
        self._unsaid: dict[Place, str] = {}  # acknowledged without a connection -> its reply subject
        self._created = ""  # the consumer
        self._wanted = 0  # messages that the pull under way may still bring
        self._heard_at = 0.0
        self._floor = 0
        self._arrived = asyncio.Event()
        self._asked = asyncio.Event()  # while a pull is under way
        self._pull = asyncio.Event()
        self._sweep = asyncio.Event()
        self._left = False

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Puller]:
        """Pull while this lasts; then all that is not acknowledged is given back at once."""
        self._link.check()
        tasks = [asyncio.create_task(self._pulling()), asyncio.create_task(self._tidying())]
        ended = self._arrived.set
        self._link.at_end.add(ended)
        try:
            yield self
        finally:
            self._left = True
            self._link.at_end.discard(ended)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(TimeoutError, BusError):
                async with asyncio.timeout(LEAVE_S):
                    await self._leave()

    def __aiter__(self) -> Puller:
        return self

    async def __anext__(self) -> JetDelivery:
        while True:
            while self._waiting:
                found = self._waiting.popleft()
                self._bytes -= len(found.data)
                if self._wanted <= 0 and len(self._waiting) <= PREFETCH // 2:
                    self._pull.set()
                if not found.gone and self._held.get(found.place) is found:
                    found.since = self._now()
                    return found
            if self._link.closed or self._left:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def acknowledge(self, delivery: JetDelivery) -> None:
        """It is done with, for good."""
        place = delivery.place
        self._held.pop(place, None)
        self._acked[place] = self._now()
        self._known[place] = None
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        if len(self._acked) >= BUNCH:
            self._sweep.set()
        await self._say_acked(place, delivery.reply)

    async def _say_acked(self, place: Place, reply: str) -> None:
        try:
            if self._link.client is None:
                raise BusError("not connected")
            await self._link.send(reply, b"+ACK")
            self._unsaid.pop(place, None)
        except BusError:
            self._unsaid[place] = reply

    async def _say_rest(self) -> None:
        for place, reply in list(self._unsaid.items()):
            await self._say_acked(place, reply)

    async def give_back(self, delivery: JetDelivery, delay_s: float) -> None:
        """To be delivered again. BusError when the broker cannot be told; it comes again after ACK_WAIT_S then."""
        if delivery.gone:
            return
        if self._held.get(delivery.place) is delivery:
            del self._held[delivery.place]
        body = b'-NAK {"delay": %d}' % int(delay_s * _NS) if delay_s > 0 else b"-NAK"
        await self._link.send(delivery.reply, body)

    # Pulling.

    async def _pulling(self) -> None:
        told = False
        while True:
            client = await self._link.connected()
            try:
                await self._ensure()
                told = False
                await self._pull_on(client)
            except BusError as error:
                if not told:
                    log.warning("nothing of %s can be read: %s", self._pattern, error.told)
                told = True
                await asyncio.sleep(1.0)

    async def _ensure(self) -> None:
        """The consumer is there, as it should be."""
        config = {
            "durable_name": self._consumer,
            "filter_subject": self._pattern,
            "ack_policy": "explicit",
            "ack_wait": int(self._ack_wait_s * _NS),
            "deliver_policy": "all",
            "replay_policy": "instant",
            "max_ack_pending": MOST_UNACKED,
            "max_deliver": -1,
        }
        subject = f"CONSUMER.CREATE.{subjects.STREAM}.{self._consumer}.{self._pattern}"
        info = await call(self._link, subject, {"stream_name": subjects.STREAM, "config": config}, _Info)
        if info.created != self._created:
            # A stream that was made anew has the same numbers for other messages.
            for known in (self._held, self._acked, self._unsaid):
                known.clear()
            self._created, self._floor = info.created, 0
        await self._say_rest()

    async def _pull_on(self, client: Client) -> None:
        """Until this connection is gone. BusError when the consumer is."""
        inbox = client.new_inbox()
        lost: list[str] = []

        def arrived(message: Msg) -> None:
            self._heard_at = self._now()
            if message.headers and "Status" in message.headers and message.subject == inbox:
                self._status(message.headers, lost)
            else:
                self._take(message)

        listening = Listening(inbox, arrived)
        await begin(client, (listening,))
        self._end_pull()
        try:
            while self._link.client is client and not lost:
                self._pull.clear()
                if self._wanted > 0 and self._now() - self._heard_at > 3 * HEARTBEAT_S:
                    self._end_pull()  # nobody knows of this pull any more: another server leads, for example
                room = PREFETCH - len(self._waiting)
                if self._wanted <= 0 and room >= PREFETCH // 2 and self._bytes < PREFETCH_BYTES:
                    await self._ask(inbox, room)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1.0):
                        await self._pull.wait()
        finally:
            await end((listening,))
        if lost:
            raise BusError(f"the consumer of {self._pattern} is gone: {lost[0]}")

    async def _ask(self, inbox: str, batch: int) -> None:
        self._wanted, self._heard_at = batch, self._now()
        self._asked.set()
        body = {
            "batch": batch,
            "max_bytes": PREFETCH_BYTES,
            "expires": int(EXPIRES_S * _NS),
            "idle_heartbeat": int(HEARTBEAT_S * _NS),
        }
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{subjects.STREAM}.{self._consumer}"
        await self._link.send(subject, msgspec.json.encode(body), reply=inbox)

    def _status(self, headers: dict[str, str], lost: list[str]) -> None:
        """100 is a heartbeat; everything else ends the pull (ADR-13 of NATS)."""
        status, said = headers["Status"], headers.get("Description", "")
        if status == "100":
            return
        self._end_pull()
        if status == "503" or "Consumer Deleted" in said:
            lost.append(said or "nobody answers for it")

    def _end_pull(self) -> None:
        self._wanted = 0
        self._asked.clear()
        self._pull.set()

    def _take(self, message: Msg) -> None:
        try:
            place, attempt = place_of(message.reply)
        except ValueError:
            return  # not from the stream
        self._wanted -= 1
        if self._wanted <= 0:
            self._end_pull()
        now = self._now()
        if place in self._known:
            self._unsaid[place] = message.reply
            self._sweep.set()
            return
        if (held := self._held.get(place)) is not None and now - held.since < HOLD_S:
            held.reply, held.touched = message.reply, now  # the broker had forgotten that we have it
            return
        delivery = JetDelivery(self, message, place, attempt, now)
        self._held[place] = delivery
        self._waiting.append(delivery)
        if len(self._waiting) > 1 and place < self._waiting[-2].place:  # one that comes again goes before newer ones
            self._waiting = deque(sorted(self._waiting, key=lambda one: one.place))
        self._bytes += len(delivery.data)
        self._arrived.set()

    # Taking away what is acknowledged, and holding what is being worked on.

    async def _tidying(self) -> None:
        """Every half second, and when there is much."""
        first = True  # what was acknowledged before a crash may still be there
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._sweep.wait()
            self._sweep.clear()
            if self._link.client is None:
                continue
            try:
                await self._working()
                await self._say_rest()
                if self._acked or first:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PULL_S):
                            await self._asked.wait()
                    await self._purge(self._now() - 2 * SWEEP_S)
                    first = False
            except BusError as error:
                log.debug("acknowledged messages of %s stay for now: %s", self._pattern, error)

    async def _working(self) -> None:
        """Tell the broker of what waits here or is being worked on, before it gives it to another."""
        now = self._now()
        for one in list(self._held.values()):
            if now - one.touched > self._ack_wait_s / 3 and now - one.since < HOLD_S:
                one.touched = now
                await self._link.send(one.reply, b"+WPI")

    async def _purge(self, before: float) -> None:
        """Take away what is acknowledged: up to the floor, and above it one by one what was acknowledged `before`."""
        try:
            info = await call(self._link, f"CONSUMER.INFO.{subjects.STREAM}.{self._consumer}", kind=_Info)
        except Refused as error:
            if error.err_code in (NO_CONSUMER, NO_STREAM):
                return
            raise
        floor = info.ack_floor.stream_seq
        if floor > self._floor:
            body: dict[str, object] = {"seq": floor + 1}
            if self._pattern not in (subjects.UP, subjects.UP_ALL):
                body["filter"] = self._pattern
            await call(self._link, f"STREAM.PURGE.{subjects.STREAM}", body)
            self._floor = floor
        for place in [place for place in self._acked if place[0] <= floor]:
            del self._acked[place]
        for place in [place for place, since in self._acked.items() if since < before][:SINGLES]:
            await self._delete(place)

    async def _delete(self, place: Place) -> None:
        try:
            await call(self._link, f"STREAM.MSG.DELETE.{subjects.STREAM}", {"seq": place[0], "no_erase": True})
        except Refused as error:
            log.debug("message %d: %s", place[0], error)  # it is not there any more
        self._acked.pop(place, None)

    async def _leave(self) -> None:
        """Take away what is acknowledged, and give back what is not, oldest first."""
        if self._link.client is None:
            return
        await self._say_rest()
        with contextlib.suppress(BusError):
            # Asked for its state, the server also drops the pull that nobody waits for any more; it would try that with
            # the first message that is given back, and then put it behind the others.
            await self._purge(self._now())
        for one in sorted(self._held.values(), key=lambda held: held.place):
            await self._link.send(one.reply, b"-NAK")
        self._held.clear()
