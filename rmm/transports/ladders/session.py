"""The upper rungs of a ladder over `ports.Transport` alone: for transports whose inside is a library's."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

from rmm.model.endpoint import Target
from rmm.ports import Look, Rung, Script, Session, Transport

HELLO = {
    "powershell": Script("$env:COMPUTERNAME"),
    "sh": Script("uname -srm", language="sh"),
}


class SessionRungs:
    """Log on and run one harmless script. `below` is the rung that the logon needs."""

    def __init__(self, transport: Transport, target: Target, language: str = "powershell", below: str = "http") -> None:
        self._transport = transport
        self._target = target
        self._language = language
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self.rungs: Sequence[Rung] = (
            Rung("authentication", self._logon, (below,)),
            Rung("shell", self._shell, ("authentication",)),
        )

    async def _logon(self, deadline: float) -> Look:
        target = self._target
        self._session = await self._stack.enter_async_context(self._transport.session(target, deadline=deadline))
        how = target.credential.kind if target.transport == "ssh" else target.auth
        return Look(
            f"{target.credential.username} by {how}, through {target.transport}",
            facts={"username": target.credential.username, "scheme": how},
        )

    async def _shell(self, deadline: float) -> Look:
        assert self._session is not None
        began = time.perf_counter()
        hello = HELLO[getattr(self._session, "language", self._language)]  # some sessions find out what runs there
        result = await self._session.run(hello, deadline=deadline, max_bytes=64 << 10)
        seen = " ".join(str(item) for item in result.output)[:200]
        if result.state != "completed":
            record = result.errors[-1] if result.errors else None
            said = f"{record.error_id}: {record.message}"[:300] if record else ""
            fix = "The error record is the endpoint's own; see also its event logs."
            return Look(f"the script {result.state} {said}".strip(), "failed", fix, "script.failed")
        return Look(seen, facts={"ran_ms": round((time.perf_counter() - began) * 1000, 1)})

    async def aclose(self) -> None:
        """End the session."""
        self._session = None
        await self._stack.aclose()
