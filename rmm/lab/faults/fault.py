"""A WSMan fault instead of carrying a request out. Name its `step` (create, command, receive, signal, delete ...).

Options: `code` (WSManFault@Code; 0 leaves the whole WSManFault out), `subcode` (such as w:InternalError), `message`,
`detail` (last part of FaultDetail), `provider` (code of a fault nested inside, as plugins and WMI give).
"""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.soap import Call, WsmanFault


class Soap(Fault):
    def __init__(self, fault: WsmanFault) -> None:
        self._fault = fault

    def called(self, call: Call, machine: Machine) -> None:
        raise self._fault


def build(
    code: int = 0,
    subcode: str = "w:InternalError",
    message: str = "refused by plan",
    detail: str = "",
    provider: int = 0,
) -> Soap:
    return Soap(WsmanFault(int(code), subcode, message, detail=detail, sender=False, provider=int(provider)))
