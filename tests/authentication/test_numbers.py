"""What Kerberos' numbers mean, in whatever form a library gives them."""

from __future__ import annotations

import pytest

from rmm.model.endpoint import Credential, Secret
from rmm.transports.winrm.kdc import KDC, may_fall_back, ticket_error
from rmm.transports.winrm.kerberos import principal_of, realm_of


@pytest.mark.parametrize(
    ("number", "code", "status", "refused"),
    [
        (24, "auth.rejected", "AUTH_REJECTED", True),
        (18, "auth.locked", "AUTH_HELD", True),
        (23, "auth.expired", "AUTH_REJECTED", True),
        (12, "auth.policy", "AUTH_REJECTED", True),
        (6, "kdc.unknown_account", "CONFIG", False),
        (7, "kdc.unknown_service", "CONFIG", False),
        (14, "kdc.etype", "CONFIG", False),
        (37, "kdc.skew", "CONFIG", False),
        (41, "auth.wrong_principal", "CONFIG", False),
        (156, "kdc.unreachable", "COLLECTOR_FAULT", False),
        (154, "auth.realm", "CONFIG", False),
        (127, "auth.kerberos", "CONFIG", False),
    ],
)
def test_a_number_signed_and_unsigned(number: int, code: str, status: str, refused: bool) -> None:
    for form in (KDC + number, (KDC + number) & 0xFFFFFFFF):
        error = ticket_error(form, "rmm@CORP")
        assert (error.code, error.status, error.refused) == (code, status, refused)
        assert error.hint
        assert not (refused and may_fall_back(error))


@pytest.mark.parametrize(
    ("number", "code"),
    [(0x8009030C, "auth.rejected"), (-2146893044, "auth.rejected"), (0x80090322, "auth.wrong_principal")],
)
def test_windows_numbers(number: int, code: str) -> None:
    assert ticket_error(number, "x").code == code


def test_no_number_at_all() -> None:
    for number in (0, 2, -1, 1 << 40):
        assert ticket_error(number, "x").code == "auth.kerberos"


def test_a_secret_that_may_have_left_forbids_another_scheme() -> None:
    error = ticket_error(KDC + 156, "x")
    assert may_fall_back(error)
    error.spent = True
    assert not may_fall_back(error)
    assert not may_fall_back(error.again())
    assert not may_fall_back(ticket_error(KDC + 37, "x"))
    assert not may_fall_back(ticket_error(KDC + 41, "x"))


@pytest.mark.parametrize(
    ("name", "principal", "realm"),
    [
        ("rmm@corp.example", "rmm@CORP.EXAMPLE", "CORP.EXAMPLE"),
        ("CORP\\rmm", "rmm@CORP", "CORP"),
        ("rmm", "rmm", ""),
        (".\\rmm", "rmm", ""),
    ],
)
def test_names(name: str, principal: str, realm: str) -> None:
    credential = Credential(name="c", username=name, secret=Secret(""))
    assert (principal_of(credential), realm_of(credential)) == (principal, realm)
