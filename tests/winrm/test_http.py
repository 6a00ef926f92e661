"""The HTTP client against servers that misbehave, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.errors import ConnectError, DeadlineError, ProtocolError, RmmError
from rmm.transports.winrm import http

GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n"
HEAD = b"POST /wsman HTTP/1.1\r\nHost: x\r\n"

Server = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(handle: Server) -> AsyncIterator[http.Connection]:
    tasks: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handle(reader, writer)
        writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0)
    deadline = asyncio.get_running_loop().time() + 5
    port = server.sockets[0].getsockname()[1]
    connection = await http.connect("127.0.0.1", port, deadline=deadline)
    try:
        yield connection
    finally:
        connection.abort()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)


def says(*parts: bytes, end: bool = True, pause: float = 0.0) -> Server:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        if not end:
            await asyncio.sleep(60)

    return handle


async def ask(connection: http.Connection, seconds: float = 2.0) -> http.Response:
    return await connection.request(HEAD, b"", asyncio.get_running_loop().time() + seconds)


@pytest.mark.parametrize("answer", [GOOD, CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\n" + GOOD])
async def test_an_answer_in_one_piece_and_byte_by_byte(answer: bytes) -> None:
    async with serving(says(answer, end=False)) as connection:
        response = await ask(connection)
        assert (response.status, response.body) == (200, b"hello")
        assert connection.usable
    async with serving(says(*(answer[n : n + 1] for n in range(len(answer))), end=False)) as connection:
        assert (await ask(connection)).body == b"hello"


@given(st.lists(st.integers(1, len(CHUNKED) - 1), max_size=6), st.sampled_from([GOOD, CHUNKED]))
def test_every_split_gives_the_same(cuts: list[int], answer: bytes) -> None:
    parser, buffer, response = http._Parser(), bytearray(), None
    at = 0
    for cut in [*sorted({min(c, len(answer)) for c in cuts}), len(answer)]:
        buffer += answer[at:cut]
        at = cut
        response = parser.feed(buffer) or response
    assert response is not None
    assert response.body == b"hello"
    assert buffer == b""


@given(st.binary(max_size=400))
def test_garbage_never_crashes_the_parser(data: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        with contextlib.suppress(ProtocolError):
            http._Parser().feed(bytearray(prefix + data))


BAD: list[tuple[str, Server, type[RmmError], str]] = [
    ("close at once", says(), ConnectError, "tcp.reset"),
    ("garbage", says(b"SSH-2.0-OpenSSH_9.2\r\n"), ProtocolError, "http.garbage"),
    ("garbage, no end", says(b"\x16\x03\x01" * 4, end=False), ProtocolError, "http.garbage"),
    ("close in the head", says(b"HTTP/1.1 200 OK\r\nContent-"), ProtocolError, "http.short"),
    ("close in the body", says(GOOD[:-2]), ProtocolError, "http.short"),
    ("close in a chunk", says(CHUNKED[:60]), ProtocolError, "http.short"),
    ("hang", says(end=False), DeadlineError, "timeout"),
    ("hang in the body", says(GOOD[:-2], end=False), DeadlineError, "timeout"),
    ("huge head", says(b"HTTP/1.1 200 OK\r\nA: " + b"x" * 70_000), ProtocolError, "http.garbage"),
    ("huge body", says(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"), ProtocolError, "http.too_large"),
    ("negative length", says(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"), ProtocolError, "http.garbage"),
    (
        "two lengths",
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ProtocolError,
        "http.garbage",
    ),
    (
        "compressed",
        says(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
        ProtocolError,
        "http.encoding",
    ),
    ("bad chunk", says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), ProtocolError, "http.garbage"),
    (
        "huge chunk",
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"),
        ProtocolError,
        "http.too_large",
    ),
]


@pytest.mark.parametrize(("handle", "kind", "code"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
async def test_misbehaviour_has_its_name(handle: Server, kind: type[RmmError], code: str) -> None:
    async with serving(handle) as connection:
        began = asyncio.get_running_loop().time()
        with pytest.raises(kind) as caught:
            await ask(connection, 0.5)
        assert caught.value.code == code
        assert asyncio.get_running_loop().time() - began < 2
        assert not connection.usable or kind is ConnectError


async def test_a_trickle_is_ended_by_its_throughput(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "GRACE_S", 0.4)
    async with serving(says(b"HTTP/1.1 200 OK\r\n", *[b"A"] * 100, pause=0.05)) as connection:
        with pytest.raises(DeadlineError) as caught:
            await ask(connection, 30)
        assert caught.value.code == "timeout.trickle"


async def test_bytes_that_nobody_asked_for_end_the_connection() -> None:
    async with serving(says(GOOD, GOOD, end=False, pause=0.05)) as connection:
        await ask(connection)
        await asyncio.sleep(0.2)
        assert not connection.usable


async def test_cancellation_closes_the_connection() -> None:
    async with serving(says(end=False)) as connection:
        task = asyncio.create_task(ask(connection, 30))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.05)
        assert not connection.usable
