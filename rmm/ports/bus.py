"""The bus: what is published and kept, told and heard, asked and answered, and keys that have one holder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec


class Told(msgspec.Struct, frozen=True):
    """Something that was told."""

    subject: str
    data: bytes


class Bus(Protocol):
    """Carries messages between pollers and the coordinator, sites and the hub.

    Subjects are words joined by dots. A pattern may have `*` for one word and end with `>` for one or more.
    Every method raises BusError when the bus cannot be reached or has been closed.
    """

    async def publish(self, subject: str, data: bytes) -> None:
        """Hand over a message that is kept until it is acknowledged; on return the bus has it.

        Raises BusFull when the subject has its share: later there is room again. After another BusError it may have
        it or not.
        """
        ...

    def subscribe(self, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[Delivery]]:
        """Messages in order, redelivered until acknowledged; what is left unacknowledged at the end goes to the next.

        Subscribers of one pattern share the messages.
        """
        ...

    async def tell(self, subject: str, data: bytes) -> None:
        """Say something to whoever listens now; it is kept nowhere."""
        ...

    def hear(self, pattern: str) -> AbstractAsyncContextManager[AsyncIterator[Told]]:
        """What is told while this lasts, in order; a site's oldest are lost when nobody takes them, no other's."""
        ...

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """One question, one answer. Raises BusError (bus.nobody, bus.timeout) without one."""
        ...

    def answer(
        self, pattern: str, reply: Callable[[str, bytes], Awaitable[bytes]]
    ) -> AbstractAsyncContextManager[None]:
        """Answer questions while this lasts; `reply` gets subject and question. What it raises is no answer.

        Of several who answer the same pattern one is asked. Sites have turns: many questions of one get no answer, and
        no other one waits for them.
        """
        ...

    def keys(self, bucket: str, *, ttl_s: float = 0.0) -> Keys:
        """A bucket of keys; those that were not written for `ttl_s` are gone (0: never)."""
        ...

    async def aclose(self) -> None: ...


class Delivery(Protocol):
    """One message from the bus."""

    subject: str
    data: bytes
    attempt: int  # 1 the first time

    async def ack(self) -> None:
        """Never again. Idempotent."""
        ...

    async def later(self, delay_s: float) -> None:
        """Deliver it again, not before so many seconds."""
        ...


class Keyed(msgspec.Struct, frozen=True):
    """The value of a key. `revision` grows with every write in the bucket."""

    value: bytes
    revision: int


class Keys(Protocol):
    """Keys with revisions, for what must have one holder. A key is words joined by dots."""

    async def get(self, key: str) -> Keyed | None: ...

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """Write a key whose revision is still `after` (0: there is none); returns the new revision.

        Raises KeyTaken when it is not so.
        """
        ...

    async def drop(self, key: str, *, after: int) -> None:
        """Remove a key whose revision is still `after`. Raises KeyTaken when it is not so."""
        ...

    async def all(self, pattern: str) -> dict[str, Keyed]:
        """All keys that match."""
        ...
