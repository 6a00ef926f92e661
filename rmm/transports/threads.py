"""What the two transports made of blocking libraries share: threads of their own, deadlines, translated errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Generic, TypeVar

import msgspec

from rmm.core.authentication import schemes_of
from rmm.errors import (
    AccessError,
    AuthError,
    ConfigError,
    ConnectError,
    DeadlineError,
    ProtocolError,
    QuotaError,
    RmmError,
    TlsError,
    TransportError,
)
from rmm.model.endpoint import Target
from rmm.ports import AuthAttempt, AuthGate
from rmm.transports.winrm.auth import check_fit
from rmm.transports.winrm.kdc import TicketError, may_fall_back
from rmm.transports.winrm.kerberos import windows
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.network import connect_error, trust

log = logging.getLogger(__name__)

T = TypeVar("T")
H = TypeVar("H")
S = TypeVar("S")

CLOSE_S = 5.0

MOST_THREADS = 64
SLICE_S = 2  # seconds for which a library may wait for the endpoint before it looks whether to go on
GRACE_S = 5.0  # how much longer than its deadline a thread may take before it is left alone

# Their DEBUG logs hold whole messages, and with them what is in them.
for _noisy in ("pypsrp", "winrm", "spnego", "urllib3", "requests"):
    logging.getLogger(_noisy).setLevel(logging.WARNING)


class Threads:
    """A bounded pool; a call that overruns its deadline is abandoned, and its thread with it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="winrm")

    async def call(
        self, function: Callable[[], T], *, deadline: float, late: Callable[[asyncio.Future[T]], None] | None = None
    ) -> T:
        """Run `function` in a thread. Raises DeadlineError when it takes longer than `deadline` and some grace.

        `late` is called with what it came to all the same, then.
        """
        future = asyncio.get_running_loop().run_in_executor(self._pool, function)
        try:
            async with asyncio.timeout_at(deadline + GRACE_S):
                return await asyncio.shield(future)
        except TimeoutError as error:
            future.add_done_callback(late or _forget)
            raise DeadlineError("no answer in time") from error

    async def stoppable(self, function: Callable[[threading.Event], T], *, deadline: float) -> T:
        """As `call`, for a function that looks at an event every SLICE_S; cancellation sets it and waits."""
        stop = threading.Event()
        running = asyncio.ensure_future(self.call(lambda: function(stop), deadline=deadline))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait([running], timeout=SLICE_S + GRACE_S)
            _forget(running) if running.done() else running.add_done_callback(_forget)
            raise

    def close(self) -> None:
        """Wait for nobody."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _forget(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()


def translate(error: Exception, target: Target) -> TransportError | RmmError:
    """What an exception of requests, urllib3, pypsrp or pywinrm means, in the codes of the native transport."""
    import requests

    if isinstance(error, RmmError):
        return error
    cause = _cause(error)
    if type(error).__name__ in ("AuthenticationError", "InvalidCredentialsError"):
        return AuthError("the endpoint rejected the logon")
    if isinstance(error, requests.exceptions.SSLError):
        return (
            connect_error(cause, target)
            if isinstance(cause, OSError)
            else TlsError(str(error)[:300], code="tls.handshake")
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return DeadlineError(
            f"{target.host}:{target.port} did not accept a connection in time", code="tcp.timeout", status="UNREACHABLE"
        )
    if isinstance(error, requests.exceptions.Timeout):
        return DeadlineError("no answer in time")
    if isinstance(cause, socket.gaierror):
        return ConnectError(f"the name {target.host} is not in DNS", code="dns.unknown")
    if isinstance(cause, OSError):
        return connect_error(cause, target)
    if isinstance(error, requests.exceptions.ConnectionError):
        return ConnectError(f"{target.host}:{target.port}: the connection was lost", code="tcp.reset", retry="R1")
    return ProtocolError(f"{type(error).__name__}: {str(error)[:300]}")


def _cause(error: BaseException) -> BaseException | Any:
    """The operating system's error somewhere behind what requests and urllib3 wrapped around it."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or one in seen or len(seen) > 20:
            continue
        seen.append(one)
        own = isinstance(one, OSError) and not type(one).__module__.startswith(("requests", "urllib3"))
        if own:
            return one
        waiting += [getattr(one, "reason", None), one.__cause__, one.__context__, *one.args]
    return error


def account(target: Target) -> tuple[str | bytes, str | bytes]:
    """(user name, secret) as the libraries want them.

    requests writes a Basic header in Latin-1, and where that fails its error holds characters of the secret; bytes it
    takes as they are.
    """
    name, secret = target.credential.username, target.credential.secret.reveal()
    return (name.encode(), secret.encode()) if target.auth == "basic" else (name, secret)


def check_ca(target: Target) -> str | bool:
    """What the libraries take as their verification: a CA file that can be read, or the system's store.

    They know neither pins nor exceptions, and what is asked for is not left out in silence. Raises ConfigError.
    """
    if target.scheme == "https" and (target.pin or target.tls_allow):
        what = "Pin" if target.pin else "exception"
        hint = "Set transport: winrm for this endpoint, or take the pin or the exception away; nothing was sent to it."
        raise ConfigError(f"transport {target.transport} cannot honour the {what} of {target.name}", hint=hint)
    if target.scheme == "https" and target.ca_file:
        trust(target.ca_file)
        return target.ca_file
    return True


class _Unguarded:
    """For a ticket: the KDC took the secret already, so that nothing that an endpoint says is a bad logon."""

    async def __aenter__(self) -> _Unguarded:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...

    def unsent(self) -> None: ...


async def _reachable(target: Target, deadline: float) -> None:
    """Connect once, and close: who is not there must not take the account's turn, which the library's logon is.

    Raises what a connection raises.
    """
    limit = min(deadline, asyncio.get_running_loop().time() + target.connect_timeout)
    try:
        async with asyncio.timeout_at(limit):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except TimeoutError as error:
        text = f"{target.host}:{target.port} did not accept a connection in time"
        raise DeadlineError(text, code="tcp.timeout", status="UNREACHABLE") from error
    except socket.gaierror as error:
        raise ConnectError(f"the name {target.host} is not in DNS", code="dns.unknown") from error
    except OSError as error:
        raise connect_error(error, target) from error
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class ThreadTransport(Generic[H, S]):
    """`ports.Transport` around a library's blocking handle; a new one for every poll, closed whatever happens.

    Args:
        name: of the transport.
        gate: asked before `opened`, which logs on.
        opened: (target, seconds) -> handle, in a thread; raises `rmm.errors`.
        closed: ends a handle, in a thread.
        session: makes the session of a handle.
    """

    def __init__(
        self,
        name: str,
        gate: AuthGate,
        *,
        opened: Callable[[Target, float], H],
        closed: Callable[[H], None],
        session: Callable[[H, Target, Threads, dict[str, float]], S],
    ) -> None:
        self.name = name
        self._logons = Logons(gate)
        self._threads = Threads()
        self._opened = opened
        self._closed = closed
        self._session = session
        self._late: set[asyncio.Future[None]] = set()

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[S]:
        """Connect and log on."""
        began = time.perf_counter()
        check_fit(target)
        await _reachable(target, deadline)
        target, guard = await self._prepared(target, deadline)
        async with guard as attempt:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                attempt.unsent()
                raise DeadlineError("no time was left for the logon: others of the same account went first")
            opening = asyncio.ensure_future(
                self._threads.call(lambda: self._opened(target, left), deadline=deadline, late=self._close_late)
            )
            try:
                handle = await asyncio.shield(opening)
            except AuthError:
                attempt.rejected()
                raise
            except RmmError as error:
                if error.code == "auth.loop":
                    attempt.rejected()
                    raise
                # Refused for another reason, so the logon was good; either library calls a fault so.
                if isinstance(error, AccessError | QuotaError) or type(error.__cause__).__name__ == "WSManFaultError":
                    attempt.accepted()
                raise
            except asyncio.CancelledError:
                opening.add_done_callback(self._close_late)
                raise
            attempt.accepted()
        telemetry = {"open_ms": round((time.perf_counter() - began) * 1000, 3)}
        try:
            yield self._session(handle, target, self._threads, telemetry)
        finally:
            await self._close(handle)

    async def _prepared(
        self, target: Target, deadline: float
    ) -> tuple[Target, AbstractAsyncContextManager[AuthAttempt]]:
        """The target with the one scheme that it is logged on by, a ticket as its credential; and who lets it in.

        Where Kerberos finds no ticket for the endpoint itself, inside the library, nothing else is tried.
        """
        schemes = schemes_of(target)
        if schemes[0] == "kerberos" and not windows():
            try:
                ticket = await self._logons.ticket(target.credential, deadline)
            except TicketError as error:
                if "ntlm" not in schemes or not may_fall_back(error):
                    raise
                log.warning("%s: NTLM, since Kerberos is not possible: %s (%s)", target.name, error, error.code)
                schemes = ("ntlm",)
            else:
                cache = msgspec.structs.replace(target.credential, kind="ccache", key_file=ticket.cache)
                return msgspec.structs.replace(target, auth="kerberos", credential=cache), _Unguarded()
        made = msgspec.structs.replace(target, auth=schemes[0])
        return made, self._logons.attempt(target.credential, target.host)

    def _close_late(self, done: asyncio.Future[H]) -> None:
        """A logon that was cancelled, or given up, may succeed all the same: what it opened is closed then."""
        if not done.cancelled() and done.exception() is None:
            closing = asyncio.ensure_future(self._close(done.result()))
            self._late.add(closing)
            closing.add_done_callback(self._late.discard)

    async def _close(self, handle: H) -> None:
        deadline = asyncio.get_running_loop().time() + CLOSE_S
        closing = asyncio.ensure_future(self._threads.call(lambda: self._closed(handle), deadline=deadline))
        with contextlib.suppress(RmmError):  # the endpoint reaps a shell that cannot be deleted
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                await closing
                raise

    async def aclose(self) -> None:
        """Let go of the threads and the tickets."""
        self._threads.close()
        await self._logons.aclose()
