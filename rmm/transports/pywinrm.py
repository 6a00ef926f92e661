"""WinRS by pywinrm, in threads: the fall-back where an endpoint has no PowerShell Remoting."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from typing import Any

from winrm.exceptions import WinRMOperationTimeoutError, WSManFaultError
from winrm.protocol import Protocol

from rmm.errors import RmmError, UnsupportedError
from rmm.model.endpoint import Target
from rmm.ports import AuthGate, Script, ScriptResult
from rmm.transports.threads import SLICE_S, Threads, ThreadTransport, account, check_ca, translate
from rmm.transports.winrm.command import LINE, SEND_BYTES, error_records, output_lines
from rmm.transports.winrm.faults import Fault, error_of
from rmm.transports.winrm.pipeline import Pace


class PywinrmSession:
    """`ports.Session`; output is what the script wrote, line by line."""

    language = "powershell"

    def __init__(self, handle: tuple[Any, str], target: Target, threads: Threads, telemetry: dict[str, float]) -> None:
        self.telemetry = telemetry
        self.peer: dict[str, str] = {}
        self._protocol, self._shell = handle
        self._target = target
        self._threads = threads

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """One command."""
        if script.language != "powershell":
            raise UnsupportedError(f"WinRM runs PowerShell, not {script.language}", code="unsupported.language")
        if script.arguments:
            raise UnsupportedError("WinRS has no typed arguments", code="unsupported.arguments")
        left = deadline - asyncio.get_running_loop().time()
        return await self._threads.stoppable(lambda stop: self._run(script, left, max_bytes, stop), deadline=deadline)

    def _run(self, script: Script, seconds: float, max_bytes: int, stop: threading.Event) -> ScriptResult:
        pace = Pace(script.steps, time.monotonic() + seconds)
        out, err, code, state = b"", b"", 0, "completed"
        try:
            command = self._protocol.run_command(self._shell, LINE, [], skip_cmd_shell=True)
            data = script.text.encode()
            for start in range(0, len(data) or 1, SEND_BYTES):
                self._protocol.send_command_input(
                    self._shell, command, data[start : start + SEND_BYTES], end=start + SEND_BYTES >= len(data)
                )
            done = False
            while not done and state == "completed":
                try:
                    more, failed, code, done = self._protocol.get_command_output_raw(self._shell, command)
                    out, err = out + more, err + failed
                except WinRMOperationTimeoutError:
                    pass  # nothing to say yet
                late = time.monotonic() >= pace.limit(out.count(b"\n"), time.monotonic())
                if not done and (stop.is_set() or late):
                    state = "timed_out"
                elif len(out) > max_bytes:
                    state = "truncated"
            self._protocol.cleanup_command(self._shell, command)
        except Exception as error:  # whatever the library meets is translated once, here
            raise _error(error, self._target) from error
        errors = error_records(err)
        if state == "completed" and code:
            state = "failed"
        overdue = state == "timed_out" and pace.stepped
        lines = output_lines(out, whole=state not in ("timed_out", "truncated"))
        return ScriptResult(output=lines, state=state, errors=errors, bytes=len(out), overdue=overdue)

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """Left to the native transport."""
        raise UnsupportedError("WQL is read by the native transport", hint="Use transport: winrm for this endpoint.")


def _open(target: Target, seconds: float) -> tuple[Any, str]:
    timeout = max(1, min(SLICE_S, int(seconds)))
    ca = check_ca(target)
    library: Any = Protocol
    try:
        protocol = library(
            endpoint=f"{target.scheme}://{target.host}:{target.port}/wsman",
            transport=target.auth,
            **_proof(target),
            server_cert_validation="validate",
            ca_trust_path=ca if isinstance(ca, str) else ssl.get_default_verify_paths().cafile,
            message_encryption="always" if target.scheme == "http" else "auto",
            operation_timeout_sec=timeout,
            read_timeout_sec=timeout + 5,
            proxy=None,
        )
        return protocol, protocol.open_shell(codepage=65001, idle_timeout=180)
    except Exception as error:  # whatever the library meets is translated once, here
        raise _error(error, target) from error


def _proof(target: Target) -> dict[str, Any]:
    """What the library is given to log on with."""
    credential = target.credential
    if target.auth != "certificate":
        username, password = account(target)
        return {"username": username, "password": password}
    if credential.secret.reveal():
        raise UnsupportedError(
            "pywinrm opens no key that has a passphrase", code="auth.scheme", status="CONFIG",
            hint="Use transport: winrm, or a key without a passphrase.",
        )  # fmt: skip
    return {"cert_pem": credential.cert_file, "cert_key_pem": credential.key_file or credential.cert_file}


def _close(handle: tuple[Any, str]) -> None:
    protocol, shell = handle
    try:
        protocol.close_shell(shell, close_session=True)
    except Exception as error:  # the endpoint reaps a shell that cannot be closed
        raise RmmError("the shell could not be deleted", code="shell.left") from error


def _error(error: Exception, target: Target) -> RmmError:
    if isinstance(error, WSManFaultError):
        code, subcode = int(error.wsman_fault_code or 0), str(error.fault_subcode or "")
        return error_of(Fault(code=code, subcode=subcode, message=str(error)[:300]))
    return translate(error, target)


def build(*, gate: AuthGate, **_: object) -> ThreadTransport[tuple[Any, str], PywinrmSession]:
    """The plugin entry."""
    return ThreadTransport("pywinrm", gate, opened=_open, closed=_close, session=PywinrmSession)
