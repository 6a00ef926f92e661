"""SSH by asyncssh: PowerShell's own subsystem where the endpoint has it, the collectors' `collect.sh` where not.

Host keys are verified against known_hosts before anything secret is sent; there is no way to turn that off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from rmm.model.endpoint import Target
from rmm.ports import AuthGate
from rmm.transports.kept import Kept
from rmm.transports.ssh.session import SshSession

__all__ = ["SshTransport", "build"]


class SshTransport:
    """`ports.Transport`. Keeps sessions per endpoint where their policy is `connection` or `runspace`."""

    name = "ssh"

    def __init__(self, gate: AuthGate) -> None:
        self._gate = gate
        self._kept: Kept[SshSession] = Kept()
        self._languages: dict[str, str] = {}  # endpoint -> what it spoke: the subsystem is tried once, not every time

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[SshSession]:
        """Connect, verify the host key, log on, and settle the language."""
        remembered = self._languages.get(target.endpoint, target.language)
        target = msgspec.structs.replace(target, language="")
        async with self._kept.lend(target, lambda: SshSession(target, self._gate)) as session:
            await session.open(deadline, remembered)
            self._languages[target.endpoint] = session.language
            yield session

    async def aclose(self) -> None:
        """End all that is kept. Idempotent."""
        await self._kept.aclose()


def build(*, gate: AuthGate, **_: object) -> SshTransport:
    """The plugin entry."""
    return SshTransport(gate)
