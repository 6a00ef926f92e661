"""SSH by asyncssh: PowerShell's own subsystem where the endpoint has it, the collectors' `collect.sh` where not.

Host keys are verified against known_hosts before anything secret is sent; there is no way to turn that off.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from rmm.model.endpoint import Target
from rmm.ports import AuthGate
from rmm.transports.ssh.session import SshSession

__all__ = ["SshTransport", "build"]


class SshTransport:
    """`ports.Transport`. Keeps sessions per endpoint where their policy is `connection` or `runspace`."""

    name = "ssh"

    def __init__(self, gate: AuthGate) -> None:
        self._gate = gate
        self._kept: dict[str, SshSession] = {}
        self._languages: dict[str, str] = {}  # endpoint -> what it spoke: the subsystem is tried once, not every time

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[SshSession]:
        """Connect, verify the host key, log on, and settle the language."""
        remembered = self._languages.get(target.endpoint, target.language)
        target = msgspec.structs.replace(target, language="")
        kept = self._kept.pop(target.endpoint, None) if target.session != "new" else None
        if kept is not None and kept.target != target:
            await kept.aclose()
            kept = None
        session = kept or SshSession(target, self._gate)
        whole = False
        try:
            await session.open(deadline, remembered)
            self._languages[target.endpoint] = session.language
            yield session
            whole = True
        finally:
            # Shielded: a cancelled poll ends its processes all the same.
            leaving = asyncio.ensure_future(session.leave() if whole else session.aclose())
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
        """End all that is kept. Idempotent."""
        kept, self._kept = list(self._kept.values()), {}
        await asyncio.gather(*(session.aclose() for session in kept))


def build(*, gate: AuthGate, **_: object) -> SshTransport:
    """The plugin entry."""
    return SshTransport(gate)
