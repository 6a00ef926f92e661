"""A small HTTP server for whoever scrapes: GET /metrics, one request for each connection, everything bounded.

limit                          what happens beyond it
MOST connections               a further one is closed
HANDSHAKE_S, REQUEST_S         for TLS, for a whole request; then the connection is closed
HEAD bytes of a request        431
GATHER_S                       503
ANSWER_S                       for taking the answer; then the connection is closed
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple, TypeVar

import h11

from rmm.errors import ConfigError
from rmm.metrics import exposition
from rmm.metrics.access import Password, Place
from rmm.metrics.values import Samples

log = logging.getLogger(__name__)

MOST = 32
HEAD = 16 << 10
HANDSHAKE_S, REQUEST_S, GATHER_S, ANSWER_S, CLOSE_S = 5.0, 5.0, 20.0, 30.0, 1.0
FRESH_S = 1.0  # requests within this time get the same values: many who ask do not make many readings
GZIP_FROM = 1000  # bytes

Gather = Callable[[], Samples]
T = TypeVar("T")


class Answer(NamedTuple):
    """What is sent."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


def _plain(status: int, text: str, *headers: tuple[str, str]) -> Answer:
    return Answer(status, f"{text}\n".encode(), headers=headers)


class MetricsServer:
    """Serves what `gather` gives; that runs in a thread which nobody waits for when the server ends."""

    def __init__(self, gather: Gather, tls: ssl.SSLContext | None = None, password: Password | None = None) -> None:
        self._gather = gather
        self._tls = tls
        self._password = password
        self._open: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[Samples] | None = None
        self._made = 0.0
        self.answers: Counter[int] = Counter()
        self.dropped = 0

    async def serve(self, place: Place, ready: Callable[[str], None]) -> None:
        """Until cancelled; `ready` is told the address. Raises ConfigError where it cannot listen."""
        with _listening(place) as listening:
            host, port = listening.getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            ready(f"{'https' if self._tls else 'http'}://{shown}:{port}/metrics")
            try:
                await self._accept(listening)
            finally:
                for task in self._open:
                    task.cancel()
                await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError:  # no more files may be open, or the client has gone already
                self.dropped += 1
                await asyncio.sleep(0.1)
                continue
            if len(self._open) >= MOST:
                self.dropped += 1
                connection.close()
                continue
            task = loop.create_task(self._heard(connection))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _heard(self, connection: socket.socket) -> None:
        """One connection, which is closed when this returns."""
        writer = None
        try:
            reader, writer = await self._connected(connection)
            await self._converse(reader, writer)
            writer.close()
            async with asyncio.timeout(CLOSE_S):
                await writer.wait_closed()
        except (TimeoutError, OSError, h11.ProtocolError):
            self.dropped += 1
        except Exception:  # a defect must not end the server
            log.exception("a request could not be answered")
        finally:
            if writer is not None:
                writer.transport.abort()
            connection.close()

    async def _connected(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Streams over an accepted connection, after TLS's handshake where there is one."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD)
        protocol = asyncio.StreamReaderProtocol(reader)
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": CLOSE_S} if self._tls else {}
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=self._tls, **limits)
        transport.set_write_buffer_limits(0)  # draining is done when the system has all of the answer
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
        try:
            async with asyncio.timeout(REQUEST_S):
                request = await _request(http, reader)
        except h11.RemoteProtocolError as error:
            request, answer = None, _plain(error.error_status_hint, "this is no request that is understood here")
        else:
            if request is None:
                return  # it said nothing
            answer = await self._answered(request)
        self.answers[answer.status] += 1
        async with asyncio.timeout(ANSWER_S):
            writer.write(_encoded(http, request, answer))
            await writer.drain()
        # What is closed while the client still sends may be lost on its way: let it close first, for a moment.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(HEAD)

    async def _answered(self, request: h11.Request) -> Answer:
        headers = dict(request.headers)
        path = request.target.partition(b"?")[0]
        if request.method not in (b"GET", b"HEAD"):
            return _plain(405, "GET and HEAD alone", ("Allow", "GET, HEAD"))
        if self._password is not None and not self._password.admits(headers.get(b"authorization", b"")):
            return _plain(401, "a password is needed", ("WWW-Authenticate", 'Basic realm="rmm metrics"'))
        if path == b"/":
            return _plain(200, "rmm: the metrics are at /metrics")
        if path != b"/metrics":
            return _plain(404, "the metrics are at /metrics")
        return await self._metrics(headers)

    async def _metrics(self, headers: dict[bytes, bytes]) -> Answer:
        openmetrics = b"application/openmetrics-text" in headers.get(b"accept", b"")
        packed = b"gzip" in headers.get(b"accept-encoding", b"")
        try:
            async with asyncio.timeout(GATHER_S):
                samples = await asyncio.shield(self._fresh())
                body = await in_thread(lambda: self._text(samples, openmetrics=openmetrics, packed=packed))
        except TimeoutError:
            return _plain(503, "the data folder does not answer")
        except Exception:  # a defect must not end the server
            log.exception("the metrics could not be gathered")
            return _plain(500, "the metrics could not be gathered; the log says why")
        kind = exposition.OPENMETRICS if openmetrics else exposition.PLAIN
        extra = (("Content-Encoding", "gzip"),) if body[:2] == b"\x1f\x8b" else ()
        return Answer(200, body, kind, (*extra, ("Vary", "Accept, Accept-Encoding")))

    def _text(self, samples: Samples, *, openmetrics: bool, packed: bool) -> bytes:
        samples.values["rmm_metrics_requests_total"] = {(str(code),): n for code, n in list(self.answers.items())}
        samples.values["rmm_metrics_dropped_connections_total"] = {(): self.dropped}
        body = exposition.text(samples, openmetrics=openmetrics, process=True)
        return gzip.compress(body, 1) if packed and len(body) >= GZIP_FROM else body

    def _fresh(self) -> asyncio.Task[Samples]:
        """The reading that is going on, or one of a moment ago, or a new one."""
        if self._task is None or (self._task.done() and time.monotonic() - self._made > FRESH_S):
            self._task = asyncio.create_task(self._gathered())
        return self._task

    async def _gathered(self) -> Samples:
        try:
            return await in_thread(self._gather)
        finally:
            self._made = time.monotonic()


def _listening(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    try:
        listening = socket.create_server(tuple(place), family=family, backlog=MOST)
    except OSError as error:
        raise ConfigError(
            f"--listen {place.host}:{place.port}: {error.strerror or error}", hint="Choose another address or port."
        ) from error
    listening.setblocking(False)
    return listening


async def in_thread(job: Callable[[], T]) -> T:
    """The result of a job in a thread of its own, which does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = job()
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, daemon=True).start()
    return await future


async def _request(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """The head of a request; None when the client closes without one. A body is not read."""
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            return event
        if event is not h11.NEED_DATA:
            return None
        http.receive_data(await reader.read(HEAD))


def _encoded(http: h11.Connection, request: h11.Request | None, answer: Answer) -> bytes:
    headers = [
        ("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))), ("Connection", "close"),
        ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), *answer.headers,
    ]  # fmt: skip
    data = (
        http.send(h11.Response(status_code=answer.status, reason=HTTPStatus(answer.status).phrase, headers=headers))
        or b""
    )
    if request is None or request.method != b"HEAD":
        data += http.send(h11.Data(data=answer.body)) or b""
    return data + (http.send(h11.EndOfMessage()) or b"")
