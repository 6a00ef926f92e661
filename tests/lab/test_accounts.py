"""The lab's accounts: counted as a domain controller counts, found by every form of their name, changed at run time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import spnego

from rmm.lab.fleet import LabFleet
from rmm.lab.wire.accounts import Accounts, Lockout, accounts_of
from rmm.lab.wire.ntlm import NtlmAcceptor, spnego_acceptor
from rmm.lab.wire.policy import HEALTHY, Policy

MACHINE = LabFleet(1)[0]


class Hands:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def judged(accounts: Accounts, *, proved: bool, name: str = "LAB\\rmm", machine: str = "PC") -> bool:
    return accounts.judge(accounts.find(name, machine), proved=proved)


def test_bad_logons_are_counted_until_the_window_has_passed_since_the_last() -> None:
    clock = Hands()
    accounts = Accounts("LAB\\rmm", "right", lockout=Lockout(threshold=3, window_s=60, duration_s=300), clock=clock)
    for pause in (0, 59, 61, 1):
        clock.at += pause
        assert not judged(accounts, proved=False)
    stats = accounts.stats()["LAB\\rmm"]
    assert (stats.bad, stats.most_bad, stats.lockouts) == (4, 2, 0)
    assert not judged(accounts, proved=False)
    assert accounts.stats()["LAB\\rmm"].locked
    assert not judged(accounts, proved=True)  # the right password as well
    clock.at += 300
    assert judged(accounts, proved=True)
    assert accounts.stats()["LAB\\rmm"].most_bad == 3


def test_a_good_logon_forgets_the_bad_ones() -> None:
    accounts = Accounts("LAB\\rmm", "right", lockout=Lockout(threshold=2))
    for _ in range(5):
        assert not judged(accounts, proved=False)
        assert judged(accounts, proved=True)
    assert accounts.stats()["LAB\\rmm"].lockouts == 0


def test_a_domain_account_is_one_and_a_local_one_is_each_machines_own() -> None:
    accounts = accounts_of("LAB\\rmm", "right", {"accounts": [{"name": "admin", "password": "x", "threshold": 2}]})
    assert accounts.find("LAB\\rmm", "A") is accounts.find("rmm@lab.example", "B")
    for name in ("admin", ".\\admin", "A\\ADMIN"):
        assert accounts.find(name, "A") is accounts.find("admin", "A")
    assert accounts.find("admin", "A") is not accounts.find("admin", "B")
    judged(accounts, proved=False, name="admin", machine="A")
    judged(accounts, proved=False, name="admin", machine="B")
    assert {name: one.most_bad for name, one in accounts.stats().items()} == {
        "LAB\\rmm": 0, "admin": 0, "A\\admin": 1, "B\\admin": 1,
    }  # fmt: skip


def test_mistakes_of_a_plan_are_told() -> None:
    for wrong in ({"state": "asleep"}, {"treshold": 3}, {"threshold": "three"}):
        with pytest.raises(ValueError, match=r"state|treshold|int"):
            accounts_of("LAB\\rmm", "right", {"accounts": [wrong]})


def logon(accounts: Accounts, username: str, password: str, policy: Policy = HEALTHY, *, wrapped: bool = False) -> bool:
    server: Any = NtlmAcceptor(accounts, MACHINE, policy, None)
    protocol, options = ("negotiate", spnego.NegotiateOptions.use_negotiate) if wrapped else ("ntlm", None)
    server = spnego_acceptor(server) if wrapped else server
    client = spnego.client(username, password, protocol=protocol, options=options or spnego.NegotiateOptions.use_ntlm)
    token: bytes | None = None
    try:
        while not (client.complete and server.complete):
            token = client.step(token)
            token = server.step(token) if token else None
    except Exception:
        return False
    assert server.unwrap(client.wrap(b"sealed").data).data == b"sealed"
    return True


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("name", ["LAB\\rmm", "lab\\RMM", "rmm", "rmm@LAB", "rmm@lab.example"])
def test_every_form_of_the_name_logs_on(name: str, wrapped: bool) -> None:
    accounts = Accounts("LAB\\rmm", "right")
    assert logon(accounts, name, "right", wrapped=wrapped)
    assert not logon(accounts, name, "wrong", wrapped=wrapped)
    accounts.change("rmm", password="new")
    assert logon(accounts, name, "new", wrapped=wrapped)
    assert accounts.stats()["LAB\\rmm"].bad == 1
    assert not logon(accounts, f"OTHER\\{name.split(chr(92))[-1]}", "new") or "@" in name


@pytest.mark.parametrize("state", ["expired", "must_change", "disabled", "hours", "workstation"])
def test_a_state_refuses_the_right_password_and_counts_nothing(state: str) -> None:
    accounts = Accounts("LAB\\rmm", "right")
    accounts.change("LAB\\rmm", state=state)
    assert not logon(accounts, "rmm", "right")
    assert accounts.stats()["LAB\\rmm"].bad == 0


def test_a_machine_without_trust_refuses_domain_accounts_alone_and_asks_nobody() -> None:
    accounts = accounts_of("LAB\\rmm", "right", {"accounts": [{"name": "admin", "password": "x"}]})
    assert not logon(accounts, "LAB\\rmm", "right", Policy(trusted=False))
    assert not logon(accounts, "LAB\\rmm", "wrong", Policy(trusted=False))
    assert logon(accounts, "admin", "x", Policy(trusted=False))
    assert accounts.stats()["LAB\\rmm"].bad == 0


def test_version_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LM_COMPAT_LEVEL", "1")
    accounts = Accounts("LAB\\rmm", "right")
    assert not logon(accounts, "LAB\\rmm", "right")
    assert accounts.stats()["LAB\\rmm"].bad == 0


def test_an_administrator_changes_accounts_at_run_time(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "rmm.lab", "1", str(tmp_path / "lab"), str(ready)]
    lab = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not ready.exists():
            assert time.monotonic() < until
            time.sleep(0.05)
        info = json.loads((tmp_path / "lab" / "lab.json").read_text(encoding="utf-8"))

        def post(body: bytes) -> dict[str, Any]:
            with urllib.request.urlopen(info["accounts"], data=body, timeout=10) as answer:
                return dict(json.load(answer))

        assert post(b'{"state": "disabled"}')["lab\\rmm"]["state"] == "disabled"
        assert post(b'{"name": "rmm@LAB", "password": "new", "state": "ok"}')["lab\\rmm"]["state"] == "ok"
        for wrong in (b"{", b'{"name": "nobody"}', b'{"state": "asleep"}', b'{"colour": 1}'):
            with pytest.raises(urllib.error.HTTPError) as caught:
                post(wrong)
            assert caught.value.code == 400
            caught.value.close()
    finally:
        lab.terminate()
        lab.wait(20)
