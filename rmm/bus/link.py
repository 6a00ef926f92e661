"""The connection to the broker: made again whenever it is lost, with everything that was listening on it.

A lost connection is thrown away with whatever waits in it, so nothing is sent late that a caller was told has failed,
and every attempt may go another way (the next server, a new tunnel).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from rmm.bus.connection import Connection, arrived, own_cancellation, translated, translating
from rmm.bus.login import Login, place, shown, tls_context
from rmm.errors import BusError

log = logging.getLogger(__name__)


CONNECT_S = 15.0  # for one attempt, with proxy and TLS
WAIT_S = 5.0  # that a call waits for a connection, and then for an answer
LEAVE_S = 2.0  # for saying that nobody listens any more
SHARE_S = 1.0  # for `Listening.share`
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 15.0  # between attempts

DEFINITE = frozenset({"bus.refused", "bus.tls", "bus.version"})

Listener = Callable[[Msg], None]


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
        self._settled = asyncio.Event()  # connected for the first time, or refused for a reason that stays
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
            while not self._task.done():
                self._task.cancel()  # nats-py swallows one that comes while it gives up a connection
                await asyncio.wait([self._task], timeout=0.2)
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

    async def first(self, wait_s: float) -> None:
        """Wait for the first connection. BusError without one; at once for a reason that no waiting removes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._settled.wait()
        if self._client is None and self.trouble is not None and self.trouble.code in DEFINITE:
            raise self.trouble
        await self.ready(0.0)

    async def send(self, subject: str, data: bytes = b"", *, reply: str = "", wait_s: float = WAIT_S) -> None:
        """Say something; BusError when it could not be handed to a connection."""
        client = await self.ready(wait_s)
        with own_cancellation(), translating(subject):
            async with asyncio.timeout(wait_s):
                await client.publish(subject, data, reply=reply)

    async def flush(self) -> None:
        """The server has had all that was sent. BusError when it does not say so."""
        await arrived(await self.ready())

    async def request(
        self, subject: str, data: bytes = b"", *, timeout_s: float = WAIT_S, headers: dict[str, str] | None = None
    ) -> Msg:
        """One question and its answer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        client = await self.ready(min(timeout_s, WAIT_S))
        with own_cancellation(), translating(subject):
            return await client.request(subject, data, timeout=max(0.001, until - loop.time()), headers=headers)

    @contextlib.asynccontextmanager
    async def listening(self, *all_: Listening) -> AsyncIterator[None]:
        """On this connection now, and on every one that follows. It is heard by the server when this is entered."""
        self.check()
        self._listening.update(all_)
        try:
            if (client := self._client) is not None:
                with contextlib.suppress(BusError):  # else with the next connection
                    await begin(client, all_)
            yield
        finally:
            self._listening.difference_update(all_)
            await end(all_)

    async def _keep(self) -> None:
        """Connect again and again."""
        pause = FIRST_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(CONNECT_S):
                    connection = await self._connect()
            except (BusError, TimeoutError) as error:
                self._troubled(translated(error, "the broker"))
            else:
                began = asyncio.get_running_loop().time()
                try:
                    await self._serve(connection)
                finally:
                    self._client = None
                    self._there.clear()
                    await connection.aclose()
                if asyncio.get_running_loop().time() - began > 2 * LONGEST_PAUSE_S:
                    pause = FIRST_PAUSE_S  # not for one that lets us in and throws us out again
                self._troubled(translated(connection.client.last_error or errors.ConnectionClosedError(), "the broker"))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _serve(self, connection: Connection) -> None:
        """Until the connection is gone."""
        try:
            told: set[Listening] = set()
            while missing := self._listening - told:  # some may come while others are told
                await begin(connection.client, missing)
                told |= missing
        except BusError as error:
            log.warning("the broker lets nobody listen: %s", error)
            return
        if self.trouble is not None:
            server = connection.server
            log.info("connected to the broker %s %s", server.get("server_name", ""), server.get("version", ""))
        self.trouble = None
        self._client = connection.client
        self._there.set()
        self._settled.set()
        await connection.ended()

    def _troubled(self, error: BusError) -> None:
        """Tell it once, and again when the reason is another."""
        if self.trouble is None or self.trouble.code != error.code:
            log.warning("no connection to the broker: %s", error.told)
        self.trouble = error
        if error.code in DEFINITE:
            self._settled.set()

    async def _connect(self) -> Connection:
        """To one of the servers, in random order. BusError is of the one that had the most telling reason."""
        troubles = []
        urls = list(self._login.urls)
        random.shuffle(urls)
        for url in urls:
            connection = Connection(self._login)
            try:
                async with asyncio.timeout(CONNECT_S / min(3, len(urls))):
                    await connection.open(url, self._tls)
                    return connection
            except (BusError, TimeoutError) as error:
                troubles.append(translated(error, f"the broker {shown(url)}"))
        raise max(troubles, key=lambda one: one.code not in ("bus.unreachable", "bus.timeout"))


async def begin(client: Client, all_: Iterable[Listening]) -> None:
    """Listen on this connection instead of the one before; the server knows it on return. Raises BusError."""
    for one in all_:
        await one.on(client)
    await arrived(client)


async def end(all_: Iterable[Listening]) -> None:
    """No more; what the server has sent before it knew is still told. Within two seconds."""
    clients = {client for one in all_ if (client := one.leave()) is not None}
    with contextlib.suppress(errors.Error, OSError, BusError):  # also when it takes too long
        async with asyncio.timeout(LEAVE_S):
            for one in all_:
                await one.off()
            for client in clients:
                await arrived(client)
    for one in all_:
        one.forget()


class Listening:
    """A pattern, and what is called for each message of it, one after the other.

    It is called as the message is read: nothing waits in between, where who says much would leave no room for others.
    So it has to be quick, and to keep what it wants.

    `share`: messages a second, 0 for any number. The server counts, and sends no more of them: of what is said beyond
    that nothing reaches this process, nor waits for it at the server in front of what others say.
    """

    def __init__(self, pattern: str, called: Listener, *, queue: str = "", share: int = 0) -> None:
        self.pattern = pattern
        self._called = called
        self._queue = queue
        self._share = share
        self._left = share  # that may still come by this subscription
        self._since = 0.0
        self._subscription: Subscription | None = None
        self._client: Client | None = None
        self._again: asyncio.Task[None] | None = None
        self._ending = False

    async def on(self, client: Client) -> None:
        """Say to this server that it is listened; it may not know it yet. Not where that is over by now."""
        if self._ending:
            return
        with own_cancellation(), translating(self.pattern):
            self._left, self._since = self._share, asyncio.get_running_loop().time()
            subscription = await client.subscribe(self.pattern, self._queue, pending_bytes_limit=0)
            came, subscription._pending_queue = subscription._pending_queue, _Straight(self._tell)  # type: ignore[assignment]
            self._subscription, self._client = subscription, client
            if self._share:
                await subscription.unsubscribe(self._share)  # after so many
            while not came.empty():
                subscription._pending_queue.put_nowait(came.get_nowait())

    def _tell(self, message: Msg) -> None:
        if self._share:
            self._left -= 1
            if not self._left and self._client is not None and not self._ending:
                self._again = asyncio.create_task(self._renew(self._client, self._since + SHARE_S))
        self._called(message)

    async def _renew(self, client: Client, at: float) -> None:
        """The next share, not before that time."""
        await asyncio.sleep(max(0.0, at - asyncio.get_running_loop().time()))
        with contextlib.suppress(BusError):  # else with the next connection
            if self._client is client:
                await self.on(client)

    def leave(self) -> Client | None:
        """No further share; the connection to which it is to be said."""
        self._ending = True  # or what still comes until the server knows it would ask for the next share
        if self._again is not None:
            self._again.cancel()
        return self._client if self._subscription is not None else None

    async def off(self) -> None:
        """Say to the server that nobody listens."""
        if self._subscription is not None and self._client is not None:
            await self._client._send_unsubscribe(self._subscription._id)

    def forget(self) -> None:
        """What comes now is told to nobody."""
        if self._subscription is not None and self._client is not None:
            self._client._remove_sub(self._subscription._id)
        self._subscription = self._client = None


class _Straight:
    """In the place of the queue of a subscription: what is put in is told at once."""

    def __init__(self, called: Listener) -> None:
        self._called = called

    def put_nowait(self, message: Msg) -> None:
        try:
            self._called(message)
        except Exception:  # a defect of ours must not end the connection
            log.exception("a message about %s", message.subject)

    def empty(self) -> bool:
        return True

    async def join(self) -> None:
        """Nothing waits."""
