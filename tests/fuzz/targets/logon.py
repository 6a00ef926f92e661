"""What an endpoint sends while we log on: NTLM challenges with their AV pairs, raw and inside SPNEGO.

The first byte says what the answer is given to: NTLM as rmm uses it, or pyspnego's Negotiate. The password is nobody's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import spnego
from hypothesis import strategies as st

from rmm.transports.winrm.auth import _step, target_names

CLEAN = True
NTLM, SPNEGO = b"\0", b"\1"
NAME = "SRV01".encode("utf-16-le")


def challenge(pairs: list[tuple[int, bytes]], flags: int = 0xE28A8235, name: bytes = NAME) -> bytes:
    """A CHALLENGE_MESSAGE ([MS-NLMP] 2.2.1.2)."""
    info = b"".join(struct.pack("<HH", kind, len(value) & 0xFFFF) + value for kind, value in pairs)
    head = b"NTLMSSP\0" + struct.pack("<IHHIIQQHHI", 2, len(name), len(name), 56, flags, 0x0123456789ABCDEF, 0,
                                      len(info) & 0xFFFF, len(info) & 0xFFFF, 56 + len(name))  # fmt: skip
    return head + b"\x0a\x00\x63\x45\x00\x00\x00\x0f" + name + info


def _pairs() -> list[tuple[int, bytes]]:
    texts = [(2, "LAB"), (1, "SRV01"), (4, "lab.example"), (3, "srv01.lab.example"), (5, "lab.example")]
    return [*((kind, text.encode("utf-16-le")) for kind, text in texts), (7, bytes(8)), (0, b"")]


def _spnego(token: bytes) -> bytes:
    """NegTokenResp with accept-incomplete, NTLMSSP and the token (RFC 4178 4.2.2)."""

    def wrapped(tag: int, content: bytes) -> bytes:
        size = len(content)
        return bytes([tag]) + (bytes([size]) if size < 128 else b"\x82" + struct.pack(">H", size)) + content

    inner = wrapped(0xA0, b"\x0a\x01\x01") + wrapped(0xA1, b"\x06\x0a+\x06\x01\x04\x01\x827\x02\x02\x0a")
    return wrapped(0xA1, wrapped(0x30, inner + wrapped(0xA2, wrapped(0x04, token))))


def seeds() -> Iterator[bytes]:
    plain = challenge(_pairs())
    yield NTLM + plain
    yield NTLM + challenge([])
    yield NTLM + challenge(
        [*_pairs()[:-1], (6, b"\2\0\0\0"), (9, "HTTP/x".encode("utf-16-le")), (10, bytes(16)), (0, b"")]
    )
    yield SPNEGO + _spnego(plain)
    yield SPNEGO + plain


def inputs() -> st.SearchStrategy[bytes]:
    pair = st.tuples(st.integers(0, 12), st.binary(max_size=40))
    made = st.builds(challenge, st.lists(pair, max_size=12), st.integers(0, 2**32 - 1), st.binary(max_size=20))
    return st.one_of(made.map(lambda data: NTLM + data), made.map(lambda data: SPNEGO + _spnego(data[:60_000])))


def run(data: bytes) -> Any:
    kind, token = data[:1], data[1:]
    account = spnego.NTLMHash(username="LAB\\nobody", nt_hash="00" * 16)
    protocol = "negotiate" if kind == SPNEGO else "ntlm"
    options = spnego.NegotiateOptions.use_negotiate if kind == SPNEGO else spnego.NegotiateOptions.use_ntlm
    context = spnego.client(account, hostname="x", service="http", protocol=protocol, options=options)
    context.step()
    names = target_names(token)
    _step(context, token)
    return names
