"""What the probe of `rmm doctor --rights` writes on a lab machine: each place tried against its CIM and registry."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from rmm.lab import registry
from rmm.lab.machine import CimFault, Execution
from rmm.lab.simulated import LabMachine

MARK = "#rmm:rights"


def run(machine: LabMachine, text: str, arguments: list[tuple[str | None, Any]], now: datetime) -> Execution | None:
    """Run it; None when the text is not the probe."""
    if not text.startswith(MARK):
        return None
    places = str(dict(arguments).get("Places", ""))
    return Execution([_line(machine, line, now) for line in places.split("\n") if line], [])


def _line(machine: LabMachine, line: str, now: datetime) -> str:
    facts: dict[str, Any] = {"place": line, "instances": 0, "id": "", "category": "", "hresult": 0}
    kind, place, name = line.split("|")
    if kind == "wmi":
        try:
            wql = f"SELECT * FROM {name}"  # noqa: S608 - the lab's own small WQL, no database
            facts["instances"] = min(1, len(machine.query(place, wql, now).rows))
        except CimFault as fault:
            code = fault.code & 0xFFFFFFFF
            command = "Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"
            facts |= {"id": f"HRESULT 0x{code:08x},{command}", "category": "MetadataError", "hresult": code - (1 << 32)}
    elif registry.read_key(machine.moment(now), place) is not None:
        facts["instances"] = 1
    else:
        facts |= {"id": "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand", "category": "ObjectNotFound"}
    return json.dumps(facts, separators=(",", ":"))
