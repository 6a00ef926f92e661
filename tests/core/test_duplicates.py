"""Cloned machines: one alert for each identity that several endpoints report, and none for placeholders."""

from datetime import UTC, datetime

import pytest

from rmm.core.duplicates import MOST_NAMED, Reported, changes
from rmm.core.identity import own_uuid
from rmm.model.rule import Alert

NOW = datetime(2026, 1, 1, tzinfo=UTC)
UUID = "4C4C4544-0042-3510-8052-B4C04F4A4D31"


def machine(number: int, uuid: str = "", name: str = "", site: str = "hq") -> Reported:
    return Reported(f"srv{number}", f"SRV{number}", site, uuid, name)


def live(found: list[Alert]) -> dict[str, Alert]:
    return {alert.key: alert for alert in found}


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (UUID, UUID),
        (f" {{{UUID.lower()}}} ", UUID),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", ""),
        ("00000000-0000-0000-0000-000000000000", ""),
        ("FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE", "FEFEFEFE-FEFE-FEFE-FEFE-FEFEFEFEFEFE"),
        ("03000200-0400-0500-0006-000700080009", ""),
        ("00020003-0004-0005-0006-000700080009", ""),
        ("Not Settable", ""),
        ("", ""),
    ],
)
def test_only_a_uuid_of_its_own_counts(text: str, own: str) -> None:
    assert own_uuid(text) == own


def test_one_alert_names_all_and_ends_with_its_cause() -> None:
    first = changes([machine(1, UUID), machine(2, UUID.lower()), machine(3, "other")], {}, NOW)
    assert [(one.tell, one.alert.value) for one in first] == [("firing", 2)]
    assert "SRV1 (hq), SRV2 (hq)" in first[0].alert.summary
    known = live([one.alert for one in first])
    assert changes([machine(1, UUID), machine(2, UUID)], known, NOW) == []
    third = changes([machine(n, UUID) for n in (1, 2, 3)], known, NOW)
    assert [(one.tell, one.alert.value) for one in third] == [("firing", 3)]
    fewer = changes([machine(1, UUID), machine(2, UUID)], live([third[0].alert]), NOW)
    assert [one.tell for one in fewer] == [""]
    gone = changes([machine(1, UUID)], known, NOW)
    assert [(one.tell, one.alert.state) for one in gone] == [("resolved", "resolved")]


def test_names_count_within_a_site_only() -> None:
    assert changes([machine(1, name="DC01"), machine(2, name="DC01", site="branch")], {}, NOW) == []
    found = changes([machine(1, name="DC01"), machine(2, name="dc01.corp.example")], {}, NOW)
    assert [one.alert.row for one in found] == ["name dc01 at hq"]


def test_a_whole_cloned_classroom_is_one_alert_of_bounded_length() -> None:
    found = changes([machine(n, UUID) for n in range(500)], {}, NOW)
    assert len(found) == 1
    assert found[0].alert.summary.count("SRV") == MOST_NAMED
    assert f"and {500 - MOST_NAMED} more" in found[0].alert.summary


def test_a_disk_that_was_copied_without_sysprep() -> None:
    fleet = [machine(n, f"4C4C4544-0042-3510-8052-B4C04F4A4D{n}", f"SRV{n}") for n in (31, 32, 33)]
    guid = "8b6f2a52-0f3e-4d5c-9d3b-2f7f4f3f0a11"
    fleet = [one._replace(installation=guid if one.endpoint != "srv33" else "other") for one in fleet]
    (change,) = changes(fleet, {}, NOW)
    assert change.alert.row == f"installation {guid}"
    assert "SRV31 (hq), SRV32 (hq)" in change.alert.summary


def test_a_machine_sid_counts_where_an_installation_is_not_told() -> None:
    sid = "S-1-5-21-1004336348-1177238915-682003330"
    told, other = (machine(n)._replace(machine_sid=sid, installation=f"{n}") for n in (1, 2))
    mute = machine(3)._replace(machine_sid=sid)
    assert changes([told, other], {}, NOW) == []
    (found,) = changes([told, mute], {}, NOW)
    assert f"machine SID {sid}" in found.alert.summary
