"""Which ways of logging on go together, and what is tried in which order."""

from __future__ import annotations

from typing import Any

import pytest

from rmm.core.authentication import BY_AUTH, BY_TRANSPORT, is_local, schemes_of, unfit
from rmm.model.endpoint import Credential, Secret, Target


def target(username: str = "rmm@CORP.EXAMPLE", kind: str = "password", **changes: Any) -> Target:
    credential = Credential(name="c", username=username, secret=Secret("x"), kind=kind)
    values: dict[str, Any] = {
        "endpoint": "a", "name": "A", "host": "10.0.0.1", "port": 5985, "scheme": "http", "transport": "winrm",
        "auth": "negotiate", "session": "new", "credential": credential,
    }  # fmt: skip
    return Target(**(values | changes))


@pytest.mark.parametrize(
    ("given", "order"),
    [
        ({}, ("kerberos", "ntlm")),
        ({"username": "CORP\\rmm"}, ("kerberos", "ntlm")),
        ({"username": "rmm"}, ("ntlm",)),
        ({"username": ".\\rmm"}, ("ntlm",)),
        ({"kind": "keytab"}, ("kerberos",)),
        ({"kind": "ccache", "username": "rmm"}, ("kerberos",)),
        ({"negotiate": ("ntlm", "kerberos")}, ("ntlm", "kerberos")),
        ({"negotiate": ("kerberos",)}, ("kerberos",)),
        ({"negotiate": ("kerberos",), "username": "rmm"}, ("kerberos",)),
        ({"negotiate": ("ntlm",), "kind": "keytab"}, ("ntlm",)),
        ({"auth": "ntlm"}, ("ntlm",)),
        ({"auth": "kerberos", "username": "rmm"}, ("kerberos",)),
    ],
)
def test_the_order(given: dict[str, Any], order: tuple[str, ...]) -> None:
    assert schemes_of(target(**given)) == order


@pytest.mark.parametrize(
    ("given", "word"),
    [
        (("credssp", "winrm", "https"), "transport: pypsrp"),
        (("kerberos", "pywinrm", "http"), "transport: winrm, wql, pypsrp"),
        (("negotiate", "pywinrm", "http"), "transport: winrm"),
        (("basic", "winrm", "http"), "https"),
        (("certificate", "pypsrp", "http"), "https"),
        (("certificate", "winrm", "https", "password"), "a certificate"),
        (("ntlm", "winrm", "http", "keytab"), "cannot use a keytab"),
        (("ntlm", "winrm", "http", "certificate"), "cannot use a certificate"),
        (("kerberos", "winrm", "http", "key"), "ccache or keytab or password"),
    ],
)
def test_what_does_not_go_together(given: tuple[str, ...], word: str) -> None:
    assert word in unfit(*given)


def test_what_goes_together() -> None:
    for transport, ways in BY_TRANSPORT.items():
        for auth in ways:
            for kind in BY_AUTH[auth]:
                assert unfit(auth, transport, "https", kind) == ""
    assert unfit("kerberos", "ssh", "http", "key") == ""  # ssh has its own ways


def test_local_accounts() -> None:
    names = {"rmm": True, ".\\rmm": True, "CORP\\rmm": False, "rmm@corp.example": False}
    for name, local in names.items():
        assert is_local(Credential(name="c", username=name, secret=Secret(""))) is local
