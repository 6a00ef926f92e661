"""The native transport: an asyncio WinRM and PSRP engine, no thread per endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rmm.model.endpoint import Target
from rmm.ports import AuthGate
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.session import WinrmSession

__all__ = ["WinrmTransport", "build"]


class WinrmTransport:
    """`ports.Transport`. Keeps sessions per endpoint where their policy is `connection` or `runspace`."""

    def __init__(self, gate: AuthGate, name: str = "winrm", owner: str = "rmm") -> None:
        self.name = name
        self._gate = Logons(gate)
        self._owner = owner  # of its shells, so that those which a crash left are told from other people's
        self._kept: dict[str, WinrmSession] = {}

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[WinrmSession]:
        """A session, connected and authenticated; its runspace opens with the first script."""
        kept = self._kept.pop(target.endpoint, None) if target.session != "new" else None
        if kept is not None and kept.target != target:
            await kept.aclose()
            kept = None
        session = kept or WinrmSession(target, self._gate, self._owner)
        failed = True
        try:
            await session.open(deadline)
            yield session
            failed = False
        finally:
            # Shielded: a cancelled poll deletes its shell all the same.
            leaving = asyncio.ensure_future(session.leave(failed=failed))
            try:
                await asyncio.shield(leaving)
            except asyncio.CancelledError:
                await leaving
                await session.aclose()
                raise
        if target.session != "new":
            other, self._kept[target.endpoint] = self._kept.get(target.endpoint), session
            if other is not None:  # of a poll that overlapped this one
                await other.aclose()

    async def aclose(self) -> None:
        """Delete all that is kept. Idempotent."""
        kept, self._kept = list(self._kept.values()), {}
        await asyncio.gather(*(session.aclose() for session in kept))
        await self._gate.aclose()


def build(*, gate: AuthGate, owner: str = "rmm", **_: object) -> WinrmTransport:
    """The plugin entry."""
    return WinrmTransport(gate, owner=owner)
