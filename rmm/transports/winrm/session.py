"""`ports.Session` over WSMan: connects at once, opens a runspace when the first script runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any
from xml.sax.saxutils import escape

from rmm.core.sessions import WINRS, order
from rmm.errors import ProtocolError, QuotaError, RmmError, UnsupportedError
from rmm.model.endpoint import Target
from rmm.ports import Script, ScriptResult
from rmm.transports.winrm import envelope
from rmm.transports.winrm.command import CommandShell
from rmm.transports.winrm.enumeration import instances
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.orphans import reap
from rmm.transports.winrm.pipeline import note_unknown
from rmm.transports.winrm.shell import IDLE_S, Shell
from rmm.transports.winrm.wsman import Wsman, open_wsman

CLEAN_UP_S = 5.0
NO_CONFIGURATION = "unsupported.configuration"


class WinrmSession:
    """One session. The transport keeps it between polls where the site's policy says so."""

    language = "powershell"

    def __init__(self, target: Target, gate: Logons, owner: str = "rmm") -> None:
        self.target = target
        self._owner = owner  # the name that its shells have on the endpoint
        self._learnt: dict[str, str] = {}
        self.telemetry: dict[str, float] = {}
        self._gate = gate
        self._wsman: Wsman | None = None
        self._shell: Shell | None = None
        self._counted = (0, 0, 0)

    @property
    def peer(self) -> dict[str, str]:
        """What the endpoint said of itself: netbios, dns, domain; session and idle_s where they are not as asked."""
        peer = self._wsman.peer if self._wsman else {}
        return peer | self._learnt if self._learnt else peer

    async def open(self, deadline: float) -> None:
        """Be connected and authenticated; what is kept and still good is used."""
        self.telemetry = {}
        if self._wsman is not None and self._wsman.usable:
            self._counted = self._totals()
            return
        self._drop()
        self._counted = (0, 0, 0)
        self._wsman = await open_wsman(self.target, self._gate, deadline, self.telemetry)

    def count(self) -> None:
        """Bring the counters of this poll up to date."""
        now = self._totals()
        names = ("requests", "bytes_in", "bytes_out")
        self.telemetry |= {name: float(a - b) for name, a, b in zip(names, now, self._counted, strict=True)}

    def _totals(self) -> tuple[int, int, int]:
        if self._wsman is None:
            return (0, 0, 0)
        connection = self._wsman.connection
        return connection.requests, connection.bytes_in, connection.bytes_out

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """Run one script in the runspace, which is opened for the first one."""
        if script.language not in ("powershell", "command"):
            raise ProtocolError(
                f"WinRM runs PowerShell, not {script.language}", code="unsupported.language", retry="R0"
            )
        try:
            result = await (await self.shell(deadline)).run(script, deadline, max_bytes)
        finally:
            self.count()
        note_unknown(self.telemetry, result)
        return result

    async def shell(self, deadline: float) -> Shell:
        """The shell in which the next script runs; opened where there is none, or none that is still good."""
        if self._shell is None or not self._shell.fresh or self._shell.wsman is not self._wsman:
            began = time.perf_counter()
            await self._reopen(deadline)
            self.telemetry["open_ms"] = round((time.perf_counter() - began) * 1000, 3)
        assert self._shell is not None
        return self._shell

    @property
    def wsman(self) -> Wsman:
        """The connection, once it is open."""
        if self._wsman is None:
            raise ProtocolError("the session is not open", code="session.closed")
        return self._wsman

    async def _reopen(self, deadline: float) -> None:
        if self._shell is not None:
            await self._delete_shell()
        if self._wsman is None or not self._wsman.usable:
            self._wsman = await open_wsman(self.target, self._gate, deadline, {})
        await self._open_shell(deadline)

    async def _open_shell(self, deadline: float) -> None:
        """A shell of the first session configuration that is there; orphans of ours make room for it."""
        target = self.target
        names = order(target.configuration, target.fallback, target.chosen)
        reaped = target.orphans
        if reaped:
            await self._reap(deadline)
        while True:
            try:
                await self._open_one(names[0], deadline)
                return
            except UnsupportedError as error:
                if error.code != NO_CONFIGURATION or len(names) == 1:
                    raise
                names = names[1:]
            except QuotaError:
                # Quotas are the endpoint's to set; all that is done about one is to end what we have left there.
                if reaped or not await self._reap(deadline):
                    raise
                reaped = True

    async def _open_one(self, name: str, deadline: float) -> None:
        target, wsman = self.target, self._wsman
        assert wsman is not None
        kind = CommandShell if name.casefold() == WINRS else Shell
        kept = target.session == "runspace"
        shell = self._shell = kind(wsman, name, kept=kept, name=self._owner, idle_s=target.idle_s)
        await shell.open(deadline)
        self._learnt = {"session": name} if name != target.configuration else {}
        if shell.idle_s != IDLE_S:
            self._learnt["idle_s"] = str(shell.idle_s)

    async def _reap(self, deadline: float) -> int:
        """End the shells that this installation left here; how many there were."""
        assert self._wsman is not None
        count = await reap(self._wsman, self._owner, deadline)
        self.telemetry["shells_reaped"] = self.telemetry.get("shells_reaped", 0.0) + count
        return count

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """One WQL query by WS-Enumeration (DSP0226 8): optimised, so usually one request."""
        if self._wsman is None:
            raise ProtocolError("the session is not open", code="session.closed")
        resource = f"http://schemas.microsoft.com/wbem/wsman/1/wmi/{namespace}/*"
        wanted = f'<w:Filter Dialect="{envelope.WQL_DIALECT}">{escape(wql)}</w:Filter>'
        try:
            return await instances(self._wsman, resource, deadline, wanted=wanted)
        finally:
            self.count()

    async def leave(self) -> None:
        """The poll is over: keep what the policy keeps, delete the rest, within CLEAN_UP_S."""
        keep = self.target.session
        good = self._wsman is not None and self._wsman.usable
        if self._shell is not None and (keep != "runspace" or self._shell.broken or not good):
            await self._delete_shell()
            good = self._wsman is not None and self._wsman.usable
        if self._shell is not None:
            self.telemetry["shells_left"] = 1.0
        if keep == "new" or not good:
            self._drop()
        self.count()

    async def aclose(self) -> None:
        """Keep nothing."""
        try:
            await self._delete_shell()
        finally:
            self._drop()
            self.count()

    async def _delete_shell(self) -> None:
        """Delete the shell over its connection, or over a new one where that is lost in the middle of a request."""
        shell, self._shell = self._shell, None
        if shell is None or not shell.exists:
            return
        self.telemetry["shells_left"] = self.telemetry.get("shells_left", 0.0) + 1
        with contextlib.suppress(RmmError, TimeoutError):
            # What cannot be deleted now is reaped by the endpoint after its idle timeout.
            async with asyncio.timeout(CLEAN_UP_S):
                try:
                    await shell.delete(await self._connected())
                except RmmError:
                    if self._wsman is not None and self._wsman.usable:
                        raise  # the endpoint's own answer; a connection that ended with its ticket is another matter
                    await shell.delete(await self._connected())
            self.telemetry["shells_left"] -= 1

    async def _connected(self) -> Wsman:
        """The connection, or a new one for the time of a clean-up."""
        if self._wsman is None or not self._wsman.usable:
            self._drop()
            deadline = asyncio.get_running_loop().time() + CLEAN_UP_S
            self._wsman = await open_wsman(self.target, self._gate, deadline, {})
        return self._wsman

    def _drop(self) -> None:
        if self._wsman is not None:
            self._wsman.connection.abort()
