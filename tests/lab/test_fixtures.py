"""What the lab does not compute comes from the nearest samples: which they are, and who answers from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.load import load_catalog
from rmm.lab import registry, wql
from rmm.lab.fixtures import Fixtures
from rmm.lab.fleet import LabFleet
from rmm.lab.machine import CimFault
from rmm.lab.nearest import Traits, nearest_sample
from rmm.lab.windows.classes import find_class
from rmm.lab.windows.of_machine import state_of_machine
from rmm.lab.windows.witness import witness
from rmm.lab.wql import predicate

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
DRIVER = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\NetDriver"
NAMES = (
    "linux-typical", "server2016-degraded", "server2022-dc-typical", "server2022-typical", "windows10-german",
    "windows11-empty", "windows11-typical",
)  # fmt: skip


@pytest.mark.parametrize(
    ("system", "kind", "roles", "language", "expected"),
    [
        ("server2022", "server", [], "en", "server2022-typical"),
        ("server2016", "server", [], "en", "server2022-typical"),
        ("server2022", "server", ["dc"], "en", "server2022-dc-typical"),
        ("server2019", "server", ["dc"], "de", "server2022-dc-typical"),
        ("windows10", "client", [], "en", "windows11-typical"),
        ("windows10", "client", [], "de", "windows10-german"),
        ("windows11", "client", [], "ja", "windows11-typical"),
        ("linux", "server", [], "en", "linux-typical"),
    ],
)
def test_the_nearest_sample(system: str, kind: str, roles: list[str], language: str, expected: str) -> None:
    files = [Path(f"{name}.raw.json") for name in NAMES]
    assert nearest_sample(files, Traits(system, kind, frozenset(roles), language)) == Path(f"{expected}.raw.json")
    assert nearest_sample([], Traits(system, kind, frozenset(roles), language)) is None


@pytest.mark.parametrize(
    "condition",
    [
        "DriveType = 3", "DriveType <> 3 AND NOT DriveType = 4", "Label IS NULL", "Label IS NOT NULL", "Name LIKE 'C%'",
        "NOT Name LIKE 'C%'", "Capacity > 10 OR DriveType = 5", "NOT (Capacity <= 10)",
        "Capacity >= 7 AND DirtyBitSet = TRUE",
        "(DriveType = 2 OR DriveType = 3) AND DirtyBitSet = FALSE", "DriveType < 3",
    ],
)  # fmt: skip
def test_a_witness_satisfies_its_condition(condition: str) -> None:
    known = find_class("root/cimv2", "Win32_Volume")
    assert known is not None
    where = wql.parse(f"SELECT Name FROM Win32_Volume WHERE {condition}").where
    found = witness(where, known.types, {"FreeSpace": 1})
    assert predicate(where, dict(known.types))(found), found


def collector(folder: Path, sample: dict[str, Any], *more: str) -> Path:
    (folder / "x" / "samples").mkdir(parents=True)
    lines = [
        "name: x", "title: X", "schema: 1", "interval: 60", "timeout: 5", "cost: C2", "owner: t", "rows: adapter",
        "fields: {name: {type: text, kind: text, prop: Name}}", "sources:",
        "  adapter: {namespace: root/StandardCimv2, wql: SELECT Name FROM MSFT_NetAdapter WHERE Virtual = FALSE}",
        f"  driver: {{registry: ['{DRIVER}'], values: [Start], optional: true}}",
        *more,
    ]  # fmt: skip
    (folder / "x" / "collector.yaml").write_text("\n".join(lines) + "\n")
    (folder / "x" / "collect.ps1").write_text("'{}'\n")
    (folder / "x" / "samples" / "server2022-typical.raw.json").write_text(
        json.dumps({"observed_at": "2026-11-20T10:00:00Z", **sample})
    )
    return folder


def test_classes_and_keys_without_a_provider(tmp_path: Path) -> None:
    document = {"adapter": [{"Name": "Ethernet"}], "driver": [{"Start": 3}]}
    state = {
        "denied": ["HKLM\\SECURITY"],
        "cim": {"root/cimv2": {"Win32_OperatingSystem": [{"Caption": "another"}], "Win32_Printer": [{"Name": "P"}]}},
    }
    folder = collector(tmp_path, {"document": document, "state": state})
    machine = LabFleet(1, started=NOW, profiles=["server2022"])[0]
    machine.repository.world.fixtures = Fixtures(
        lambda name: name == "Win32_OperatingSystem", lambda: load_catalog([folder])
    )
    adapters = machine.query("root/StandardCimv2", "SELECT Name FROM MSFT_NetAdapter WHERE Virtual = FALSE", NOW)
    assert (adapters.namespace, adapters.rows) == ("root/standardcimv2", [{"Name": "Ethernet"}])
    assert machine.query("root/StandardCimv2", "SELECT Name FROM MSFT_NetAdapter WHERE Virtual = TRUE", NOW).rows == []
    assert machine.query("root/cimv2", "SELECT Name FROM Win32_Printer", NOW).rows == [{"Name": "P"}]
    assert machine.query("root/cimv2", "SELECT Name FROM Win32_TapeDrive", NOW).rows == []
    assert machine.query("root/cimv2", "SELECT Caption FROM Win32_OperatingSystem", NOW).rows[0]["Caption"] != "another"
    for namespace, text, code in (
        ("root/nope", "SELECT A FROM B", 0x8004100E),
        ("root/cimv2", "SELECT A FROM Win32_Nope", 0x80041010),
        ("root/StandardCimv2", "SELECT Nmae FROM MSFT_NetAdapter", 0x80041017),
        ("root/SecurityCenter2", "SELECT displayName FROM AntiVirusProduct", 0x8004100E),
    ):
        with pytest.raises(CimFault) as refused:
            machine.query(namespace, text, NOW)
        assert refused.value.code == code
    key = registry.read_key(machine.moment(NOW), DRIVER)
    assert key is not None and key.values == {"Start": 3}
    whole = state_of_machine(machine, NOW)
    assert whole["cim"]["root/standardcimv2"]["MSFT_NetAdapter"] == [{"Name": "Ethernet", "Virtual": False}]
    assert whole["registry"][DRIVER] == {"Start": 3}
    assert whole["computer"] == machine.name and "denied" not in whole
    json.dumps(whole)


def test_the_samples_of_a_users_collectors_count_too(tmp_path: Path) -> None:
    state = {"cim": {"root/cimv2": {"Win32_TapeDrive": [{"Name": "LTO"}]}}}
    folder = collector(tmp_path, {"document": {"adapter": [], "driver": []}, "state": state})
    for collectors, rows in ((), []), ((folder,), [{"Name": "LTO"}]):
        machine = LabFleet(1, started=NOW, profiles=["server2022"], collectors=collectors)[0]
        assert machine.query("root/cimv2", "SELECT Name FROM Win32_TapeDrive", NOW).rows == rows
