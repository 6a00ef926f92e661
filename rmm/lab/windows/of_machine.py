"""The state of a simulated machine at a moment, for PowerShell: what its providers compute, and what its samples say.

PowerShell on this state gives the documents that the samples engine gives for the same machine and moment.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rmm.lab import registry
from rmm.lab.cim.moment import Moment
from rmm.lab.cim.repository import PROVIDERS
from rmm.lab.machine import CimFault
from rmm.lab.simulated import LabMachine
from rmm.lab.windows.state import State

_CULTURES = {"en": "en-US", "de": "de-DE", "fr": "fr-FR", "ja": "ja-JP"}


def state_of_machine(machine: LabMachine, now: datetime) -> State:
    """The whole state, ready for JSON; see README.md beside this file."""
    moment = machine.moment(now)
    fixtures = machine.repository.world.fixtures.state(machine)
    own = {name: value for name, value in fixtures.items() if not name.startswith("_")}
    return own | {
        "format": 1,
        "computer": machine.name,
        "os": machine.os.name,
        "kind": machine.os.kind,
        "build": machine.os.build,
        "roles": [machine.role] if machine.role else [],
        "culture": _CULTURES.get(machine.language.name, "en-US"),
        "now": _iso(now),
        "cim": _classes(moment, machine, fixtures["cim"]),
        "registry": _registry(moment, fixtures["registry"]),
    }


def _classes(moment: Moment, machine: LabMachine, fixtures: State) -> State:
    world = machine.repository.world.fixtures
    found: State = {
        space: {name: world.instances(machine, space, name, moment.stamps(), moment.elapsed) or [] for name in classes}
        for space, classes in fixtures.items()
    }
    base = found.setdefault("root/cimv2", {})
    for name, provider in PROVIDERS.items():
        try:
            types = machine.repository.types(machine, name)
        except CimFault:
            continue  # not on systems of this age
        rows = provider(moment)
        base[name] = [_instance(row, types, machine) for row in rows]
    return found


def _instance(row: dict[str, Any], types: dict[str, str], machine: LabMachine) -> dict[str, Any]:
    """What the instance says, times as text."""
    values = {name: row[name] for name in types if row.get(name) is not None}
    if "SystemName" in types:
        values["SystemName"] = machine.name
    return {name: _iso(value) if isinstance(value, datetime) else value for name, value in values.items()}


def _registry(moment: Moment, fixtures: State) -> State:
    """What is computed holds, and comes first, since keys are listed in the order of the state."""
    found: State = {path: dict(values) for path, values in registry.dump(moment)}
    return found | {path: values for path, values in fixtures.items() if registry.replayed(moment, path)}


def _iso(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"
