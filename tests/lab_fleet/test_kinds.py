"""Profiles: what their names ask for is what the machines are."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rmm.lab.fleet import LabFleet
from rmm.lab.kinds import parse_kind
from rmm.lab.profile import load_catalogue
from rmm.lab.simulated import LabMachine

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CATALOGUE = load_catalogue()


def machine(name: str, seed: int = 1) -> LabMachine:
    return LabFleet(1, seed, started=NOW, profiles=[name], catalogue=CATALOGUE)[0]


def ask(one: LabMachine, wql: str) -> list[dict[str, object]]:
    return one.query("root/cimv2", wql, NOW).rows


def test_what_the_issue_of_profiles_names_is_there() -> None:
    words = {word for name in CATALOGUE.profiles for word in name.split("-")}
    assert words >= {
        "server2016", "server2019", "server2022", "server2025", "windows10", "windows11", "core", "member", "dc", "hv",
        "web", "sql", "rds", "net", "cluster", "laptop", "desktop", "de", "fr", "ja", "healthy", "degraded", "hostile",
    }  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", CATALOGUE.profiles)
def test_a_machine_is_what_its_profile_says(name: str, seed: int) -> None:
    one = machine(name, seed)
    asked = set(name.split("-"))
    assert asked <= one.words
    system = ask(one, "SELECT PCSystemType, DomainRole FROM Win32_ComputerSystem")[0]
    if "laptop" in asked:
        assert system["PCSystemType"] == 2
    if "desktop" in asked:
        assert system["PCSystemType"] != 2
    assert (system["DomainRole"] in (4, 5)) == ("dc" in asked or (one.role == "dc"))
    services = {str(row["Name"]) for row in ask(one, "SELECT Name FROM Win32_Service")}
    of_role = {
        "dc": "NTDS",
        "hv": "vmms",
        "web": "W3SVC",
        "sql": "MSSQLSERVER",
        "rds": "TermServLicensing",
        "cluster": "ClusSvc",
    }
    for role, service in of_role.items():
        if role in asked:
            assert service in services
    if one.os.kind == "server":
        assert ("Themes" in services) is ("core" not in asked)


def test_health_and_its_absence() -> None:
    for seed in range(20):
        healthy, degraded = machine("server2022-healthy", seed), machine("server2022-degraded", seed)
        assert (healthy.stopped, healthy.pending) == (frozenset(), ())
        assert all(drive.used <= 0.6 and not drive.dirty for drive in healthy.drives)
        assert degraded.stopped
        assert degraded.pending
        assert all(drive.used > 0.95 and drive.dirty for drive in degraded.drives)
        assert degraded.load > 0.95 > 0.45 > healthy.load


def test_languages_speak() -> None:
    names = {
        word: {
            str(row["DisplayName"])
            for row in ask(machine(f"server2019-{word}"), "SELECT DisplayName FROM Win32_Service")
        }
        for word in ("en", "de", "fr", "ja", "hostile")
    }
    assert "Print Spooler" in names["en"]
    assert "Druckwarteschlange" in names["de"]
    assert "Spouleur d’impression" in names["fr"]
    assert "印刷スプーラー" in names["ja"]
    assert any("\x1b[31m" in name for name in names["hostile"])


def test_a_fleet_begins_with_one_of_each() -> None:
    names = ["server2022-dc", "windows11-laptop-fr"]
    fleet = LabFleet(30, profiles=names, catalogue=CATALOGUE)
    assert [one.profile for one in list(fleet)[:2]] == ["server2022", "windows11"]
    assert {one.role for one in fleet if one.profile == "server2022"} == {"dc"}
    assert {one.language.name for one in fleet if one.profile == "windows11"} == {"fr"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("server1999", "systems are"),
        ("server2022-mainframe", "'mainframe' is none of"),
        ("windows11-dc", "dc goes with servers"),
        ("server2022-laptop", "laptop goes with clients"),
        ("server2022-de-fr", "de and fr"),
        ("server2022-core-core", "core and core"),
    ],
)
def test_what_is_no_profile(name: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_kind(name, CATALOGUE)
