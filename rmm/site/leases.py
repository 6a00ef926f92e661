"""The leases of this collector: the shell of `core.lease` over a bucket of keys."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec

from rmm.core.lease import Tenure
from rmm.durable import replace_file
from rmm.errors import BusError, KeyTaken, RmmError
from rmm.loop import awake
from rmm.model.lease import Claim, Lease, Member, Remembered, Terms
from rmm.ports import Keyed, Keys

log = logging.getLogger(__name__)

FILE = "leases.json"  # in the data folder: what was held last
JITTER = 0.1  # of the time between two looks
LEAVE_S = 2.0  # for giving everything back at the end
MOST_BYTES = 4096  # of a claim

OnLoss = Callable[[str, int], None]  # site, shard


class Alone:
    """The rights of a collector that has no other beside it: all shards, with no fence. Files are locked as ever."""

    def __init__(self, site: str, shards: int) -> None:
        self._leases = {n: Lease(site=site, shard=n, fence=0) for n in range(shards)}

    def held(self) -> dict[int, Lease]:
        """All of them."""
        return dict(self._leases)

    def check(self, shard: int) -> Lease:
        """Never lost."""
        return self._leases[shard]

    def fence_of(self, site: str, shard: int) -> int:
        """`ports.Fence`: none."""
        return 0

    @contextlib.contextmanager
    def using(self, shard: int) -> Iterator[None]:
        """Nobody waits for it."""
        yield


class Leases:
    """`ports.Fence`. One per process; `running` keeps the leases, and gives them back at the end.

    Args:
        keys: the bucket `rmm_leases`, made with `ttl_s` of the terms.
        site: the one site of this collector.
        collector: its id; one word.
        shards: how many the site has.
        clock: seconds of a clock that goes on while the machine sleeps.
        terms: how long things take.
        data: the data folder, for what was held last; without one, a start without a broker holds nothing.
        on_loss: is told of each shard that may not be polled any more, at once and in the event loop.
    """

    def __init__(
        self,
        keys: Keys,
        site: str,
        collector: str,
        shards: int,
        clock: Callable[[], float] = awake,
        *,
        terms: Terms | None = None,
        data: Path | None = None,
        on_loss: OnLoss | None = None,
    ) -> None:
        self._keys = keys
        self._site = site
        self._clock = clock
        self._terms = terms or Terms()
        self._file = data / FILE if data else None
        self._on_loss = [on_loss] if on_loss else []
        self._saved = _read(self._file, shards)
        self.holder = secrets.token_hex(8)
        self._tenure = Tenure(site, collector, self.holder, shards, self._terms, self._saved)
        self._member = f"{site}.member.{collector}"
        self._member_revision = 0
        self._using: dict[int, int] = {}
        self._leaving = False
        self._soon = asyncio.Event()

    def on_loss(self, told: OnLoss) -> None:
        """Tell this one, too, of each shard that is lost."""
        self._on_loss.append(told)

    def held(self) -> dict[int, Lease]:
        """What may be polled now; without what has to be given to another collector when its round is over."""
        return self._tenure.held(self._clock())

    def check(self, shard: int) -> Lease:
        """The lease of a shard. Raises LeaseLost when it may not be polled or written now."""
        return self._tenure.check(shard, self._clock())

    def fence_of(self, site: str, shard: int) -> int:
        """`ports.Fence`."""
        return self.check(shard).fence

    @contextlib.contextmanager
    def using(self, shard: int) -> Iterator[None]:
        """While a round of the shard runs; it is not given to another meanwhile, unless the round takes too long."""
        self._using[shard] = self._using.get(shard, 0) + 1
        try:
            yield
        finally:
            self._using[shard] -= 1
            if not self._using[shard]:
                del self._using[shard]
                self._soon.set()

    @property
    def members(self) -> frozenset[str]:
        """The other collectors of the site that were heard of lately."""
        return self._tenure.others.live

    @property
    def connected(self) -> bool:
        """Whether the broker answered when it was asked last."""
        return self._tenure.link.up_since is not None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Leases]:
        """Take, renew and give up leases while this lasts; then give back what is held."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._leaving = True
            await self._leave()

    async def _run(self) -> None:
        while True:
            await self.turn()
            self._soon.clear()
            waiting = self._terms.renew if self.connected else min(1.0, self._terms.verify / 4)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(waiting * random.uniform(1 - JITTER, 1 + JITTER)):
                    await self._soon.wait()

    async def turn(self) -> None:
        """Renew what is held, look who is there, take and give up."""
        self.held()
        asked = self._clock()
        self._tell()  # of what has expired meanwhile: what runs of it does not wait for the broker's answer
        try:
            async with asyncio.timeout(self._terms.patience):
                await self._renew_all()
                await self._look()
        except (BusError, TimeoutError) as error:
            self._tenure.failed(self._clock(), asked)
            log.debug("the leases of %s: %s", self._site, str(error) or "no answer in time")
        except RmmError as error:
            log.warning("the leases of %s: %s", self._site, error)
        except Exception:
            self._tenure.failed(self._clock(), asked)  # a defect of ours: leases run out, and the next turn tries again
            log.exception("the leases of %s failed inside rmm", self._site)
        self._tell()

    async def _renew_all(self) -> None:
        renewing = [self._renew(*one) for one in self._tenure.renewals(self._clock())]
        results = await asyncio.gather(*renewing, return_exceptions=True)
        self._tell()
        for one in results:
            if isinstance(one, BaseException):
                raise one

    async def _renew(self, shard: int, claim: Claim, revision: int) -> None:
        key = self._key(shard)
        for again in (True, False):
            sent = self._clock()
            try:
                written = await self._keys.put(key, _encode(claim), after=revision)
            except KeyTaken:
                found = await self._keys.get(key) if again else None
                if found is None or not self._tenure.adopt(shard, _claim(found), found.revision):
                    self._tenure.refused(shard)
                    return
                revision = found.revision
            else:
                self._tenure.wrote(shard, claim, written, sent)
                return

    async def _look(self) -> None:
        await self._be_seen()
        found = await self._keys.all(f"{self._site}.>")
        claims: dict[int, tuple[Claim, int]] = {}
        members = set()
        for key, keyed in found.items():
            kind, _, name = key.removeprefix(f"{self._site}.").partition(".")
            if kind == "member":
                members.add(name)
            elif kind == "shard" and name.isdecimal() and (claim := _claim(keyed)) is not None:
                claims[int(name)] = (claim, keyed.revision)
        plan = self._tenure.looked(self._clock(), members, claims, self._using)
        for shard, after in plan.take.items():
            claim, sent = self._tenure.claim(shard), self._clock()
            with contextlib.suppress(KeyTaken):  # another was quicker, or wakes up: the next look tells
                revision = await self._keys.put(self._key(shard), _encode(claim), after=after)
                self._tenure.wrote(shard, claim, revision, sent)
        for shard in plan.drop:
            await self._give_up(shard)

    async def _give_up(self, shard: int) -> None:
        """The right ends here first, and at the broker then."""
        lease = self._tenure.lease(shard, self._clock())
        self._tenure.gave_up(shard)
        self._tell()
        if lease is not None:
            with contextlib.suppress(KeyTaken):
                await self._keys.drop(self._key(shard), after=lease.revision)

    async def _be_seen(self) -> None:
        """Write the key that says that this collector lives."""
        value = msgspec.json.encode(Member(self.holder))
        try:
            self._member_revision = await self._keys.put(self._member, value, after=self._member_revision)
        except KeyTaken:
            found = await self._keys.get(self._member)
            if found is not None and self._member_revision and found.value != value:
                log.warning("%s is written by another process with the identity of this collector", self._member)
            after = found.revision if found else 0
            self._member_revision = await self._keys.put(self._member, value, after=after)

    async def _leave(self) -> None:
        """Give everything back, so that others need not wait until the broker forgets it."""
        now = self._clock()
        held = [(shard, revision) for shard, _, revision in self._tenure.renewals(now)]
        self._save()
        for shard, _ in held:
            self._tenure.gave_up(shard)
        self._tell(save=False)
        drops = [(self._key(shard), revision) for shard, revision in held]
        if self._member_revision:
            drops.append((self._member, self._member_revision))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await asyncio.gather(*(self._keys.drop(key, after=at) for key, at in drops), return_exceptions=True)

    def _tell(self, *, save: bool = True) -> None:
        for shard in self._tenure.lost():
            level = logging.INFO if self._leaving else logging.WARNING
            log.log(level, "shard %d of site %s is not held any more", shard, self._site)
            for told in self._on_loss:
                told(self._site, shard)
        if save:
            self._save()

    def _save(self) -> None:
        remembered = self._tenure.remembered()
        if self._file is None or remembered == self._saved:
            return
        try:
            replace_file(self._file, msgspec.json.encode(remembered))
            self._saved = remembered
        except RmmError as error:  # it is only for a start without a broker
            log.warning("%s", error)

    def _key(self, shard: int) -> str:
        return f"{self._site}.shard.{shard}"


def _encode(claim: Claim) -> bytes:
    return msgspec.json.encode(claim)


def _claim(keyed: Keyed) -> Claim | None:
    """None for what is no claim: then nobody takes the shard until the broker has forgotten it."""
    try:
        return msgspec.json.decode(keyed.value, type=Claim) if len(keyed.value) <= MOST_BYTES else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _read(file: Path | None, shards: int) -> Remembered:
    """What was held last. A collector that never held anything takes what nobody holds, also while the link is down.

    Who else there may be, it cannot know then; what it observes goes under no fence, which a later one overrules.
    """
    if file is not None and not file.exists():
        return Remembered(held=dict.fromkeys(range(shards), 0))
    try:
        return msgspec.json.decode(file.read_bytes(), type=Remembered) if file else Remembered()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return Remembered()
