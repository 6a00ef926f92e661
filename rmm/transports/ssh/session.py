"""`ports.Session` over SSH: PowerShell by its subsystem, or a POSIX shell; which of them is settled at the opening."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import asyncssh

from rmm.errors import TransportError, UnsupportedError
from rmm.model.endpoint import Target
from rmm.ports import AuthGate, Script, ScriptResult
from rmm.transports.outofprocess import Runspace
from rmm.transports.outofprocess.runspace import UNIX
from rmm.transports.ssh.channel import ChannelStream, Process, end, start
from rmm.transports.ssh.logon import connect
from rmm.transports.ssh.sh import run_command
from rmm.transports.winrm.pipeline import note_unknown

SUBSYSTEM = "powershell"
OPEN_S = 30.0  # a busy machine needs some seconds to start PowerShell
CLEAN_UP_S = 5.0
_ABSENT = frozenset({"ssh.refused", "psrp.absent"})  # no such subsystem; or what it names does not start
_FOR_WINDOWS = "OpenSSH_for_Windows"  # in the version that every SSH server says first (RFC 4253 4.2)
_NO_SUBSYSTEM = (
    "Add to its sshd_config: Subsystem powershell <path of pwsh> -SSHServerMode -NoLogo, and restart sshd; "
    "see docs/preparing-endpoints.md."
)


class SshSession:
    """One session. The transport keeps it between polls where the site's policy says so."""

    def __init__(self, target: Target, gate: AuthGate) -> None:
        self.target = target
        self.telemetry: dict[str, float] = {}
        self.peer: dict[str, str] = {}
        self.language = ""
        self._gate = gate
        self._connection: asyncssh.SSHClientConnection | None = None
        self._runspace: Runspace | None = None
        self._process: Process = None

    @property
    def _alive(self) -> bool:
        return self._connection is not None and not self._connection.is_closed()

    async def open(self, deadline: float, remembered: str) -> None:
        """Be connected and logged on, and know the language; what is kept and still good is used."""
        self.telemetry = {"requests": 0.0, "bytes_in": 0.0, "bytes_out": 0.0}
        if not self._alive:
            await self.aclose()  # PowerShell was lost with its connection
            self._connection = await connect(self.target, self._gate, deadline, self.telemetry)
            self.language = ""
        wanted = self.target.shell if self.target.shell != "auto" else remembered or "auto"
        if wanted == "sh":
            self.language = "sh"
        elif not self._usable(self._runspace):
            await self._choose(wanted, deadline)

    async def _choose(self, wanted: str, deadline: float) -> None:
        """Start PowerShell, or find out that this is an endpoint for a POSIX shell."""
        assert self._connection is not None
        try:
            await self._start_powershell(deadline)
        except UnsupportedError as error:
            if error.code not in _ABSENT:
                raise
            windows = _FOR_WINDOWS in str(self._connection.get_extra_info("server_version", ""))
            if self.target.shell == "powershell" or windows:
                raise UnsupportedError(
                    f"{self.target.host} has no PowerShell subsystem: {error}", code="ssh.subsystem",
                    hint=_NO_SUBSYSTEM,
                ) from error  # fmt: skip
            self.language = "sh"
            return
        assert self._runspace is not None
        self.language = "powershell"
        if self.target.shell == "auto" and self._runspace.platform == UNIX:
            # PowerShell is there, but what Windows' collectors ask is not: no CIM, no performance counters.
            await self._end_powershell()
            self.language = "sh"

    async def _start_powershell(self, deadline: float) -> None:
        assert self._connection is not None
        await self._end_powershell()
        began = time.perf_counter()
        limit = min(deadline, asyncio.get_running_loop().time() + OPEN_S)
        self._process = await start(self._connection, limit, subsystem=SUBSYSTEM, stderr=asyncssh.DEVNULL)
        runspace = Runspace(ChannelStream(self._process))
        try:
            await runspace.open(limit)
        except BaseException:
            await self._end_powershell()
            raise
        self._runspace = runspace
        self.telemetry["open_ms"] = round((time.perf_counter() - began) * 1000, 3)

    def _usable(self, runspace: Runspace | None) -> bool:
        return runspace is not None and runspace.fresh and self._process.exit_status is None

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """Run one script in the session's language."""
        if script.language != self.language and (script.language, self.language) != ("command", "powershell"):
            raise UnsupportedError(
                f"this endpoint runs {self.language}, not {script.language}", code="unsupported.language"
            )
        assert self._connection is not None
        if self.language == "sh":
            result = await run_command(self._connection, script, deadline, max_bytes)
            self._count(1, result.bytes, len(script.text))
            return result
        if not self._usable(self._runspace):
            await self._start_powershell(deadline)
        runspace = self._runspace
        assert runspace is not None
        before = runspace.sent, runspace.bytes_in, runspace.bytes_out
        try:
            result = await runspace.run(script, deadline, max_bytes)
        finally:
            now = runspace.sent, runspace.bytes_in, runspace.bytes_out
            self._count(*(a - b for a, b in zip(now, before, strict=True)))
        note_unknown(self.telemetry, result)
        return result

    def _count(self, requests: int, bytes_in: int, bytes_out: int) -> None:
        for name, number in (("requests", requests), ("bytes_in", bytes_in), ("bytes_out", bytes_out)):
            self.telemetry[name] += number

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """WS-Enumeration is WinRM's."""
        raise UnsupportedError("WQL needs WinRM")

    async def leave(self) -> None:
        """The poll is over: keep what the policy keeps, end the rest, within CLEAN_UP_S and a moment."""
        if self.target.session != "runspace" or not self._alive or not self._usable(self._runspace):
            await self._end_powershell()
        if self.target.session == "new" or not self._alive:
            await self._drop()

    async def aclose(self) -> None:
        """Keep nothing."""
        await self._end_powershell()
        await self._drop()

    async def _end_powershell(self) -> None:
        """Close the session in order where that is possible; the process ends with its channel in any case."""
        runspace, self._runspace = self._runspace, None
        process, self._process = self._process, None
        if process is None:
            return
        if runspace is not None:
            with contextlib.suppress(TransportError, TimeoutError):
                async with asyncio.timeout(CLEAN_UP_S):
                    await runspace.close()
        await end(process)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.close()
        with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
            async with asyncio.timeout(CLEAN_UP_S):
                await connection.wait_closed()
        connection.abort()
