"""The connection ends in the middle of an answer. Option `after`: how many answers are whole before (2: the logon)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, ServerConnection


class Close(Fault):
    def __init__(self, after: int) -> None:
        self._after = after
        self._answers: WeakKeyDictionary[ServerConnection, int] = WeakKeyDictionary()

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        count = self._answers[connection] = self._answers.get(connection, 0) + 1
        if count <= self._after:
            return False
        data = reply.encoded()
        connection.write(data[: max(1, len(data) // 2)])
        connection.close()
        return True


def build(after: int = 2) -> Close:
    return Close(int(after))
