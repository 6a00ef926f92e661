"""The bus over NATS JetStream: what is published is in a stream on the broker's disk before it is confirmed.

`prepare` (in `rmm.bus.provision`) makes the streams, for the hub; sites make nothing. Durability is the broker's
(`sync_interval: always`), and the site's outgoing log does not trust it: what the broker confirms is not committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from rmm.bus import subjects
from rmm.bus.api import stored
from rmm.bus.fair import Heard, Seldom, Turn, Turns, payer_of
from rmm.bus.keyvalue import JetStreamKeys
from rmm.bus.link import WAIT_S, Link, Listener, Listening
from rmm.bus.login import Login
from rmm.bus.pulling import ACK_WAIT_S, Puller
from rmm.errors import BusError
from rmm.ports import Told

__all__ = ["MAX_MESSAGE", "JetStreamBus", "Login", "open_bus"]

log = logging.getLogger(__name__)

MAX_MESSAGE = 512 << 10  # bytes of one message in the stream
ANSWER_S = 30.0  # for one answer
SHARE = 32  # beats, or questions of one kind, that a hub hears of a site in a second
BOUNDED = (["rmm", "beat"], ["rmm", "ask"], ["rmm", "enroll"])  # how subjects begin of which it is so

Reply = Callable[[str, bytes], Awaitable[bytes]]


class JetStreamBus:
    """`ports.Bus` over one connection; make it with `open_bus`."""

    def __init__(self, link: Link, ack_wait_s: float = ACK_WAIT_S, sites: Sequence[str] | None = None) -> None:
        self.link = link
        self._ack_wait_s = ack_wait_s
        self._sites = sites

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self.link.client is not None

    @property
    def trouble(self) -> BusError | None:
        """Why there is no connection."""
        return self.link.trouble

    async def publish(self, subject: str, data: bytes) -> None:
        """Into the stream. Raises BusFull when the subject has its share, BusError after 5 s without a broker."""
        self.link.check()
        if len(data) > MAX_MESSAGE:
            raise BusError(f"{len(data)} bytes for {subject} are too many", code="bus.size")
        stored((await self.link.request(subject, data, timeout_s=WAIT_S)).data, subject)

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncIterator[Puller]:
        """Messages in order; two patterns that overlap take each other's messages away."""
        async with Puller(self.link, pattern, self._ack_wait_s).running() as messages:
            yield messages

    async def tell(self, subject: str, data: bytes) -> None:
        """Say something to whoever listens now. Raises BusError after 5 s without a broker."""
        self.link.check()
        await self.link.send(subject, data)

    @asynccontextmanager
    async def hear(self, pattern: str) -> AsyncIterator[Heard]:
        """What is told while this lasts, also over a lost connection, but not what was told meanwhile."""
        heard = Heard(lambda: self.link.closed)

        def arrived(message: Msg) -> None:
            heard.put(Told(message.subject, message.data))

        self.link.at_end.add(heard.wake)
        try:
            async with self.link.listening(*self._by_site(pattern, arrived)):
                yield heard
        finally:
            self.link.at_end.discard(heard.wake)

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """One question, one answer. Raises BusError (bus.nobody, bus.timeout, bus.down) without one."""
        self.link.check()
        return bytes((await self.link.request(subject, data, timeout_s=timeout_s)).data)

    @asynccontextmanager
    async def answer(self, pattern: str, reply: Reply) -> AsyncIterator[None]:
        """Answer questions while this lasts; of all who answer this pattern one is asked."""
        answering = _Answering(self.link, reply)
        queue = f"answer-{subjects.durable(pattern)}"
        try:
            async with self.link.listening(*self._by_site(pattern, answering.asked, queue=queue)):
                yield
        finally:
            await answering.aclose()

    def _by_site(self, pattern: str, called: Listener, *, queue: str = "") -> list[Listening]:
        """Of what sites say: for each of them its own, with its share. Of other things, or for a site, the pattern."""
        words = pattern.split(".")
        if self._sites is None or words[:2] not in BOUNDED:
            return [Listening(pattern, called, queue=queue)]
        sites = self._sites if words[1] != "enroll" and words[2] == "*" else words[2:3]
        return [Listening(".".join([*words[:2], site, *words[3:]]), called, queue=queue, share=SHARE) for site in sites]

    def keys(self, bucket: str, *, ttl_s: float = 0.0) -> JetStreamKeys:
        """A bucket of keys. `ttl_s` in whole seconds, rounded up."""
        return JetStreamKeys(self.link, bucket, ttl_s)

    async def aclose(self) -> None:
        """Close the connection; what iterates ends. Idempotent."""
        await self.link.aclose()


@asynccontextmanager
async def open_bus(
    login: Login,
    *,
    wait_s: float = 10.0,
    patient: bool = False,
    ack_wait_s: float = ACK_WAIT_S,
    sites: Sequence[str] | None = None,
) -> AsyncIterator[JetStreamBus]:
    """The bus, connected; it reconnects for as long as it is open.

    Without a connection after `wait_s`, or at once when it is refused: BusError that says why, or, when `patient`, the
    bus as it is, which goes on trying: a site needs no broker to poll. Raises BusError at once for a login that cannot
    be used. `ack_wait_s`: after which the broker gives messages of a subscriber that is not heard to another. `sites`:
    for a hub, those that it hears and answers, each with a share of SHARE messages a second of each kind.
    """
    link = Link(login)
    link.start()
    bus = JetStreamBus(link, ack_wait_s, sites)
    try:
        try:
            await link.first(wait_s)
        except BusError:
            if not patient:
                raise
        yield bus
    finally:
        await bus.aclose()


class _Answering:
    """Answers a few questions at a time, each site's in turn."""

    def __init__(self, link: Link, reply: Reply) -> None:
        self._link = link
        self._reply = reply
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = Turns()
        self._seldom = Seldom()

    def asked(self, message: Msg) -> None:
        # Whoever asks chooses where the answer goes, and it goes there with our permissions.
        if not message.reply.startswith("_INBOX."):
            self._warn(message, f"it wants its answer at {message.reply[:80]!r}")
        elif (turn := self._turns.turn(payer_of(message.subject))) is None:
            self._warn(message, "too many at once")
        else:
            task = asyncio.create_task(self._answer(message, turn))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer(self, message: Msg, turn: Turn) -> None:
        try:
            async with turn, asyncio.timeout(ANSWER_S):
                data = await self._reply(message.subject, message.data)
                await self._link.send(message.reply, data)
        except Exception as error:
            self._warn(message, str(error) or type(error).__name__)

    def _warn(self, message: Msg, why: str) -> None:
        if self._seldom.due(payer_of(message.subject)):
            log.warning("a question about %s was not answered: %s; said once a minute", message.subject, why)

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
