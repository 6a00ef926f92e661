"""Mutations of one input, drawn from a seeded generator: the same generator gives the same bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

MOST = 256 << 10  # bytes of one input
Mutation = Callable[[bytearray, random.Random, Sequence[bytes]], bytearray]

NUMBERS = [
    b"0", b"-1", b"1", b"255", b"256", b"65536", b"2147483647", b"2147483648", b"4294967295", b"4294967296",
    b"9223372036854775807", b"9223372036854775808", b"18446744073709551615", b"18446744073709551616",
    b"-9223372036854775809", b"1e308", b"1e309", b"-1e400", b"1e-400", b"NaN", b"Infinity", b"-Infinity",
    b"0x" + b"f" * 5000, b"9" * 5000, b"1_000", b"\xb2", "\u0663".encode(), b"007", b"+5", b" 7", b"1.", b".5",
]  # fmt: skip
TOKENS = [
    b"\0", b"\x01", b"\x1b[2J", b"\x7f", b"\x85", b"\r\n", b"\r\n\r\n", b"\n", b"\\u0000", b"\\ud800", b"\\udc00",
    b"_xD800_", b"_xDC00_", b"_x0000_", b"_x001B_", b"&#0;", b"&#1;", b"&#xD800;", b"&#x110000;", b"&#9999999;",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x81\x84\x94\xe1", b"\xf4\x90\x80\x80", b"\xc0\x80",
    b"\xe2\x80\xae", b"\xe2\x80\xa8", b"\xc2\xb2", b"<!DOCTYPE a>", b"<!ENTITY a 'b'>", b"<![CDATA[", b"]]>", b"<!--",
    b"-->", b"<?x", b"?>", b"&lt;", b"&a;", b"<Nil/>", b'<Ref RefId="0"/>', b"<a/>", b"</a>", b'"', b"'", b"<", b">",
    b"&", b"{", b"}", b"[", b"]", b",", b":", b"null", b"true", b"[]", b"{}", b'""', b"../", b"%00", b"=", b";", b"|",
]  # fmt: skip
_DIGITS = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_ELEMENT = re.compile(rb"<([A-Za-z:]+)[^<>]*>")
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1", "cp437", "cp037")


def _flip(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    for _n in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _byte(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 9, 10, 13, 32, 34, 38, 60, 62, 127, 128, 237, 255))
    return data


def _cut(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    return data[: rng.randrange(len(data))]


def _block(data: bytearray, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 256, 1024)))


def _remove(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    start, end = _block(data, rng)
    del data[start:end]
    return data


def _repeat(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    start, end = _block(data, rng)
    times = rng.choice((1, 1, 2, 10, 100, 1000, 20_000))
    data[start:start] = data[start:end] * min(times, MOST // max(1, end - start))
    return data


def _swap(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    a, b = sorted((_block(data, rng), _block(data, rng)))
    if a[1] > b[0]:
        return data
    return data[: a[0]] + data[b[0] : b[1]] + data[a[1] : b[0]] + data[a[0] : a[1]] + data[b[1] :]


def _splice(data: bytearray, rng: random.Random, corpus: Sequence[bytes]) -> bytearray:
    other = rng.choice(corpus)
    start = rng.randrange(len(other) + 1)
    return data[: rng.randrange(len(data))] + other[start : start + MOST // 2]


def _token(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, 0, 1, 4))] = rng.choice(TOKENS) * rng.choice((1, 1, 1, 3, 500))
    return data


def _number(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    found = list(_DIGITS.finditer(data, 0, 65_536))
    if found:
        chosen = rng.choice(found)
        data[chosen.start() : chosen.end()] = rng.choice(NUMBERS)
    return data


def _length(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    """A binary length field: 1 to 8 bytes of either order."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, len(data)))
    at = rng.randrange(len(data))
    data[at : at + size] = (value & (256**size - 1)).to_bytes(size, rng.choice(("little", "big")))
    return data


def _nest(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    """Something around or inside of itself, many times."""
    depth = rng.choice((10, 47, 50, 63, 66, 250, 260, 1500, 20_000))
    found = list(_ELEMENT.finditer(data, 0, 65_536))
    if found and rng.random() < 0.7:
        chosen = rng.choice(found)
        name = bytes(chosen[1])
        depth = min(depth, MOST // (2 * len(chosen[0]) + 3))
        data[chosen.end() : chosen.end()] = chosen[0] * depth + b"x" + b"</%b>" % name * depth
        return data
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}"), (b"<a>", b"</a>"), (b"<LST>", b"</LST>")))
    at = rng.randrange(len(data) + 1)
    data[at:at] = opening * depth + closing * (depth if rng.random() < 0.8 else 0)
    return data


def _charset(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    """The same text in another encoding, with or without a declaration that says so."""
    name = rng.choice(_ENCODINGS)
    text = data.decode("utf-8", "replace")
    if rng.random() < 0.5:
        text = f'<?xml version="1.0" encoding="{name}"?>{text}'
    return bytearray(text.encode(name, "replace"))


def _many(data: bytearray, rng: random.Random, _: Sequence[bytes]) -> bytearray:
    """Very many attributes or keys, alike or different."""
    count = rng.choice((300, 3000, 12_000))
    at = data.find(rng.choice((b">", b"}", b"]")), rng.randrange(len(data)))
    kind = rng.choice((b' a%d="1"', b' xmlns:n%d="u"', b',"k%d":1', b"<e%d/>", b"<Q>%.0d</Q>", b"X-%d: 1\r\n"))
    data[max(0, at) : max(0, at)] = b"".join(kind % number for number in range(count))
    return data


MUTATIONS: tuple[tuple[Mutation, int], ...] = (
    (_flip, 6), (_byte, 6), (_cut, 3), (_remove, 5), (_repeat, 5), (_swap, 3), (_splice, 4), (_token, 8), (_number, 8),
    (_length, 5), (_nest, 3), (_charset, 2), (_many, 1),
)  # fmt: skip
_ALL, _WEIGHTS = zip(*MUTATIONS, strict=True)


def mutated(base: bytes, rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """`base` after one to five mutations."""
    data = bytearray(base)
    for mutation in rng.choices(_ALL, _WEIGHTS, k=rng.choice((1, 1, 1, 2, 3, 5))):
        data = mutation(data or bytearray(b" "), rng, corpus)
    return bytes(data[:MOST])
