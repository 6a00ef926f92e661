"""One connection to one server of the broker, by whatever way; what nats-py raises is translated here, for all.

nats-py is asked for single connections, never to reconnect: see `rmm.bus.link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from nats import errors
from nats.aio.client import Client

from rmm.bus.login import Login, place, shown
from rmm.bus.nkeys import public_key, sign_nonce
from rmm.bus.tunnel import Tunnel
from rmm.bus.websocket import WebSocket
from rmm.errors import BusError

log = logging.getLogger(__name__)

OLDEST = (2, 11)  # the first with sync_interval: always

STEP_S = 5  # for one step of connecting
PING_S = 10  # two pings without an answer: the connection is dead
PENDING_BYTES = 1 << 20  # that may wait to be written to a connection that does not take it
FLUSH_S = 5.0
AT_A_TIME = 64  # messages
LOOK_S = 1.0  # between two looks whether it is closed

_UNREACHABLE = (
    "Does the broker run there, and do firewalls let this machine reach it? It is tried again by itself, and what is "
    "observed waits meanwhile."
)
_SILENT = (
    "Whoever is asked is overloaded or stands still, or the link is slow: the logs of the broker and of the hub say "
    "more. It is tried again by itself."
)
_NOBODY = "Start `rmm hub run`: it answers, and makes at the broker what sites need."
_CERTIFICATE = "Has the certificate of this collector expired, or is it of another authority? Then enrol it again."
_LOGIN = "Was this collector revoked, or has its login expired? Then enrol it again."
_OURS = "Is it our broker? Its certificate must be of the hub's authority."

_REFUSED = re.compile(r"authoriz|authentic|revoked|expired|account", re.IGNORECASE)


class _Harmless(logging.Filter):
    """Without what asyncio says at the end of each connection of nats-py, which puts TLS on a stream that has begun."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "eof_received() has no effect" not in record.getMessage()


logging.getLogger("asyncio").addFilter(_Harmless())


class _Paced(Client):
    """Reads some messages at a time: where they never end, everything else has its turn between them."""

    _read = 0

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        await super()._process_msg(sid, subject, reply, data, headers)
        self._read += 1
        if self._read % AT_A_TIME == 0:
            await asyncio.sleep(0)


class Connection:
    """A client that is connected, or was: `gone` is set then."""

    def __init__(self, login: Login) -> None:
        self.client = _Paced()
        self.gone = asyncio.Event()
        self._login = login
        self._tunnel: Tunnel | None = None
        self._must_tls = False
        self._connecting = True
        self._name = "the broker"

    @property
    def server(self) -> Mapping[str, Any]:
        """INFO: version, server_name and others."""
        return self.client._server_info

    async def open(self, url: str, tls: ssl.SSLContext) -> None:
        """Connect to this server. Raises BusError; the caller has the deadline."""
        self._name = f"the broker {shown(url)}"
        try:
            with own_cancellation():
                await self._log_on(await self._way(url, tls))
        except BaseException as error:
            await self.aclose(within_s=0.5)  # a handshake of TLS that failed never ends for nats-py
            if not isinstance(error, Exception):
                raise
            raise translated(error, self._name) from error  # whatever it is: a broker may say anything
        self._connecting = False

    async def _way(self, url: str, tls: ssl.SSLContext) -> dict[str, Any]:
        """Options of `Client.connect` that say where to go; through the proxy, when there is one."""
        parts, host, port = place(url)
        web = parts.scheme in ("ws", "wss")
        self._must_tls = parts.scheme == "tls"
        servers, name = [url], ""
        if self._login.proxy:
            inner = tls if parts.scheme == "wss" else None
            self._tunnel = await Tunnel.open(self._login.proxy, host, port, tls=inner)
            servers = [f"{'ws' if web else 'nats'}://127.0.0.1:{self._tunnel.port}{parts.path if web else ''}"]
            name = parts.netloc.rpartition("@")[2]
        if web:
            self.client._transport = WebSocket(name)
        return {"servers": servers, "tls": tls, "tls_hostname": host}

    async def _log_on(self, way: dict[str, Any]) -> None:
        login = self._login
        if login.seed and not login.jwt:
            self.client._public_nkey = public_key(login.seed)
        await self.client.connect(
            **way,
            name=login.name,
            inbox_prefix=login.inbox,
            allow_reconnect=False,
            dont_randomize=True,
            connect_timeout=STEP_S,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            pending_size=PENDING_BYTES,
            flush_timeout=FLUSH_S,
            error_cb=self._failed,
            closed_cb=self._ended,
            signature_cb=self._signature if login.seed else None,
            user_jwt_cb=login.jwt.encode if login.jwt else None,
        )
        if not self.client.is_connected:
            raise _not_admitted(self._name)
        self._check_tls()
        check_version(self.server)
        await self.client.flush(STEP_S)

    def _check_tls(self) -> None:
        if self._must_tls and not self.server.get("tls_required"):
            raise BusError(f"{self._name} offers no TLS, but its address is tls://", code="bus.tls", hint=_OURS)

    def _signature(self, nonce: str) -> bytes:
        self._check_tls()  # before anything of the user is said
        return sign_nonce(self._login.seed, nonce)

    async def ended(self) -> None:
        """Wait until it is closed. Where closing it fails, with nobody left to write to, nats-py never says so."""
        while not self.gone.is_set() and not self.client.is_closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self.gone.wait()

    async def _ended(self) -> None:
        self.gone.set()

    async def _failed(self, error: Exception) -> None:
        if self._connecting:  # nats-py would try again, in its own way
            closed = isinstance(error, (ConnectionError, errors.UnexpectedEOF))
            wants_tls = closed and self.server.get("tls_required")
            raise _not_admitted(self._name) if wants_tls else translated(error, self._name)
        log.debug("the broker: %s", error)
        if "permissions violation" in str(error).lower():
            log.warning("the broker: %s", error)

    async def aclose(self, *, within_s: float = 3.0) -> None:
        """Close it, whatever state it is in."""
        self._connecting = False
        try:
            async with asyncio.timeout(within_s):
                with own_cancellation():
                    await self.client.close()
        except Exception as error:
            log.debug("closing a connection to the broker: %s", error)
        finally:
            if not self.gone.is_set():
                _let_go(self.client)
            # A handshake of TLS that failed leaves the socket below it open.
            if (bare := getattr(self.client._transport, "_bare_io_writer", None)) is not None:
                bare.transport.abort()
            if self._tunnel is not None:
                await self._tunnel.aclose()
            await asyncio.sleep(0)  # it is closed then


def _let_go(client: Client) -> None:
    """What is left where closing it failed in the middle."""
    tasks = [client._reading_task, client._ping_interval_task, client._flusher_task]
    tasks += [one._wait_for_msgs_task for one in client._subs.values()]
    for task in tasks:
        if task is not None:
            task.cancel()
    if client._transport is not None:
        client._transport.close()  # type: ignore[no-untyped-call]


def check_version(info: Mapping[str, Any]) -> None:
    """Raises BusError (bus.version) for a server older than 2.11."""
    version = str(info.get("version", ""))
    found = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    if not found or (int(found[1]), int(found[2])) < OLDEST:
        raise BusError(
            f"the broker is nats-server {version[:40] or 'of no known version'}, which may lose what it has confirmed",
            code="bus.version",
            hint="Install nats-server 2.11 or later, which has `sync_interval: always`.",
        )


async def arrived(client: Client, within_s: float = FLUSH_S) -> None:
    """The server has had all that was said. nats-py's own `flush` may ask it before what waits has been written."""
    with own_cancellation(), translating("the broker"):
        await client._flush_pending(force_flush=True)
        await client.flush(int(within_s))


def _not_admitted(name: str, said: str = "it closes the connection") -> BusError:
    return BusError(f"{name} may want another certificate: {said}", code="bus.refused", hint=_CERTIFICATE)


def translated(error: BaseException, what: str = "") -> BusError:
    """What nats-py, a socket or TLS says, as one of ours."""
    said = str(error) or type(error).__name__
    text = f"{what}: {said}" if what else said
    if isinstance(error, BusError):
        return error
    name = what or "the broker"
    if "_ALERT_" in said:  # of TLS, whatever it comes in: the other side is the one that is not content
        return _not_admitted(name, said)
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return BusError(text, code="bus.tls", hint=_OURS)
    if isinstance(error, errors.NoRespondersError):
        return BusError(f"nobody answers{' ' + what if what else ''}", code="bus.nobody", hint=_NOBODY)
    if isinstance(error, TimeoutError):
        return BusError(f"{name}: no answer in time", code="bus.timeout", hint=_SILENT)
    if isinstance(error, errors.MaxPayloadError):
        return BusError(f"{what} is larger than the broker takes", code="bus.size")
    if isinstance(error, errors.AuthorizationError) or (isinstance(error, errors.Error) and _REFUSED.search(said)):
        return BusError(f"{name} refuses the login: {said}", code="bus.refused", hint=_LOGIN)
    if isinstance(error, OSError):
        return BusError(text, code="bus.unreachable", hint=_UNREACHABLE)
    return BusError(text)


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    try:
        yield
    except (errors.Error, OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: JSON, URLs
        raise translated(error, what) from error


@contextlib.contextmanager
def own_cancellation() -> Iterator[None]:
    """nats-py swallows a cancellation that comes while it flushes: it is raised here, after all."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError
