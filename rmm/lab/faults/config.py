"""winrm/config of the machine: `values` (name -> value, such as MaxShellsPerUser: 2), or `denied: true`.

Windows lets administrators alone read it.
"""

from __future__ import annotations

from typing import Any

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.soap import Call, WsmanFault


class Config(Fault):
    def __init__(self, values: dict[str, Any], *, denied: bool) -> None:
        self._values = values
        self._denied = denied

    def called(self, call: Call, machine: Machine) -> None:
        if not call.action.endswith("/Get"):
            return
        if self._denied:
            raise WsmanFault(5, "w:AccessDenied", "Access is denied.")
        call.config |= self._values


def build(values: dict[str, Any] | None = None, denied: bool = False) -> Config:
    return Config(dict(values or {}), denied=bool(denied))
