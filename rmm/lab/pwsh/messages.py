"""What a relay must know of the PSRP fragments that pass through it: kinds and states, and nothing else."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

HEADER, MESSAGE = 21, 40
CAPABILITY, POOL_STATE, PIPELINE_STATE = 0x00010002, 0x00021005, 0x00041006
OPENED, CLOSED, BROKEN = 2, 3, 5
FINAL = (3, 4, 5)  # of a pipeline: stopped, completed, failed
_HEAD = 4096  # bytes of a message that are kept: a state stands at its beginning
_STATE = re.compile(rb'<I32 N="(?:PipelineState|RunspaceState)">([0-9]{1,3})</I32>')


class Fragment(NamedTuple):
    """One fragment as it came; `ends` is the kind of the message that it ends, 0 for none, `state` that message's."""

    data: bytes
    ends: int = 0
    state: int = -1


class Watch:
    """Looks at the fragments of one stream. Raises ValueError for what is none."""

    def __init__(self) -> None:
        self._head = b""

    def feed(self, data: bytes) -> list[Fragment]:
        """The whole fragments in `data`."""
        found = []
        while data:
            if len(data) < HEADER:
                raise ValueError("a fragment without its header")
            flags, size = struct.unpack_from(">BI", data, 16)
            if len(data) < HEADER + size:
                raise ValueError("a fragment shorter than its length")
            found.append(self._fragment(data[: HEADER + size], flags))
            data = data[HEADER + size :]
        return found

    def _fragment(self, data: bytes, flags: int) -> Fragment:
        if flags & 1:
            self._head = b""
        self._head += data[HEADER : HEADER + _HEAD - len(self._head)]
        if not flags & 2:
            return Fragment(data)
        kind = int.from_bytes(self._head[4:8], "little")
        state = _STATE.search(self._head) if kind in (POOL_STATE, PIPELINE_STATE) else None
        return Fragment(data, kind, int(state[1]) if state else -1)


def pool_of(creation: bytes) -> bytes:
    """The id of the pool that a client's first messages open, as 16 bytes. Raises ValueError."""
    Watch().feed(creation)
    if len(creation) < HEADER + MESSAGE:
        raise ValueError("no message of a pool")
    return creation[HEADER + 8 : HEADER + 24]
