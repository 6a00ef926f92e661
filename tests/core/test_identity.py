from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from rmm.core.identity import hardware_mismatch, installation, mismatch, must_show_hardware
from rmm.model.observation import CollectorResult
from rmm.model.state import CollectorState

ONE, TWO = "4C4C4544-0034-4410-8056-B4C04F4E3132", "4C4C4544-0034-4410-8056-B4C04F4E3133"
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
