"""The lab's answers through the product's own reader: every shipped collector gives complete and sane readings."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.catalog.load import load_catalog
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.fleet import LabFleet
from rmm.lab.simulated import LabMachine
from rmm.model.observation import CollectorResult
from rmm.resources import shipped

Reading = dict[str, CollectorResult]

# Those whose every value a provider of the lab computes.
COMPUTED = frozenset({"system", "cpu", "memory", "volumes", "disk", "network", "services", "hardware", "software"})


@pytest.fixture(scope="module")
def poll() -> Any:
    catalog = {
        name: one
        for name, one in load_catalog([shipped("collectors")]).items()
        if one.windows and not one.manifest.roles
    }
    engine, text = SamplesEngine(catalog), powershell_bundle(list(catalog.values())).text
    normalizers = {name: Normalizer(one.manifest) for name, one in catalog.items()}

    def poll_once(machine: LabMachine, now: datetime, before: Reading | None = None) -> Reading:
        parts = [read_part(line) for line in engine.execute(machine, text, [], now).output]
        assert all(part.error is None for part in parts)
        return {
            part.collector: normalizers[part.collector].read(
                part.document, counters=before[part.collector].counters if before else None, observed_at=now
            )
            for part in parts
        }

    return poll_once


def test_two_polls_give_complete_readings(fleet: LabFleet, started: datetime, poll: Any) -> None:
    seen: set[str] = set()
    for index in range(0, 400, 8):
        machine = fleet[index]
        first = poll(machine, started + timedelta(seconds=index))
        second = poll(machine, started + timedelta(seconds=index + 60), first)
        for name, result in second.items():
            assert result.outcome == "ok", (machine.name, name, result.notes)
            assert result.readings or name not in COMPUTED, name
            seen |= {name} if result.readings else set()
            # A machine without page file has no use of it; VMs of some makers have empty fields.
            if name in COMPUTED:
                assert set(result.notes) <= {"pagefile_used_pct"}, (name, result.notes)
            # What comes from samples lacks what such machines lack, and says so.
            assert set(result.notes.values()) <= {"unsupported"}, (machine.name, name, result.notes)
            for row in result.readings:
                for field, value in row.items():
                    if field.endswith("_pct") and value is not None:
                        assert -0.01 <= value <= 100.01, (machine.name, name, field, value)
                    if field.endswith("_per_s") and value is not None:
                        assert value >= 0, (machine.name, name, field)
    assert seen == set(second)
    assert seen == set(second)  # each collector has rows on some machine


def test_readings_show_the_machine(fleet: LabFleet, started: datetime, poll: Any) -> None:
    for index in (0, 1, 4, 9, 16, 33, 120):
        machine = fleet[index]
        first = poll(machine, started)
        second = poll(machine, started + timedelta(seconds=300), first)
        system = second["system"].readings[0]
        assert system["computer_name"] == machine.name
        assert abs(system["uptime_s"] - (started.timestamp() + 300 - machine.boot)) < 3
        assert abs(system["clock_skew_s"] - machine.skew) < 2
        assert second["hardware"].readings[0]["uuid"].casefold() == machine.uuid.casefold()
        assert second["hardware"].readings[0]["serial"] == machine.serial
        assert second["os"].readings[0]["build"] == machine.os.build
        assert second["os"].readings[0]["ubr"] == machine.os.ubr
        total = next(row for row in second["cpu"].readings if row["core"] == "_Total")
        load = sum(machine.cpu_curve(core).total(started.timestamp(), started.timestamp() + 300) / 3
                   for core in range(machine.hardware.logical)) / machine.hardware.logical  # fmt: skip
        assert abs(total["util_pct"] - load) < 0.5
        assert {row["volume"] for row in second["volumes"].readings} == {f"{drive.letter}:" for drive in machine.drives}
        latencies = {row["disk"]: row["read_latency_s"] for row in second["disk"].readings}
        for drive in machine.drives:
            assert latencies[f"{drive.letter}:"] == pytest.approx(drive.latency, rel=0.02)
        pending = second["pending_reboot"].readings[0]
        assert {name for name in machine.pending if not pending[name]} == set()
        stopped = {row["service"] for row in second["services"].readings if row["exit_code"] == 1067}
        assert stopped <= machine.stopped


def test_a_fleet_gives_some_of_every_kind_of_alarm(fleet: LabFleet, started: datetime, poll: Any) -> None:
    """What people come to see: some machines beyond each threshold of the product, and most of them well."""
    counts: dict[str, int] = dict.fromkeys(("cpu", "memory", "volume", "network", "latency", "uptime", "service"), 0)
    for machine in fleet:
        at = started + timedelta(hours=1)
        second = poll(machine, at + timedelta(seconds=60), poll(machine, at))
        rows = {name: result.readings for name, result in second.items()}
        counts["cpu"] += any(row["util_pct"] > 80 for row in rows["cpu"] if row["core"] == "_Total")
        counts["memory"] += rows["memory"][0]["used_pct"] > 80
        counts["volume"] += any(row["used_pct"] > 80 for row in rows["volumes"])
        counts["network"] += any((row["util_pct"] or 0) > 30 for row in rows["network"])
        counts["latency"] += any((row["read_latency_s"] or 0) > 0.02 for row in rows["disk"])
        counts["uptime"] += rows["system"][0]["uptime_s"] > 90 * 86_400
        counts["service"] += any(row["exit_code"] == 1067 for row in rows["services"])
    assert all(4 <= count <= 120 for count in counts.values()), counts
