"""Connections are accepted and never answered."""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import ServerConnection


class Hang(Fault):
    def connected(self, connection: ServerConnection) -> bool:
        return True


def build() -> Hang:
    return Hang()
