"""The embedded bus: bounded queues in this process, redelivery of what was not acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from rmm.errors import BusError

CAPACITY = 256  # messages per subject; a publisher waits when the subscriber is further behind
MOST_UNACKNOWLEDGED = 4096  # delivered and not acknowledged; the publisher waits here too, so memory is bounded


class MemoryDelivery:
    """`ports.Delivery`."""

    __slots__ = ("_topic", "acknowledged", "data")

    def __init__(self, topic: _Topic, data: bytes) -> None:
        self._topic = topic
        self.data = data
        self.acknowledged = False

    async def ack(self) -> None:
        """Never deliver this message again; idempotent, and right also after a redelivery."""
        if not self.acknowledged:
            self.acknowledged = True
            await self._topic.forget(self)


class _Topic:
    """One subject: messages in order, those in flight first when a subscriber begins anew."""

    def __init__(self) -> None:
        self.waiting: deque[MemoryDelivery] = deque()
        self.flying: dict[int, MemoryDelivery] = {}
        self.changed = asyncio.Condition()

    async def forget(self, delivery: MemoryDelivery) -> None:
        self.flying.pop(id(delivery), None)
        async with self.changed:
            self.changed.notify_all()


class MemoryBus:
    """`ports.Bus` for one process. One subscriber per subject at a time."""

    def __init__(self, capacity: int = CAPACITY, most_unacknowledged: int = MOST_UNACKNOWLEDGED) -> None:
        self._topics: dict[str, _Topic] = {}
        self._capacity = capacity
        self._most_unacknowledged = most_unacknowledged
        self._closed = False

    def _topic(self, subject: str) -> _Topic:
        return self._topics.setdefault(subject, _Topic())

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand over a message; waits while the subscriber is too far behind. Raises BusError after `aclose`."""
        topic = self._topic(subject)

        def room() -> bool:
            return len(topic.waiting) < self._capacity and len(topic.flying) < self._most_unacknowledged

        async with topic.changed:
            await topic.changed.wait_for(lambda: self._closed or room())
            if self._closed:
                raise BusError("the bus is closed")
            topic.waiting.append(MemoryDelivery(topic, data))
            topic.changed.notify_all()

    async def subscribe(self, subject: str) -> AsyncIterator[MemoryDelivery]:
        """Messages in order, unacknowledged ones of an earlier subscription first; ends when the bus is closed.

        After `aclose` what is queued is still delivered.
        """
        topic = self._topic(subject)
        topic.waiting.extendleft(reversed(topic.flying.values()))
        topic.flying.clear()
        while True:
            async with topic.changed:
                await topic.changed.wait_for(lambda: self._closed or bool(topic.waiting))
                if not topic.waiting:
                    return
                delivery = topic.waiting.popleft()
                topic.changed.notify_all()
                if delivery.acknowledged:
                    continue  # late, by the subscriber before
                topic.flying[id(delivery)] = delivery
            yield delivery

    async def aclose(self) -> None:
        """Take no more messages; let subscribers take what is queued, and end. Idempotent."""
        self._closed = True
        for topic in list(self._topics.values()):
            async with topic.changed:
                topic.changed.notify_all()
