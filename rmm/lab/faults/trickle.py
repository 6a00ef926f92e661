"""Answers come one byte at a time. Option `every_s`: seconds between two bytes."""

from __future__ import annotations

import asyncio

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, ServerConnection


class Trickle(Fault):
    def __init__(self, every_s: float) -> None:
        self._every_s = every_s

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        self._next(connection, reply.encoded(), 0)
        return True

    def _next(self, connection: ServerConnection, data: bytes, at: int) -> None:
        if at < len(data) and connection.transport is not None:
            connection.write(data[at : at + 1])
            asyncio.get_running_loop().call_later(self._every_s, self._next, connection, data, at + 1)


def build(every_s: float = 0.5) -> Trickle:
    return Trickle(float(every_s))
