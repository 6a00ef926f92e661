"""Every class, property and value that a machine gives is one that Windows has, with the type that Windows gives it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rmm.lab.cim.repository import PROVIDERS
from rmm.lab.fleet import LabFleet
from rmm.lab.profile import load_schema

SCHEMA = load_schema()
_BITS = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
_SIGNED = {"sint8": 8, "int16": 16, "int32": 32, "int64": 64}


def fits(value: Any, kind: str) -> bool:
    if value is None:
        return True
    if kind.endswith("[]"):
        return isinstance(value, list) and all(fits(item, kind[:-2]) for item in value)
    if kind in _BITS:
        return type(value) is int and 0 <= value < 1 << _BITS[kind]
    if kind in _SIGNED:
        return type(value) is int and -(1 << _SIGNED[kind] - 1) <= value < 1 << _SIGNED[kind] - 1
    if kind == "boolean":
        return type(value) is bool
    if kind == "datetime":
        return isinstance(value, datetime) and value.tzinfo is not None
    if kind.startswith("float"):
        return isinstance(value, float)
    return kind == "string" and isinstance(value, str)


def test_each_class_of_the_schema_has_a_provider_and_the_other_way_round() -> None:
    assert set(SCHEMA["server2019"]) == set(SCHEMA["server23h2"]) == set(PROVIDERS)


@pytest.mark.parametrize("class_name", sorted(PROVIDERS))
def test_instances_conform_to_the_schema(fleet: LabFleet, started: datetime, class_name: str) -> None:
    newest = SCHEMA["server23h2"][class_name]
    for index in range(0, 400, 9):
        machine = fleet[index]
        now = started + timedelta(seconds=index * 1000)
        for row in PROVIDERS[class_name](machine.moment(now)):
            assert set(row) <= set(newest), set(row) - set(newest)
        found = machine.query("root/cimv2", f"SELECT * FROM {class_name}", now)
        era = "server2019" if machine.os.build < 20348 else "server23h2"
        assert found.types == SCHEMA[era][class_name]
        for row in found.rows:
            wrong = {name: row[name] for name, kind in found.types.items() if not fits(row[name], kind)}
            assert not wrong


@pytest.mark.parametrize("class_name", sorted(PROVIDERS))
def test_two_questions_at_one_moment_agree(fleet: LabFleet, started: datetime, class_name: str) -> None:
    again = LabFleet(400, seed=7, started=started)
    text = f"SELECT * FROM {class_name}"
    for index in (0, 5, 77):
        assert fleet[index].query("root/cimv2", text, started) == again[index].query("root/cimv2", text, started)


def test_services_are_as_many_and_as_different_as_on_real_machines(fleet: LabFleet, started: datetime) -> None:
    for index in range(60):
        machine = fleet[index]
        rows = machine.query("root/cimv2", "SELECT * FROM Win32_Service", started).rows
        assert 60 <= len(rows) <= 230
        assert len({row["Name"] for row in rows}) == len(rows)
        assert {row["State"] for row in rows} == {"Running", "Stopped"}
        assert all((row["State"] == "Running") == row["Started"] == (row["ProcessId"] > 0) for row in rows)
        assert all(row["SystemName"] == machine.name for row in rows)


def test_some_automatic_services_are_stopped_and_most_are_not(fleet: LabFleet, started: datetime) -> None:
    text = "SELECT Name FROM Win32_Service WHERE StartMode = 'Auto' AND State = 'Stopped' AND ExitCode = 1067"
    failed = sum(bool(machine.query("root/cimv2", text, started).rows) for machine in fleet)
    assert 8 <= failed <= 80


def test_boot_time_and_counters_tell_the_same_uptime(fleet: LabFleet, started: datetime) -> None:
    for index in range(50):
        machine = fleet[index]
        boot = machine.query("root/cimv2", "SELECT LastBootUpTime, LocalDateTime FROM Win32_OperatingSystem", started)
        counters = machine.query("root/cimv2", "SELECT * FROM Win32_PerfRawData_PerfOS_System", started).rows[0]
        uptime = (counters["Timestamp_Object"] - counters["SystemUpTime"]) / counters["Frequency_Object"]
        ticks = counters["Timestamp_PerfTime"] / counters["Frequency_PerfTime"]
        shown = (boot.rows[0]["LocalDateTime"] - boot.rows[0]["LastBootUpTime"]).total_seconds()
        assert abs(uptime - ticks) < 0.01
        assert abs(uptime - shown) < 1.0
        filetime = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=counters["Timestamp_Sys100NS"] // 10)
        assert abs((filetime - started).total_seconds() - machine.skew) < 0.01


def test_memory_and_disks_agree_between_classes(fleet: LabFleet, started: datetime) -> None:
    for index in range(0, 200, 7):
        machine = fleet[index]

        def ask(text: str, machine: Any = machine) -> list[dict[str, Any]]:
            return list(machine.query("root/cimv2", text, started).rows)

        system = ask("SELECT TotalVisibleMemorySize, FreePhysicalMemory FROM Win32_OperatingSystem")[0]
        counter = ask("SELECT AvailableBytes, CommittedBytes, CommitLimit FROM Win32_PerfRawData_PerfOS_Memory")[0]
        assert abs(system["FreePhysicalMemory"] * 1024 - counter["AvailableBytes"]) < 2_000_000
        assert counter["CommittedBytes"] <= counter["CommitLimit"]
        modules = ask("SELECT Capacity FROM Win32_PhysicalMemory")
        assert sum(row["Capacity"] for row in modules) == system["TotalVisibleMemorySize"] * 1024
        volumes = {row["DriveLetter"]: row for row in ask("SELECT * FROM Win32_Volume WHERE DriveLetter IS NOT NULL")}
        for disk in ask("SELECT * FROM Win32_LogicalDisk WHERE DriveType = 3"):
            assert disk["FreeSpace"] == volumes[disk["DeviceID"]]["FreeSpace"] <= disk["Size"]
