"""PSRP by pypsrp, in threads: the reference that the native transport is held against, and the way to CredSSP."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from rmm.errors import RmmError, UnsupportedError
from rmm.model.endpoint import Target
from rmm.ports import AuthGate, ErrorRecord, Script, ScriptResult
from rmm.transports.threads import SLICE_S, Threads, ThreadTransport, account, check_ca, translate
from rmm.transports.winrm.faults import Fault, error_of

RUNNING = 1


class PypsrpSession:
    """`ports.Session`; the runspace is opened by the logon."""

    language = "powershell"

    def __init__(self, pool: RunspacePool, target: Target, threads: Threads, telemetry: dict[str, float]) -> None:
        self.telemetry = telemetry
        self.peer: dict[str, str] = {}
        self._pool = pool
        self._target = target
        self._threads = threads

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """One pipeline."""
        if script.language not in ("powershell", "command"):
            raise UnsupportedError(f"WinRM runs PowerShell, not {script.language}", code="unsupported.language")
        left = deadline - asyncio.get_running_loop().time()
        return await self._threads.stoppable(lambda stop: self._run(script, left, stop), deadline=deadline)

    def _run(self, script: Script, seconds: float, stop: threading.Event) -> ScriptResult:
        until = time.monotonic() + seconds
        shell = PowerShell(self._pool)
        if script.language == "command":
            shell.add_cmdlet(script.text)
        else:
            shell.add_script(script.text)
        for name, value in script.arguments:
            shell.add_parameter(name, value) if name else shell.add_argument(value)
        try:
            shell.begin_invoke()
            while shell.state == RUNNING and time.monotonic() < until and not stop.is_set():
                shell.poll_invoke(timeout=max(1, min(SLICE_S, int(until - time.monotonic()))))
            late = shell.state == RUNNING
            if late:
                shell.stop()
        except Exception as error:  # whatever the library meets is translated once, here
            raise _error(error, self._target) from error
        return self._result(shell, late=late)

    def _result(self, shell: PowerShell, *, late: bool) -> ScriptResult:
        states = {3: "stopped", 4: "completed", 5: "failed"}
        state = "timed_out" if late else states.get(shell.state, "failed")
        errors = tuple(
            ErrorRecord(
                str(record.fq_error or ""),
                _category(record),
                _message(record),
                str((getattr(record.exception, "types", None) or [""])[0]),
            )
            for record in shell.streams.error
        )
        output = tuple(shell.output)
        size = sum(len(item) for item in output if isinstance(item, str))
        warnings = tuple(str(item.message) for item in shell.streams.warning)
        return ScriptResult(output=output, state=state, errors=errors, warnings=warnings, bytes=size)

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """Left to the native transport."""
        raise UnsupportedError("WQL is read by the native transport", hint="Use transport: winrm for this endpoint.")


def _open(target: Target, seconds: float) -> RunspacePool:
    auth = {"ntlm": "ntlm", "kerberos": "kerberos", "negotiate": "negotiate", "basic": "basic", "credssp": "credssp"}
    timeout = max(1, int(seconds))
    library: Any = WSMan
    username, password = account(target)
    try:
        wsman = library(
            target.host, port=target.port, ssl=target.scheme == "https", username=username,
            password=password, auth=auth[target.auth], cert_validation=check_ca(target),
            no_proxy=True, connection_timeout=max(1, min(round(target.connect_timeout), timeout)),
            read_timeout=timeout + 5, operation_timeout=min(20, timeout), reconnection_retries=0,
        )  # fmt: skip
        pool = RunspacePool(wsman, configuration_name=target.configuration)
        pool.shell.idle_time_out = target.idle_s  # the library's default leaves it to the endpoint: two hours
        pool.open()
    except Exception as error:  # whatever the library meets is translated once, here
        raise _error(error, target) from error
    return pool


def _close(pool: RunspacePool) -> None:
    try:
        pool.close()
    except Exception as error:  # the endpoint reaps a shell that cannot be closed
        raise RmmError("the shell could not be deleted", code="shell.left") from error
    finally:
        pool.connection.close()


def _error(error: Exception, target: Target) -> RmmError:
    if isinstance(error, WSManFaultError):
        return error_of(Fault(code=int(error.code or 0), message=str(error.reason or error)[:300]))
    return translate(error, target)


def _message(record: Any) -> str:
    exception = record.exception
    for properties in (getattr(exception, "adapted_properties", {}), getattr(exception, "extended_properties", {})):
        if properties.get("Message"):
            return str(properties["Message"])[:2000]
    return str(record)[:2000]


def _category(record: Any) -> str:
    from psrpcore.types import ErrorCategory

    try:
        return str(ErrorCategory(int(record.category)).name)
    except (ValueError, TypeError):
        return str(record.category or "")


def build(*, gate: AuthGate, **_: object) -> ThreadTransport[RunspacePool, PypsrpSession]:
    """The plugin entry."""
    return ThreadTransport("pypsrp", gate, opened=_open, closed=_close, session=PypsrpSession)
