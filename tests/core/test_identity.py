from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rmm.core.identity import (
    another_board,
    evidence_of,
    hardware_mismatch,
    in_force,
    installation,
    machine_sid,
    mismatch,
    must_show_hardware,
    refusal,
    unproved,
)
from rmm.model.identity import Acceptance, Refusal
from rmm.model.observation import CollectorResult
from rmm.model.state import CollectorState

ONE, TWO = "4C4C4544-0034-4410-8056-B4C04F4E3132", "4C4C4544-0034-4410-8056-B4C04F4E3133"
THREE = "4C4C4544-0034-4410-8056-B4C04F4E3134"
NONE = "03000200-0400-0500-0006-000700080009"


@pytest.mark.parametrize(
    ("expected", "known", "seen", "wrong"),
    [
        ("SRV01", {}, "srv01", False),
        ("srv01.corp.example", {}, "SRV01", False),
        ("a-very-long-server-name", {}, "A-VERY-LONG-SER", False),
        ("SRV01", {}, "SRV02", True),
        ("SRV01", {}, "", False),
        ("10.0.0.7", {}, "SRV07", False),
        ("10.0.0.7", {"name": "SRV07"}, "SRV07", False),
        ("10.0.0.7", {"name": "SRV07"}, "SRV08", True),
        ("fe80::1", {"name": "SRV07"}, "SRV08", True),
    ],
)
def test_another_machine_is_noticed(expected: str, known: dict[str, str], seen: str, wrong: bool) -> None:
    assert bool(mismatch(expected, known, {"name": seen})) is wrong


@pytest.mark.parametrize(
    ("known", "seen", "must"),
    [({}, ONE, False), ({"machine": ONE}, ONE, False), ({"machine": ONE}, TWO, True), ({"machine": ONE}, "", False)],
)
def test_another_installation_must_show_its_hardware(known: dict[str, str], seen: str, must: bool) -> None:
    assert must_show_hardware(known, seen) is must


def test_an_installation_is_a_guid_or_nothing() -> None:
    assert installation(f" {{{ONE.lower()}}} ") == ONE
    assert [installation(text) for text in (None, "", "x", ONE[:-1])] == [""] * 4


def read(uuid: str | None, serial: str | None = None) -> CollectorResult:
    return CollectorResult(outcome="ok", readings=({"uuid": uuid, "serial": serial},))


@pytest.mark.parametrize(
    ("listed", "before", "now", "wrong"),
    [
        ("", None, read(ONE), False),
        ("", read(ONE), read(ONE.lower()), False),
        ("", read(ONE, "PF1AB2C3"), read(ONE, "PF9ZZ9Z9"), False),
        ("", read(ONE), read(TWO), True),
        ("", read(ONE), read(NONE), False),  # the board has none: nothing can be said
        ("", read(NONE, "PF1AB2C3"), read(NONE, "PF9ZZ9Z9"), True),
        ("", read(NONE, "To be filled by O.E.M."), read(NONE, "PF9ZZ9Z9"), False),
        ("", read(None, "00000000"), read(None, "PF9ZZ9Z9"), False),
        ("", read(ONE), None, False),
        ("", read(ONE), CollectorResult(outcome="fault"), False),
        (TWO, read(ONE), read(TWO), False),  # replaced, and the list says so
        (TWO, None, read(ONE), True),
        (TWO, None, read(NONE), False),
    ],
)
def test_other_hardware_is_noticed(
    listed: str, before: CollectorResult | None, now: CollectorResult | None, wrong: bool
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    known = None
    if before is not None:
        known = CollectorState(attempted_at=at, at=at, result=msgspec.Raw(msgspec.json.encode(before)))
    assert bool(hardware_mismatch(listed, known, now)) is wrong


def test_a_state_that_is_no_reading_says_nothing() -> None:
    known = CollectorState(attempted_at=datetime(2026, 1, 1, tzinfo=UTC), result=msgspec.Raw(b'{"readings": 1}'))
    assert hardware_mismatch("", known, read(ONE)) == ""


AT = datetime(2026, 1, 2, tzinfo=UTC)


def word(seen: dict[str, str], *, asked: str = "SRV01", listed: str = "") -> Acceptance:
    refused = Refusal(asked=asked, listed=listed, expected={}, seen=seen)
    return Acceptance(endpoint="e", at=AT, who="mia", reason="", refusal=refused)


def stored(result: CollectorResult, at: datetime) -> CollectorState:
    return CollectorState(attempted_at=at, at=at, result=msgspec.Raw(msgspec.json.encode(result)))


BEFORE, AFTER = AT - timedelta(days=1), AT + timedelta(days=1)


@pytest.mark.parametrize(
    ("listed", "known", "now", "wrong"),
    [
        ("", stored(read(ONE), BEFORE), read(TWO), False),  # it is the accepted one
        ("", stored(read(ONE), BEFORE), read(THREE), True),  # yet another
        ("", stored(read(ONE), BEFORE), read(ONE), True),  # the one from before is another machine now
        ("", None, read(THREE), True),
        (ONE, stored(read(ONE), BEFORE), read(TWO), False),  # the list said ONE when TWO was accepted
        (ONE, None, read(ONE), True),
        ("", stored(read(TWO), AFTER), read(TWO), False),
    ],
)
def test_one_machine_is_accepted_and_no_other(
    listed: str, known: CollectorState | None, now: CollectorResult, wrong: bool
) -> None:
    accepted = word({"name": "SRV01", "uuid": TWO}, listed=listed)
    assert bool(hardware_mismatch(listed, known, now, accepted)) is wrong


def test_without_uuid_the_serial_number_is_accepted() -> None:
    accepted = word({"name": "SRV01", "serial": "PF9ZZ9Z9"})
    known = stored(read(NONE, "PF1AB2C3"), BEFORE)
    assert hardware_mismatch("", known, read(NONE, "PF9ZZ9Z9"), accepted) == ""
    assert hardware_mismatch("", known, read(NONE, "PF1XX1X1"), accepted)


def test_a_name_alone_accepts_no_hardware() -> None:
    accepted = word({"name": "SRV02"})
    assert mismatch("SRV01", {}, {"name": "SRV02"}, accepted) == ""
    assert mismatch("SRV01", {}, {"name": "SRV03"}, accepted)
    assert hardware_mismatch("", stored(read(ONE), BEFORE), read(TWO), accepted)


def test_the_installation_counts_until_a_poll_was_stored_where_no_hardware_can_be_read() -> None:
    accepted = word({"name": "SRV01", "machine": ONE})
    assert unproved(accepted, BEFORE, TWO, None)
    assert unproved(accepted, None, TWO, CollectorResult(outcome="fault"))
    assert unproved(accepted, BEFORE, ONE, None) == ""
    assert unproved(accepted, AFTER, TWO, None) == ""  # later a new installation may come, as on every endpoint
    assert unproved(accepted, BEFORE, TWO, read(ONE)) == ""  # hardware has told
    assert unproved(None, None, TWO, None) == ""


def test_a_newer_word_in_the_list_ends_an_acceptance() -> None:
    accepted = word({"name": "SRV02", "uuid": TWO}, listed=ONE)
    assert in_force(accepted, "SRV01", ONE.lower()) is accepted
    assert in_force(accepted, "SRV07", ONE) is None
    assert in_force(accepted, "SRV01", THREE) is None
    assert in_force(None, "SRV01", "") is None


def test_a_refusal_says_what_was_expected_and_what_was_seen() -> None:
    known = {"name": "PC1", "machine": ONE}
    seen = evidence_of("PC2\n" + "x" * 500, TWO, read(TWO.lower(), "n/a"))
    found = refusal("192.0.2.7", "", known, stored(read(ONE, "PF1AB2C3"), BEFORE), seen, None)
    assert found.expected == {"name": "PC1", "uuid": ONE, "serial": "PF1AB2C3", "machine": ONE}
    assert (found.seen["uuid"], found.seen["machine"], found.asked) == (TWO, TWO, "192.0.2.7")
    assert len(found.seen["name"]) <= 200
    assert "serial" not in found.seen  # a word, no number
    assert refusal("SRV01", THREE, {}, None, {}, None).expected == {"name": "SRV01", "uuid": THREE}
    accepted = word({"name": "SRV02", "uuid": TWO})
    assert refusal("SRV01", "", {}, stored(read(ONE), BEFORE), {}, accepted).expected == {"name": "SRV02", "uuid": TWO}


def test_a_machine_id_of_linux_is_an_installation() -> None:
    assert installation("4c4c4544003444108056b4c04f4e3132\n") == ONE
    assert installation("uninitialized") == ""


@pytest.mark.parametrize(
    ("sid", "machine"),
    [
        ("S-1-5-21-1004336348-1177238915-682003330-500", "S-1-5-21-1004336348-1177238915-682003330"),
        ("S-1-5-21-1004336348-1177238915-682003330-1001", ""),
        ("S-1-22-1-501", ""),
        ("S-1-5-21-1-2-500", ""),
        ("", ""),
    ],
)
def test_the_machines_sid_is_that_of_its_administrator(sid: str, machine: str) -> None:
    assert machine_sid(sid) == machine


def test_a_query_alone_shows_another_board() -> None:
    known = stored(read(ONE), BEFORE)
    assert another_board("", TWO, known)
    assert another_board(TWO, ONE, None)
    assert not any(another_board("", seen, known) for seen in (ONE.lower(), "", NONE))
    assert not another_board("", TWO, None)
