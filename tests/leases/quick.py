"""What tests of leases share: short terms, keys that fail when the test says so, a clock that jumps."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rmm.errors import BusError
from rmm.model.lease import Terms
from rmm.ports import Keyed, Keys

QUICK = Terms(ttl=2.0, renew=0.2, margin=0.4, patience=0.4, verify=0.4, settle=0.3, give_up=1.0)


class Jumping:
    """Seconds that go on by themselves, and jump."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Wire:
    """`Keys` with a link in front: `cut`, `delay_s`, or `deaf` (what is said arrives, no answer does)."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys
        self.cut = self.deaf = False
        self.delay_s = 0.0
        self.writes = self.reads = 0

    async def _pass(self) -> None:
        await asyncio.sleep(self.delay_s)
        if self.cut:
            raise BusError("the link is cut")

    def _heard(self) -> None:
        if self.deaf:
            raise BusError("no answer")

    async def get(self, key: str) -> Keyed | None:
        await self._pass()
        self.reads += 1
        found = await self.keys.get(key)
        self._heard()
        return found

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        await self._pass()
        self.writes += 1
        revision = await self.keys.put(key, value, after=after)
        self._heard()
        return revision

    async def drop(self, key: str, *, after: int) -> None:
        await self._pass()
        self.writes += 1
        await self.keys.drop(key, after=after)
        self._heard()

    async def all(self, pattern: str) -> dict[str, Keyed]:
        await self._pass()
        self.reads += 1
        found = await self.keys.all(pattern)
        self._heard()
        return found


async def until(true: Callable[[], object], seconds: float = 10.0) -> float:
    """Wait until it is so; returns how long that took."""
    began = time.monotonic()
    while not true():
        if time.monotonic() - began > seconds:
            raise AssertionError("it did not come to that")
        await asyncio.sleep(0.01)
    return time.monotonic() - began
