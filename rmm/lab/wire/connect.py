"""What a client is told that connects to a pool which another client has opened ([MS-PSRP] 3.1.4.10.1).

On Windows the plugin asks PowerShell's session object directly. Microsoft's out-of-process server has no way in for
that, so the answer is made of what went by: what the server said when the pool opened, and what clients asked for.
"""

from __future__ import annotations

import itertools
import re
import uuid

from rmm.lab.wire import psrp

CAPABILITY, INIT_POOL, CONNECT = 0x00010002, 0x00010004, 0x00010008
SET_MOST, SET_LEAST, PRIVATE_DATA, INIT_DATA = 0x00021002, 0x00021003, 0x00021009, 0x0002100B
MOST = 256 << 10  # bytes of a message that is kept
FIRST_OBJECT = 1 << 41  # ids of our PSRP objects, far from those of the server
MESSAGE = 40  # bytes of a message's header
_BOM = b"\xef\xbb\xbf"
_COUNT = re.compile(rb'<I32 N="(Min|Max)Runspaces">([0-9]{1,9})</I32>')


class PoolFacts:
    """What is known of one pool. Raises ValueError when `opening` is not what opens one."""

    def __init__(self, opening: bytes) -> None:
        parts = psrp.unfragment(opening)
        if not parts or len(parts[0][2]) < MESSAGE:
            raise ValueError("no message of a pool")
        self.pool = uuid.UUID(bytes_le=parts[0][2][8:24])
        self._runspaces = {b"Min": 1, b"Max": 1}
        self._said: dict[int, bytes] = {}
        self._part = bytearray()
        self._objects = itertools.count(FIRST_OBJECT)
        self.asked(opening)

    def asked(self, data: bytes) -> None:
        """A client's fragments, to the pool itself. Raises ValueError for what is none."""
        for _, _, part in psrp.unfragment(data):
            if _kind(part) in (INIT_POOL, SET_MOST, SET_LEAST):
                self._runspaces |= _runspaces(part)

    def said(self, fragment: bytes) -> None:
        """One whole fragment of the pool's own stream, from the server."""
        flags = fragment[16]
        if flags & 1:
            self._part.clear()
        self._part += fragment[psrp.HEADER : psrp.HEADER + MOST - len(self._part)]
        kind = _kind(bytes(self._part[:8]))
        if flags & 2 and kind in (CAPABILITY, PRIVATE_DATA) and len(self._part) < MOST:
            self._said[kind] = bytes(self._part[MESSAGE:]).removeprefix(_BOM)

    def connect(self, asked: bytes) -> tuple[bytes, list[bytes]]:
        """(fragments of the answer, fragments that the pool says next) to the messages in a Connect.

        Raises ValueError, as Windows refuses them: not a SESSION_CAPABILITY and a CONNECT_RUNSPACEPOOL of this pool,
        whole and in this order; other numbers of runspaces than it has; or the pool is not open yet.
        """
        parts = psrp.unfragment(asked)
        if [_kind(part) for _, last, part in parts if last] != [CAPABILITY, CONNECT] or len(parts) != 2:
            raise ValueError("a capability and a connect message are expected")
        wanted = parts[1][2]
        if wanted[8:24] != self.pool.bytes_le:
            raise ValueError("the message is of another pool")
        runspaces = _runspaces(wanted)
        if len(runspaces) == 2 and not runspaces.items() & self._runspaces.items():
            raise ValueError("the numbers of runspaces are not those of the pool")
        if CAPABILITY not in self._said or PRIVATE_DATA not in self._said:
            raise ValueError("the pool is not open yet")
        counts = b"".join(b'<I32 N="%bRunspaces">%d</I32>' % pair for pair in self._runspaces.items())
        answer = self._message(CAPABILITY, self._said[CAPABILITY])
        answer += self._message(INIT_DATA, b'<Obj RefId="0"><MS>' + counts + b"</MS></Obj>")
        return b"".join(answer), self._message(PRIVATE_DATA, self._said[PRIVATE_DATA])

    def _message(self, kind: int, data: bytes) -> list[bytes]:
        return psrp.fragments(next(self._objects), psrp.message(kind, self.pool, psrp.ZERO, data))


def is_ours(fragment: bytes) -> bool:
    """Whether a fragment is part of what a Connect has caused."""
    return int.from_bytes(fragment[:8], "big") >= FIRST_OBJECT


def _kind(message: bytes) -> int:
    return int.from_bytes(message[4:8], "little")


def _runspaces(message: bytes) -> dict[bytes, int]:
    """The numbers of runspaces in a message."""
    return {found[1]: int(found[2]) for found in _COUNT.finditer(message[:MOST])}
