"""The machine reboots once: when it is asked for `at` (a step) after it has answered that `after` times.

The connection is reset; for `down_s` every connection is; for `starting_s` more WinRM answers 503; then the machine
answers again, with a later boot time.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from rmm.lab.faults.clock import system_part
from rmm.lab.faults.connection import break_off
from rmm.lab.faults.plan import STEPS, Fault
from rmm.lab.machine import Execution, Machine
from rmm.lab.wire.http import Reply, Request, ServerConnection
from rmm.lab.wire.soap import Call

LOGON = ("offer", "logon")  # what the first requests of a connection are


class Reboot(Fault):
    def __init__(self, at: str, after: int, down_s: float, starting_s: float) -> None:
        self._at = at
        self._after = after
        self._passed: Counter[str] = Counter()  # address -> how often it was asked for this step
        self._requests: WeakKeyDictionary[ServerConnection, int] = WeakKeyDictionary()
        self._down_s = down_s
        self._starting_s = starting_s
        self._began: dict[str, float] = {}  # address -> when
        self._booted: dict[str, datetime] = {}

    def _age(self, address: str) -> float:
        return time.monotonic() - self._began.get(address, float("inf"))

    def _asked(self, step: str, address: str) -> None:
        if step != self._at or address in self._began:
            return
        self._passed[address] += 1
        if self._passed[address] > self._after:
            self._began[address] = time.monotonic()
            self._booted[address] = datetime.now(UTC)

    def connected(self, connection: ServerConnection) -> bool:
        self._asked("connect", connection.local)
        if 0 <= self._age(connection.local) < self._down_s:
            break_off(connection, "reset")
            return True
        return False

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        number = self._requests[connection] = self._requests.get(connection, 0) + 1
        if number <= len(LOGON):
            self._asked(LOGON[number - 1], connection.local)
        age = self._age(connection.local)
        if 0 <= age < self._down_s:
            break_off(connection, "reset")
        elif self._down_s <= age < self._down_s + self._starting_s:
            connection.send(Reply(503))
        else:
            return False
        return True

    def called(self, call: Call, machine: Machine) -> None:
        self._asked(call.action.rpartition("/")[2].lower(), machine.address)

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        if 0 <= self._age(connection.local) < self._down_s:
            break_off(connection, "reset")
            return True
        return False

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        booted = self._booted.get(machine.address)
        if booted is None:
            return execution

        def change(row: dict[str, Any]) -> None:
            if "LastBootUpTime" in row:
                row["LastBootUpTime"] = booted.isoformat()

        return execution._replace(output=[system_part(item, change) for item in execution.output])


def build(at: str = "receive", after: int = 0, down_s: float = 5.0, starting_s: float = 2.0) -> Reboot:
    if at not in STEPS:
        raise ValueError(f"`at` is one of {', '.join(STEPS)}")
    return Reboot(at, int(after), float(down_s), float(starting_s))
