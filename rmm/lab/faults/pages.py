"""The answers to queries come in pages, however many instances were asked for. Option `most`: instances in one."""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.soap import Call, N, W


class Pages(Fault):
    def __init__(self, most: int) -> None:
        self._most = most

    def called(self, call: Call, machine: Machine) -> None:
        for element in call.body.iter(f"{{{W}}}MaxElements", f"{{{N}}}MaxElements") if call.body is not None else ():
            element.text = str(self._most)


def build(most: int = 5) -> Pages:
    return Pages(int(most))
