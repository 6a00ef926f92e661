"""SSH for Linux endpoints, by asyncssh: the collectors' `collect.sh`, fed to `sh` on its standard input.

Host keys are verified against known_hosts before anything secret is sent; there is no way to turn that off.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh

from rmm.errors import (
    AuthError,
    ConfigError,
    ConnectError,
    DeadlineError,
    ProtocolError,
    TlsError,
    TransportError,
    UnsupportedError,
)
from rmm.model.endpoint import Target
from rmm.ports import AuthGate, ErrorRecord, Script, ScriptResult

LOGON_S = 10.0  # key exchange and authentication, after TCP
CLOSE_S = 2.0
STDERR_LIMIT = 64 << 10
CHUNK = 64 << 10


class SshSession:
    """`ports.Session`."""

    def __init__(self, connection: asyncssh.SSHClientConnection, telemetry: dict[str, float]) -> None:
        self.telemetry = telemetry
        self.peer: dict[str, str] = {}
        self._connection = connection

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """Feed the script to `sh -s`; every line of standard output is an output."""
        if script.language != "sh":
            raise UnsupportedError(
                "this endpoint is reached by SSH and runs sh, not PowerShell", code="unsupported.language"
            )
        words = " ".join(shlex.quote(str(value)) for _, value in script.arguments)
        self.telemetry["requests"] = self.telemetry.get("requests", 0.0) + 1
        run = _Run(max_bytes)
        try:
            process = await self._connection.create_process(f"exec sh -s -- {words}".strip(), encoding=None)
        except (OSError, asyncssh.Error) as error:
            raise ProtocolError(f"the endpoint starts no command: {error}", code="ssh.command") from error
        try:
            await run.carry_out(process, script.text.encode() + b"\n", deadline)
        finally:
            await _end(process)
        self.telemetry["bytes_in"] = self.telemetry.get("bytes_in", 0.0) + run.size
        self.telemetry["bytes_out"] = self.telemetry.get("bytes_out", 0.0) + len(script.text)
        return run.result(process.exit_status)

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """There is no WMI on Linux."""
        raise UnsupportedError("WQL needs WinRM")


class _Run:
    """What has come of one command."""

    def __init__(self, max_bytes: int) -> None:
        self.size = 0
        self.state = "completed"
        self.broken = False
        self._max = max_bytes
        self._out = bytearray()
        self._err = bytearray()

    async def carry_out(self, process: asyncssh.SSHClientProcess[bytes], text: bytes, deadline: float) -> None:
        readers = [
            asyncio.ensure_future(self._read(process.stdout, self._out, self._max)),
            asyncio.ensure_future(self._read(process.stderr, self._err, STDERR_LIMIT)),
        ]
        try:
            async with asyncio.timeout_at(deadline):
                process.stdin.write(text)
                process.stdin.write_eof()
                await asyncio.gather(*readers)
                await process.wait_closed()
        except TimeoutError:
            self.state = "timed_out"
        except _TooMuchError:
            self.state = "truncated"
        except (OSError, asyncssh.Error) as error:
            lost = ConnectError("the connection was lost while the script ran", code="tcp.reset", retry="R1")
            lost.partial = tuple(self._lines())
            raise lost from error
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, stream: Any, into: bytearray, limit: int) -> None:
        while data := await stream.read(CHUNK):
            self.size += len(data)
            if len(into) + len(data) > limit:
                if into is self._out:
                    raise _TooMuchError
                continue
            into += data

    def _lines(self) -> list[str]:
        text = self._out.decode("utf-8", "replace")
        whole = text if self.state == "completed" else text[: text.rfind("\n") + 1]
        return [line for line in whole.split("\n") if line]

    def result(self, status: int | None) -> ScriptResult:
        errors = [
            ErrorRecord("sh", "NotSpecified", line[:2000]) for line in self._err.decode("utf-8", "replace").splitlines()
        ]
        state = self.state
        if state == "completed" and status not in (0, None):
            state = "failed"
            errors.append(ErrorRecord(f"exit {status}", "OperationStopped", f"the script ended with status {status}"))
        return ScriptResult(output=tuple(self._lines()), state=state, errors=tuple(errors[:1000]), bytes=self.size)


class _TooMuchError(Exception):
    """More output than allowed."""


async def _end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """Make sure that nothing of ours goes on running there."""
    if process.exit_status is None and process.returncode is None:
        with contextlib.suppress(OSError, asyncssh.Error):
            process.kill()
    process.close()
    with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
        async with asyncio.timeout(CLOSE_S):
            await process.wait_closed()


class SshTransport:
    """`ports.Transport`; a connection per poll."""

    name = "ssh"

    def __init__(self, gate: AuthGate) -> None:
        self._gate = gate

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[SshSession]:
        """Connect, verify the host key, log on."""
        telemetry: dict[str, float] = {}
        connection = await self._connect(target, deadline, telemetry)
        try:
            yield SshSession(connection, telemetry)
        finally:
            connection.close()
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                async with asyncio.timeout(CLOSE_S):
                    await connection.wait_closed()

    async def _connect(
        self, target: Target, deadline: float, telemetry: dict[str, float]
    ) -> asyncssh.SSHClientConnection:
        known_hosts = Path(target.known_hosts) if target.known_hosts else Path.home() / ".ssh" / "known_hosts"
        if not known_hosts.is_file():
            hint = (
                f"Make it: ssh-keyscan -p {target.port} {target.host} >> {known_hosts}, and compare the fingerprints."
            )
            raise ConfigError(f"{known_hosts}: there is no such file of host keys", hint=hint)
        credential = target.credential
        secret = credential.secret.reveal()
        options: dict[str, Any] = {"password": secret}
        if credential.kind == "key":
            options = {"client_keys": [_key(credential.key_file, secret)], "password": None}
        user = credential.username.rpartition("\\")[2]
        began = time.perf_counter()
        async with self._gate.attempt(credential, target.host) as attempt:
            try:
                async with asyncio.timeout_at(
                    min(deadline, asyncio.get_running_loop().time() + target.connect_timeout + LOGON_S)
                ):
                    connection = await asyncssh.connect(
                        target.host, target.port, username=user, known_hosts=str(known_hosts), config=None,
                        agent_path=None, agent_forwarding=False, gss_host=None, preferred_auth="publickey,password",
                        keepalive_interval=30, **{"client_keys": None, **options},
                    )  # fmt: skip
            except (asyncssh.PermissionDenied, *_FAILURES) as error:
                if isinstance(error, asyncssh.PermissionDenied):
                    attempt.rejected()
                raise _error(error, target) from error
            attempt.accepted()
        telemetry["connect_ms"] = telemetry["auth_ms"] = round((time.perf_counter() - began) * 1000, 3)
        return connection

    async def aclose(self) -> None:
        """Nothing is kept."""


_FAILURES = (OSError, asyncssh.Error, TimeoutError)


def _key(path: str, passphrase: str) -> Any:
    try:
        return asyncssh.read_private_key(path, passphrase or None)
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConfigError(f"{path}: not usable as a private key: {error}", hint="Check file and passphrase.") from error


def _error(error: Exception, target: Target) -> TransportError:
    import socket

    place = f"{target.host}:{target.port}"
    if isinstance(error, asyncssh.PermissionDenied):
        return AuthError("the endpoint rejected the logon")
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        hint = (
            f"If it is the right machine, compare and add it: ssh-keyscan -p {target.port} {target.host} >> known_hosts"
        )
        return TlsError(f"the host key of {place} is not the one that is known", code="ssh.host_key", hint=hint)
    if isinstance(error, TimeoutError):
        return DeadlineError(f"{place} did not answer in time", code="tcp.timeout", status="UNREACHABLE")
    if isinstance(error, socket.gaierror):
        return ConnectError(f"the name {target.host} is not in DNS", code="dns.unknown")
    if isinstance(error, ConnectionRefusedError):
        hint = "The machine is on, but no SSH server listens on this port."
        return ConnectError(f"{place} refused the connection", code="tcp.refused", retry="R1", hint=hint)
    if isinstance(error, OSError):
        return ConnectError(
            f"{place}: {error}", code="tcp.reset" if isinstance(error, ConnectionError) else "tcp.unreachable"
        )
    return ProtocolError(f"{place}: {error}", code="ssh.protocol")


def build(*, gate: AuthGate, **_: object) -> SshTransport:
    """The plugin entry."""
    return SshTransport(gate)
