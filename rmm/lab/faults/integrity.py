"""Sealed answers that do not fit.

Option `how`: flip (one bit), repeat (the answer before is sent again), swapped (the second of two sealed answers comes
first).
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, ServerConnection

WAYS = ("flip", "repeat", "swapped")


class Integrity(Fault):
    def __init__(self, how: str) -> None:
        self._how = how
        self._last: WeakKeyDictionary[ServerConnection, Reply] = WeakKeyDictionary()

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        if b"--Encrypted Boundary" not in reply.body:
            return False
        if self._how == "flip":
            at = reply.body.rfind(b"--Encrypted Boundary") - 9
            changed = reply.body[:at] + bytes([reply.body[at] ^ 1]) + reply.body[at + 1 :]
            connection.send(Reply(reply.status, reply.headers, changed))
            return True
        if self._how == "swapped":
            connection.send(connection.logon.seal(200, b"<s:Envelope/>", plain=False))
            return True
        before = self._last.get(connection)
        self._last[connection] = reply
        connection.send(before or reply)
        return True


def build(how: str) -> Integrity:
    if how not in WAYS:
        raise ValueError(f"`how` is one of {', '.join(WAYS)}")
    return Integrity(how)
