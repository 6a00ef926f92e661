"""Win32_Service: rows shared between machines, so that 200 services cost a poll almost nothing."""

from __future__ import annotations

from typing import Any

from rmm.lab.cim.moment import Moment, Provider
from rmm.lab.dice import Dice
from rmm.lab.profile import Language, ServiceSpec
from rmm.lab.state import MachineState

MAX_LISTS = 1024  # systems x roles x languages x variants are 600
_NEVER_STARTED = 1077  # ERROR_SERVICE_NEVER_STARTED
_ABORTED = 1067  # ERROR_PROCESS_ABORTED


class SharedRow(dict[str, Any]):
    """An instance that many machines have alike. `texts` keeps its encoded forms, one per selection of properties."""

    __slots__ = ("texts",)

    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.texts: dict[tuple[str, ...], str] = {}


class Services(tuple[SharedRow, ...]):
    """The services of machines of one kind. `stopped` maps a name to its place and to its row when it has failed."""

    stopped: dict[str, tuple[int, SharedRow]]


def installed(moment: Moment) -> dict[str, ServiceSpec]:
    """The services that are installed on this machine, by their names in lower case.

    What is kept is bounded by the systems, roles, languages and models that there are.
    """
    machine, kept = moment.machine, moment.world.installed
    model = machine.hardware.model
    key = (machine.os.name, machine.os.installation, machine.role, machine.language.name, model.model)
    found = kept.get(key)
    if found is None:
        every, kind = moment.world.catalogue.services, (machine.os, machine.role, machine.language.name, model)
        found = kept[key] = {spec.name.casefold(): spec for spec in every if spec.flags.admits(*kind)}
    return found


def services(moment: Moment) -> list[dict[str, Any]]:
    base = _alike(moment)
    rows: list[dict[str, Any]] = list(base)
    for name in moment.machine.stopped:
        place = base.stopped.get(name)
        if place is not None:
            rows[place[0]] = place[1]
    return rows


def _alike(moment: Moment) -> Services:
    machine, lists = moment.machine, moment.world.services
    key = (machine.os.name, machine.os.installation, machine.language.name, machine.variant, machine.role)
    found: Services | None = lists.get(key)
    if found is None:
        specs = list(installed(moment).values())
        may_stop = moment.world.catalogue.may_stop
        found = Services(_shared_row(moment, spec, spec.running) for spec in specs)
        found.stopped = {
            spec.name: (at, _shared_row(moment, spec, False)) for at, spec in enumerate(specs) if spec.name in may_stop
        }
        if len(lists) >= MAX_LISTS:
            lists.clear()
        lists[key] = found
    return found


def _shared_row(moment: Moment, spec: ServiceSpec, running: bool) -> SharedRow:
    """The one row of a service in one state, for all machines of this system, language and variant."""
    machine, rows = moment.machine, moment.world.service_rows
    key = (machine.os.name, machine.language.name, machine.variant, spec.name, running)
    row: SharedRow | None = rows.get(key)
    if row is None:
        failed = {"ExitCode": _ABORTED} if spec.running and not running else {}
        row = rows[key] = SharedRow(_values(machine, spec, running) | failed)
    return row


def display_name(language: Language, spec: ServiceSpec) -> str:
    return language.services.get(spec.name, spec.display_name)


def _values(machine: MachineState, spec: ServiceSpec, running: bool) -> dict[str, Any]:
    name = display_name(machine.language, spec)
    own = spec.account not in ("LocalSystem", "NT AUTHORITY\\LocalService", "NT AUTHORITY\\NetworkService")
    pid = Dice("pid", machine.os.name, spec.name, machine.variant).between(180, 2600) * 4
    never = not running and spec.start_mode != "Auto" and Dice("used", spec.name).chance(0.7)
    path = (
        f"C:\\Program Files\\{spec.name}\\{spec.name}.exe"
        if own
        else "C:\\Windows\\system32\\svchost.exe -k netsvcs -p"
    )
    return {
        "AcceptPause": False, "AcceptStop": running, "Caption": name, "CheckPoint": 0,
        "CreationClassName": "Win32_Service", "DelayedAutoStart": "delayed" in spec.flags.words, "Description": name,
        "DesktopInteract": False, "DisplayName": name, "ErrorControl": "Normal",
        "ExitCode": _NEVER_STARTED if never else 0, "Name": spec.name, "PathName": path,
        "ProcessId": pid if running else 0, "ServiceSpecificExitCode": 0,
        "ServiceType": "Own Process" if own else "Share Process", "StartMode": spec.start_mode,
        "StartName": spec.account, "Started": running, "State": "Running" if running else "Stopped", "Status": "OK",
        "SystemCreationClassName": "Win32_ComputerSystem", "TagId": 0, "WaitHint": 0,
    }  # fmt: skip


PROVIDERS: dict[str, Provider] = {"Win32_Service": services}
