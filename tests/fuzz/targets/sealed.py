"""Encrypted answers: the MIME body, the seal, and the envelope inside.

The first byte says what the rest is: a body as it came, or a text that is sealed rightly and put in its body first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmm.transports.winrm.auth import Authentication
from rmm.transports.winrm.envelope import Answer
from rmm.transports.winrm.http import Response
from rmm.transports.winrm.seal import NtlmSeal
from tests.fuzz import corpus

KEY = bytes(range(16))
HEADERS = {"content-type": 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted"'}
RAW, PLAIN = b"\0", b"\1"


def server() -> NtlmSeal:
    """The other side of the same connection."""
    seal = NtlmSeal(KEY)
    seal._sign_out, seal._out = seal._sign_in, seal._in
    return seal


def body(text: bytes) -> bytes:
    signature, sealed = server().wrap(text)
    return (
        b"--Encrypted Boundary\r\n\tContent-Type: application/HTTP-SPNEGO-session-encrypted\r\n"
        b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n--Encrypted Boundary\r\n"
        b"\tContent-Type: application/octet-stream\r\n\x10\x00\x00\x00%b%b--Encrypted Boundary--\r\n"
    ) % (len(text), signature, sealed)


def seeds() -> Iterator[bytes]:
    for envelope in corpus.envelopes()[:40]:
        yield RAW + body(envelope)
        yield PLAIN + envelope
    yield RAW + body(b"")


def run(data: bytes) -> Any:
    sealed = body(data[1:]) if data[:1] == PLAIN else data[1:]
    authentication = Authentication(b"")
    authentication._unwrap = NtlmSeal(KEY).unwrap
    text = authentication.answer(Response(200, dict(HEADERS), sealed))
    if b"".join(server().wrap(text)) not in sealed:
        raise AssertionError("a text that was never sealed")
    answer = Answer(text)
    return [answer.relates_to, answer.action]
