"""From a target to a connection that is logged on: name, TCP, host key, and one attempt with one secret."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncssh

from rmm.errors import AuthError, TransportError
from rmm.model.endpoint import Credential, Target
from rmm.ports import AuthGate
from rmm.transports.ssh import faults
from rmm.transports.ssh.files import agent_keys, known_hosts_of, private_keys
from rmm.transports.winrm.names import resolve

HANDSHAKE_S = 10.0  # key exchange, up to the moment at which the secret is wanted
LOGON_S = 15.0  # for the answer to the secret: PAM may ask a directory, and delays a refusal by some seconds
KEEPALIVE_S, KEEPALIVES = 15, 3  # a peer that does not answer is gone after 45 s
_METHODS = {"password": "password,keyboard-interactive", "key": "publickey", "agent": "publickey"}


async def connect(
    target: Target, gate: AuthGate, deadline: float, telemetry: dict[str, float]
) -> asyncssh.SSHClientConnection:
    """Connect, verify the host key, log on. A wrong password costs exactly one failed attempt on the server."""
    known = known_hosts_of(target)
    method = _method(target.credential)
    async with _keys(target.credential) as keys:
        address = await resolve(target, deadline)
        began = time.perf_counter()
        channel = await _tcp(target, address, deadline)
        telemetry["connect_ms"] = _since(began)
        began = time.perf_counter()
        logon = _Logon(target.credential, keys)
        connecting = asyncio.ensure_future(
            asyncssh.connect(
                target.host, target.port, sock=channel, client_factory=lambda: logon, config=None,
                username=_account(target.credential.username), known_hosts=known.match, preferred_auth=method,
                client_keys=None, agent_path=None, agent_forwarding=False, gss_host=None, x11_forwarding=False,
                compression_algs=["none"],  # a small packet could grow without bound
                keepalive_interval=KEEPALIVE_S, keepalive_count_max=KEEPALIVES,
                login_timeout=0,  # ours are below, and waiting for the gate is none of the server's time
            )
        )  # fmt: skip
        try:
            connection = await _logged_on(connecting, logon, target, gate, deadline)
        except (OSError, asyncssh.Error, TimeoutError) as error:
            raise faults.handshake_error(
                error, target, spoke=logon.spoke, fingerprint=logon.fingerprint,
                known=known.knows(target.host, target.port),
            ) from error  # fmt: skip
        finally:
            if not connecting.done():
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
            if not logon.connected:
                channel.close()
        telemetry["auth_ms"] = _since(began)
        return connection


@contextlib.asynccontextmanager
async def _keys(credential: Credential) -> AsyncIterator[Sequence[Any]]:
    """The keys to offer; those of an agent sign only as long as this lasts."""
    if credential.kind == "key":
        yield private_keys(credential)
    elif credential.kind != "agent":
        yield ()
    else:
        agent, keys = await agent_keys(credential)
        try:
            yield keys
        finally:
            agent.close()
            await agent.wait_closed()


async def _logged_on(
    connecting: asyncio.Future[asyncssh.SSHClientConnection],
    logon: _Logon,
    target: Target,
    gate: AuthGate,
    deadline: float,
) -> asyncssh.SSHClientConnection:
    loop = asyncio.get_running_loop()
    wanted: asyncio.Future[Any] = asyncio.ensure_future(logon.wanted.wait())
    try:
        async with asyncio.timeout_at(min(deadline, loop.time() + HANDSHAKE_S)):
            await asyncio.wait({connecting, wanted}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        wanted.cancel()
    if connecting.done() and not logon.wanted.is_set():
        try:
            return connecting.result()  # a server that asks for no logon, with the right host key
        except asyncssh.PermissionDenied as error:
            raise faults.not_offered(target.credential.kind) from error
    async with gate.attempt(target.credential, target.host) as attempt:
        logon.permit()
        try:
            async with asyncio.timeout_at(min(deadline, loop.time() + LOGON_S)):
                connection = await asyncio.shield(connecting)
        except asyncssh.ConnectionLost:
            raise  # no answer: nobody can know whether it counted
        except asyncssh.DisconnectError as error:
            if not logon.sent:
                raise faults.not_offered(target.credential.kind) from error
            # A refusal; or the server hangs up on it, as OpenSSH does after MaxAuthTries.
            attempt.rejected()
            raise logon.refusal() from error
        finally:
            if not logon.sent:
                attempt.unsent()
        attempt.accepted()
        return connection


class _Logon(asyncssh.SSHClient):
    """Answers asyncssh's questions: never twice with a secret, and not before it is permitted."""

    def __init__(self, credential: Credential, keys: Sequence[Any]) -> None:
        self.wanted = asyncio.Event()
        self.fingerprint = ""  # of a host key that nobody knows
        self._credential = credential
        self._keys = list(keys)
        self._permitted = asyncio.Event()
        self.sent = False  # something that the secret made has left
        self._asked = False
        self._change = self._more = False
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    @property
    def connected(self) -> bool:
        """Whether the socket is asyncssh's."""
        return self._connection is not None

    @property
    def spoke(self) -> bool:
        """Whether the server has said its version."""
        return self._connection is not None and bool(self._connection.get_extra_info("server_version"))

    def permit(self) -> None:
        """The secret may leave."""
        self._permitted.set()

    def refusal(self) -> TransportError:
        """Why the server did not let us in, after it had the secret."""
        if self._change:
            hint = "Log on by hand, choose a new password, and set it with `rmm credentials set`."
            return AuthError("the password has expired and must be changed", code="auth.expired", hint=hint)
        if self._more:
            hint = "A second factor, or a password that must be changed first. Use a key, or an account without that."
            return AuthError("the endpoint asks for more than a password", code="auth.challenge", hint=hint)
        return faults.rejected()

    async def _may_answer(self) -> bool:
        """True once, after the permission."""
        if self._asked:
            return False
        self._asked = True
        self.wanted.set()
        await self._permitted.wait()
        return True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.fingerprint = key.get_fingerprint()
        return False

    async def public_key_auth_requested(self) -> Any:
        if not self._keys or not await self._may_answer():
            return None
        self.sent = True
        return self._keys

    async def password_auth_requested(self) -> str | None:
        return self._password() if await self._may_answer() else None

    def _password(self) -> str:
        self.sent = True
        return self._credential.secret.reveal()

    def password_change_requested(self, prompt: str, lang: str) -> Any:
        self._change = True
        return NotImplemented

    async def kbdint_auth_requested(self) -> str | None:
        return "" if await self._may_answer() else None

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str] | None:
        """The password to the first question if it is one that is not echoed; nothing else is ever answered."""
        if not prompts:
            return []  # a notice
        if self.sent or len(prompts) != 1 or prompts[0][1]:
            self._more = True
            return None
        return [self._password()]


async def _tcp(target: Target, address: str, deadline: float) -> socket.socket:
    loop = asyncio.get_running_loop()
    channel = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        channel.setblocking(False)
        async with asyncio.timeout_at(min(deadline, loop.time() + target.connect_timeout)):
            await loop.sock_connect(channel, (address, target.port))
    except (OSError, TimeoutError) as error:
        channel.close()
        raise faults.tcp_error(error, target) from error
    except BaseException:
        channel.close()
        raise
    return channel


def _method(credential: Credential) -> str:
    try:
        return _METHODS[credential.kind]
    except KeyError as error:
        hint = "SSH takes a password, a key file or an agent's key: see `rmm credentials set --help`."
        raise AuthError(
            f"SSH has no use for a credential of kind {credential.kind}", code="auth.scheme", status="CONFIG",
            retry="R0", hint=hint,
        ) from error  # fmt: skip


def _account(username: str) -> str:
    """As it is written; but SSH servers do not know the dot by which Windows says that an account is local."""
    return username.removeprefix(".\\")


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 3)
