"""The native transport: an asyncio WinRM and PSRP engine, no thread per endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rmm.model.endpoint import Target
from rmm.ports import AuthGate
from rmm.transports.kept import Kept
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.session import WinrmSession

__all__ = ["WinrmTransport", "build"]


class WinrmTransport:
    """`ports.Transport`. Keeps sessions per endpoint where their policy is `connection` or `runspace`."""

    def __init__(self, gate: AuthGate, name: str = "winrm", owner: str = "rmm") -> None:
        self.name = name
        self._gate = Logons(gate)
        self._owner = owner  # of its shells, so that those which a crash left are told from other people's
        self._kept: Kept[WinrmSession] = Kept()

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[WinrmSession]:
        """A session, connected and authenticated; its runspace opens with the first script."""
        async with self._kept.lend(target, lambda: WinrmSession(target, self._gate, self._owner)) as session:
            await session.open(deadline)
            yield session

    async def aclose(self) -> None:
        """Delete all that is kept. Idempotent."""
        await self._kept.aclose()
        await self._gate.aclose()


def build(*, gate: AuthGate, owner: str = "rmm", **_: object) -> WinrmTransport:
    """The plugin entry."""
    return WinrmTransport(gate, owner=owner)
