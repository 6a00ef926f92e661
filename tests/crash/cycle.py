"""One full cycle of the store: what the harness records, and what it kills.

`python -m tests.crash.cycle DATA LOG` runs STEPS once over a store that `prepare` made. A step is one line of that
table; what it has acknowledged, and what it is about to forget, it says to the log as `Run.say` tells.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiosqlite

from rmm.coordinator import Coordinator
from rmm.core.shard import shard_of
from rmm.durable import hold
from rmm.model.observation import Observation
from rmm.model.settings import Retention
from rmm.tiers import layout, migrations, shard_store, spool
from rmm.tiers.archive import archiver, parquet, upkeep
from rmm.tiers.archive.files import day_of
from rmm.tiers.shard_store import ShardStore, open_shard
from rmm.tiers.store.backup import backup
from rmm.tiers.store.restore import restore
from tests.crash.truth import FIELDS, NEW, OLD, SITES, START, minute_of, moment, observe

KEEP_DAYS = 30
EVERYTHING = Retention(samples=0, changes=0, hourly=0, daily=0)
KEEP = Retention(samples=KEEP_DAYS, changes=KEEP_DAYS)
KEEP_ARCHIVED = Retention(samples=KEEP_DAYS, changes=0)  # changes are not archived
ARCHIVED = day_of(START.date().isoformat())
LATE = 60  # a minute of that day, which no round observes
OLDEST = Path(__file__).with_name("oldest")


@dataclass
class Run:
    """A cycle at work over `data`. `log` is a file outside of it, which the harness believes."""

    data: Path
    log: int
    minute: int = 10  # of the newest observation; the prepared store has those before
    epoch: str = "e1"
    shards: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SITES, 1))

    def say(self, **facts: Any) -> None:
        """One line, in one system call: `acknowledged` [[endpoint, minute], ...] once they are, `forgets` a minute
        before anything older than that is forgotten, `minute` the newest that is about to be observed, `restored`
        whether the archived day is in the store again, `step` a name as it begins."""
        os.writev(self.log, [json.dumps(facts).encode() + b"\n"])

    def now(self) -> datetime:
        return moment(self.minute)

    def monotonic(self) -> float:
        return self.minute * 60.0

    def open(self, site: str, shard: int, keep: Retention | None = None) -> AbstractAsyncContextManager[ShardStore]:
        archiving = keep is KEEP_ARCHIVED
        return open_shard(self.data, site, shard, fields=FIELDS, now=self.now, keep=keep, archiving=archiving)

    def coordinator(self) -> AbstractAsyncContextManager[Coordinator]:
        return Coordinator.open(self.data, rules=(), keys={}, channels=(), clock=self)

    def place(self, site: str) -> Callable[[str], int]:
        return lambda endpoint: shard_of(endpoint, self.shards[site])

    def observations(self, site: str, shard: int, minute: int) -> list[Observation]:
        names = [name for name in SITES[site] if self.place(site)(name) == shard]
        return [observe(site, name, minute, shard=shard, epoch=self.epoch) for name in names]

    async def acknowledge(self, store: ShardStore, observations: Iterable[Observation]) -> list[bytes]:
        """All at once, as a round does, so that they share writes and fsyncs."""

        async def one(observation: Observation) -> bytes:
            record = await store.acknowledge(observation, None)
            self.say(acknowledged=[[observation.endpoint, minute_of(observation.observed_at)]])
            return record

        return await asyncio.gather(*(one(observation) for observation in observations))


async def one_round(
    run: Run, site: str, *, minutes: int = 1, commits: bool = True, keep: Retention | None = None
) -> None:
    """What `rmm poll` does with its stores, without endpoints; `commits` is whether the coordinator does."""
    first, run.minute = run.minute + 1, run.minute + minutes
    run.say(minute=run.minute)
    with ExitStack() as locks:
        for shard in range(run.shards[site]):
            locks.enter_context(hold(run.data / "locks" / f"{site}-{shard}.lock", f"shard {shard}"))
        async with run.coordinator() as coordinator:
            for shard in range(run.shards[site]):
                async with run.open(site, shard, keep) as store:
                    if left := list(store.pending()):
                        await coordinator.fold(left)
                    for minute in range(first, run.minute + 1):
                        records = await run.acknowledge(store, run.observations(site, shard, minute))
                        await store.flush()
                        if commits:
                            await coordinator.fold(records)
                    if commits:
                        await store.release()


async def rests(run: Run, site: str) -> None:
    """A shard that waits for its last endpoint: flushed twice and put to rest before the release."""
    run.minute += 1
    run.say(minute=run.minute)
    async with run.coordinator() as coordinator, run.open(site, 0) as store:
        early, late = (lot := run.observations(site, 0, run.minute))[:-1], lot[-1:]
        records = await run.acknowledge(store, early)
        await store.rest()
        records += await run.acknowledge(store, late)
        await coordinator.fold(records)
        await store.flush()
        await store.release()


async def reshard(run: Run, site: str, count: int) -> None:
    """The site's number of shards is changed; what is spooled is delivered first."""
    run.shards[site] = count
    async with run.coordinator() as coordinator:

        class Outlet:
            async def publish(self, site: str, shard: int, data: bytes) -> None:
                await coordinator.fold([data])

            async def committed(self, site: str, shard: int) -> bool:
                return True

        outlet: Any = Outlet()
        await layout.relocate(run.data, site, count, run.place(site), fields=FIELDS, now=run.now, outlet=outlet)


async def later(run: Run, site: str) -> None:
    """A month has passed: the oldest is forgotten on leaving, on the third day since, when the clock is believed."""
    run.minute = 10 + (KEEP_DAYS - 2) * 24 * 60
    await one_round(run, site)
    run.minute = 10 + KEEP_DAYS * 24 * 60
    run.say(forgets=run.minute + 2 - KEEP_DAYS * 24 * 60)
    await one_round(run, site, minutes=2, keep=KEEP)


async def after(run: Run, minutes: int) -> None:
    """The round after some time, with what rounds do about hours and days that are over."""
    run.minute += minutes
    await one_round(run, OLD, keep=EVERYTHING)


async def late(run: Run, site: str) -> None:
    """What some endpoints said on a day that is merged and archived comes now, and is merged into it."""
    async with run.coordinator() as coordinator, run.open(site, 0, EVERYTHING) as store:
        records = await run.acknowledge(store, run.observations(site, 0, LATE)[::2])
        await coordinator.fold(records)
        await store.flush()
        await store.release()


async def archived(run: Run) -> None:
    """The first day into the archive, or anew when there is more of it."""
    await asyncio.to_thread(archiver.run, run.data, OLD, ARCHIVED + 1)


async def archived_goes(run: Run) -> None:
    """The week of the first day is too old, and the archive has it: its file goes. Nothing is forgotten by that."""
    run.minute = 10 + (KEEP_DAYS + 1) * 24 * 60
    await one_round(run, OLD, keep=KEEP_ARCHIVED)


async def brought_back(run: Run) -> None:
    """The first day out of the archive into the store."""
    await asyncio.to_thread(upkeep.restore, run.data, OLD, [ARCHIVED])
    run.say(restored=True)


async def taken_away(run: Run) -> None:
    run.say(restored=False)
    await asyncio.to_thread(upkeep.forget_restored, run.data, OLD)


async def backed_up(run: Run) -> None:
    """All of it into a folder beside the store, while a shard is open."""
    async with run.open(OLD, 0):
        folders = run.data, run.data.with_name("config"), backup_of(run.data)
        await asyncio.to_thread(backup, *folders, archive=True)


async def restored(run: Run) -> None:
    """The backup takes the store's place; nothing was observed since it was made."""
    await asyncio.to_thread(restore, backup_of(run.data), run.data, [(OLD, 0), (NEW, 0)], force=True)


def backup_of(data: Path) -> Path:
    return data.with_name("backup")


Step = Callable[[Run], Awaitable[None]]

STEPS: Sequence[tuple[str, Step]] = (
    ("migrate the oldest schema in a first round", lambda run: one_round(run, OLD)),
    ("the first round of a new site", lambda run: one_round(run, NEW)),
    ("a long round", lambda run: one_round(run, OLD, minutes=5)),
    ("a shard that rests", lambda run: rests(run, OLD)),
    ("a round that the coordinator does not commit", lambda run: one_round(run, OLD, minutes=2, commits=False)),
    ("the next round recovers it", lambda run: one_round(run, OLD)),
    ("another round that is not committed", lambda run: one_round(run, OLD, commits=False)),
    ("more shards", lambda run: reshard(run, OLD, 3)),
    ("a round over three shards", lambda run: one_round(run, OLD, minutes=2)),
    ("fewer shards", lambda run: reshard(run, OLD, 1)),
    ("hours are sealed", lambda run: after(run, 80)),
    ("a day is merged", lambda run: after(run, 27 * 60)),
    ("hours are sealed beside merged days", lambda run: after(run, 80)),
    ("a merged day is archived", archived),
    ("what comes late is merged into it", lambda run: late(run, OLD)),
    ("it is archived anew", archived),
    ("a backup", backed_up),
    ("it is restored", restored),
    ("retention", lambda run: later(run, OLD)),
    ("retention of what is archived", archived_goes),
    ("a day is restored from the archive", brought_back),
    ("a round beside restored days", lambda run: one_round(run, OLD)),
    ("restored days are removed", taken_away),
)


def prepare(data: Path) -> list[tuple[str, int]]:
    """A store as the first released version left it; returns what it had acknowledged."""
    for name in ("cold", "fleet"):
        path = data / "cold" / OLD / "0.sqlite" if name == "cold" else data / "fleet.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA page_size = 16384" if name == "cold" else "PRAGMA page_size = 4096")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript((OLDEST / f"{name}.sql").read_text(encoding="utf-8"))
        connection.close()
    hot = data / "hot" / OLD / "0.json"
    hot.parent.mkdir(parents=True)
    hot.write_bytes((OLDEST / "hot.json").read_bytes())
    return prepared()


def prepared() -> list[tuple[str, int]]:
    """What such a store has acknowledged."""
    return [(endpoint, minute) for endpoint in SITES[OLD] for minute in (8, 9, 10)]


def small_limits() -> None:
    """What a large fleet reaches in hours is reached by a small cycle: segments, batches and checkpoints."""
    spool.SEGMENT_BYTES = 6_000
    shard_store.BATCH = 4
    parquet.BLOCK = 4
    connect = aiosqlite.connect

    async def checkpointing(*arguments: Any, **options: Any) -> aiosqlite.Connection:
        connection = await connect(*arguments, **options)
        await connection.execute("PRAGMA wal_autocheckpoint = 12")
        return connection

    class Module:
        connect = staticmethod(checkpointing)
        Connection = aiosqlite.Connection

    migrations.aiosqlite = Module  # type: ignore[assignment,attr-defined]


async def whole(run: Run) -> None:
    for name, step in STEPS:
        run.say(step=name)
        await step(run)
    run.say(step="end")


async def forever(run: Run) -> None:
    """Rounds without end, in an order of chance, by the configuration that the last process had."""
    chance = random.Random()
    run.say(start=run.epoch)
    await reshard(run, OLD, chance.choice((1, 1, 2, 3)))  # at the start, as `rmm poll` does
    while True:
        for name, work in chance.sample(UNENDING, len(UNENDING)):
            run.say(step=name)
            run.minute += chance.choice((0, 0, 7, 59))
            await work(run)


async def long_round(run: Run) -> None:
    """With retention at its end."""
    run.say(forgets=run.minute + 3 - KEEP_DAYS * 24 * 60)
    await one_round(run, OLD, minutes=3, keep=KEEP)


async def archives(run: Run) -> None:
    """A day that is merged and not archived as it is, if there is one."""
    await asyncio.to_thread(archiver.run, run.data, OLD, day_of(run.now().date().isoformat()), most=1)


UNENDING: Sequence[tuple[str, Step]] = (
    ("a round", lambda run: one_round(run, OLD)),
    ("a round of the new site", lambda run: one_round(run, NEW)),
    ("a long round", long_round),
    ("a round that is not committed", lambda run: one_round(run, OLD, commits=False)),
    ("a change of shards", lambda run: reshard(run, OLD, random.choice((1, 2, 3)))),
    ("the archive", archives),
)


def newest(log: Path) -> int:
    """The newest minute that may have been observed."""
    end = log.read_bytes()[-100_000:].partition(b"\n")[2] if log.exists() else b""
    return max((one["minute"] for one in said(end) if "minute" in one), default=10)


def said(log: bytes) -> Iterator[dict[str, Any]]:
    """What a log holds; a line that is not whole was never said."""
    for line in log.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def main() -> None:
    data, log = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    small_limits()
    asyncio.run(whole(Run(data, log)))


if __name__ == "__main__":
    main()
