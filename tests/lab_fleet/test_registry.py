"""The registry agrees with CIM, and shows what waits for a restart."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from rmm.lab.fleet import LabFleet
from rmm.lab.registry import matches, named, normal, programs, read_key

CV = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion"
PENDING = {
    "component_servicing": (rf"{CV}\Component Based Servicing\RebootPending", ""),
    "windows_update": (rf"{CV}\WindowsUpdate\Auto Update\RebootRequired", ""),
    "file_rename": (r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager", "PendingFileRenameOperations"),
    "domain_join": (r"HKLM\SYSTEM\CurrentControlSet\Services\Netlogon", "JoinDomain"),
}


@pytest.mark.parametrize(
    "path",
    [
        r"HKLM:\Software\X",
        r"HKEY_LOCAL_MACHINE\SOFTWARE\X\ "[:-1],
        r"Registry::HKEY_LOCAL_MACHINE\software\x",
        "hklm/software/x",
    ],
)
def test_one_key_has_one_form(path: str) -> None:
    assert normal(path) == r"hklm\software\x"


def test_current_version_agrees_with_cim(fleet: LabFleet, started: datetime) -> None:
    for index in range(30):
        machine = fleet[index]
        key = read_key(machine.moment(started), r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion")
        system = machine.query(
            "root/cimv2", "SELECT BuildNumber, Version, InstallDate FROM Win32_OperatingSystem", started
        ).rows[0]
        assert key is not None
        assert key.values["CurrentBuild"] == system["BuildNumber"]
        assert isinstance(key.values["UBR"], int)
        assert abs(int(str(key.values["InstallDate"])) - system["InstallDate"].timestamp()) <= 1


def test_reasons_to_restart_are_where_windows_keeps_them(fleet: LabFleet, started: datetime) -> None:
    seen: set[str] = set()
    for machine in fleet:
        moment = machine.moment(started)
        for reason, (path, name) in PENDING.items():
            key = read_key(moment, path)
            shown = key is not None and (not name or name in key.values)
            assert shown == (reason in machine.pending)
        keys = [
            read_key(moment, rf"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\{kind}")
            for kind in ("ActiveComputerName", "ComputerName")
        ]
        names = [named(key, ("ComputerName",)) for key in keys if key]
        assert names[0]["ComputerName"] == machine.name
        assert (names[0] != names[1]) == ("computer_rename" in machine.pending)
        seen |= set(machine.pending)
    assert seen >= {"component_servicing", "windows_update", "file_rename", "computer_rename"}


def test_services_in_the_registry_are_those_of_cim(fleet: LabFleet, started: datetime) -> None:
    machine = fleet[1]
    moment = machine.moment(started)
    rows = machine.query("root/cimv2", "SELECT * FROM Win32_Service", started).rows
    root = read_key(moment, r"HKLM\SYSTEM\CurrentControlSet\Services")
    assert root is not None
    assert set(root.subkeys) == {row["Name"] for row in rows}
    triggered = 0
    for row in rows:
        key = read_key(moment, rf"HKLM\SYSTEM\CurrentControlSet\Services\{row['Name']}")
        assert key is not None
        assert key.values["DisplayName"] == row["DisplayName"]
        assert bool(key.values.get("DelayedAutostart")) == row["DelayedAutoStart"]
        info = read_key(moment, rf"HKLM\SYSTEM\CurrentControlSet\Services\{row['Name']}\TriggerInfo")
        assert (info is not None) == ("TriggerInfo" in key.subkeys)
        triggered += info is not None
    assert triggered > 20
    found = matches(moment, r"HKLM\SYSTEM\CurrentControlSet\Services\*\TriggerInfo")
    assert len(found) == triggered
    assert "gpsvc" in [name for name, _ in found]


def test_programs_are_under_uninstall(fleet: LabFleet, started: datetime) -> None:
    for index in range(25):
        moment = fleet[index].moment(started)
        paths = {
            "x64": rf"{CV}\Uninstall",
            "x86": r"HKLM\SOFTWARE\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
        }
        shown: dict[str, Any] = {}
        for architecture, path in paths.items():
            key = read_key(moment, path)
            assert key is not None
            for name in key.subkeys:
                entry = read_key(moment, f"{path}\\{name}")
                assert entry is not None, name
                if "DisplayName" in entry.values:
                    shown[name] = (architecture, entry.values["DisplayName"])
        assert shown == {spec.id: (spec.architecture, spec.name) for spec in programs(moment).values()}
        assert 8 <= len(shown) <= 60


def test_values_are_asked_for_by_name(fleet: LabFleet, started: datetime) -> None:
    moment = fleet[0].moment(started)
    key = read_key(moment, r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion")
    assert key is not None
    assert named(key, ("editionid", "Nope")) == {"editionid": "ServerStandard", "Nope": None}
    assert read_key(moment, "") is None
    assert read_key(moment, r"HKU\S-1-5-99\Software") is None
