"""TLS. Option `how`: expired, early, self_signed, other_ca, wrong_name, changed_key, inspected, tls1.0, tls1.1, weak.

inspected: a re-signing proxy's CA. changed_key: the lab's CA, another key than before. `stalled` reads the client's
hello and never answers; `trickled` cannot be told from it before the handshake ends, so it is the same.
"""

from __future__ import annotations

import ssl

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.http import ServerConnection
from rmm.lab.wire.tls import Authority

HOW = ("expired", "early", "self_signed", "other_ca", "wrong_name", "changed_key", "inspected", "tls1.0", "tls1.1")


class Tls(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def certified(self, authority: Authority, machine: Machine) -> ssl.SSLContext:
        return authority.faulty(machine, self._how)


class Stalled(Fault):
    def connected(self, connection: ServerConnection) -> bool:
        return True


def build(how: str) -> Fault:
    if how == "stalled":
        return Stalled()
    if how not in HOW:
        raise ValueError(f"`how` is one of {', '.join((*HOW, 'stalled'))}")
    return Tls(how)
