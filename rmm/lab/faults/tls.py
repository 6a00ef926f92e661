"""TLS. Option `how`, one of the names below.

expired, early, self_signed, other_ca, wrong_name, tls1.0, tls1.1: what the name says. ends: in `days`, and it is good
until then. inspected: a re-signing proxy's CA. changed_key: the lab's CA, another key than before. stalled: the
client's hello is never answered; trickled: it is answered byte by byte; reset: the connection is reset meanwhile.
"""

from __future__ import annotations

import asyncio
import ssl

from rmm.lab.faults.connection import break_off
from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.http import ServerConnection
from rmm.lab.wire.tls import OLD_HELLO, Authority

TRICKLE_S = 0.5
RESET_S = 0.3
HOW = (
    "expired",
    "early",
    "self_signed",
    "other_ca",
    "wrong_name",
    "changed_key",
    "inspected",
    "tls1.0",
    "tls1.1",
    "ends",
)


class Tls(Fault):
    def __init__(self, how: str, days: float) -> None:
        self._how = how
        self._days = days

    def certified(self, authority: Authority, machine: Machine) -> ssl.SSLContext:
        return authority.faulty(machine, self._how, days=self._days)


class Stalled(Fault):
    def connected(self, connection: ServerConnection) -> bool:
        return True


class Reset(Fault):
    """Some time after the connection is accepted, so that the client is in its handshake whatever else it does."""

    def connected(self, connection: ServerConnection) -> bool:
        asyncio.get_running_loop().call_later(RESET_S, break_off, connection, "reset")
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


_CONNECTIONS: dict[str, type[Fault]] = {"stalled": Stalled, "trickled": Trickled, "reset": Reset}


def build(how: str, days: float = 0.0) -> Fault:
    if how in _CONNECTIONS:
        return _CONNECTIONS[how]()
    if how not in HOW:
        raise ValueError(f"`how` is one of {', '.join((*HOW, *_CONNECTIONS))}")
    return Tls(how, float(days))
