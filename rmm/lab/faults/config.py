"""winrm/config of the machine: `values` (name -> value, such as MaxShellsPerUser: 2) over the machine's own.

`older: true` gives the limits of the releases before Server 2012, which hardening guides still set. `denied: true`:
Windows lets administrators alone read it.
"""

from __future__ import annotations

from typing import Any

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.remoting_config import OLDER
from rmm.lab.wire.soap import Call, WsmanFault


class Config(Fault):
    def __init__(self, values: dict[str, Any], *, denied: bool) -> None:
        self._values = dict(values)
        self._denied = denied

    def called(self, call: Call, machine: Machine) -> None:
        if not call.action.endswith("/Get"):
            return
        if self._denied:
            raise WsmanFault(5, "w:AccessDenied", "Access is denied.")
        call.config |= self._values


def build(values: dict[str, Any] | None = None, older: bool = False, denied: bool = False) -> Config:
    return Config((OLDER if older else {}) | (values or {}), denied=bool(denied))
