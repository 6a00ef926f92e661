"""The HTTP parser, fed in pieces of every size, with what becomes of the answer's headers."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from rmm.transports.winrm.auth import Authentication, _no_token, _offers, _token
from rmm.transports.winrm.http import _Parser
from rmm.transports.winrm.rejection import status_error
from tests.fuzz import corpus

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\n"
CHALLENGE = b"TlRMTVNTUAACAAAAAAAAADgAAAAFAoqi0123456789AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="


def seeds() -> Iterator[bytes]:
    yield CHUNKED
    yield b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    yield b"HTTP/1.1 401 \r\nWWW-Authenticate: Negotiate " + CHALLENGE + b"\r\nContent-Length: 0\r\n\r\n"
    yield b"HTTP/1.1 401 \r\nWWW-Authenticate: Kerberos\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
    yield b"HTTP/1.1 503 Busy\r\nRetry-After: 120\r\nConnection: close\r\n\r\n<html/>"
    yield b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n"
    for envelope in corpus.envelopes()[:20]:
        kind = b"Content-Type: application/soap+xml;charset=UTF-8\r\nContent-Length: %d\r\n\r\n" % len(envelope)
        yield b"HTTP/1.1 200 \r\n" + kind + envelope


def inputs() -> st.SearchStrategy[bytes]:
    """Heads of right and wrong lines."""
    names = ["Content-Length", "Transfer-Encoding", "WWW-Authenticate", "Retry-After", "Connection", "X"]
    values = ["chunked", "Negotiate", "Negotiate AAAA", "Negotiate \xe9", "\xb2", "5", "-1", "5, 5", "close"]
    statuses = ["200", "401", "500", "503", "404", "302", "100", "204", "999", "\xb2\xb2\xb2", "2 0"]
    value = st.one_of(st.sampled_from(values), st.text(st.characters(max_codepoint=255), max_size=20))
    lines = st.lists(st.tuples(st.sampled_from(names), value), max_size=6)
    return st.builds(_answer, st.sampled_from(statuses), lines, st.binary(max_size=60))


def _answer(status: str, lines: list[tuple[str, str]], body: bytes) -> bytes:
    head = f"HTTP/1.1 {status} x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines)
    return head.encode("latin-1") + b"\r\n" + body


def run(data: bytes) -> Any:
    parser, buffer = _Parser(), bytearray()
    rng = random.Random(zlib.crc32(data))
    most = rng.choice((1, 2, 7, 100, 4096, 1 << 20)) if len(data) < 100_000 else rng.choice((1000, 1 << 20))
    at, response = 0, None
    while at < len(data) and response is None:
        size = rng.randint(1, most)
        buffer += data[at : at + size]
        at += size
        response = parser.feed(buffer)
    if response is None:
        response = parser.end()
    if response is None:
        return None
    if response.status not in (200, 401, 500):
        raise status_error(response)
    offers = _offers(response)
    token = _token(response)
    if response.status == 401 and not token:
        raise _no_token(response, offers)
    return [response.headers, token, Authentication(b"").answer(response) if response.status != 401 else b""]
