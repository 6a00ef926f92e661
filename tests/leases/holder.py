"""A collector as a process of its own: polls its shards in rounds, and writes down what it does.

    python holder.py URL FOLDER COLLECTOR SHARDS [GOOD]

Each line of FOLDER/log: CLOCK_MONOTONIC, word, detail. Words: poll, logon, kept, handed, held.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "poller")]

# ruff: noqa: E402 - the modules beside it are on the path now
from quick import QUICK
from rounds import CREDENTIAL, Bench, Session, Sleepy, work

from rmm.bus.jetstream import Login, open_bus
from rmm.core.escrow import BUCKET as GUARD
from rmm.errors import AuthError
from rmm.loop import SystemClock
from rmm.model.endpoint import Target
from rmm.model.lease import BUCKET
from rmm.model.settings import LockoutSettings
from rmm.poller.colleagues import Colleagues
from rmm.poller.gate import Gate
from rmm.poller.round import Round
from rmm.site.leases import Leases
from rmm.tiers.shard_store import open_shard

EACH = 12


class Diary:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)

    def note(self, word: str, detail: object = "") -> None:
        self._file.write(f"{time.monotonic():.4f} {word} {detail}\n")


class Endpoints(Sleepy):  # type: ignore[misc, unused-ignore]
    """Log on, stay for a moment."""

    def __init__(self, gate: Gate, diary: Diary, good: bool) -> None:
        super().__init__(lambda _: 0.0)
        self.gate = gate
        self.diary = diary
        self.good = good

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Session]:
        self.diary.note("poll", target.endpoint)
        async with self.gate.attempt(CREDENTIAL, target.endpoint) as attempt:
            self.diary.note("logon", target.endpoint)
            await asyncio.sleep(0.01)
            if not self.good:
                attempt.rejected()
                raise AuthError("no")
            attempt.accepted()
        await asyncio.sleep(0.15)
        yield Session()


class Outlet:
    def __init__(self, leases: Leases, diary: Diary) -> None:
        self._leases = leases
        self._diary = diary

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        self._diary.note("handed", f"{shard} {self._leases.fence_of(site, shard)}")

    async def committed(self, site: str, shard: int) -> bool:
        return True


async def main(url: str, folder: Path, collector: str, shards: int, good: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    diary, clock = Diary(folder / "log"), SystemClock()
    async with open_bus(Login(urls=(url,))) as bus, contextlib.AsyncExitStack() as stack:
        leases = Leases(bus.keys(BUCKET, ttl_s=QUICK.ttl), "hq", collector, shards, terms=QUICK, data=folder)
        colleagues = Colleagues(
            bus.keys(GUARD), "hq", collector, folder, clock, LockoutSettings(), lambda: leases.members
        )
        await stack.enter_async_context(leases.running())
        await stack.enter_async_context(colleagues.running())
        transport = Endpoints(Gate(folder, clock, colleagues=colleagues), diary, good)
        bench = Bench(folder, transport, concurrency=8, timeout=20)
        current: list[Round] = []

        def lost(site: str, shard: int) -> None:
            for one in current:
                one.drop(site, shard)

        leases.on_loss(lost)
        seen: set[int] = set()
        number = 0
        while True:
            held = set(leases.held())
            for shard in sorted(held - seen):
                diary.note("held", shard)
            seen = held
            mine = [one for one in work(shards, EACH) if one.shard in held]
            number += 1
            one = Round(
                bench.kit(f"{collector}{number}", clock), data=folder,
                open_store=lambda site, shard: open_shard(folder, site, shard, fields={}, now=clock.now),
                outlet=Outlet(leases, diary), mode="all", fence=leases,
                on_observation=lambda observation: diary.note("kept", observation.endpoint),
            )  # fmt: skip
            current[:] = [one]
            with contextlib.ExitStack() as using:
                for shard in mine:
                    using.enter_context(leases.using(shard.shard))
                await one.run(mine)
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    arguments: Any = sys.argv
    asyncio.run(main(arguments[1], Path(arguments[2]), arguments[3], int(arguments[4]), len(arguments) < 6))
