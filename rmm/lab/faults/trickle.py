"""Answers come one byte at a time. Options: `every_s`, seconds between two bytes; `part`: all, body or tail.

`body` sends the head at once and trickles the rest; `tail` trickles the last 100 bytes.
"""

from __future__ import annotations

import asyncio

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, ServerConnection

TAIL = 100


class Trickle(Fault):
    def __init__(self, every_s: float, part: str) -> None:
        self._every_s = every_s
        self._part = part

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        data = reply.encoded()
        at = {"all": 0, "body": len(data) - len(reply.body), "tail": max(0, len(data) - TAIL)}[self._part]
        connection.write(data[:at])
        self._next(connection, data, at)
        return True

    def _next(self, connection: ServerConnection, data: bytes, at: int) -> None:
        if at < len(data) and connection.transport is not None:
            connection.write(data[at : at + 1])
            asyncio.get_running_loop().call_later(self._every_s, self._next, connection, data, at + 1)


def build(every_s: float = 0.5, part: str = "all") -> Trickle:
    if part not in ("all", "body", "tail"):
        raise ValueError("`part` is all, body or tail")
    return Trickle(float(every_s), part)
