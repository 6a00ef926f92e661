"""Lock-out protection: which logons may leave, so that no account is ever locked. A pure state machine per account.

A directory counts bad logons per account, forgets them WINDOW after the last one or at the next good one, and locks
the account at its threshold. A fleet shares one account and tries hundreds of logons at once, so:

* **The budget belongs to the account**: rejected logons, logons that a crash of ours left unanswered, and logons in
  flight are never more than `budget` together. It does not matter which secret, vault entry, site or process tried.
* **The proof belongs to the secret's version**: one that was accepted once is worth more than one that never was.
  A password that was changed in the directory costs two (below), so the new one waits for the window, or for an
  operator who vouches that the directory has forgotten. Where it is told that the directory `forgives` (Active
  Directory does not count the last two passwords), a version that was never tried gets one canary at once, if all
  that was spent was spent by a secret which had been accepted before.

    state     who may go                          accepted       rejected       no answer
    unproven  one (the canary); the others wait   proven         open           unproven, another endpoint next
    proven    `parallel` at once                  proven         suspect        proven
    suspect   one canary, on another endpoint;    proven, and    open           suspect
              those where it worked come first    (1)
    open      nobody, until the hold has passed;  -              -              -
              then as unproven

(1) The account is good, so it is the endpoint: it alone is held (its trust is broken, it insists on channel bindings,
it refuses NTLM ...). With the budget of two, `parallel` 1 is what makes that sure: the first rejection of a proven
secret always leaves one logon for the canary, also when the password was changed in the middle of a round.

A hold ends with another version of the secret, after max(window, lock-out duration) (then one canary goes), or by an
operator. NTLM gives the same 401 for wrong, locked, expired and disabled, so every hold is long enough for a lock.

No answer: an endpoint that ends the connection at the proof has usually not asked its domain, but may have. While
nothing was rejected that is no evidence against the secret, and another endpoint shows which it is: BREAKS of them in a
row are needed to hold an unproven secret. As soon as something was rejected, each counts as a bad logon. An attempt
that our own crash left unanswered always counts: nobody saw how it went, and a crash loop would repeat it for ever.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated

import msgspec

from rmm.model.settings import LockoutSettings

UNPROVEN, PROVEN, SUSPECT, OPEN = "unproven", "proven", "suspect", "open"
GO, CANARY, WAIT, NEXT, HELD = "go", "canary", "wait", "next", "held"

BREAKS = 5  # attempts without an answer, on as many endpoints, that hold a secret which was never accepted
FRESH = timedelta(minutes=10)  # how long a proof allows more than one logon at once
REFRESH = timedelta(seconds=60)  # how often a proof is written again
PATIENCE = timedelta(seconds=3)  # an attempt without an answer for so long does not make the others wait any more ...
PROVEN_PATIENCE = timedelta(seconds=0.5)  # ... with a proven secret
OTHERS_S, DOUBTFUL_S = 0.3, 3.0  # how long an endpoint steps back as canary for one where the secret worked
WORKED, VERSIONS, HOSTS = 32, 8, 256  # how many are remembered
OFFLINE = 1  # bad logons that a site may spend when its coordinator does not answer


When = Annotated[datetime, msgspec.Meta(tz=True)]
"""A stored time. One without a zone is not ours, and could not be compared with any other."""


class Allowance(msgspec.Struct, frozen=True):
    """What a site may spend of an account's budget; a coordinator hands it out, and it ends unless it is renewed."""

    logons: int = 2
    until: datetime | None = None  # None: there is no coordinator, the site is alone

    def at(self, now: datetime) -> int:
        """Bad logons that may be spent at `now`."""
        return self.logons if self.until is None or now < self.until else min(OFFLINE, self.logons)


class Proof(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of one version of the secret. `at` is when it came to its state (proven: last confirmed)."""

    state: str = UNPROVEN
    at: When | None = None
    once: bool = False  # it was accepted at some time
    refused_by: tuple[str, ...] = ()  # endpoints whose rejections made it suspect or open
    held: dict[str, When] = {}  # endpoints that reject what others accept -> since


class Guard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is remembered of one account; encoded into the data folder."""

    account: str = ""  # for people
    bad: tuple[When, ...] = ()  # rejected, or left unanswered by a crash of ours; oldest first
    rotated: int = 0  # how many of `bad` were rejections of a secret that had been accepted before
    broken: tuple[When, ...] = ()  # the endpoint ended the connection instead of answering
    proofs: dict[str, Proof] = {}  # version of the secret -> proof
    worked: tuple[str, ...] = ()  # endpoints that accepted it lately, oldest first


class Flight(msgspec.Struct, frozen=True):
    """A logon that has left and has no answer yet."""

    version: str
    host: str
    at: datetime


class Answer(msgspec.Struct, frozen=True):
    """GO and CANARY: it may leave. WAIT: somebody is under way; NEXT: others first; HELD: not before `until`."""

    word: str
    reason: str = ""  # of HELD: host, rejected, suspect, budget, broken, allowance
    until: datetime | None = None


def account_of(username: str, host: str) -> str:
    r"""authority|account, and the host for a local account: what a directory counts together.

    CORP\user and user@corp.example are taken for one account: the first label of a realm is nearly always its NetBIOS
    name, and two accounts that share one budget cost less than one account with two.
    """
    name = username.casefold()
    authority, _, user = name.rpartition("\\")
    if not authority and "@" in name:
        user, _, authority = name.partition("@")
    authority, host = authority.partition(".")[0], host.casefold()
    if not authority or authority == host.partition(".")[0]:
        return f"{host}|{user}"
    return f"{authority}|{user}"


def hold_of(limits: LockoutSettings) -> timedelta:
    """How long a rejected secret is held: the count is forgotten by then, and a locked account is unlocked."""
    return timedelta(seconds=max(limits.window, limits.duration))


def ask(
    guard: Guard,
    version: str,
    host: str,
    now: datetime,
    limits: LockoutSettings,
    *,
    flights: Collection[Flight] = (),
    waited_s: float = 0.0,
) -> Answer:
    """Whether a logon on `host` with this version of the secret may leave now.

    Args:
        guard: of the account.
        version: of the secret.
        host: where.
        now: wall time.
        limits: what the directory allows.
        flights: logons of this account that have no answer yet.
        waited_s: how long this one has been waiting already.
    """
    if limits.budget < 1:  # not one bad logon is left for this site, and any logon may turn out to be one
        return Answer(HELD, "allowance")
    proof = guard.proofs.get(version, Proof())
    held = _held(guard, version, host, now, limits)
    if held is not None:
        return held
    state = _state(proof, now, limits)
    fresh = state == PROVEN and proof.at is not None and now - proof.at < FRESH
    most = limits.parallel if fresh else 1
    # With `parallel` above the budget, an operator has said that his directory forgives the last password.
    # What is in the air may be bad, and then the directory did not forget what it still counted when that left.
    counted = _recent(guard.bad, min((now, *(flight.at for flight in flights))), limits)
    if len(counted) + len(flights) >= max(_budget(guard, version, now, limits), most):
        return Answer(WAIT)
    patience = PROVEN_PATIENCE if state == PROVEN else PATIENCE
    if sum(now - flight.at < patience for flight in flights) >= most:
        return Answer(WAIT)
    if waited_s < _step_back(guard, proof, state, host):
        return Answer(NEXT)
    return Answer(GO if fresh else CANARY)


def _held(guard: Guard, version: str, host: str, now: datetime, limits: LockoutSettings) -> Answer | None:
    proof, hold = guard.proofs.get(version, Proof()), hold_of(limits)
    since = proof.held.get(host)
    if since is not None and now - since < hold:
        return Answer(HELD, "host", since + hold)
    if proof.at is not None and now - proof.at < hold:
        if proof.state == OPEN:
            return Answer(HELD, "rejected", proof.at + hold)
        if proof.state == SUSPECT and host in proof.refused_by:
            return Answer(HELD, "suspect", proof.at + hold)
    bad, broken = _recent(guard.bad, now, limits), _recent(guard.broken, now, limits)
    if bad and len(bad) + len(broken) >= _budget(guard, version, now, limits):
        return Answer(HELD, "budget", max((bad[-1], *broken[-1:])) + timedelta(seconds=limits.window))
    if len(broken) >= BREAKS and proof.state != PROVEN:
        return Answer(HELD, "broken", broken[-1] + timedelta(seconds=limits.window))
    return None


def _budget(guard: Guard, version: str, now: datetime, limits: LockoutSettings) -> int:
    bad = _recent(guard.bad, now, limits)
    replaced = limits.forgives and version not in guard.proofs and bool(bad) and guard.rotated >= len(bad)
    return limits.budget + replaced


def _state(proof: Proof, now: datetime, limits: LockoutSettings) -> str:
    over = proof.at is None or now - proof.at >= hold_of(limits)
    return UNPROVEN if over and proof.state == OPEN else proof.state


def _step_back(guard: Guard, proof: Proof, state: str, host: str) -> float:
    """Seconds for which this endpoint lets others be the canary."""
    if host in proof.refused_by or host in proof.held:
        return 0.0 if state == PROVEN else DOUBTFUL_S
    return OTHERS_S if state == SUSPECT and host not in guard.worked else 0.0


def accepted(guard: Guard, version: str, host: str, now: datetime, sent: datetime | None = None) -> Guard:
    """A logon that left at `sent` succeeded, which also resets what the directory had counted by then.

    The same object: nothing worth writing down.
    """
    sent = sent or now
    proof = guard.proofs.get(version, Proof())
    if proof.at is not None and proof.at > sent and proof.state != PROVEN:
        return guard  # something was rejected after it had left: an answer from the past proves nothing
    known = proof.state == PROVEN and proof.at is not None and now - proof.at < REFRESH
    if known and not guard.bad and not guard.broken and host not in proof.held:
        return guard
    held = proof.held | {one: proof.at or now for one in proof.refused_by}
    held = {one: since for one, since in sorted(held.items(), key=lambda item: item[1])[-HOSTS:] if one != host}
    worked = (*(one for one in guard.worked if one != host), host)[-WORKED:]
    guard = _with(guard, version, Proof(PROVEN, now, True, (), held))
    bad, broken = (tuple(at for at in times if at > sent) for times in (guard.bad, guard.broken))
    return msgspec.structs.replace(guard, bad=bad, rotated=min(guard.rotated, len(bad)), broken=broken, worked=worked)


def rejected(
    guard: Guard, version: str, host: str, now: datetime, limits: LockoutSettings, sent: datetime | None = None
) -> Guard:
    """A logon that left at `sent` was refused: it was a bad one, or the endpoint refuses what others accept."""
    proof = guard.proofs.get(version, Proof())
    before = _state(proof, now, limits)
    alone = before == SUSPECT and proof.refused_by == (host,)  # the same endpoint says no more than it did
    state = SUSPECT if before == PROVEN or alone else OPEN
    refused_by = (*(one for one in proof.refused_by if one != host), host)[-WORKED:]
    guard = _with(guard, version, Proof(state, now, proof.once, refused_by, proof.held))
    bad = _recent(guard.bad, min(now, sent or now), limits)
    rotated = min(guard.rotated, len(bad)) + proof.once
    return msgspec.structs.replace(guard, bad=(*bad, now), rotated=rotated)


def broke_off(guard: Guard, now: datetime, limits: LockoutSettings) -> Guard:
    """An endpoint ended the connection, or did not answer in time, after the proof had left."""
    return msgspec.structs.replace(guard, broken=(*_recent(guard.broken, now, limits), now)[-BREAKS:])


def crashed(guard: Guard, number: int, now: datetime, limits: LockoutSettings, sent: datetime | None = None) -> Guard:
    """A process of ours ended with this many logons in flight, the last of which left at `sent`."""
    number = min(number, limits.budget)
    bad = _recent(guard.bad, min(now, sent or now), limits)
    return msgspec.structs.replace(guard, bad=(*bad, *[now] * number), rotated=min(guard.rotated, len(bad)))


def released(guard: Guard, *, forget: bool) -> Guard:
    """An operator ends every hold: one canary may go, if the account has something left.

    `forget` what was spent: he vouches that the directory has forgotten it as well.
    """
    proofs = {
        version: Proof(proof.state if proof.state == PROVEN else UNPROVEN, proof.at, proof.once)
        for version, proof in guard.proofs.items()
    }
    bad, rotated = ((), 0) if forget else (guard.bad, guard.rotated)
    return msgspec.structs.replace(guard, bad=bad, rotated=rotated, broken=(), proofs=proofs)


def spent(guard: Guard, now: datetime, limits: LockoutSettings) -> int:
    """Bad logons that the directory may still remember."""
    return len(_recent(guard.bad, now, limits))


def settled(guard: Guard, now: datetime) -> Guard:
    """The guard as a clock that was set back can deal with it: nothing happened later than now."""
    proofs = {
        version: Proof(
            proof.state,
            proof.at and min(proof.at, now),
            proof.once,
            proof.refused_by,
            {host: min(since, now) for host, since in proof.held.items()},
        )
        for version, proof in guard.proofs.items()
    }
    return msgspec.structs.replace(
        guard,
        bad=tuple(min(at, now) for at in guard.bad),
        broken=tuple(min(at, now) for at in guard.broken),
        proofs=proofs,
    )


def _with(guard: Guard, version: str, proof: Proof) -> Guard:
    rest = {name: one for name, one in guard.proofs.items() if name != version}
    while len(rest) >= VERSIONS:
        rest.pop(next(iter(rest)))
    return msgspec.structs.replace(guard, proofs=rest | {version: proof})


def _recent(times: tuple[datetime, ...], now: datetime, limits: LockoutSettings) -> tuple[datetime, ...]:
    """What the directory still counts: all, until the window has passed since the last one."""
    return times if times and (now - times[-1]).total_seconds() < limits.window else ()
