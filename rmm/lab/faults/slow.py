"""Every answer comes late. Option `delay_s`: by how much."""

from __future__ import annotations

import asyncio

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, ServerConnection


class Slow(Fault):
    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        asyncio.get_running_loop().call_later(self._delay_s, connection.write, reply.encoded())
        return True


def build(delay_s: float = 2.0) -> Slow:
    return Slow(float(delay_s))
