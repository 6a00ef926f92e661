"""The lab's account database: passwords, states, and a lock-out policy that counts as a domain controller does.

`badPwdCount` of an account grows with each wrong password, is forgotten WINDOW after the last one and with the next
right one, and locks the account when it reaches the threshold; a locked account refuses the right password too. What
it reached at most over the whole run is the oracle of the lock-out tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from spnego._ntlm_raw.crypto import ntowfv1

STATES = ("ok", "expired", "must_change", "disabled", "hours", "workstation")
"""What NTLM answers is the same 401 for each but the first: the client cannot tell them apart."""


class Lockout(msgspec.Struct, frozen=True, kw_only=True):
    """The lock-out policy. `threshold` 0: never; `duration_s` 0: until an administrator unlocks the account."""

    threshold: int = 0
    window_s: float = 1800.0
    duration_s: float = 1800.0


class Account(msgspec.Struct, kw_only=True):
    """One account and what became of its logons."""

    name: str  # DOMAIN\\user, or user for an account of each machine
    password: str
    nt_hash: bytes
    lockout: Lockout = Lockout()
    state: str = "ok"
    good: int = 0
    bad: int = 0  # wrong passwords over the run
    bad_count: int = 0  # badPwdCount
    most_bad: int = 0  # the largest badPwdCount of the run
    bad_at: float = 0.0
    locked_at: float | None = None
    lockouts: int = 0


class AccountStats(msgspec.Struct, frozen=True):
    """One account in `GET /lab/stats`."""

    good: int
    bad: int
    most_bad: int
    lockouts: int
    locked: bool
    state: str


class Accounts:
    r"""All accounts of a lab; the first one is its own. `clock` counts seconds.

    DOMAIN\user is one account over all machines, as a domain controller has it; a name without a domain is a local
    account, which every machine has and counts for itself.
    """

    def __init__(
        self,
        username: str,
        password: str,
        *,
        lockout: Lockout | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.username = username
        self.lockout = lockout or Lockout()
        self.accepted = 0
        self.rejected = 0
        self.proofs = 0  # messages that were made with a secret: NTLM's third, Basic
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._names: dict[str, Account] = {}
        self.add(username, password)

    def add(self, name: str, password: str, state: str = "ok", lockout: Lockout | None = None) -> Account:
        r"""Add or replace an account; one of a domain answers to DOMAIN\user, user@DOMAIN and user."""
        account = Account(
            name=name,
            password=password,
            nt_hash=ntowfv1(password),
            state=_state(state),
            lockout=lockout or self.lockout,
        )
        domain, _, user = name.rpartition("\\")
        self._accounts[name.lower()] = account
        for alias in {name, user, f"{user}@{domain}" if domain else user}:
            self._names[alias.lower()] = account
        return account

    def change(self, name: str, *, password: str | None = None, state: str | None = None) -> Account:
        """What an administrator does at run time; `state` ok also unlocks. Raises KeyError, ValueError."""
        account = self._names[name.lower()]
        if password is not None:
            account.password, account.nt_hash = password, ntowfv1(password)
        if state is not None:
            account.state = _state(state)
            if state == "ok":
                account.locked_at, account.bad_count = None, 0
        return account

    def find(self, name: str, machine: str) -> Account | None:
        r"""The account of a name in any of its forms, as `machine` (its name) knows it.

        user@REALM.EXAMPLE is the user of that name; MACHINE\user and .\user are local.
        """
        wanted = name.lower()
        domain, _, user = wanted.rpartition("\\")
        if domain in (".", machine.lower()):
            wanted = user
        known = self._names.get(wanted)
        if known is None and "@" in wanted:
            known = self._names.get(wanted.partition("@")[0])
        return known if known is None or "\\" in known.name else self._local(known, machine)

    def _local(self, known: Account, machine: str) -> Account:
        """The account of this machine: its own counts, the password and state of all."""
        name = f"{machine}\\{known.name}".lower()
        mine = self._accounts.get(name)
        if mine is None:
            mine = self._accounts[name] = msgspec.structs.replace(known, name=f"{machine}\\{known.name}")
        mine.password, mine.nt_hash, mine.state = known.password, known.nt_hash, known.state
        return mine

    def locked(self, account: Account) -> bool:
        """Whether it is locked out now."""
        if account.locked_at is None:
            return False
        duration = account.lockout.duration_s
        if duration and self._clock() - account.locked_at >= duration:
            account.locked_at, account.bad_count = None, 0
            return False
        return True

    def judge(self, account: Account | None, *, proved: bool) -> bool:
        """Whether this logon is accepted, and the book-keeping. `proved`: with the right password or ticket."""
        return account is not None and self._judge(account, proved=proved)

    def _judge(self, account: Account, *, proved: bool) -> bool:
        if self.locked(account):
            return False
        now = self._clock()
        if proved:
            good = account.state == "ok"
            account.good += good
            account.bad_count = 0 if good else account.bad_count
            return good
        if now - account.bad_at >= account.lockout.window_s:
            account.bad_count = 0
        account.bad += 1
        account.bad_count += 1
        account.bad_at = now
        account.most_bad = max(account.most_bad, account.bad_count)
        if account.lockout.threshold and account.bad_count >= account.lockout.threshold:
            account.locked_at = now
            account.lockouts += 1
        return False

    def basic(self, user: str, password: str, machine: str) -> bool:
        """A logon with the password itself."""
        account = self.find(user, machine)
        return self.judge(account, proved=account is not None and account.password == password)

    def stats(self) -> dict[str, AccountStats]:
        """Account -> what became of it."""
        return {
            one.name: AccountStats(one.good, one.bad, one.most_bad, one.lockouts, self.locked(one), one.state)
            for one in self._accounts.values()
        }


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a fault plan's `accounts`; without a name it is the lab's own account."""

    name: str = ""
    password: str = ""  # empty: the lab's own password
    state: str = "ok"
    threshold: int = 0
    window_s: float = 1800.0
    duration_s: float = 1800.0


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of `POST /lab/accounts`; without a name it is the lab's own account."""

    name: str = ""
    password: str | None = None
    state: str | None = None


def accounts_of(username: str, password: str, document: Mapping[str, Any]) -> Accounts:
    """The accounts of a plan, beside the lab's own. Raises ValueError."""
    accounts = Accounts(username, password)
    for planned in msgspec.convert(document.get("accounts", []), list[Planned]):
        lockout = Lockout(threshold=planned.threshold, window_s=planned.window_s, duration_s=planned.duration_s)
        accounts.add(planned.name or username, planned.password or password, planned.state, lockout)
    return accounts


def _state(state: str) -> str:
    if state not in STATES:
        raise ValueError(f"a state is one of {', '.join(STATES)}")
    return state
