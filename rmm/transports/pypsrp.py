"""PSRP by pypsrp, in threads: the reference that the native transport is held against, and the way to CredSSP."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import spnego
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from rmm.errors import AuthError, RmmError, UnsupportedError
from rmm.model.endpoint import Target
from rmm.ports import AuthGate, ErrorRecord, Script, ScriptResult
from rmm.transports.threads import SLICE_S, Threads, ThreadTransport, account, check_ca, translate
from rmm.transports.winrm.faults import Fault, error_of
from rmm.transports.winrm.kdc import status_error, ticket_error
from rmm.transports.winrm.kerberos import number_of
from rmm.transports.winrm.network import verified_name
from rmm.transports.winrm.pipeline import Pace
from rmm.transports.winrm.rejection import endless

RUNNING = 1
MOST_LEGS = 4  # messages of one logon: NTLM has two, SPNEGO adds one


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
        return await self._threads.stoppable(lambda stop: self._run(script, left, max_bytes, stop), deadline=deadline)

    def _run(self, script: Script, seconds: float, max_bytes: int, stop: threading.Event) -> ScriptResult:
        pace = Pace(script.steps, time.monotonic() + seconds)
        shell = PowerShell(self._pool)
        if script.language == "command":
            shell.add_cmdlet(script.text)
        else:
            shell.add_script(script.text)
        for name, value in script.arguments:
            shell.add_parameter(name, value) if name else shell.add_argument(value)
        try:
            shell.begin_invoke()
            cut = ""
            while shell.state == RUNNING and not cut:
                left = pace.limit(len(shell.output), time.monotonic()) - time.monotonic()
                if left <= 0 or stop.is_set():
                    cut = "timed_out"
                elif _size(shell) > max_bytes:
                    cut = "truncated"
                else:
                    shell.poll_invoke(timeout=max(1, min(SLICE_S, int(left))))
            if cut:
                shell.stop()
        except Exception as error:  # whatever the library meets is translated once, here
            raise _error(error, self._target) from error
        return self._result(shell, cut, overdue=cut == "timed_out" and pace.stepped)

    def _result(self, shell: PowerShell, cut: str, *, overdue: bool) -> ScriptResult:
        states = {3: "stopped", 4: "completed", 5: "failed"}
        state = cut or states.get(shell.state, "failed")
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
        warnings = tuple(str(item.message) for item in shell.streams.warning)
        return ScriptResult(
            output=output, state=state, errors=errors, warnings=warnings, bytes=_size(shell), overdue=overdue
        )

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """Left to the native transport."""
        raise UnsupportedError("WQL is read by the native transport", hint="Use transport: winrm for this endpoint.")


def _size(shell: PowerShell) -> int:
    return sum(len(item) for item in shell.output if isinstance(item, str))


def _open(target: Target, seconds: float) -> RunspacePool:
    timeout = max(1, int(seconds))
    library: Any = WSMan
    wsman: Any = None
    answers: list[Any] = []
    try:
        wsman = library(
            target.host, port=target.port, ssl=target.scheme == "https", auth=target.auth,
            cert_validation=check_ca(target),
            no_proxy=True, connection_timeout=max(1, min(round(target.connect_timeout), timeout)),
            read_timeout=timeout + 5, operation_timeout=min(20, timeout), reconnection_retries=0, **_proof(target),
        )  # fmt: skip
        _watch(wsman.transport, answers)
        pool = RunspacePool(wsman, configuration_name=target.configuration)
        pool.shell.idle_time_out = target.idle_s  # the library's default leaves it to the endpoint: two hours
        pool.open()
    except Exception as error:  # whatever the library meets is translated once, here
        for answer in answers:  # one that its logon threw at unread is not the session's to close
            answer.close()
        if wsman is not None:
            wsman.close()
        raise _error(error, target) from error
    return pool


def _watch(transport: Any, answers: list[Any]) -> None:
    """Keep the last answer in `answers`, and let a logon have MOST_LEGS: the library answers challenges for ever."""
    transport.session = transport._build_session()  # which its first request would do; there is no public way
    adapter = transport.session.get_adapter(transport.endpoint)
    send, legs = adapter.send, 0
    # The header of the first two goes with every request; CredSSP's logon has a TLS handshake and NTLM in it.
    bounded = transport.auth not in ("basic", "certificate", "credssp")

    def watched(request: Any, **rest: Any) -> Any:
        nonlocal legs
        legs = legs + 1 if "Authorization" in request.headers else 0
        if bounded and legs > MOST_LEGS:
            raise endless()
        answers[:] = [send(request, **rest)]
        return answers[0]

    adapter.send = watched


def _proof(target: Target) -> dict[str, Any]:
    """What the library is given to log on with."""
    credential = target.credential
    if target.auth == "certificate":
        return {
            "certificate_pem": credential.cert_file,
            "certificate_key_pem": credential.key_file or credential.cert_file,
            "certificate_key_password": credential.secret.reveal() or None,
        }
    if target.auth == "kerberos":
        named = {"negotiate_service": target.spn, "negotiate_hostname_override": verified_name(target)}
        if credential.kind == "ccache":
            # pypsrp hands it on to pyspnego, which takes such a credential where the name is expected.
            return named | {"username": spnego.KerberosCCache(credential.key_file)}
        return named | {"username": credential.username, "password": credential.secret.reveal()}
    username, password = account(target)
    given = {"username": username, "password": password}
    if target.auth == "credssp":
        # Explicitly NTLM inside: `auto` would try Kerberos first and NTLM after it. Version 5 binds the TLS key safely.
        return given | {"credssp_auth_mechanism": "ntlm", "credssp_minimum_version": 5}
    return given


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
    if target.auth == "credssp":
        return _credssp_error(error, target)
    if target.auth == "kerberos" and (number := number_of(error)):
        return ticket_error(number, f"{target.spn}/{verified_name(target)}")
    return translate(error, target)


def _credssp_error(error: Exception, target: Target) -> RmmError:
    """What CredSSP met; it tells the causes apart by NTSTATUS."""
    name = target.credential.username
    if isinstance(error, ImportError):
        hint = "Install the extra: pip install 'mytech-rmm[credssp]'."
        return UnsupportedError("CredSSP is not installed", code="auth.missing", status="UNSUPPORTED", hint=hint)
    if type(error).__name__ == "NTStatusException":
        return status_error(int(error.args[0]), name)
    if number := number_of(error):  # an NTSTATUS that requests-credssp has no name for
        return status_error(number, name)
    if type(error).__name__ == "AuthenticationException":
        if "did not response CredSSP being an available" in str(error):  # the library's own words, and its only sign
            hint = "CredSSP is turned off there (winrm get winrm/config/service/auth)."
            return UnsupportedError(
                "the endpoint does not offer CredSSP", code="auth.scheme", status="CONFIG", hint=hint
            )
        return AuthError("the endpoint rejected the logon")
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
