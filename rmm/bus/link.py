"""The connection to the broker: made again whenever it is lost, with everything that was listening on it.

nats-py is asked for single connections: a lost one is thrown away with whatever waits in it, so nothing is sent late
that a caller was told has failed, and every attempt may go another way (the next server, a new tunnel). Its exceptions
end here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from rmm.bus.login import Login, place, tls_context
from rmm.bus.nkeys import public_key, sign_nonce
from rmm.bus.tunnel import Tunnel
from rmm.bus.websocket import WebSocket
from rmm.errors import BusError

log = logging.getLogger(__name__)

OLDEST = (2, 11)  # the first with sync_interval: always

CONNECT_S = 15.0  # for one attempt, with proxy and TLS
STEP_S = 5  # for one step of it
WAIT_S = 5.0  # that a call waits for a connection, and then for an answer
PING_S = 10  # two pings without an answer: the connection is dead
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 15.0  # between attempts
PENDING_BYTES = 1 << 20  # that may wait to be written to a connection that does not take it
SUB_MESSAGES, SUB_BYTES = 4096, 32 << 20  # of one listener that were not looked at yet

Listener = Callable[[Msg], Awaitable[None]]

_REFUSED = re.compile(r"authoriz|authentic|revoked|expired|account", re.IGNORECASE)


def translated(error: BaseException, what: str = "") -> BusError:
    """What nats-py, a socket or TLS says, as one of ours."""
    said = str(error) or type(error).__name__
    text = f"{what}: {said}" if what else said
    if isinstance(error, BusError):
        return error
    if isinstance(error, (ssl.SSLError, ssl.CertificateError)):
        return BusError(text, code="bus.tls", hint="Is it our broker? Its certificate must be of the hub's authority.")
    if isinstance(error, errors.NoRespondersError):
        return BusError(f"nobody answers{' ' + what if what else ''}", code="bus.nobody")
    if isinstance(error, TimeoutError):
        return BusError(f"no answer{' to ' + what if what else ''} in time", code="bus.timeout")
    if isinstance(error, errors.MaxPayloadError):
        return BusError(f"{what} is larger than the broker takes", code="bus.size")
    if isinstance(error, errors.AuthorizationError) or (isinstance(error, errors.Error) and _REFUSED.search(said)):
        hint = "Was this collector revoked, or has its login expired? Then enrol it again."
        return BusError(f"the broker refuses the login: {said}", code="bus.refused", hint=hint)
    if isinstance(error, OSError):
        return BusError(text, code="bus.unreachable")
    return BusError(text)


class Link:
    """Keeps one connection. Everything that listens says so here, and is told to every new connection."""

    def __init__(self, login: Login) -> None:
        if not login.urls:
            raise BusError("no broker is named", code="bus.url", hint="Give `hub: urls:` in rmm.yaml.")
        for url in login.urls:
            place(url)
        self._login = login
        self._tls = tls_context(login)
        self._client: Client | None = None
        self._there = asyncio.Event()
        self._listening: set[Listening] = set()
        self._task: asyncio.Task[None] | None = None
        self.at_end: set[Callable[[], None]] = set()  # called when the bus is closed
        self.closed = False
        self.trouble: BusError | None = None  # why there is no connection

    @property
    def client(self) -> Client | None:
        """The connection, while there is one."""
        return self._client

    @property
    def server(self) -> Mapping[str, Any]:
        """What the server said of itself (INFO): version, cluster, server_name."""
        return dict(self._client._server_info) if self._client is not None else {}

    def start(self) -> None:
        """Connect, and go on doing so, in the background."""
        self._task = asyncio.create_task(self._keep())

    async def aclose(self) -> None:
        """Close; who waits gets a BusError. Idempotent."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._there.set()  # nobody waits any more
        for ended in self.at_end:
            ended()

    def check(self) -> None:
        """BusError once it is closed."""
        if self.closed:
            raise BusError("the bus is closed", code="bus.closed")

    async def connected(self) -> Client:
        """Wait for the connection, as long as it takes. BusError when the bus is closed."""
        while self._client is None:
            self.check()
            await self._there.wait()
        self.check()
        return self._client

    async def ready(self, wait_s: float = WAIT_S) -> Client:
        """The connection, when there is one within so many seconds. BusError (bus.down) otherwise."""
        if self._client is not None and not self.closed:
            return self._client
        try:
            async with asyncio.timeout(wait_s):
                return await self.connected()
        except TimeoutError as error:
            trouble = self.trouble
            raise BusError(
                f"there is no connection to the broker{f': {trouble}' if trouble else ''}",
                code="bus.down",
                hint=trouble.hint if trouble else None,
            ) from error

    async def send(self, subject: str, data: bytes = b"", *, reply: str = "", wait_s: float = WAIT_S) -> None:
        """Say something; BusError when it could not be handed to a connection."""
        with _own_cancellation(), _translating(subject):
            async with asyncio.timeout(wait_s):
                client = await self.ready(wait_s)
                await client.publish(subject, data, reply=reply)

    async def request(
        self, subject: str, data: bytes = b"", *, timeout_s: float = WAIT_S, headers: dict[str, str] | None = None
    ) -> Msg:
        """One question and its answer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        client = await self.ready(min(timeout_s, WAIT_S))
        with _own_cancellation(), _translating(subject):
            return await client.request(subject, data, timeout=max(0.001, until - loop.time()), headers=headers)

    @contextlib.asynccontextmanager
    async def listening(self, one: Listening) -> AsyncIterator[None]:
        """On this connection now, and on every one that follows. It is heard by the server when this is entered."""
        self.check()
        self._listening.add(one)
        try:
            if (client := self._client) is not None:
                with contextlib.suppress(BusError):  # else with the next connection
                    await one.on(client)
            yield
        finally:
            self._listening.discard(one)
            await one.off()

    async def _keep(self) -> None:
        """Connect again and again."""
        pause = FIRST_PAUSE_S
        while True:
            gone = asyncio.Event()
            try:
                async with asyncio.timeout(CONNECT_S):
                    client, tunnel = await self._connect(gone)
            except (BusError, TimeoutError) as error:
                self._troubled(translated(error, "the broker"))
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            began = asyncio.get_running_loop().time()
            try:
                await self._serve(client, gone)
            finally:
                self._client = None
                self._there.clear()
                await _closed(client, tunnel)
            if asyncio.get_running_loop().time() - began > 2 * LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S  # not for one that lets us in and throws us out again
            self._troubled(translated(client.last_error or errors.ConnectionClosedError(), "the broker"))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _serve(self, client: Client, gone: asyncio.Event) -> None:
        """Until the connection is gone."""
        try:
            told: set[Listening] = set()
            while missing := self._listening - told:  # some may come while others are told
                for one in missing:
                    await one.on(client)
                told |= missing
        except BusError as error:
            log.warning("the broker lets nobody listen: %s", error)
            return
        if self.trouble is not None:
            log.info("connected to the broker %s", self._where(client))
        self.trouble = None
        self._client = client
        self._there.set()
        await gone.wait()

    def _where(self, client: Client) -> str:
        info = client._server_info
        return f"{info.get('server_name', '')} {info.get('version', '')}".strip()

    def _troubled(self, error: BusError) -> None:
        """Tell it once, and again when the reason is another."""
        if self.trouble is None or self.trouble.code != error.code:
            log.warning("no connection to the broker: %s", error)
        self.trouble = error

    async def _connect(self, gone: asyncio.Event) -> tuple[Client, Tunnel | None]:
        """To one of the servers, in random order. BusError says what the last one said, or the most telling one."""
        troubles = []
        urls = list(self._login.urls)
        random.shuffle(urls)
        for url in urls:
            try:
                async with asyncio.timeout(CONNECT_S / min(3, len(urls))):
                    return await self._connect_to(url, gone)
            except (BusError, TimeoutError) as error:
                gone.clear()
                troubles.append(translated(error, "the broker"))
        raise max(troubles, key=lambda one: one.code not in ("bus.unreachable", "bus.timeout"))

    async def _connect_to(self, url: str, gone: asyncio.Event) -> tuple[Client, Tunnel | None]:
        parts, host, port = place(url)
        options: dict[str, Any] = {"servers": [url], "tls": self._tls, "tls_hostname": host}
        tunnel = None
        web = parts.scheme in ("ws", "wss")
        if self._login.proxy:
            tls = self._tls if parts.scheme == "wss" else None
            tunnel = await Tunnel.open(self._login.proxy, host, port, tls=tls)
            options["servers"] = [f"{'ws' if web else 'nats'}://127.0.0.1:{tunnel.port}{parts.path if web else ''}"]
        client = Client()
        if web:
            client._transport = WebSocket(parts.netloc.rpartition("@")[2] if tunnel else "")
        try:
            await self._log_on(client, gone, options, parts.scheme == "tls")
        except BaseException as error:
            await _closed(client, tunnel, within_s=0.5)  # a handshake of TLS that failed never ends for nats-py
            if not isinstance(error, Exception):
                raise
            raise translated(error, "the broker") from error  # whatever it is: a broker may say anything
        return client, tunnel

    async def _log_on(self, client: Client, gone: asyncio.Event, options: dict[str, Any], must_tls: bool) -> None:
        login = self._login
        connecting = True

        async def failed(error: Exception) -> None:
            if connecting:  # nats-py would try again, in its own way
                if client._server_info.get("tls_required") and isinstance(
                    error, (ConnectionError, errors.UnexpectedEOF)
                ):
                    raise _not_admitted() from error
                raise translated(error)
            log.debug("the broker: %s", error)
            if "permissions violation" in str(error).lower():
                log.warning("the broker: %s", error)

        async def closed() -> None:
            gone.set()

        def checked() -> None:
            if must_tls and not client._server_info.get("tls_required"):
                raise BusError("the broker offers no TLS, but its address is tls://", code="bus.tls")

        def signature(nonce: str) -> bytes:
            checked()  # before anything of the user is said
            return sign_nonce(login.seed, nonce)

        if login.seed and not login.jwt:
            client._public_nkey = public_key(login.seed)
        await client.connect(
            **options,
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
            flush_timeout=WAIT_S,
            error_cb=failed,
            closed_cb=closed,
            signature_cb=signature if login.seed else None,
            user_jwt_cb=(lambda: login.jwt.encode()) if login.jwt else None,
        )
        if not client.is_connected:
            raise _not_admitted()
        checked()
        check_version(client._server_info)
        await client.flush(STEP_S)
        connecting = False


class Listening:
    """A pattern, and what is called for each message of it, one after the other."""

    def __init__(self, pattern: str, called: Listener, *, queue: str = "") -> None:
        self.pattern = pattern
        self._called = called
        self._queue = queue
        self._subscription: Subscription | None = None

    async def on(self, client: Client) -> None:
        """Listen on this connection instead of the one before; the server knows it on return."""
        with _own_cancellation(), _translating(self.pattern):
            self._subscription = await client.subscribe(
                self.pattern,
                self._queue,
                self._called,
                pending_msgs_limit=SUB_MESSAGES,
                pending_bytes_limit=SUB_BYTES,
            )
            await client.flush(STEP_S)

    async def off(self) -> None:
        """No more; what the server has sent before it knew is still told. Within two seconds."""
        if self._subscription is not None:
            with contextlib.suppress(errors.Error, OSError):  # also when it takes too long
                async with asyncio.timeout(2.0):
                    await self._subscription.drain()  # type: ignore[no-untyped-call]
            self._subscription = None


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


@contextlib.contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        yield
    except (errors.Error, OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: JSON, URLs
        raise translated(error, what) from error


@contextlib.contextmanager
def _own_cancellation() -> Iterator[None]:
    """nats-py swallows a cancellation that comes while it flushes: it is raised here, after all."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _not_admitted() -> BusError:
    hint = "Has the certificate of this collector expired, or is it of another authority? Then enrol it again."
    return BusError("the broker closes the connection: it may want another certificate", code="bus.refused", hint=hint)


async def _closed(client: Client, tunnel: Tunnel | None, *, within_s: float = 3.0) -> None:
    """Close a connection, whatever state it is in."""
    try:
        async with asyncio.timeout(within_s):
            await client.close()
    except Exception as error:
        log.debug("closing a connection to the broker: %s", error)
    finally:
        if tunnel is not None:
            await tunnel.aclose()
