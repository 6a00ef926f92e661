"""The embedded bus: bounded queues in this process, redelivery of what was not acknowledged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rmm.bus.fair import Heard, Seldom, Turns, payer_of
from rmm.bus.subjects import checked_key
from rmm.errors import BusError, BusFull, KeyTaken
from rmm.ports import Keyed, Told

log = logging.getLogger(__name__)

CAPACITY = 256  # messages of a subject that are not acknowledged

Reply = Callable[[str, bytes], Awaitable[bytes]]


def matches(pattern: str, subject: str) -> bool:
    """Whether a subject is one of a pattern: `*` stands for a word, `>` at the end for one or more."""
    wanted, words = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(words) <= len(wanted):
            return False
        words = words[: len(wanted)]
    return len(wanted) == len(words) and all(one in ("*", word) for one, word in zip(wanted, words, strict=True))


class MemoryDelivery:
    """`ports.Delivery`."""

    __slots__ = ("_bus", "attempt", "data", "given_back", "gone", "number", "subject")

    def __init__(self, bus: MemoryBus, number: int, subject: str, data: bytes) -> None:
        self._bus = bus
        self.number = number
        self.subject = subject
        self.data = data
        self.attempt = 0
        self.gone = False
        self.given_back = False  # by `later`: it comes by itself

    async def ack(self) -> None:
        """Never deliver this message again; idempotent, and right also after a redelivery."""
        if not self.gone:
            self.gone = True
            self._bus.forget(self)

    async def later(self, delay_s: float) -> None:
        """Deliver it again, not before so many seconds."""
        self.given_back = True
        asyncio.get_running_loop().call_later(delay_s, self._bus.put_back, self)


class MemoryBus:
    """`ports.Bus` for one process."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: list[MemoryDelivery] = []  # in order of their numbers
        self._open: dict[str, int] = {}  # subject -> messages that are not acknowledged
        self._number = 0
        self._changed = asyncio.Event()
        self._listeners: list[tuple[str, Heard]] = []
        self._answering: list[tuple[str, Reply, Turns]] = []
        self._seldom = Seldom()
        self._buckets: dict[str, MemoryKeys] = {}
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def _check(self) -> None:
        if self._closed:
            raise BusError("the bus is closed", code="bus.closed")

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand over a message. Raises BusFull when nobody acknowledges, BusError after `aclose`."""
        self._check()
        if self._open.get(subject, 0) >= self._capacity:
            raise BusFull(f"{self._capacity} messages of {subject} are not acknowledged")
        self._number += 1
        self._open[subject] = self._open.get(subject, 0) + 1
        self._waiting.append(MemoryDelivery(self, self._number, subject, data))
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def forget(self, delivery: MemoryDelivery) -> None:
        """It is acknowledged."""
        left = self._open.get(delivery.subject, 0) - 1
        if left > 0:
            self._open[delivery.subject] = left
        else:
            self._open.pop(delivery.subject, None)
        if delivery in self._waiting:
            self._waiting.remove(delivery)

    def put_back(self, delivery: MemoryDelivery) -> None:
        """It waits again, where it was in the order."""
        delivery.given_back = False
        if not delivery.gone and delivery not in self._waiting:
            self._waiting.append(delivery)
            self._waiting.sort(key=lambda one: one.number)
            self._wake()

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncIterator[AsyncIterator[MemoryDelivery]]:
        """Messages in order; they end when the bus is closed and all that was queued is delivered."""
        messages = _Messages(self, pattern)
        try:
            yield messages
        finally:
            for one in messages.flying.values():
                if not one.given_back:
                    self.put_back(one)

    async def take(self, pattern: str) -> MemoryDelivery | None:
        """The next one that waits; None when the bus is closed and there is none."""
        while True:
            changed = self._changed
            found = next((one for one in self._waiting if matches(pattern, one.subject)), None)
            if found is not None:
                self._waiting.remove(found)
                found.attempt += 1
                return found
            if self._closed:
                return None
            await changed.wait()

    async def tell(self, subject: str, data: bytes) -> None:
        """Say something to whoever listens now."""
        self._check()
        for pattern, heard in self._listeners:
            if matches(pattern, subject):
                heard.put(Told(subject, data))

    @asynccontextmanager
    async def hear(self, pattern: str) -> AsyncIterator[AsyncIterator[Told]]:
        """What is told while this lasts."""
        self._check()
        heard = Heard(lambda: self._closed)
        mine = (pattern, heard)
        self._listeners.append(mine)
        try:
            yield heard
        finally:
            self._listeners.remove(mine)

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """One question, one answer."""
        self._check()
        found = next((one for one in self._answering if matches(one[0], subject)), None)
        if found is None:
            raise BusError(f"nobody answers {subject}", code="bus.nobody")
        _, reply, turns = found
        try:
            if (turn := turns.turn(payer_of(subject))) is None:
                raise BusError("too many at once")
            async with asyncio.timeout(timeout_s), turn:
                return await reply(subject, data)
        except TimeoutError as error:
            raise BusError(f"no answer to {subject} in {timeout_s:g} s", code="bus.timeout") from error
        except Exception as error:
            if self._seldom.due(payer_of(subject)):
                log.warning("a question about %s was not answered: %s; said once a minute", subject, error)
            raise BusError(f"no answer to {subject}", code="bus.timeout") from error

    @asynccontextmanager
    async def answer(self, pattern: str, reply: Reply) -> AsyncIterator[None]:
        """Answer questions while this lasts."""
        self._check()
        mine = (pattern, reply, Turns())
        self._answering.append(mine)
        try:
            yield
        finally:
            self._answering.remove(mine)

    def keys(self, bucket: str, *, ttl_s: float = 0.0) -> MemoryKeys:
        """A bucket of keys."""
        return self._buckets.setdefault(bucket, MemoryKeys(self, ttl_s))

    def check(self) -> None:
        """BusError once it is closed."""
        self._check()

    async def aclose(self) -> None:
        """Take no more messages; let subscribers take what is queued, and end. Idempotent."""
        self._closed = True
        self._wake()
        for _, heard in self._listeners:
            heard.wake()


class _Messages:
    """An iterator that outlives a cancelled wait, as a generator would not."""

    def __init__(self, bus: MemoryBus, pattern: str) -> None:
        self._bus = bus
        self._pattern = pattern
        self.flying: dict[int, MemoryDelivery] = {}

    def __aiter__(self) -> _Messages:
        return self

    async def __anext__(self) -> MemoryDelivery:
        found = await self._bus.take(self._pattern)
        if found is None:
            raise StopAsyncIteration
        for number in [number for number, one in self.flying.items() if one.gone]:
            del self.flying[number]
        self.flying[found.number] = found
        return found


class MemoryKeys:
    """`ports.Keys`."""

    def __init__(self, bus: MemoryBus, ttl_s: float) -> None:
        self._bus = bus
        self._ttl = ttl_s
        self._kept: dict[str, tuple[Keyed, float]] = {}
        self._revision = 0

    def _now(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._ttl:
            self._kept = {key: one for key, one in self._kept.items() if now - one[1] < self._ttl}
        return now

    async def get(self, key: str) -> Keyed | None:
        self._bus.check()
        checked_key(key)
        self._now()
        found = self._kept.get(key)
        return found[0] if found else None

    async def _is(self, key: str, after: int) -> None:
        known = await self.get(key)
        if (known.revision if known else 0) != after:
            raise KeyTaken(f"{key} was written by somebody else")

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        await self._is(key, after)
        self._revision += 1
        self._kept[key] = (Keyed(value, self._revision), self._now())
        return self._revision

    async def drop(self, key: str, *, after: int) -> None:
        await self._is(key, after)
        self._revision += 1
        self._kept.pop(key, None)

    async def all(self, pattern: str) -> dict[str, Keyed]:
        self._bus.check()
        self._now()
        return {key: one for key, (one, _) in self._kept.items() if matches(pattern, key)}
