"""Who of a site's collectors may spend how many bad logons of an account. Pure; the time is an argument.

The budget of an account (`authguard`) is divided into *rights*, one for each bad logon. Each right is with one
collector at a time, or in the pool of the shared record, and a collector spends those alone that it has on its own
disk. So however the collectors are cut off, stopped or killed, and whatever anybody believes of the others, they cannot
spend more than the budget together. Nothing here depends on a time to live, and a logon with a proven secret asks
nobody.

* A right is **given** in this order: from one's own disk, then into the pool. It is **taken** in this order: out of the
  pool (a write that succeeds only if nobody wrote before), then onto one's own disk. Who dies in between still has it
  in the record, and finds it there; but it is used only after a write of one's own has succeeded, because an earlier
  write, whose answer was lost, may still be on its way and give it to somebody else.
* Only what was not spent is given. A spent one comes back when a logon of its holder is accepted, as then the directory
  has forgotten; or BUDGET x WINDOW after its holder's last bad logon. The directory forgets when there was none by
  anybody for one WINDOW. More than BUDGET of them without such a gap would lie within less than BUDGET x WINDOW, and
  in that time no right is spent twice. Who has all rights knows of all bad logons, and waits for one WINDOW as ever.
* Who needs one asks for it (`wants`), and the others give what they do not need, or what they have used for a moment.
  So a single right goes from hand to hand where there are more collectors than bad logons to divide.
* A collector that is away keeps what it has, since nobody can know what it does with it. `forget` is for one that will
  never come back, and an operator has to say so.

Proofs are shared as well, so that what one has found out costs no other a logon; that is a courtesy, the bound does not
rest on it. A secret that is not proven is tried by one collector at a time (`trying`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

import msgspec

from rmm.core.authguard import FRESH, PROVEN, SUSPECT, UNPROVEN, VERSIONS, WORKED, Guard, Proof, When, settled, spent
from rmm.model.settings import LockoutSettings

BUCKET = "rmm_guard"
MOST_COLLECTORS = 64
MOST_RIGHTS = 100
HELD_HOSTS = 64


class Trial(msgspec.Struct, frozen=True):
    """Who tries a secret that is not proven."""

    collector: str
    version: str
    at: When  # when it began: one that goes on for too long can be told from the next


class Shared(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the collectors of a site know together of one account: the value of `<site>.<account key>`. JSON."""

    shares: dict[str, int] = {}  # collector -> rights that it has
    pool: int = 0  # rights that nobody has
    wants: tuple[str, ...] = ()  # collectors that need one more, in the order in which they asked
    trying: Trial | None = None
    proofs: dict[str, Proof] = {}
    worked: tuple[str, ...] = ()


class Need(msgspec.Struct, frozen=True):
    """What a collector needs before its next logon.

    `trying`: the version of a secret that is not proven; `right`: another right; `waiting`: there are logons that wait.
    """

    trying: str = ""
    right: bool = False
    waiting: bool = False


class Step(msgspec.Struct, frozen=True):
    """What comes of a look at the record.

    Attributes:
        shared: what to write; the same object where there is nothing to write.
        before: rights of this collector that have to be on its disk before the record is written.
        after: and when it is written.
        guard: this collector's, with what the others know.
        go: whether the secret may be tried, if it is not proven.
    """

    shared: Shared
    before: int
    after: int
    guard: Guard
    go: bool = True


def limits_of(limits: LockoutSettings, share: int | None) -> LockoutSettings:
    """The limits of a collector that has so many rights. None: it shares the account with nobody."""
    if share is None or share >= limits.budget:
        return limits
    return msgspec.structs.replace(limits, budget=share, window=limits.window * limits.budget)


def step(
    shared: Shared | None,
    me: str,
    share: int | None,
    guard: Guard,
    flights: int,
    need: Need,
    now: datetime,
    limits: LockoutSettings,
    *,
    live: Collection[str] = (),
    stale: Trial | None = None,
) -> Step:
    """One look at the record of an account, and what this collector makes of it.

    Args:
        shared: what was read; None where there is no record.
        me: this collector.
        share: the rights on its disk; None where it never had any.
        guard: its guard.
        flights: logons of it that have no answer.
        need: what for.
        now: wall time.
        limits: of the account.
        live: the other collectors that were heard of lately.
        stale: a trial that goes on for too long: its collector is dead, or will find that it is too late.
    """
    known = fitted(shared, me, limits) if shared is not None else first(me, limits, alone=not live)
    mine = known.shares.get(me, 0)
    before = min(share or 0, mine)  # the record has less after `forget`, or from a backup: what it says is true
    free = mine - spent(guard, now, limits_of(limits, mine)) - flights
    wants = tuple(one for one in known.wants if one != me and one in live)
    pool, known = known.pool, msgspec.structs.replace(known, wants=wants)
    if need.right and free < 1:
        first_asked = shared.wants if shared is not None else ()
        others_first = [one for one in wants if me not in first_asked or first_asked.index(one) < first_asked.index(me)]
        if pool and not others_first:
            mine, pool = mine + 1, pool - 1
        else:
            known = msgspec.structs.replace(known, wants=_queued(first_asked, wants, me))
    elif wants and pool < len(wants) and free >= 1 and not _needs_it(guard, mine, need):
        mine, pool = mine - 1, pool + 1
    new = msgspec.structs.replace(known, shares=known.shares | {me: mine}, pool=pool)
    new, go = _trying(new, me, need, stale, now)
    merged = merge(guard, new, now)
    if _is_news(new.proofs, merged.proofs):
        new = msgspec.structs.replace(new, proofs=merged.proofs, worked=merged.worked)
    if shared is not None and new == shared:
        new = shared
    return Step(new, min(before, mine), mine, merged, go)


def first(me: str, limits: LockoutSettings, *, alone: bool) -> Shared:
    """The record of an account of which there was none."""
    mine = limits.budget if alone else min(1, limits.budget)
    return Shared({me: mine}, limits.budget - mine)


def left(shared: Shared, me: str, guard: Guard, flights: int, now: datetime, limits: LockoutSettings) -> Shared:
    """The record when this collector ends in good order: what it has not spent is for the others."""
    mine = shared.shares.get(me, 0)
    free = max(0, mine - spent(guard, now, limits_of(limits, mine)) - flights)
    shares = {name: count for name, count in shared.shares.items() if name != me}
    trying = None if shared.trying is not None and shared.trying.collector == me else shared.trying
    return msgspec.structs.replace(
        shared,
        shares=shares | ({me: mine - free} if mine > free else {}),
        pool=shared.pool + free,
        wants=tuple(one for one in shared.wants if one != me),
        trying=trying,
    )


def forget(shared: Shared, collector: str) -> Shared:
    """The record without a collector that will never log on again, as an operator has said: others have its rights."""
    shares = {name: count for name, count in shared.shares.items() if name != collector}
    trying = None if shared.trying is not None and shared.trying.collector == collector else shared.trying
    return msgspec.structs.replace(
        shared,
        shares=shares,
        pool=shared.pool + shared.shares.get(collector, 0),
        wants=tuple(one for one in shared.wants if one != collector),
        trying=trying,
    )


def sound(shared: Shared) -> bool:
    """Whether a record that was read can be one of ours."""
    counts = [*shared.shares.values(), shared.pool]
    return len(counts) <= MOST_COLLECTORS and all(0 <= count <= MOST_RIGHTS for count in counts)


def fitted(shared: Shared, me: str, limits: LockoutSettings) -> Shared:
    """The record after the budget was changed: what is too much goes from the pool, then from this collector's own."""
    over = sum(shared.shares.values()) + shared.pool - limits.budget
    if over <= 0:
        return msgspec.structs.replace(shared, pool=shared.pool - over)
    mine = shared.shares.get(me, 0)
    own = max(0, mine - max(0, over - shared.pool))
    return msgspec.structs.replace(shared, shares=shared.shares | {me: own}, pool=max(0, shared.pool - over))


def bounded(shared: Shared, too_much: Callable[[Shared], bool]) -> Shared:
    """The record with less of what only spares others a logon, until it is not too much."""
    keep = HELD_HOSTS
    while too_much(shared):
        keep //= 2
        proofs = {
            version: msgspec.structs.replace(
                proof,
                refused_by=proof.refused_by[len(proof.refused_by) - min(keep, len(proof.refused_by)) :],
                held=dict(sorted(proof.held.items(), key=lambda item: item[1])[max(0, len(proof.held) - keep) :]),
            )
            for version, proof in shared.proofs.items()
        }
        shared = msgspec.structs.replace(
            shared, proofs=proofs if keep else {}, worked=shared.worked[: min(keep, len(shared.worked))]
        )
        if not keep:
            break
    return shared


def _queued(before: tuple[str, ...], wants: tuple[str, ...], me: str) -> tuple[str, ...]:
    """Those who ask, in the order in which they asked first."""
    if me not in before:
        return (*wants, me)
    return tuple(one for one in before if one == me or one in wants)


def _needs_it(guard: Guard, mine: int, need: Need) -> bool:
    """Whether the right that could be given is the one with which a doubt is about to be settled."""
    return bool(need.trying) or (mine <= 2 and need.waiting and _doubtful(guard))


def _doubtful(guard: Guard) -> bool:
    return any(proof.state == SUSPECT for proof in guard.proofs.values())


def _trying(shared: Shared, me: str, need: Need, stale: Trial | None, now: datetime) -> tuple[Shared, bool]:
    current = shared.trying
    if current is not None and current.collector != me and current != stale:
        return shared, not need.trying
    if not need.trying:
        return msgspec.structs.replace(shared, trying=None), True
    if current is not None and (current.collector, current.version) == (me, need.trying):
        return shared, True
    return msgspec.structs.replace(shared, trying=Trial(me, need.trying, now)), True


def merge(guard: Guard, shared: Shared, now: datetime) -> Guard:
    """What is known here and there. Of a version whichever came to its state last is right."""
    proofs = dict(guard.proofs)
    for version, theirs in shared.proofs.items():
        mine = proofs.get(version)
        proofs[version] = theirs if mine is None else _later(mine, theirs)
    if proofs == guard.proofs:
        return guard
    worked = (*(one for one in shared.worked if one not in guard.worked), *guard.worked)[-WORKED:]
    kept = dict(sorted(proofs.items(), key=lambda item: _age(item[1]))[-VERSIONS:])
    return settled(msgspec.structs.replace(guard, proofs=kept, worked=worked), now)


def _age(proof: Proof) -> float:
    return proof.at.timestamp() if proof.at is not None else 0.0


def _later(mine: Proof, theirs: Proof) -> Proof:
    released = theirs.state == UNPROVEN and _age(theirs) == _age(mine)  # an operator has, at another collector
    later = theirs if released or _age(theirs) > _age(mine) else mine
    once = mine.once or theirs.once
    return later if later.once == once else msgspec.structs.replace(later, once=once)


def _is_news(theirs: Mapping[str, Proof], mine: Mapping[str, Proof]) -> bool:
    """Whether others should hear of it: not that what was proven a moment ago still is."""
    if theirs.keys() != mine.keys():
        return True
    return any(mine[version] != proof and not _known(proof, mine[version]) for version, proof in theirs.items())


def _known(theirs: Proof, mine: Proof) -> bool:
    if (theirs.state, mine.state, theirs.held) != (PROVEN, PROVEN, mine.held) or theirs.at is None or mine.at is None:
        return False
    return mine.at - theirs.at < FRESH / 2
