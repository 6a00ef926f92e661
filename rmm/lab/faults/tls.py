"""TLS. Option `how`: expired, early, self_signed, other_ca, wrong_name, changed_key, inspected, tls1.0, tls1.1, weak.

inspected: a re-signing proxy's CA. changed_key: the lab's CA, another key than before. `stalled` never answers the
client's hello; `trickled` answers it byte by byte.
"""

from __future__ import annotations

import asyncio
import ssl

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.http import ServerConnection
from rmm.lab.wire.tls import OLD_HELLO, Authority

TRICKLE_S = 0.5
HOW = ("expired", "early", "self_signed", "other_ca", "wrong_name", "changed_key", "inspected", "tls1.0", "tls1.1")


class Tls(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def certified(self, authority: Authority, machine: Machine) -> ssl.SSLContext:
        return authority.faulty(machine, self._how)


class Stalled(Fault):
    def connected(self, connection: ServerConnection) -> bool:
        return True


class Trickled(Fault):
    """A ServerHello that comes one byte at a time."""

    def connected(self, connection: ServerConnection) -> bool:
        self._next(connection, OLD_HELLO % (b"\x03\x03", b"\x03\x03"))
        return True

    def _next(self, connection: ServerConnection, rest: bytes) -> None:
        if rest and connection.transport is not None:
            connection.write(rest[:1])
            asyncio.get_running_loop().call_later(TRICKLE_S, self._next, connection, rest[1:])


def build(how: str) -> Fault:
    if how in ("stalled", "trickled"):
        return Stalled() if how == "stalled" else Trickled()
    if how not in HOW:
        raise ValueError(f"`how` is one of {', '.join((*HOW, 'stalled', 'trickled'))}")
    return Tls(how)
