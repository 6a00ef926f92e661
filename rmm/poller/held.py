"""What lock-out protection holds, for people: one row per account, and its release."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.core import authguard
from rmm.core.authguard import SUSPECT, Guard
from rmm.errors import LeaseLost
from rmm.model.settings import LockoutSettings
from rmm.poller.guardfile import GuardFile, guards, key_of

WAIT_S = 15.0  # a poll that is under way keeps an account's lock for moments, a slow logon for up to ten seconds


class State(msgspec.Struct, frozen=True):
    """The state of one account: `held` says why it is not tried, or is empty."""

    account: str
    state: str
    bad: int  # bad logons that the directory may still remember
    held: str = ""
    until: str = ""  # ISO 8601
    endpoints: tuple[str, ...] = ()  # held alone: they reject what others accept


def states(data: Path, username: str, now: datetime, limits: LockoutSettings) -> list[State]:
    """The guards of an account: one, or one per machine for a local account."""
    return [_state(guard, now, limits) for _, guard in _mine(data, username)]


def _mine(data: Path, username: str) -> list[tuple[str, Guard]]:
    """(key, guard), whatever form of the name wrote it."""
    wanted = authguard.account_of(username, "")
    return [(path.stem, one) for path, one in guards(data) if authguard.account_of(one.account, "") == wanted]


def _state(guard: Guard, now: datetime, limits: LockoutSettings) -> State:
    versions = list(guard.proofs) or [""]
    answers = {one: authguard.ask(guard, one, "", now, limits, waited_s=60.0) for one in versions}
    # The version that was tried last is the one that counts.
    newest = max(versions, key=lambda one: (getattr(guard.proofs.get(one), "at", None) or now).timestamp())
    proof = guard.proofs.get(newest, authguard.Proof())
    answer = answers[newest]
    held = answer.reason if answer.word == authguard.HELD else ""
    hold = authguard.hold_of(limits)
    alone = {one for one, since in proof.held.items() if now - since < hold}
    alone |= set(proof.refused_by) if proof.state == SUSPECT else set()
    until = answer.until.isoformat(timespec="seconds") if held and answer.until else ""
    return State(guard.account, proof.state, authguard.spent(guard, now, limits), held, until, tuple(sorted(alone)))


def release(data: Path, username: str, *, forget: bool) -> int:
    """End every hold of the account, and `forget` what it has spent; returns how many guards there were.

    Raises LeaseLost when a poll keeps the account's lock.
    """
    keys = {key for key, _ in _mine(data, username)} | {key_of(authguard.account_of(username, ""))}
    return sum(_release(GuardFile(data, key), username, forget=forget) for key in sorted(keys))


def _release(file: GuardFile, username: str, *, forget: bool) -> bool:
    if not file.exists:
        return False
    end = time.monotonic() + WAIT_S
    while not file.take():
        if time.monotonic() > end:
            raise LeaseLost(f"a logon as {username} is under way")
        time.sleep(0.05)
    try:
        file.write(authguard.released(file.read() or Guard(account=username), forget=forget))
        if forget:
            file.note(0, durable=True)
    finally:
        file.give_back()
    return True
