"""One HTTP/1.1 connection of our own: authentication belongs to the connection, so the connection is ours.

RFC 9112, the client's half of what WinRM needs: one request at a time, Content-Length and chunked bodies, 1xx responses
passed over. No redirects, no proxies, no content codings. Every size is bounded; every request has an absolute deadline
and, once an answer has begun, a minimum throughput, because a read timeout does not stop one byte per second.
"""

from __future__ import annotations

import asyncio
import socket
import ssl as tls
from typing import cast

import msgspec

from rmm.errors import ConnectError, DeadlineError, ProtocolError

HEAD_LIMIT = 64 << 10
BODY_LIMIT = 4 << 20  # WinRM keeps an answer below the 512,000 bytes that every request allows it
MOST_HEADERS = 200
MOST_INTERIM = 10  # 1xx responses before the real one
GRACE_S = 10.0  # an answer that has begun may be slow for this long ...
LEAST_BYTES = 2000  # ... and must then bring this many bytes in every further period of GRACE_S
TELLING_S = 5.0  # an answer that was this slow for so long, when its deadline came, was a trickle as well

CUT_HINT = "A proxy, a firewall or a restart of WinRM cut the connection."
RESET_HINT = "WinRM was restarted or the machine is rebooting, or a firewall ends connections."
SLOW_HINT = "The endpoint answers byte by byte: look for a broken network path or a hostile machine."


class Response(msgspec.Struct):
    """Status, headers with lower-case names (repeated ones joined by a line feed), body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection(asyncio.Protocol):
    """An open connection; use `connect`. `bytes_in`, `bytes_out` and `requests` count for its whole life."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.bytes_in = 0
        self.bytes_out = 0
        self.requests = 0
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[Response] | None = None
        self._parser: _Parser | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._speed: asyncio.TimerHandle | None = None
        self._at_last_check = 0
        self._began = 0.0  # when the first bytes of the answer came, and the last
        self._heard = 0.0

    @property
    def usable(self) -> bool:
        """Open, and nothing unexpected has arrived."""
        return self.transport is not None and not self.transport.is_closing() and not self._buffer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            done = self._parser.end() if self._parser and error is None else None
            if done is not None:
                waiter.set_result(done)
            elif self._parser is not None and self._buffer and not self._parser.plausible(self._buffer):
                waiter.set_exception(_garbage("no HTTP header in what the endpoint sent"))
            elif self._parser is not None and self._parser.begun:
                waiter.set_exception(
                    ProtocolError(
                        "the connection ended in the middle of an answer", code="http.short", retry="R1", hint=CUT_HINT
                    )
                )
            else:
                lost = ConnectError(
                    f"the endpoint closed the connection{f' ({error})' if error else ''}",
                    code="tcp.reset",
                    retry="R1",
                    hint=RESET_HINT,
                )
                lost.__cause__ = error
                waiter.set_exception(lost)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        self._buffer += data
        if self._parser is None:
            self.close()  # bytes that nobody asked for: this connection cannot be trusted any more
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        try:
            response = self._parser.feed(self._buffer)
        except ProtocolError as error:
            waiter.set_exception(error)
            self.close()
            return
        if response is not None:
            waiter.set_result(response)
        else:
            self._heard = self._loop.time()
            if self._speed is None:
                self._began = self._heard
                self._at_last_check = self.bytes_in
                self._speed = self._loop.call_later(GRACE_S, self._check_speed)

    def eof_received(self) -> bool:
        return False

    def _check_speed(self) -> None:
        if self.bytes_in - self._at_last_check < LEAST_BYTES:
            self._fail(_trickle())
            return
        self._at_last_check = self.bytes_in
        self._speed = self._loop.call_later(GRACE_S, self._check_speed)

    def _expire(self) -> None:
        begun = self._parser is not None and self._parser.begun
        slow = begun and self.bytes_in - self._at_last_check < LEAST_BYTES
        if slow and self._heard - self._began > TELLING_S:
            self._fail(_trickle())
            return
        self._fail(DeadlineError("the answer did not end in time" if begun else "no answer in time"))

    def _fail(self, error: Exception) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    async def request(self, head: bytes, body: bytes, deadline: float) -> Response:
        """Send one request and return its answer.

        Args:
            head: request line and headers, without Content-Length and without the empty line.
            body: the body, may be empty.
            deadline: absolute, of the running loop's clock.

        Raises:
            ConnectError, DeadlineError, ProtocolError: the connection is unusable after each of them.
        """
        if self.transport is None or self.transport.is_closing():
            raise ConnectError("the connection is closed", code="tcp.reset", retry="R1")
        if self._buffer:
            self.abort()
            raise ProtocolError("bytes came that no request had asked for", code="http.unasked", retry="R1")
        waiter: asyncio.Future[Response] = self._loop.create_future()
        self._waiter = waiter
        self._parser = _Parser()
        data = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        self.requests += 1
        self.bytes_out += len(data)
        self.transport.write(data)
        self._timer = self._loop.call_at(deadline, self._expire)
        try:
            response = await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._timer.cancel()
            if self._speed is not None:
                self._speed.cancel()
                self._speed = None
            self._waiter = self._parser = None
        if "close" in response.headers.get("connection", "").lower():
            self.close()
        return response

    def close(self) -> None:
        """Close after what was written has left."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def certificate(self) -> bytes:
        """The server's certificate, DER; empty without TLS."""
        channel = self.transport.get_extra_info("ssl_object") if self.transport else None
        return channel.getpeercert(binary_form=True) or b"" if channel else b""


class _Parser:
    """Takes one response out of a growing buffer."""

    __slots__ = ("_body", "_head", "_interim", "_length", "_mode", "_searched", "begun")

    def __init__(self) -> None:
        self.begun = False
        self._interim = 0
        self._searched = 0  # how much of the buffer is known to hold no end of the head, or of the trailer
        self._head: Response | None = None
        self._mode = "head"
        self._length = 0
        self._body: bytearray = bytearray()

    def plausible(self, buffer: bytearray) -> bool:
        """Whether what arrived so far may be the answer of a web server."""
        return self._head is not None or buffer.startswith(b"HTTP/1."[: len(buffer)])

    def feed(self, buffer: bytearray) -> Response | None:
        """Consume what can be consumed; the response when it is whole."""
        self.begun = True
        while self._mode == "head":
            if not self._take_head(buffer):
                return None
        assert self._head is not None
        if self._mode == "length":
            if len(buffer) < self._length:
                return None
            self._head.body = bytes(buffer[: self._length])
            del buffer[: self._length]
            return self._head
        if self._mode == "chunked":
            return self._take_chunks(buffer)
        if len(buffer) > BODY_LIMIT:
            raise _too_large("body")
        return None

    def _take_head(self, buffer: bytearray) -> bool:
        end = buffer.find(b"\r\n\r\n", self._searched, HEAD_LIMIT)
        if end < 0:
            self._searched = max(0, len(buffer) - 3)
            if len(buffer) >= HEAD_LIMIT or (len(buffer) > 8 and not buffer.startswith(b"HTTP/1.")):
                raise _garbage("no HTTP header in what the endpoint sent")
            return False
        lines = bytes(buffer[:end]).split(b"\r\n")
        del buffer[: end + 4]
        self._searched = 0
        status = _status(lines[0])
        if 100 <= status < 200:
            self._interim += 1
            if self._interim > MOST_INTERIM:
                raise _garbage("interim answers without end")
            return True  # 100 Continue: the real head follows
        self._head = Response(status, _headers(lines[1:]), b"")
        self._choose_mode(self._head)
        return True

    def _choose_mode(self, head: Response) -> None:
        coding = head.headers.get("transfer-encoding", "").lower()
        length = head.headers.get("content-length")
        if head.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            hint = "IIS or a proxy in front of WinRM compresses answers although identity is asked for: turn it off."
            raise ProtocolError("the endpoint compressed an answer", code="http.encoding", hint=hint)
        if coding == "chunked" and length is None:
            self._mode = "chunked"
        elif coding:
            raise _garbage(f"transfer coding {coding[:40]!r}")
        elif head.status in (204, 304):
            self._mode, self._length = "length", 0
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) < 12):
                raise _garbage(f"content length {length[:40]!r}")
            self._mode, self._length = "length", int(length)
            if self._length > BODY_LIMIT:
                raise _too_large("body")
        else:
            self._mode = "close"

    def _take_chunks(self, buffer: bytearray) -> Response | None:
        assert self._head is not None
        while True:
            end = buffer.find(b"\r\n", 0, 1024)
            if end < 0:
                if len(buffer) >= 1024:
                    raise _garbage("a chunk without its size", "R1")
                return None
            text = bytes(buffer[:end]).split(b";")[0].strip()
            try:
                size = int(text, 16) if 0 < len(text) <= 8 and text.isalnum() else -1
            except ValueError:
                size = -1
            if size < 0:
                raise _garbage("a chunk without its size", "R1")
            if len(self._body) + size > BODY_LIMIT:
                raise _too_large("body")
            if len(buffer) < end + 2 + size + 2:
                return None
            if size == 0:
                return self._take_trailer(buffer, end + 2)
            if buffer[end + 2 + size : end + 4 + size] != b"\r\n":
                raise _garbage("a chunk without its end", "R1")
            self._body += buffer[end + 2 : end + 2 + size]
            del buffer[: end + 4 + size]

    def _take_trailer(self, buffer: bytearray, start: int) -> Response | None:
        """After the last chunk: trailer fields, ignored, and an empty line."""
        assert self._head is not None
        if buffer[start : start + 2] == b"\r\n":
            end = start
        else:
            found = buffer.find(b"\r\n\r\n", max(start, self._searched), start + HEAD_LIMIT)
            if found < 0:
                self._searched = max(0, len(buffer) - 3)
                if len(buffer) - start >= HEAD_LIMIT:
                    raise _too_large("trailer")
                return None
            end = found + 2
        del buffer[: end + 2]
        self._head.body = bytes(self._body)
        return self._head

    def end(self) -> Response | None:
        """The peer closed: whole only when the body was delimited by that. Such an answer is never authenticated."""
        return self._head if self._mode == "close" and self._head is not None else None


def _status(line: bytes) -> int:
    parts = line.split(b" ", 2)
    if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or len(parts[1]) != 3 or not parts[1].isdigit():
        raise _garbage("no HTTP status line in what the endpoint sent")
    return int(parts[1])


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    if len(lines) > MOST_HEADERS:
        raise _garbage("more header lines than any web server sends")
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():
            raise _garbage("a header line without a name")
        name, value = name.lower(), value.strip()
        if name == "content-length" and headers.get(name, value) != value:
            raise _garbage("two content lengths")
        headers[name] = f"{headers[name]}\n{value}" if name in headers and name != "content-length" else value
    return headers


def _trickle() -> DeadlineError:
    return DeadlineError("the answer trickles in", code="timeout.trickle", hint=SLOW_HINT)


def _garbage(what: str, retry: str = "RB") -> ProtocolError:
    hint = "Something other than WinRM listens on this port."
    return ProtocolError(what, code="http.garbage", retry=retry, hint=hint)


def _too_large(what: str) -> ProtocolError:
    return ProtocolError(f"the {what} of the answer is larger than any that WinRM sends", code="http.too_large")


async def connect(
    host: str,
    port: int,
    *,
    context: tls.SSLContext | None = None,
    server_hostname: str = "",
    deadline: float,
    sock: socket.socket | None = None,
) -> Connection:
    """Open a connection before `deadline` (absolute), over `sock` where that is connected already.

    Foreign exceptions pass; `network` maps them.
    """
    loop = asyncio.get_running_loop()
    name = server_hostname if context is not None else None
    async with asyncio.timeout_at(deadline):
        if sock is None:
            _, connection = await loop.create_connection(Connection, host, port, ssl=context, server_hostname=name)
        else:
            _, connection = await loop.create_connection(Connection, ssl=context, server_hostname=name, sock=sock)
    return connection
