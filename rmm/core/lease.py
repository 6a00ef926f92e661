"""Who may poll a shard: leases with fencing, as a state machine. Pure: the time is an argument.

    state     what it means                                        poll, write   it ends
    held      the broker has said so, and its time is not up       yes           renewed, or expired
    expired   the time is up, and nothing was heard since          no            held, lost or offline
    offline   the time is up, and the broker cannot be reached     yes           expired, when the link is back
    lost      somebody else has it, or may have it                 no            -

**Time.** A holder counts from the moment at which it sent what the broker took, the broker from when it took it; so
the holder stops first, `margin` earlier still. Its clock is one that nobody sets, and which goes on while the machine
sleeps: CLOCK_BOOTTIME on Linux, that of `time.monotonic` on Windows (GetTickCount64, QueryPerformanceCounter). The
clock of a virtual machine that its host has stopped stands still, and there is always an instant between looking and
doing: these are what the fence is for.

**The fence** is the revision at which a shard was taken. Each taking is a later write into the same bucket, so a later
holder has a higher one; renewals do not change it. It goes with each observation, and who keeps the highest that it has
seen (the hub) refuses what an older holder wrote after the newer one began.

**When the link is gone.** Nobody can tell a broker that is down from a link that is, and a site has to be polled in
both cases. So a holder whose time is up, and which has found again and again that nobody answers, goes on with what it
held, under its last fence. When one of two collectors alone has lost its link, both poll the same shard: the hub takes
what the new holder observed, and of the old one what it observed before the new one began. This doubles good logons,
never bad ones: see `rmm.core.escrow`. A process that was only stopped is not in this state: the broker has to be asked
in vain for `verify` seconds, and for some times that by somebody who does not know what was before.

**Which shard is whose**: the live member whose mixed hash with the shard is highest (rendezvous hashing), so a member
that comes or goes moves its own shards and no other. A shard goes to a new member when its holder has finished the
round that it is in; to the heirs of a dead one when the broker has forgotten its claim. Who has just come (back) waits
for `settle` seconds: after an outage of the broker all come back, and the first must not take everything.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from hashlib import blake2b

import msgspec

from rmm.errors import LeaseLost
from rmm.model.lease import EXPIRED, HELD, LOST, OFFLINE, Claim, Lease, Remembered, Terms

ATTEMPTS = 2  # turns in vain before a broker counts as unreachable
AFTER_PAUSE = 3  # times `verify`, for who has just started or woken up: its connection may be what is old
MOST_RETURNS = 5  # doublings of `settle` for a member that comes and goes


_LOST = "Another collector of the site polls it, or will; nothing has to be done."
_EXPIRED = "It goes on when the broker has answered, or when it is sure that it cannot be reached."


def fence_of(claim: Claim, revision: int) -> int:
    """The fence of whoever made this claim. `revision`: that of the key as it was read."""
    return claim.fence or max(revision, claim.floor + 1)


def owner_of(shard: int, members: Collection[str]) -> str:
    """The member to which a shard belongs. ValueError without members."""
    return max(members, key=lambda one: (_score(one, shard), one))


def _score(member: str, shard: int) -> bytes:
    return blake2b(f"{member}\0{shard}".encode(), digest_size=8, person=b"lease").digest()


class Link:
    """What questions to the broker came to."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._failing_since: float | None = None
        self._last = float("-inf")
        self._failed = 0
        self._verify = terms.verify
        self.up_since: float | None = None

    def answered(self, now: float) -> None:
        """The broker has said something."""
        if self.up_since is None:
            self.up_since = now
        self._failing_since, self._failed, self._last = None, 0, now

    def failed(self, now: float, asked_at: float) -> None:
        """It was asked in vain."""
        paused = asked_at - self._last > 2 * self._terms.renew  # whoever slept has not asked meanwhile
        if self._failing_since is None or paused:
            self._failing_since, self._failed = asked_at, 0
            self._verify = self._terms.verify * (AFTER_PAUSE if paused else 1)
        self.up_since, self._last = None, now
        self._failed += 1

    def dead(self, now: float) -> bool:
        """Whether it cannot be reached: asked often enough, for long enough, by somebody who was awake."""
        return (
            self._failing_since is not None and self._failed >= ATTEMPTS and now - self._failing_since >= self._verify
        )

    def settled(self, now: float) -> bool:
        """Whether it has been up without a break for long enough to take what was not held before."""
        return self.up_since is not None and now - self.up_since >= self._terms.settle


class Others:
    """Who else is there, as seen at each look: a member counts for giving up when it has stayed for a while."""

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[str, float] = {}
        self._returns: dict[str, int] = {}
        self._gone: set[str] = set()

    def seen(self, members: Collection[str], now: float) -> None:
        """These are there now."""
        for one in [one for one in self._since if one not in members]:
            del self._since[one]
            self._gone.add(one)
        for one in members:
            if one not in self._since:
                self._since[one] = now
                if one in self._gone:
                    self._gone.discard(one)
                    self._returns[one] = min(self._returns.get(one, 0) + 1, MOST_RETURNS)

    @property
    def live(self) -> frozenset[str]:
        """All that were there at the last look."""
        return frozenset(self._since)

    def stayed(self, now: float) -> frozenset[str]:
        """Those that have been there long enough; who comes and goes has to stay for longer each time."""
        return frozenset(
            one
            for one, since in self._since.items()
            if now - since >= self._settle * (1 << max(0, self._returns.get(one, 0) - 1))
        )


class Plan(msgspec.Struct, frozen=True):
    """What to write after a look. `take`: shard -> the revision that it must still have. `drop`: shards."""

    take: dict[int, int] = {}
    drop: tuple[int, ...] = ()


class Tenure:
    """The leases of one collector of a site."""

    def __init__(
        self,
        site: str,
        collector: str,
        holder: str,
        shards: int,
        terms: Terms,
        remembered: Remembered | None = None,
    ) -> None:
        self.site = site
        self.collector = collector
        self.holder = holder
        self.shards = shards
        self.terms = terms
        self.link = Link(terms)
        self.others = Others(terms.settle)
        self._leases: dict[int, Lease] = {}
        self._before = dict(remembered.held) if remembered else {}  # of an earlier life, or before they were lost
        self._floors = dict(remembered.floors) if remembered else {}
        self._leaving: dict[int, float] = {}  # shard -> since when it belongs to another
        self._lost: list[int] = []

    def lease(self, shard: int, now: float) -> Lease | None:
        """What is known of a shard at this time; None when it was never held, or is lost."""
        lease = self._leases.get(shard)
        if lease is not None and now >= lease.until and lease.state != EXPIRED:
            lease = self._leases[shard] = msgspec.structs.replace(lease, state=EXPIRED)
            self._lost.append(shard)
        return lease

    def check(self, shard: int, now: float) -> Lease:
        """The lease of a shard that may be polled and written at this time. Raises LeaseLost."""
        lease = self.lease(shard, now)
        if lease is None:
            text = f"shard {shard} of site {self.site} is not held by this collector"
            raise LeaseLost(text, code="lease.lost", hint=_LOST)
        if lease.state == EXPIRED:
            text = f"the time of this collector for shard {shard} of site {self.site} is up"
            raise LeaseLost(text, code="lease.expired", hint=_EXPIRED)
        return lease

    def held(self, now: float) -> dict[int, Lease]:
        """What may be polled at this time, and does not belong to another."""
        mine = {shard: lease for shard in self._leases if (lease := self.lease(shard, now)) and lease.state != EXPIRED}
        return {shard: lease for shard, lease in sorted(mine.items()) if shard not in self._leaving}

    def renewals(self, now: float) -> list[tuple[int, Claim, int]]:
        """What to write again: (shard, claim, the revision that it must still have)."""
        return [
            (shard, Claim(self.collector, self.holder, lease.fence, self._floors.get(shard, 0)), lease.revision)
            for shard in sorted(self._leases)
            if (lease := self.lease(shard, now)) and lease.revision
        ]

    def claim(self, shard: int) -> Claim:
        """What to write in order to take a shard."""
        return Claim(self.collector, self.holder, 0, self._floors.get(shard, 0))

    def wrote(self, shard: int, claim: Claim, revision: int, sent_at: float) -> None:
        """The broker took a claim, or a renewal of it, that was sent at this time."""
        until = sent_at + self.terms.ttl - self.terms.margin
        fence = fence_of(claim, revision)
        self._floors[shard] = max(fence, self._floors.get(shard, 0))
        self._leases[shard] = Lease(site=self.site, shard=shard, fence=fence, until=until, revision=revision)
        self._before.pop(shard, None)

    def refused(self, shard: int) -> None:
        """Somebody else wrote the key, or it is gone: the right is lost, whatever the time says."""
        lease = self._leases.pop(shard, None)
        self._leaving.pop(shard, None)
        if lease is not None:
            self._before[shard] = lease.fence  # where nobody took it meanwhile, it may be taken again at once
            self._lost.append(shard)

    def gave_up(self, shard: int) -> None:
        """The shard is for somebody else to take."""
        self.refused(shard)
        self._before.pop(shard, None)

    def adopt(self, shard: int, claim: Claim | None, revision: int) -> bool:
        """After a refused renewal: whether what is there now is a write of ours whose answer was lost."""
        lease = self._leases.get(shard)
        if lease is None or claim is None or claim.holder != self.holder:
            return False
        if revision <= lease.revision or fence_of(claim, revision) != lease.fence:
            return False
        self._leases[shard] = msgspec.structs.replace(lease, revision=revision)
        return True

    def failed(self, now: float, asked_at: float) -> None:
        """The broker was asked in vain. What was held goes on without it, once that is sure."""
        self.link.failed(now, asked_at)
        if not self.link.dead(now):
            return
        until = now + self.terms.ttl - self.terms.margin
        for shard, fence in self._before.items():
            if shard < self.shards and shard not in self._leases:
                self._leases[shard] = Lease(site=self.site, shard=shard, fence=fence)
        self._before = {}
        for shard, lease in self._leases.items():
            self._leases[shard] = msgspec.structs.replace(lease, state=OFFLINE, until=until)
        self._leaving = {}

    def looked(
        self,
        now: float,
        members: Collection[str],
        claims: Mapping[int, tuple[Claim, int]],
        busy: Collection[int] = (),
    ) -> Plan:
        """What the broker has now. `busy`: shards that are being polled.

        What is read may be a moment old, so nothing is concluded from it about what is held: the write decides.
        """
        self.link.answered(now)
        self.others.seen([one for one in members if one != self.collector], now)
        for shard, (claim, revision) in claims.items():
            self._floors[shard] = max(fence_of(claim, revision), self._floors.get(shard, 0))
        self._outdated(claims)
        take = {shard: after for shard in range(self.shards) if (after := self._take(shard, claims, now)) is not None}
        return Plan(take, self._drops(now, busy))

    def _outdated(self, claims: Mapping[int, tuple[Claim, int]]) -> None:
        """A newer write by somebody else is a loss; a lease that has no key (taken offline) is one to be asked for."""
        for shard, lease in list(self._leases.items()):
            found = claims.get(shard)
            if found is not None and found[1] > lease.revision:
                claim, revision = found
                if claim.holder == self.holder:
                    self.adopt(shard, claim, revision)
                elif claim.collector != self.collector or fence_of(claim, revision) != lease.fence:
                    self.refused(shard)
            if not lease.revision and shard in self._leases:  # of an earlier life: what is written now is a new one
                self.refused(shard)

    def _take(self, shard: int, claims: Mapping[int, tuple[Claim, int]], now: float) -> int | None:
        """The revision after which to take a shard; None: not now."""
        if shard in self._leases:
            return None
        found = claims.get(shard)
        if found is not None:  # ours from an earlier life, which ended, or it would have the lock of this folder
            mine = found[0].collector == self.collector and self._before.get(shard) == fence_of(*found)
            unheard = found[0].holder == self.holder  # a taking whose answer was lost
            if mine or unheard:
                return found[1]
            self._before.pop(shard, None)
            return None
        if shard in self._before:
            return 0
        belongs = owner_of(shard, self.others.live | {self.collector}) == self.collector
        return 0 if belongs and self.link.settled(now) else None

    def _drops(self, now: float, busy: Collection[int]) -> tuple[int, ...]:
        """What belongs to another by now and is not being polled, or has been for too long."""
        members = self.others.stayed(now) | {self.collector}
        self._leaving = {
            shard: self._leaving.get(shard, now)
            for shard in self._leases
            if owner_of(shard, members) != self.collector or shard >= self.shards
        }
        self._before = {
            shard: fence for shard, fence in self._before.items() if owner_of(shard, members) == self.collector
        }
        return tuple(
            shard
            for shard, since in sorted(self._leaving.items())
            if shard not in busy or now - since >= self.terms.give_up
        )

    def lost(self) -> list[int]:
        """Shards that were lost, or whose time was up, since this was asked last."""
        lost, self._lost = list(dict.fromkeys(self._lost)), []
        return lost

    def remembered(self) -> Remembered:
        """What to keep for the next start."""
        held = {shard: lease.fence for shard, lease in self._leases.items() if lease.state != LOST}
        return Remembered(held | self._before, dict(self._floors))


__all__ = ["ATTEMPTS", "EXPIRED", "HELD", "LOST", "OFFLINE", "Link", "Others", "Plan", "Tenure", "fence_of", "owner_of"]
