"""The machine is another than the one asked for.

Options: `name` (what its session says), `uuid` (its SMBIOS UUID), `machine` (the GUID of its installation of Windows).
"""

from __future__ import annotations

import json

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine


class Identity(Fault):
    def __init__(self, name: str, uuid: str, machine: str) -> None:
        self._name = name
        self._machine = machine
        self._uuid = uuid

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        return execution._replace(
            output=[self._part(item) if isinstance(item, str) else item for item in execution.output]
        )

    def _part(self, text: str) -> str:
        if not text.startswith("{"):
            return text
        part = json.loads(text)
        if self._name:
            part["host"] = self._name
        if self._machine:
            part["machine"] = self._machine
        for rows in part.get("document", {}).values() if self._uuid else ():
            for row in rows if isinstance(rows, list) else ():
                if "UUID" in row:
                    row["UUID"] = self._uuid
        return json.dumps(part, separators=(",", ":"))


def build(name: str = "", uuid: str = "", machine: str = "") -> Identity:
    return Identity(name, uuid, machine)
