"""The bus of a worker: deliveries come through the pipe of the main process, all else over its own connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from rmm.hub import frames
from rmm.pipes import WorkerPipe
from rmm.ports import Bus, Delivery, Keys, Told


class PipedDelivery:
    """`ports.Delivery`, of which the main process has the real one."""

    __slots__ = ("_number", "_pipe", "attempt", "data", "subject")

    def __init__(self, pipe: WorkerPipe[frames.Message], given: frames.Given) -> None:
        self._pipe = pipe
        self._number = given.number
        self.subject = given.subject
        self.data = given.data
        self.attempt = given.attempt

    async def ack(self) -> None:
        """Never again; the main process heeds the first answer alone."""
        await self._pipe.send(frames.Acked(self._number))

    async def later(self, delay_s: float) -> None:
        """Again, not before so many seconds."""
        await self._pipe.send(frames.Later(self._number, delay_s))


class PipedBus:
    """`ports.Bus`. `arrived` hands it what the main process gives; its bounds are the main process's."""

    def __init__(self, bus: Bus, deliveries: asyncio.Queue[Delivery]) -> None:
        self._bus = bus
        self._deliveries = deliveries

    async def publish(self, subject: str, data: bytes) -> None:
        """As the connection does."""
        await self._bus.publish(subject, data)

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncIterator[AsyncIterator[Delivery]]:
        """What the main process gives, whatever the pattern: it has the subscription."""
        yield self._given()

    async def _given(self) -> AsyncIterator[Delivery]:
        while True:
            yield await self._deliveries.get()

    async def tell(self, subject: str, data: bytes) -> None:
        """As the connection does."""
        await self._bus.tell(subject, data)

    def hear(self, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[Told]]:
        """As the connection does."""
        return self._bus.hear(pattern)

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """As the connection does."""
        return await self._bus.ask(subject, data, timeout_s=timeout_s)

    def answer(
        self, pattern: str, reply: Callable[[str, bytes], Awaitable[bytes]]
    ) -> AbstractAsyncContextManager[None]:
        """As the connection does."""
        return self._bus.answer(pattern, reply)

    def keys(self, bucket: str, *, ttl_s: float = 0.0) -> Keys:
        """As the connection does."""
        return self._bus.keys(bucket, ttl_s=ttl_s)

    async def aclose(self) -> None:
        """As the connection does."""
        await self._bus.aclose()
