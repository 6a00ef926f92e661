"""The lab's account database: passwords, states, and a lock-out policy that counts as a domain controller does.

`badPwdCount` of an account grows with each wrong password, is forgotten WINDOW after the last one and with the next
right one, and locks the account when it reaches the threshold; a locked account refuses the right password too. What
it reached at most over the whole run is the oracle of the lock-out tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable

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

    name: str  # DOMAIN\\user
    password: str
    nt_hash: bytes
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
    """All accounts of a lab; the first one is its own. `clock` counts seconds."""

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
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._names: dict[str, Account] = {}
        self.add(username, password)

    def add(self, name: str, password: str, state: str = "ok") -> Account:
        r"""Add or replace an account; it answers to DOMAIN\\user, user@DOMAIN and user."""
        account = Account(name=name, password=password, nt_hash=ntowfv1(password), state=_state(state))
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

    def find(self, name: str) -> Account | None:
        """The account of a name in any of its forms; user@REALM.EXAMPLE is the user of that name."""
        known = self._names.get(name.lower())
        if known is None and "@" in name:
            known = self._names.get(name.lower().partition("@")[0])
        return known

    def locked(self, account: Account) -> bool:
        """Whether it is locked out now."""
        if account.locked_at is None:
            return False
        if self.lockout.duration_s and self._clock() - account.locked_at >= self.lockout.duration_s:
            account.locked_at, account.bad_count = None, 0
            return False
        return True

    def judge(self, account: Account | None, *, proved: bool) -> bool:
        """Whether this logon is accepted, and all the book-keeping. `proved`: with the right password or ticket."""
        good = account is not None and self._judge(account, proved=proved)
        self.accepted += good
        self.rejected += not good
        return good

    def _judge(self, account: Account, *, proved: bool) -> bool:
        if self.locked(account):
            return False
        now = self._clock()
        if proved:
            good = account.state == "ok"
            account.good += good
            account.bad_count = 0 if good else account.bad_count
            return good
        if now - account.bad_at >= self.lockout.window_s:
            account.bad_count = 0
        account.bad += 1
        account.bad_count += 1
        account.bad_at = now
        account.most_bad = max(account.most_bad, account.bad_count)
        if self.lockout.threshold and account.bad_count >= self.lockout.threshold:
            account.locked_at = now
            account.lockouts += 1
        return False

    def basic(self, user: str, password: str) -> bool:
        """A logon with the password itself."""
        account = self.find(user)
        return self.judge(account, proved=account is not None and account.password == password)

    def stats(self) -> dict[str, AccountStats]:
        """Account -> what became of it."""
        return {
            one.name: AccountStats(one.good, one.bad, one.most_bad, one.lockouts, self.locked(one), one.state)
            for one in self._accounts.values()
        }


def _state(state: str) -> str:
    if state not in STATES:
        raise ValueError(f"a state is one of {', '.join(STATES)}")
    return state
