"""The embedded bus: bounded queues in this process, redelivery of what was not acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from rmm.errors import BusError

CAPACITY = 256  # messages per subject; a publisher waits when the subscriber is further behind


class MemoryDelivery:
    """`ports.Delivery`."""

    __slots__ = ("_topic", "data")

    def __init__(self, topic: _Topic, data: bytes) -> None:
        self._topic = topic
        self.data = data

    async def ack(self) -> None:
        """Never deliver this message again; idempotent."""
        self._topic.acknowledge(self)


class _Topic:
    """One subject: messages in order, those in flight first when a subscriber begins anew."""

    def __init__(self) -> None:
        self.waiting: deque[MemoryDelivery] = deque()
        self.flying: dict[int, MemoryDelivery] = {}
        self.changed = asyncio.Condition()

    def acknowledge(self, delivery: MemoryDelivery) -> None:
        self.flying.pop(id(delivery), None)


class MemoryBus:
    """`ports.Bus` for one process. One subscriber per subject at a time."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._topics: dict[str, _Topic] = {}
        self._capacity = capacity
        self._closed = False

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand over a message; waits while the queue is full. Raises BusError after `aclose`."""
        topic = self._topics.setdefault(subject, _Topic())
        async with topic.changed:
            await topic.changed.wait_for(lambda: self._closed or len(topic.waiting) < self._capacity)
            if self._closed:
                raise BusError("the bus is closed")
            topic.waiting.append(MemoryDelivery(topic, data))
            topic.changed.notify_all()

    async def subscribe(self, subject: str) -> AsyncIterator[MemoryDelivery]:
        """Messages in order, unacknowledged ones of an earlier subscription first; ends when the bus is closed."""
        topic = self._topics.setdefault(subject, _Topic())
        topic.waiting.extendleft(reversed(topic.flying.values()))
        topic.flying.clear()
        while True:
            async with topic.changed:
                await topic.changed.wait_for(lambda: self._closed or bool(topic.waiting))
                if not topic.waiting:
                    return
                delivery = topic.waiting.popleft()
                topic.flying[id(delivery)] = delivery
                topic.changed.notify_all()
            yield delivery

    async def aclose(self) -> None:
        """Let subscribers take what is queued, and end."""
        self._closed = True
        for topic in self._topics.values():
            async with topic.changed:
                topic.changed.notify_all()
