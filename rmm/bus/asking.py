"""A connection for questions alone: of a site that is not enrolled yet, and of the hub to the brokers themselves.

The first needs no stream and may use none; the second is in the system account, which has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from rmm.bus.link import WAIT_S, Link
from rmm.bus.login import Login
from rmm.errors import BusError

_LOOK_S = 0.1
_FINAL = ("bus.refused", "bus.tls", "bus.version", "bus.proxy")  # trying again does not help


class Asks(Protocol):
    """The part of `ports.Bus` that asks."""

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        """One question, one answer. Raises BusError (bus.nobody, bus.timeout) without one."""
        ...


class Opener(Protocol):
    """`open_asker`, or what stands in for it."""

    def __call__(self, login: Login) -> AbstractAsyncContextManager[Asks]:
        """Open it for a login."""
        ...


class _Asker:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
        return (await self._link.request(subject, data, timeout_s=timeout_s)).data


@asynccontextmanager
async def open_asker(login: Login) -> AsyncIterator[Asks]:
    """Connect; BusError with the reason when the broker refuses, or cannot be reached for some seconds."""
    link = Link(login)
    link.start()
    try:
        await _connected(link)
        yield _Asker(link)
    finally:
        await link.aclose()


async def _connected(link: Link) -> None:
    loop = asyncio.get_running_loop()
    until = loop.time() + WAIT_S
    while True:
        try:
            await link.ready(_LOOK_S)
            return
        except BusError as error:
            trouble = link.trouble
            if loop.time() > until or (trouble is not None and trouble.code in _FINAL):
                raise trouble or error from error
