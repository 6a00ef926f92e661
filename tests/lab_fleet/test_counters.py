"""Raw counters only grow, and the rate between two samples is the load that the machine has."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isclose
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.lab.cim.repository import PROVIDERS
from rmm.lab.fleet import LabFleet
from rmm.lab.load import Curve
from rmm.lab.profile import load_schema

RAW = sorted(name for name in PROVIDERS if "PerfRawData" in name)
GAUGES = frozenset([
    "CurrentDiskQueueLength", "FreeMegabytes", "PercentFreeSpace", "PercentFreeSpace_Base", "CurrentBandwidth",
    "OutputQueueLength", "Processes", "Threads", "ProcessorQueueLength", "AvailableBytes", "AvailableKBytes",
    "AvailableMBytes", "CommittedBytes", "CommitLimit", "FreeAndZeroPageListBytes",
    "StandbyCacheNormalPriorityBytes", "StandbyCacheReserveBytes", "PercentCommittedBytesInUse",
    "PercentCommittedBytesInUse_Base", "PercentUsage", "PercentUsage_Base", "PercentUsagePeak",
    "PercentUsagePeak_Base",
])  # fmt: skip


def sample(machine: Any, class_name: str, now: datetime) -> dict[str, dict[str, Any]]:
    rows = machine.query("root/cimv2", f"SELECT * FROM {class_name}", now).rows
    return {row["Name"] or "": row for row in rows}


@settings(max_examples=25, deadline=None)
@given(index=st.integers(0, 399), gap=st.integers(1, 4_000_000), at=st.integers(0, 40_000_000))
@pytest.mark.parametrize("class_name", RAW)
def test_counters_only_grow(fleet: LabFleet, started: datetime, class_name: str, index: int, gap: int, at: int) -> None:
    first = sample(fleet[index], class_name, started + timedelta(seconds=at))
    second = sample(fleet[index], class_name, started + timedelta(seconds=at + gap))
    assert list(first) == list(second)
    types = load_schema()["server23h2"][class_name]
    for name, row in first.items():
        for prop, value in row.items():
            if types[prop] == "uint64" and prop not in GAUGES:
                assert second[name][prop] >= value, (name, prop)


@given(
    st.floats(0.01, 1e9), st.floats(0, 0.5), st.floats(0, 0.49), st.floats(60, 4000), st.floats(0, 6.3),
    st.floats(0, 1e7), st.floats(0, 1e6),
)  # fmt: skip
def test_a_curve_never_goes_back(
    mean: float, day: float, fast: float, period: float, phase: float, t: float, d: float
) -> None:
    curve = Curve(mean, day, fast, period, phase)
    assert curve.rate(t) >= 0
    assert curve.total(0.0, t + d) >= curve.total(0.0, t) - mean * 1e-5


def test_the_integral_is_the_integral() -> None:
    curve = Curve(3.0, 0.4, 0.3, 300.0, 1.0)
    steps = 20_000
    width = 5000 / steps
    summed = sum(curve.rate(100 + (step + 0.5) * width) * width for step in range(steps))
    assert isclose(summed, curve.total(100, 5100), rel_tol=1e-6)


def test_cpu_time_adds_up_to_a_hundred_percent_and_to_the_load(fleet: LabFleet, started: datetime) -> None:
    name = "Win32_PerfRawData_Counters_ProcessorInformation"
    for index in range(0, 100, 3):
        machine = fleet[index]
        a, b = (sample(machine, name, started + timedelta(seconds=s)) for s in (0, 60))
        assert len(a) == machine.hardware.logical + machine.hardware.sockets + 1
        for core in a:
            span = b[core]["Timestamp_Sys100NS"] - a[core]["Timestamp_Sys100NS"]

            def percent(prop: str, core: str = core, a: Any = a, b: Any = b, span: int = span) -> float:
                return float(100 * (b[core][prop] - a[core][prop]) / span)

            busy = 100 - percent("PercentProcessorTime")
            assert -0.01 <= busy <= 99
            assert isclose(busy, percent("PercentUserTime") + percent("PercentPrivilegedTime"), abs_tol=0.01)
        total = [machine.cpu_curve(core).rate(machine.started + 30) for core in range(machine.hardware.logical)]
        assert isclose(busy, 100 * sum(total) / len(total), abs_tol=3.0)


def test_some_machines_are_overloaded_and_most_are_not(fleet: LabFleet) -> None:
    hot = sum(machine.load > 0.8 for machine in fleet)
    full = sum(machine.memory_load > 0.85 for machine in fleet)
    assert 8 <= hot <= 60
    assert 8 <= full <= 60


def test_disk_latency_and_idle_time_are_sensible(fleet: LabFleet, started: datetime) -> None:
    name = "Win32_PerfRawData_PerfDisk_PhysicalDisk"
    for index in range(0, 100, 3):
        machine = fleet[index]
        a, b = (sample(machine, name, started + timedelta(seconds=s)) for s in (0, 60))
        for number, drive in enumerate(machine.drives):
            first, second = a[f"{number} {drive.letter}:"], b[f"{number} {drive.letter}:"]
            reads = second["DiskReadsPersec"] - first["DiskReadsPersec"]
            waited = second["AvgDiskReadQueueLength"] - first["AvgDiskReadQueueLength"]
            assert reads > 0
            assert isclose(waited / reads / 10_000_000, drive.latency, rel_tol=0.01)
            # The same in 32 bits: right as long as it has not wrapped more than once in between.
            ticks = (second["AvgDisksecPerRead"] - first["AvgDisksecPerRead"]) % (1 << 32)
            whole = waited * first["Frequency_PerfTime"] // 10_000_000
            assert isclose(ticks, whole % (1 << 32), abs_tol=first["Frequency_PerfTime"])
            span = second["Timestamp_Sys100NS"] - first["Timestamp_Sys100NS"]
            assert 0 <= (second["PercentIdleTime"] - first["PercentIdleTime"]) / span <= 1.0001
            assert second["PercentIdleTime_Base"] - first["PercentIdleTime_Base"] == span
        assert a["_Total"]["DiskReadBytesPersec"] == sum(
            row["DiskReadBytesPersec"] for n, row in a.items() if n != "_Total"
        )


def test_the_network_never_exceeds_its_line(fleet: LabFleet, started: datetime) -> None:
    name = "Win32_PerfRawData_Tcpip_NetworkInterface"
    for machine in fleet:
        a, b = (sample(machine, name, started + timedelta(seconds=s)) for s in (0, 60))
        for nic in a:
            rate = (b[nic]["BytesTotalPersec"] - a[nic]["BytesTotalPersec"]) / 60
            assert 0 <= rate * 8 <= a[nic]["CurrentBandwidth"]


def test_some_disks_fill_and_none_overflows(fleet: LabFleet, started: datetime) -> None:
    def used(machine: Any, now: datetime) -> float:
        rows = machine.query(
            "root/cimv2", "SELECT Size, FreeSpace FROM Win32_LogicalDisk WHERE DriveType = 3", now
        ).rows
        return float(max(1 - row["FreeSpace"] / row["Size"] for row in rows))

    before = [used(machine, started) for machine in fleet]
    later = [used(machine, started + timedelta(hours=10)) for machine in fleet]
    assert 20 <= sum(share > 0.8 for share in before) <= 140
    assert 5 <= sum(share > 0.9 for share in before) <= 80
    assert 8 <= sum(b - a > 0.02 for a, b in zip(before, later, strict=True)) <= 80
    assert max(later) < 1.0
