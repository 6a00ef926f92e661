"""A collector's part: JSON from an endpoint, to typed values or an error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from rmm.core.parts import read_part
from rmm.resources import shipped

_ERROR = (
    b'{"collector":"cpu","host":"SRV01","ms":12.5,"error":'
    b'{"id":"X,Y","category":"NotSpecified","hresult":-2147217405,"message":"no \\u00e4"}}'
)
_TRAPS = [
    b"NaN", b"Infinity", b"1e400", b"9" * 400, b"-9223372036854775809", b"18446744073709551616", b'"\\ud800"',
    b'"\\u0000"', b"null", b"true", b'"\\u202e"', b"1.5", b'"5"', b"0", b'"20240102030405.000000+060"',
]  # fmt: skip
_KEYS = [b'"Name"', b'"Value"', b'"__class__"', b'"State"', b'"a"', b'""', b'"\\u0000"', b'"Source"', b'"Reason"']
_SOURCES = [b'"perf"', b'"os"', b'"notes"', b'"x"']


def parts() -> Iterator[bytes]:
    """The collectors' samples as parts."""
    for path in sorted(Path(shipped("collectors")).glob("*/samples/*.raw.json")):
        sample = msgspec.json.decode(path.read_bytes())
        part = {"collector": path.parents[1].name, "host": "SRV01", "ms": 12.5, "document": sample["document"]}
        yield msgspec.json.encode(part)


def seeds() -> Iterator[bytes]:
    yield _ERROR
    yield from parts()


def inputs() -> st.SearchStrategy[bytes]:
    return values().map(lambda text: b'{"collector":"cpu","host":"H","ms":1,"document":' + text + b"}")


def values() -> st.SearchStrategy[bytes]:
    """Documents with the values that trap JSON readers."""
    scalar = st.one_of(
        st.sampled_from(_TRAPS),
        st.integers().map(lambda n: str(n).encode()),
        st.text(max_size=12).map(msgspec.json.encode),
    )
    listed = st.lists(scalar, max_size=3).map(lambda found: b"[" + b",".join(found) + b"]")
    key = st.sampled_from(_KEYS)
    pair = st.builds(lambda k, v: k + b":" + v, key, st.one_of(scalar, listed))
    row = st.lists(pair, max_size=5).map(lambda found: b"{" + b",".join(found) + b"}")
    rows = st.lists(row, max_size=4).map(lambda found: b"[" + b",".join(found) + b"]")
    source = st.builds(lambda k, v: k + b":" + v, st.sampled_from(_SOURCES), st.one_of(rows, scalar))
    return st.lists(source, max_size=4).map(lambda found: b"{" + b",".join(found) + b"}")


def text_of(data: bytes) -> str:
    """As a transport may hand it on: with lone surrogates where a decoder let them pass."""
    return data.decode("utf-8", "surrogateescape") if data[-1:] != b"\n" else data.decode("utf-8", "replace")


def run(data: bytes) -> Any:
    return read_part(text_of(data))
