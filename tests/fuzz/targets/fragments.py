"""PSRP fragments, fed in pieces that are whole fragments or not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from rmm.transports.winrm import psrp
from tests.fuzz import corpus


def seeds() -> Iterator[bytes]:
    yield from corpus.streams()
    message = struct.pack("<II", 1, psrp.PIPELINE_OUTPUT) + bytes(32) + b"<S>text</S>" * 100
    yield b"".join(psrp.fragments(7, message, 100))


def inputs() -> st.SearchStrategy[bytes]:
    one = st.builds(
        lambda number, index, flags, size, data: (
            struct.pack(">QQBI", number, index, flags, len(data) if size is None else size) + data
        ),
        st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.one_of(st.none(), st.integers(0, 2**32 - 1)),
        st.binary(max_size=80),
    )  # fmt: skip
    return st.lists(one, max_size=6).map(b"".join)


def run(data: bytes) -> Any:
    defragment = psrp.Defragmenter()
    at = zlib.crc32(data) % (len(data) + 1)
    found = [*defragment.feed(data[:at]), *defragment.feed(data[at:])] if at % 2 else defragment.feed(data)
    if sum(len(message.data) for message in found) + defragment.pending > len(data):
        raise AssertionError("more data came out than went in")
    return found
