"""The lock-out breaker: how many logons one credential may still try. A pure state machine, one per credential.

A domain locks an account after a few bad logons, and a fleet tries hundreds at once: a wrong password must cost one,
not one per endpoint. So a credential starts *unproven*, and one logon (the canary) goes alone:

    state     asked by an endpoint          accepted     rejected
    unproven  canary, the others wait       -> proven    -> open
    proven    go                            proven       -> suspect
    suspect   canary on another endpoint    -> proven    -> open
    open      held, for this round and for  -            -
              WINDOW after BUDGET rejections

Proof lasts for one round: the password may have been changed since. A suspect whose canary succeeds was a fault of
that one endpoint. A new version of the secret is another key and starts anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from rmm.model.endpoint import Credential

BUDGET = 2  # bad logons per credential version and window
WINDOW = timedelta(minutes=30)  # the usual observation window of Windows' lock-out policy
PROOF = timedelta(seconds=60)  # how long another process may rely on a proof
ROUNDS_KEPT = 8

GO, CANARY, HELD = "go", "canary", "held"


class Guard(msgspec.Struct, frozen=True):
    """What is remembered of one credential version; encoded into the data folder."""

    proven_at: datetime | None = None
    suspect: bool = False
    rejected: tuple[datetime, ...] = ()
    rounds: tuple[str, ...] = ()  # rounds that ended in open


def key_of(credential: Credential, host: str) -> str:
    """What is counted together: authority, account and secret version; a local account is counted per endpoint."""
    account = credential.username.casefold()
    local = "\\" not in account and "@" not in account
    domain_is_host = account.startswith(".\\")
    scope = host.casefold() if local or domain_is_host else ""
    return f"{scope}|{account}|{credential.name}|{credential.version}"


def ask(guard: Guard, now: datetime, round_id: str) -> str:
    """GO, CANARY (alone: the caller lets nobody else ask until it is answered) or HELD."""
    if round_id in guard.rounds or len(_recent(guard, now)) >= BUDGET:
        return HELD
    if guard.suspect or guard.proven_at is None:
        return CANARY
    return GO if timedelta(0) <= now - guard.proven_at <= PROOF else CANARY


def accepted(guard: Guard, now: datetime) -> Guard:
    """A logon succeeded, which also resets the directory's count of bad logons."""
    return Guard(proven_at=now, rounds=guard.rounds)


def rejected(guard: Guard, now: datetime, round_id: str, *, canary: bool) -> Guard:
    """A logon was refused. A canary opens the breaker; the first refusal of a proven credential makes it suspect."""
    recent = (*_recent(guard, now), now)
    rounds = (*guard.rounds, round_id)[-ROUNDS_KEPT:] if canary else guard.rounds
    return Guard(suspect=not canary, rejected=recent, rounds=rounds)


def _recent(guard: Guard, now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in guard.rejected if timedelta(0) <= now - at < WINDOW)
