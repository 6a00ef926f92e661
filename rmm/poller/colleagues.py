"""The other collectors of a site, as far as accounts concern them: the shell of `core.escrow` over a bucket of keys.

What a collector may spend is a number in the file `KEY.share` beside the account's guard, under the account's lock; the
record that all share is asked for a secret that is not proven, for another right, and every few seconds for what others
ask for. With a proven secret nobody is asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path

import msgspec

from rmm.core import escrow
from rmm.core.authguard import Guard
from rmm.core.escrow import Need, Shared, Trial
from rmm.errors import BusError, KeyTaken, RmmError
from rmm.model.settings import LockoutSettings
from rmm.poller.guardfile import FOLDER, GuardFile
from rmm.ports import Clock, Keyed, Keys

log = logging.getLogger(__name__)

LOOK_S = 2.0  # between two looks at what others ask for, when there are others
PATIENCE_S = 2.0  # for one question to the broker
SILENT_S = 5.0  # how long a broker that did not answer is not asked again
TRIAL_S = 30.0  # a trial that goes on for so long is over, or its collector is dead
TRIES = 4  # writes that came too late
MOST_BYTES = 4000  # of a record; the bucket takes 4 kB


class Colleagues:
    """One per process, for all its accounts.

    Args:
        keys: the bucket `rmm_guard`.
        site: of this collector.
        collector: its id.
        data: the data folder.
        clock: for wall time.
        limits: of lock-out protection.
        others: the collectors of the site that were heard of lately, without this one (`Leases.members`).
    """

    def __init__(
        self,
        keys: Keys,
        site: str,
        collector: str,
        data: Path,
        clock: Clock,
        limits: LockoutSettings,
        others: Callable[[], Collection[str]],
    ) -> None:
        self._keys = keys
        self._site = site
        self._me = collector
        self._data = data
        self._clock = clock
        self._limits = limits
        self._others = others
        self._silent_until = 0.0
        self._trials: dict[str, tuple[Trial, float]] = {}  # account key -> a trial of another, first seen when
        self._seen: dict[str, int] = {}  # account key -> revision of the record that was looked at
        self._wanted: set[str] = set()

    @property
    def reachable(self) -> bool:
        """Whether asking makes sense now."""
        return time.monotonic() >= self._silent_until

    def wanted(self, key: str) -> bool:
        """Whether another collector asked for a right of this account when it was looked at last."""
        return key in self._wanted

    async def agree(self, key: str, file: GuardFile, guard: Guard, flights: int, need: Need) -> tuple[Guard, bool]:
        """One look at the record of an account, whose lock this process has.

        Returns the guard with what others know, to be written where it is another one, and whether a secret that is
        not proven may be tried. Where the broker does not answer, it may: the rights on this disk are the bound.
        Raises TierError.
        """
        if not self.reachable:
            return guard, True
        try:
            for _ in range(TRIES):
                async with asyncio.timeout(PATIENCE_S):
                    agreed = await self._once(key, file, guard, flights, need)
                if agreed is not None:
                    return agreed
        except (BusError, TimeoutError) as error:
            self._silent_until = time.monotonic() + SILENT_S
            log.debug("what this site shares of an account: %s", str(error) or "no answer in time")
            return guard, True
        return guard, not need.trying

    async def _once(
        self, key: str, file: GuardFile, guard: Guard, flights: int, need: Need
    ) -> tuple[Guard, bool] | None:
        """None: somebody else wrote meanwhile."""
        name = f"{self._site}.{key}"
        found = await self._keys.get(name)
        shared = _decoded(found)
        if found is not None and shared is None:
            log.warning("%s is no record of lock-out protection; what is on this disk is used as it is", name)
            return guard, True
        share, others = file.share(), self._others()
        one = escrow.step(
            shared, self._me, share, guard, flights, need, self._clock.now(), self._limits,
            live=others, stale=self._stale(key, shared),
        )  # fmt: skip
        data = _encoded(one.shared)
        self._seen[key] = found.revision if found else 0
        if found is None or data != found.value or share != one.after:
            if share != one.before:
                file.keep_share(one.before)
            try:
                self._seen[key] = await self._keys.put(name, data, after=found.revision if found else 0)
            except KeyTaken:
                return None
            if one.before != one.after:
                file.keep_share(one.after)
        self._note(key, one.shared)
        return one.guard, one.go

    def _note(self, key: str, shared: Shared) -> None:
        others = self._others()
        if any(one != self._me and one in others for one in shared.wants):
            self._wanted.add(key)
        else:
            self._wanted.discard(key)

    def _stale(self, key: str, shared: Shared | None) -> Trial | None:
        trial = shared.trying if shared is not None else None
        if trial is None or trial.collector == self._me:
            self._trials.pop(key, None)
            return None
        known, since = self._trials.get(key, (None, 0.0))
        if known != trial:
            self._trials[key] = (trial, time.monotonic())
            return None
        return trial if time.monotonic() - since >= TRIAL_S else None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Colleagues]:
        """Give others what they ask for, and hear what they find out, while this lasts."""
        task = asyncio.create_task(self._run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S * random.uniform(0.8, 1.2))
            try:
                await self.look()
            except (BusError, TimeoutError):
                self._silent_until = time.monotonic() + SILENT_S
            except RmmError as error:
                log.warning("what this site shares of its accounts: %s", error)
            except Exception:  # a defect of ours: accounts go on with what is on this disk
                log.exception("what this site shares of its accounts failed inside rmm")

    async def look(self) -> None:
        """Look at the records of all accounts that this collector uses. Raises BusError, TierError."""
        if not self._others():
            return
        async with asyncio.timeout(PATIENCE_S):
            found = await self._keys.all(f"{self._site}.*")
        self._silent_until = 0.0
        for name, keyed in found.items():
            key = name.removeprefix(f"{self._site}.")
            shared = _decoded(keyed) if _is_key(key) else None
            asks = shared is not None and self._me in shared.wants  # which may be over: nobody waits any more
            if not asks and self._seen.get(key) == keyed.revision:
                continue
            if shared is not None and (self._data / FOLDER / f"{key}.share").exists():
                self._note(key, shared)
                await self._settle(key)
            else:
                self._seen[key] = keyed.revision

    async def _settle(self, key: str) -> None:
        """One account, unless a logon of it is under way: then its end asks."""
        file = GuardFile(self._data, key)
        if not file.take():
            return
        try:
            guard = file.read()
            flights = file.in_flight()
            if guard is None or flights:
                return  # who logs on next counts them first
            merged, _ = await self.agree(key, file, guard, flights, Need())
            if merged is not guard:
                file.write(merged)
        finally:
            file.give_back()

    async def leave(self) -> int:
        """Give all that was not spent to the others, for a collector that will not poll any more; returns how many.

        Raises BusError.
        """
        given = 0
        for path in sorted((self._data / FOLDER).glob("*.share")):
            given += await self._leave(path.stem)
        return given

    async def _leave(self, key: str) -> int:
        file, name = GuardFile(self._data, key), f"{self._site}.{key}"
        end = time.monotonic() + PATIENCE_S
        while not file.take():
            if time.monotonic() > end:
                return 0
            await asyncio.sleep(0.05)
        try:
            share, guard, flights = file.share() or 0, file.read(), file.in_flight()
            for _ in range(TRIES):
                found = await self._keys.get(name)
                shared = _decoded(found)
                if not share or found is None or shared is None or guard is None:
                    return 0
                new = escrow.left(shared, self._me, guard, flights, self._clock.now(), self._limits)
                mine = min(share, new.shares.get(self._me, 0))
                file.keep_share(mine)
                with contextlib.suppress(KeyTaken):
                    await self._keys.put(name, _encoded(new), after=found.revision)
                    return share - mine
            return 0
        finally:
            file.give_back()


async def forget(keys: Keys, site: str, collector: str) -> int:
    """Give the rights of a collector that will never log on again to the others; returns of how many accounts.

    For an operator who has made sure of it: one that still runs somewhere would spend them a second time.
    Raises BusError.
    """
    count = 0
    for name in await keys.all(f"{site}.*"):
        for _ in range(TRIES):
            found = await keys.get(name)
            shared = _decoded(found)
            if found is None or shared is None or escrow.forget(shared, collector) == shared:
                break
            with contextlib.suppress(KeyTaken):
                await keys.put(name, _encoded(escrow.forget(shared, collector)), after=found.revision)
                count += 1
                break
    return count


def _is_key(key: str) -> bool:
    return len(key) == 32 and key.isalnum()  # it becomes the name of a file


def _encoded(shared: Shared) -> bytes:
    return msgspec.json.encode(escrow.bounded(shared, lambda one: len(msgspec.json.encode(one)) > MOST_BYTES))


def _decoded(keyed: Keyed | None) -> Shared | None:
    """None for what is no record of ours."""
    if keyed is None or len(keyed.value) > 2 * MOST_BYTES:
        return None
    try:
        shared = msgspec.json.decode(keyed.value, type=Shared)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return shared if escrow.sound(shared) else None
