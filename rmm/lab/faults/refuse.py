"""The connection is reset as soon as it is accepted.

A closed port would answer with a refusal; the lab's one listener for all machines cannot, so this is the nearest.
"""

from __future__ import annotations

import socket
import struct

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import ServerConnection


class Refuse(Fault):
    def connected(self, connection: ServerConnection) -> bool:
        assert connection.transport is not None
        channel = connection.transport.get_extra_info("socket")
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close(reset=True)
        return True


def build() -> Refuse:
    return Refuse()
