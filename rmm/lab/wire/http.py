"""The lab's HTTP/1.1 server connection: whole requests to a handler, answers back, one at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec

HEAD_LIMIT = 64 << 10
BODY_LIMIT = 16 << 20
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    413: "Payload Too Large",
    500: "Internal Server Error",
}


class Request(msgspec.Struct):
    """Method, path, headers with lower-case names, body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(msgspec.Struct):
    """Status, extra header lines, body; `delay_s` is how long to wait before it leaves."""

    status: int
    headers: list[str] = []
    body: bytes = b""
    close: bool = False

    def encoded(self) -> bytes:
        """As it goes over the wire."""
        lines = [f"HTTP/1.1 {self.status} {_REASONS.get(self.status, 'Status')}", "Server: Microsoft-HTTPAPI/2.0"]
        lines += self.headers
        if self.close:
            lines.append("Connection: close")
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


HANDLED = Reply(0)  # a handler's word that it has sent what it wanted to

Handler = Callable[[Request], "Reply | Awaitable[Reply | None] | None"]


class ServerConnection(asyncio.Protocol):
    """Parses requests and sends replies in order. `handler` may answer later; None closes the connection."""

    def __init__(
        self, opened: Callable[[ServerConnection], Handler | None], closed: Callable[[ServerConnection], None]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self.local = ""
        self._opened = opened
        self._closed = closed
        self._handler: Handler | None = None
        self._buffer = bytearray()
        self._requests: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._continued = False
        self.held = False  # what arrives waits: a TLS handshake is not finished on this side
        self.logon: Any = None  # `rmm.lab.wire.logon.Logon` of this connection, for faults that seal for themselves

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.local = transport.get_extra_info("sockname")[0]
        self._handler = self._opened(self)

    def upgrade(self, transport: asyncio.Transport) -> None:
        """Go on over TLS, with what has arrived over it already."""
        self.transport = transport
        self.held = False
        self.data_received(b"")

    def connection_lost(self, error: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        self._closed(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self.held:
            return
        if self._handler is None:
            self._buffer.clear()
            return
        while (request := self._next()) is not None:
            self._requests.append(request)
        if self._task is None:
            self._serve()

    def _serve(self) -> None:
        """Answer at once what can be; a handler that waits goes on in a task."""
        while self._requests and self._handler is not None:
            reply = self._handler(self._requests.popleft())
            if reply is HANDLED:
                continue
            if isinstance(reply, Reply):
                self.send(reply)
            elif reply is None:
                self.close()
            else:
                self._task = asyncio.ensure_future(self._finish(reply))
                return

    async def _finish(self, pending: Awaitable[Reply | None]) -> None:
        reply = await pending
        self._task = None
        if reply is None:
            self.close()
            return
        if reply is not HANDLED:
            self.send(reply)
        self._serve()

    def send(self, reply: Reply) -> None:
        """Write one reply."""
        self.write(reply.encoded())
        if reply.close:
            self.close()

    def write(self, data: bytes) -> None:
        """Write raw bytes."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self, *, reset: bool = False) -> None:
        """Close, or reset."""
        if self.transport is not None:
            self.transport.abort() if reset else self.transport.close()

    def _next(self) -> Request | None:
        end = self._buffer.find(b"\r\n\r\n")
        if self._buffer[:1] == b"\x16":  # a TLS hello: no method begins so, and HTTP.SYS says so at once
            self._buffer.clear()
            self.send(Reply(400, close=True))
            return None
        if end < 0:
            if len(self._buffer) > HEAD_LIMIT:
                self.send(Reply(400, close=True))
            return None
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        first = lines[0].split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if len(first) != 3 or not first[2].startswith("HTTP/1."):
            self.send(Reply(400, close=True))
            return None
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body, after = self._chunks(end + 4)
        else:
            text = headers.get("content-length", "0")
            size = int(text) if text.isdigit() else 0
            if size > BODY_LIMIT:
                self.send(Reply(413, close=True))
                return None
            after = end + 4 + size if len(self._buffer) >= end + 4 + size else -1
            body = bytes(self._buffer[end + 4 : end + 4 + size])
        if after < 0:
            if headers.get("expect", "").lower() == "100-continue" and not self._continued:
                self._continued = True
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        self._continued = False
        del self._buffer[:after]
        return Request(first[0], first[1], headers, body)

    def _chunks(self, at: int) -> tuple[bytes, int]:
        """(body, end) of a chunked body; end is -1 while it is not whole."""
        body = bytearray()
        while True:
            end = self._buffer.find(b"\r\n", at)
            if end < 0:
                return b"", -1
            try:
                size = int(bytes(self._buffer[at:end]).split(b";")[0], 16)
            except ValueError:
                size = BODY_LIMIT + 1
            if len(body) + size > BODY_LIMIT:
                self.send(Reply(413, close=True))
                return b"", -1
            if len(self._buffer) < end + size + 4:
                return b"", -1
            if size == 0:
                return bytes(body), end + 4
            body += self._buffer[end + 2 : end + 2 + size]
            at = end + size + 4
