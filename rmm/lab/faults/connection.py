"""TCP at one step of the protocol. Option `how`: `reset`, `close` or `silence` (the request is never answered).

With `step: connect` it strikes before anything was read; with another step when that step's request has arrived.
"""

from __future__ import annotations

import socket
import struct

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Request, ServerConnection

WAYS = ("reset", "close", "silence")


class AtConnect(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def connected(self, connection: ServerConnection) -> bool:
        break_off(connection, self._how)
        return True


class AtRequest(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        break_off(connection, self._how)
        return True


def break_off(connection: ServerConnection, how: str) -> None:
    """End a connection, or leave it open and dumb."""
    if how == "silence" or connection.transport is None:
        return
    if how == "reset":
        channel = connection.transport.get_extra_info("socket")
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close(reset=how == "reset")


def build(how: str = "reset", at: str = "request") -> Fault:
    """`at: connect` strikes as soon as the connection is accepted."""
    if how not in WAYS or at not in ("connect", "request"):
        raise ValueError(f"`how` is one of {', '.join(WAYS)}; `at` is connect or request")
    return AtConnect(how) if at == "connect" else AtRequest(how)
