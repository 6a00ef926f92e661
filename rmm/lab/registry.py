"""The registry of a simulated machine: keys by path, with values and subkeys computed from the machine's state.

It holds the keys that monitoring reads; any other path is a key that does not exist. Names compare without case.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from rmm.lab.cim.moment import Moment
from rmm.lab.cim.services import display_name, installed
from rmm.lab.dice import Dice
from rmm.lab.profile import ServiceSpec, SoftwareSpec

Value = str | int | list[str]

_HIVES = {
    "hkey_local_machine": "hklm",
    "hkey_users": "hku",
    "hkey_current_user": "hkcu",
    "hkey_classes_root": "hkcr",
}
_CV = r"hklm\software\microsoft\windows\currentversion"
_CONTROL = r"hklm\system\currentcontrolset\control"
_SERVICES = r"hklm\system\currentcontrolset\services"
_UNINSTALL = {
    "x64": rf"{_CV}\uninstall",
    "x86": r"hklm\software\wow6432node\microsoft\windows\currentversion\uninstall",
}
_START = {"Auto": 2, "Manual": 3, "Disabled": 4}
# Entries of Windows itself that have no DisplayName, as every machine has them.
_NAMELESS = ("AddressBook", "Connection Manager", "DirectDrawEx", "Fontcore", "IE40", "IEData", "MobileOptionPack")


class Key(NamedTuple):
    """An existing key. Values: str (SZ), int (DWORD, QWORD), list of str (MULTI_SZ)."""

    values: dict[str, Value]
    subkeys: tuple[str, ...] = ()


def normal(path: str) -> str:
    r"""A path in one form: `HKLM:\X`, `HKEY_LOCAL_MACHINE\X` and `Registry::HKLM\X` are all `hklm\x`."""
    text = path.replace("/", "\\").strip("\\").casefold()
    text = text.removeprefix("microsoft.powershell.core\\").removeprefix("registry::")
    hive, _, rest = text.partition("\\")
    hive = hive.rstrip(":")
    hive = _HIVES.get(hive, hive)
    rest = rest.strip("\\")
    return f"{hive}\\{rest}" if rest else hive


def read_key(moment: Moment, path: str) -> Key | None:
    """The key at `path`, or None when the machine has no such key."""
    key = normal(path)
    own = _own(moment, key)
    return own if own is not None or computed(key) else _from_samples(moment, key)


def replayed(moment: Moment, path: str) -> bool:
    """Whether the key is there and is a sample's."""
    key = normal(path)
    return _own(moment, key) is None and not computed(key) and _from_samples(moment, key) is not None


def _own(moment: Moment, key: str) -> Key | None:
    reader = _KEYS.get(key)
    if reader is not None:
        return reader(moment)
    for prefix, family in _FAMILIES.items():
        if key.startswith(prefix + "\\"):
            return family(moment, key[len(prefix) + 1 :])
    return None


def computed(key: str) -> bool:
    """Whether this module alone says if there is such a key (in the form of `normal`) and what it holds."""
    if key in _KEYS or key.startswith((*_UNINSTALL.values(), "hku\\")):
        return True
    inner = key.removeprefix(_SERVICES + "\\").partition("\\")[2]
    return key.startswith(_SERVICES + "\\") and inner.startswith("triggerinfo")


def _from_samples(moment: Moment, key: str) -> Key | None:
    """A key of the nearest samples; below a service only where the machine has the service. Drivers are not listed."""
    fixtures, machine = moment.world.fixtures, moment.machine
    values = fixtures.values(machine, key)
    service = key.removeprefix(_SERVICES + "\\").partition("\\")[0]
    if values is None or (key.startswith(_SERVICES + "\\") and _is_missing(moment, service)):
        return None
    return Key({name: _plain(value) for name, value in values.items()}, fixtures.subkeys(machine, key))


def _is_missing(moment: Moment, service: str) -> bool:
    """Whether this is a service of Windows that the machine lacks."""
    known = any(spec.name.casefold() == service for spec in moment.world.catalogue.services)
    return known and service not in installed(moment)


def _plain(value: Any) -> Any:
    """A state's value as a document has it."""
    if not isinstance(value, dict):
        return value
    return list(base64.b64decode(value["value"])) if value["kind"] == "binary" else value["value"]


def dump(moment: Moment) -> Iterator[tuple[str, dict[str, Value]]]:
    """Every key that is computed here, with its values."""
    hives = (rf"hku\{person}\Software\Microsoft\Windows\CurrentVersion\Uninstall" for person in _people(moment))
    for path in (*_KEYS, *hives):
        yield from _dumped(moment, path)


def _dumped(moment: Moment, path: str) -> Iterator[tuple[str, dict[str, Value]]]:
    key = read_key(moment, path)
    if key is None or replayed(moment, path):
        return
    yield path, key.values
    for name in key.subkeys:
        yield from _dumped(moment, f"{path}\\{name}")


def matches(moment: Moment, path: str) -> list[tuple[str, Key]]:
    r"""The keys that a path with `*` in place of names stands for, each with the name of its last `*`."""
    quick = _PATTERNS.get(normal(path))
    if quick is not None:
        return quick(moment)
    return list(_expanded(moment, "", path, ""))


def _expanded(moment: Moment, head: str, rest: str, name: str) -> Iterator[tuple[str, Key]]:
    fixed, star, tail = rest.partition("\\*")
    key = read_key(moment, head + fixed)
    if key is None:
        return
    if not star:
        yield name, key
        return
    for child in key.subkeys:
        yield from _expanded(moment, f"{head}{fixed}\\{child}", tail, child)


def programs(moment: Moment) -> dict[tuple[str, str], SoftwareSpec]:
    """What is installed on this machine, by architecture and lower-case id."""
    if not moment.programs:
        machine = moment.machine
        kind = (machine.os, machine.role, machine.language.name, machine.hardware.model)
        for spec in moment.world.catalogue.software:
            if spec.flags.admits(*kind) and _chosen(moment, spec):
                moment.programs[spec.architecture, spec.id.casefold()] = spec
    return moment.programs


def _chosen(moment: Moment, spec: SoftwareSpec) -> bool:
    often = int(spec.flags.limits.get("often", 100))
    machine = moment.machine
    return often >= 100 or Dice(machine.seed, machine.index, "software", spec.id).chance(often / 100)


def _current_version(moment: Moment) -> Key:
    machine = moment.machine
    system = machine.os
    values: dict[str, Value] = {
        "ProductName": system.product_name, "EditionID": system.edition, "CurrentBuild": str(system.build),
        "CurrentBuildNumber": str(system.build), "CurrentMajorVersionNumber": 10, "CurrentMinorVersionNumber": 0,
        "CurrentVersion": "6.3", "InstallationType": system.installation, "InstallDate": int(machine.install),
        "InstallTime": moment.filetime(machine.install), "ReleaseId": system.release_id, "UBR": system.ubr,
        "RegisteredOwner": "Windows User", "RegisteredOrganization": "Lab", "SystemRoot": "C:\\Windows",
        "BuildLabEx": f"{system.build}.1.amd64fre.lab_release.240331-1435", "PathName": "C:\\Windows",
    }  # fmt: skip
    if system.display_version:
        values["DisplayVersion"] = system.display_version
    return Key(values)


def _servicing(moment: Moment) -> Key:
    own = ("RebootPending",) if "component_servicing" in moment.machine.pending else ()
    return Key({}, ("ApplicabilityEvaluationCache", "Packages", *own, "SessionsPending"))


def _auto_update(moment: Moment) -> Key:
    own = ("RebootRequired",) if "windows_update" in moment.machine.pending else ()
    return Key({}, (*own, "Results"))


def _only_when(reason: str) -> Callable[[Moment], Key | None]:
    """A key that is there only while the machine waits for a restart for `reason`."""
    return lambda moment: Key({}) if reason in moment.machine.pending else None


def _session_manager(moment: Moment) -> Key:
    values: dict[str, Value] = {"BootExecute": ["autocheck autochk *"], "ProtectionMode": 1}
    if "file_rename" in moment.machine.pending:
        values["PendingFileRenameOperations"] = ["\\??\\C:\\Windows\\Temp\\lab-update.tmp", ""]
    return Key(values, ("Environment", "Memory Management"))


def _environment(moment: Moment) -> Key:
    return Key({
        "PROCESSOR_ARCHITECTURE": "AMD64", "NUMBER_OF_PROCESSORS": str(moment.machine.hardware.logical),
        "OS": "Windows_NT", "ComSpec": "%SystemRoot%\\system32\\cmd.exe",
    })  # fmt: skip


def _active_name(moment: Moment) -> Key:
    return Key({"ComputerName": moment.machine.name})


def _next_name(moment: Moment) -> Key:
    machine = moment.machine
    return Key({"ComputerName": f"{machine.name[:12]}-N" if "computer_rename" in machine.pending else machine.name})


def _tcpip(moment: Moment) -> Key:
    machine = moment.machine
    renamed = "computer_rename" in machine.pending
    host = f"{machine.name[:12]}-N" if renamed else machine.name
    domain = machine.domain if machine.part_of_domain else ""
    return Key({"Hostname": machine.name, "NV Hostname": host, "Domain": domain, "NV Domain": domain})


def _time_zone(moment: Moment) -> Key:
    zone = moment.machine.zone
    # Windows counts this bias westwards, as an unsigned number.
    return Key({"TimeZoneKeyName": zone.key, "Bias": -zone.bias & 0xFFFFFFFF, "StandardName": zone.standard})


def _product_options(moment: Moment) -> Key:
    machine = moment.machine
    kind = "WinNT" if machine.os.kind == "client" else "LanmanNT" if machine.role == "dc" else "ServerNT"
    return Key({"ProductType": kind})


def _cryptography(moment: Moment) -> Key:
    digits = Dice(moment.machine.seed, moment.machine.index, "machine guid").hexadecimal(32).lower()
    return Key({"MachineGuid": f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"})


def _engine(moment: Moment) -> Key:
    return Key(
        {"PowerShellVersion": f"5.1.{moment.machine.os.build}.{moment.machine.os.ubr}", "RuntimeVersion": "v4.0.30319"}
    )


def _bios(moment: Moment) -> Key:
    model = moment.machine.hardware.model
    return Key({
        "BaseBoardManufacturer": model.maker, "BaseBoardProduct": model.board, "BIOSVersion": model.bios,
        "BIOSReleaseDate": f"{model.bios_date[5:7]}/{model.bios_date[8:]}/{model.bios_date[:4]}",
        "SystemManufacturer": model.maker, "SystemProductName": model.model,
    })  # fmt: skip


def _users(moment: Moment) -> Key:
    """The loaded hives: the service accounts, and the person at a client."""
    return Key({}, (".DEFAULT", "S-1-5-18", "S-1-5-19", "S-1-5-20", *_people(moment)))


def _people(moment: Moment) -> tuple[str, ...]:
    machine = moment.machine
    if machine.os.kind == "server":
        return ()
    return (f"S-1-5-21-1004336348-1177238915-682003330-{1100 + machine.index % 900}",)


def _user_hive(moment: Moment, rest: str) -> Key | None:
    sid, _, inner = rest.partition("\\")
    if sid not in [person.casefold() for person in _people(moment)]:
        return Key({}) if not inner and sid in (".default", "s-1-5-18", "s-1-5-19", "s-1-5-20") else None
    uninstall = r"software\microsoft\windows\currentversion\uninstall"
    if inner == uninstall:
        return Key({}, ("Teams",))
    if inner == rf"{uninstall}\teams":
        return Key({
            "DisplayName": "Microsoft Teams classic", "DisplayVersion": "1.7.00.13456",
            "Publisher": "Microsoft Corporation", "InstallDate": "20240610",
        })  # fmt: skip
    return Key({}) if not inner else None


def _uninstall(architecture: str) -> Callable[[Moment], Key]:
    def read(moment: Moment) -> Key:
        own = tuple(spec.id for spec in programs(moment).values() if spec.architecture == architecture)
        return Key({}, (*_NAMELESS, *own) if architecture == "x64" else own)

    return read


def _program(architecture: str) -> Callable[[Moment, str], Key | None]:
    def read(moment: Moment, name: str) -> Key | None:
        if architecture == "x64" and name in [word.casefold() for word in _NAMELESS]:
            return Key({})
        spec = programs(moment).get((architecture, name))
        return _program_key(moment, spec) if spec else None

    return read


def _program_key(moment: Moment, spec: SoftwareSpec) -> Key:
    machine = moment.machine
    dice = Dice(machine.seed, machine.index, "installed", spec.id)
    at = datetime.fromtimestamp(machine.install, UTC) + timedelta(days=dice.between(0, 39))
    values: dict[str, Value] = {"DisplayName": spec.name, "EstimatedSize": dice.between(900, 900_000)}
    values |= {"DisplayVersion": spec.version} if spec.version else {}
    values |= {"Publisher": spec.publisher} if spec.publisher else {}
    if spec.id.startswith("{"):
        values |= {"WindowsInstaller": 1, "UninstallString": f"MsiExec.exe /X{spec.id}"}
    # Not every installer leaves a date.
    values |= {"InstallDate": f"{at:%Y%m%d}"} if spec.id.startswith("{") or dice.chance(0.5) else {}
    return Key(values)


def _services(moment: Moment) -> Key:
    return Key({}, tuple(spec.name for spec in installed(moment).values()))


def _service(moment: Moment, rest: str) -> Key | None:
    name, _, inner = rest.partition("\\")
    spec = installed(moment).get(name)
    if spec is None:
        return None
    triggered = "trigger" in spec.flags.words
    if inner == "triggerinfo":
        return Key({}, ("0",)) if triggered else None
    if inner == r"triggerinfo\0":
        return Key({"Type": 6, "Action": 1}) if triggered else None
    return (
        None if inner else Key(_service_values(moment, spec), ("Parameters", *(["TriggerInfo"] if triggered else [])))
    )


def _triggered(moment: Moment) -> list[tuple[str, Key]]:
    """The services that start on triggers; asked at every poll, so not by reading 200 keys."""
    key = Key({}, ("0",))
    return [(spec.name, key) for spec in installed(moment).values() if "trigger" in spec.flags.words]


def _service_values(moment: Moment, spec: ServiceSpec) -> dict[str, Value]:
    values: dict[str, Value] = {
        "DisplayName": display_name(moment.machine.language, spec), "Start": _START[spec.start_mode], "Type": 32,
        "ErrorControl": 1, "ObjectName": spec.account, "ImagePath": "%SystemRoot%\\system32\\svchost.exe -k netsvcs -p",
    }  # fmt: skip
    if "delayed" in spec.flags.words:
        values["DelayedAutostart"] = 1
    if spec.name == "Netlogon" and "domain_join" in moment.machine.pending:
        values["JoinDomain"] = "lab.example"
    return values


_KEYS: dict[str, Callable[[Moment], Key | None]] = {
    r"hklm\software\microsoft\windows nt\currentversion": _current_version,
    rf"{_CV}\component based servicing": _servicing,
    rf"{_CV}\component based servicing\rebootpending": _only_when("component_servicing"),
    rf"{_CV}\windowsupdate\auto update": _auto_update,
    rf"{_CV}\windowsupdate\auto update\rebootrequired": _only_when("windows_update"),
    rf"{_CONTROL}\session manager": _session_manager,
    rf"{_CONTROL}\session manager\environment": _environment,
    rf"{_CONTROL}\computername\activecomputername": _active_name,
    rf"{_CONTROL}\computername\computername": _next_name,
    rf"{_CONTROL}\timezoneinformation": _time_zone,
    rf"{_CONTROL}\productoptions": _product_options,
    r"hklm\software\microsoft\cryptography": _cryptography,
    r"hklm\software\microsoft\powershell\3\powershellengine": _engine,
    r"hklm\hardware\description\system\bios": _bios,
    rf"{_SERVICES}\tcpip\parameters": _tcpip,
    _SERVICES: _services,
    _UNINSTALL["x64"]: _uninstall("x64"),
    _UNINSTALL["x86"]: _uninstall("x86"),
    "hku": _users,
}
_FAMILIES: dict[str, Callable[[Moment, str], Key | None]] = {
    _UNINSTALL["x64"]: _program("x64"),
    _UNINSTALL["x86"]: _program("x86"),
    _SERVICES: _service,
    "hku": _user_hive,
}

_PATTERNS: dict[str, Callable[[Moment], list[tuple[str, Key]]]] = {rf"{_SERVICES}\*\triggerinfo": _triggered}


def named(key: Key, names: tuple[str, ...]) -> dict[str, Value | None]:
    """The named values of a key; absent ones are null. No names, no values."""
    folded = {name.casefold(): value for name, value in key.values.items()}
    return {name: folded.get(name.casefold()) for name in names}
