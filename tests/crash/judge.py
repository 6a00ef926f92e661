"""What has to hold in a store that was found after a crash, told by the product's own opening and reading code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmm.errors import RmmError
from rmm.tiers import hot_json
from rmm.tiers.archive import archiver, upkeep
from rmm.tiers.archive.files import folder_of
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.cold_sqlite.sealed import RESTORED
from rmm.tiers.fleet_sqlite.reader import FleetFile
from rmm.tiers.store.backup import read_manifest, verify
from rmm.tiers.store.places import BEFORE, RESTORING
from rmm.tiers.store.restore import INCOMING
from tests.crash import cycle, direct
from tests.crash.truth import (
    CORES,
    OLD,
    SERVICES,
    SITES,
    Ident,
    minute_of,
    moment,
    state,
    switches,
    util,
)

EVER = {"since": moment(-10_000_000), "until": moment(10_000_000)}


@dataclass
class Expected:
    """What was promised until the crash. `forgotten_before`: a minute; what is older may be gone."""

    acknowledged: set[Ident] = field(default_factory=set)
    forgotten_before: int = -1
    minute: int = 0  # nothing newer can be in the store
    restored: bool = False  # the archived day was brought back, and nobody has begun to take it away

    @classmethod
    def of(cls, before: Iterable[Ident], said: Iterable[dict[str, Any]]) -> Expected:
        """`before`: what was there when the cycle began."""
        expected = cls(set(before))
        for one in said:
            expected.acknowledged |= {(endpoint, minute) for endpoint, minute in one.get("acknowledged", ())}
            expected.forgotten_before = max(expected.forgotten_before, one.get("forgets", -1))
            expected.restored = one.get("restored", expected.restored)
            expected.minute = max(expected.minute, one.get("minute", 0))
        return expected

    def of_endpoint(self, endpoint: str) -> set[int]:
        return {m for name, m in self.acknowledged if name == endpoint and m >= self.forgotten_before}

    def newest(self, endpoint: str) -> int:
        return max((m for name, m in self.acknowledged if name == endpoint), default=-1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """The product's warnings are what is expected here."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def wrongs(data: Path, expected: Expected, *, powerless: bool) -> list[str]:
    """Everything that is wrong with the store; empty when it is as it must be.

    `powerless`: power was lost, so that a record which was never acknowledged may look damaged; after a mere kill
    nothing may.
    """
    with quiet():
        try:
            if (data / RESTORING).exists():  # a poll refuses, and says that the restore has to be run again
                asyncio.run(cycle.restored(cycle.Run(data, -1)))
            found = [
                *_as_found(data),
                *_backup(data),
                *asyncio.run(_after_opening(data, expected, powerless=powerless)),
            ]
        except (RmmError, OSError, sqlite3.Error, AssertionError, KeyError, ValueError, TypeError) as error:
            return [f"{type(error).__name__}: {error}"]
    return found


def _as_found(data: Path) -> list[str]:
    """Before anybody writes: files are whole, and the hot tier knows of nothing that cold does not have."""
    wrong = [f"{path.relative_to(data)}: {what}" for path in _databases(data) for what in integrity(path)]
    for site in SITES:
        reader = ColdReader(data, site)
        for shard in hot_json.shards_of(data, site):
            for name, one in hot_json.load(data, site, shard, owner=False).items():
                if not reader.statuses(name, since=one.observed_at, until=one.observed_at):
                    wrong.append(f"hot is ahead of cold: {name} at minute {minute_of(one.observed_at)}")
    return wrong


async def _after_opening(data: Path, expected: Expected, *, powerless: bool) -> list[str]:
    run = _resumed(data)
    run.minute = max(run.minute, expected.minute)
    await recover(run)
    wrong = list(_fleet(data, expected, SITES))
    # The next round works, nothing is left behind by it, and then all is there.
    run.minute = expected.minute + 1000
    for site in SITES:
        await cycle.one_round(run, site, keep=cycle.EVERYTHING)
    os.close(run.log)
    wrong += await asyncio.to_thread(_archive, data)
    wrong += _restored(data) if expected.restored else []
    after = Expected(expected.acknowledged | set(_said(run)), expected.forgotten_before)
    with direct.reading():
        wrong += [what for site in SITES for what in history(data, site, after)]
    wrong += _fleet(data, after, SITES)
    wrong += _left_behind(data, powerless=powerless)
    wrong += [f"{path.relative_to(data)}: {what}" for path in _databases(data) for what in integrity(path)]
    return wrong


def _backup(data: Path) -> list[str]:
    """A backup that has its name is whole."""
    folder = cycle.backup_of(data)
    if folder.exists():
        verify(folder, read_manifest(folder))
    return []


def _restored(data: Path) -> list[str]:
    """The archived day of every endpoint is in the store again."""
    count = 0
    for path in (data / "cold" / OLD / RESTORED).glob("raw-*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            count += connection.execute("SELECT count(*) FROM segment").fetchone()[0]
    return [] if count == len(SITES[OLD]) else [f"the day of {count} endpoints is restored"]


def _archive(data: Path) -> list[str]:
    """Where there is an archive, its next run works, and everything in it is as it says."""
    if not folder_of(data, OLD).exists():
        return []
    archiver.run(data, OLD, cycle.ARCHIVED + 1)
    looked = upkeep.verify(data, OLD)
    wrong = [f"the archive: {one.path.name} is {one.state}: {one.why}" for one in looked if one.state != "ok"]
    return wrong if looked else ["the archive is empty after a run"]


def _resumed(data: Path) -> cycle.Run:
    """Goes on as the next `rmm poll` would, with a log of its own and the number of shards that is on disk."""
    log = os.open(data.with_name("judge.log"), os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    return cycle.Run(data, log, epoch="judge")


def _said(run: cycle.Run) -> Iterator[Ident]:
    for one in cycle.said(run.data.with_name("judge.log").read_bytes()):
        yield from ((endpoint, minute) for endpoint, minute in one.get("acknowledged", ()))


async def recover(run: cycle.Run) -> None:
    """The layout that the configuration wants, and then each shard's opening code, as a round begins."""
    for site in SITES:
        await cycle.reshard(run, site, 1)
        async with run.coordinator() as coordinator, run.open(site, 0) as store:
            await coordinator.fold(list(store.pending()))
            await store.flush()
            await store.release()


def integrity(path: Path) -> list[str]:
    """What SQLite finds wrong with a file."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return [] if found == ["ok"] else found[:3]


def _databases(data: Path) -> list[Path]:
    return sorted(path for path in data.rglob("*.sqlite") if path.stat().st_size and _in_use(path))


def _in_use(path: Path) -> bool:
    """Not what a restore put aside, nor what one that was broken off has copied so far."""
    return not any(part == INCOMING or part.startswith(BEFORE) for part in path.parts)


def history(data: Path, site: str, expected: Expected) -> Iterator[str]:
    """Each acknowledged observation is there once, with its values; and nothing that was never made."""
    reader = ColdReader(data, site)
    for endpoint in SITES[site]:
        wanted = expected.of_endpoint(endpoint)
        counts = Counter(minute_of(row["at"]) for row in reader.statuses(endpoint, **EVER))
        if missing := sorted(wanted - counts.keys()):
            yield f"{endpoint}: lost minutes {missing[:5]}"
        if doubled := sorted(minute for minute, count in counts.items() if count > 1):
            yield f"{endpoint}: doubled minutes {doubled[:5]}"
        yield from _samples(reader, endpoint, set(counts))
        yield from _changes(reader, endpoint, wanted)
    if twice := list(_doubled_rows(data, site)):
        yield f"rows that are there twice: {twice[:3]}"


def _samples(reader: ColdReader, endpoint: str, minutes: set[int]) -> Iterator[str]:
    """One series of each endpoint, decimals of one and whole numbers of the next: they are packed differently."""
    even = endpoint[-1] in "02468"
    core, name, true = (0, "util_pct", util) if even else (CORES - 1, "switches", switches)
    read = [(minute_of(at), value) for at, value in reader.history(endpoint, f"cpu.{name}[{core}]", **EVER)]
    if read != [(minute, true(endpoint, minute, core)) for minute in sorted(minutes)]:
        yield f"{endpoint}: other samples of {name}[{core}]: {read[:3]}"


def _changes(reader: ColdReader, endpoint: str, minutes: set[int]) -> Iterator[str]:
    told = [(minute_of(one["at"]), one) for one in reader.changes(endpoint, **EVER) if one["field"] == "state"]
    for service in range(SERVICES):
        times = [minute for minute, one in told if one["key"] == f"svc{service}"]
        states = [one["value"] for _, one in told if one["key"] == f"svc{service}"]
        for minute in minutes:
            stood = states[bisect(times, minute) - 1 :][:1] if times and times[0] <= minute else []
            if stood != [state(endpoint, minute, service)]:
                yield f"{endpoint}: svc{service} at minute {minute} was {stood}"


def _doubled_rows(data: Path, site: str) -> Iterator[tuple[str, int]]:
    """Readers count a row once that two files hold, so look behind them."""
    rows: Counter[tuple[str, int]] = Counter()
    for path in (data / "cold" / site).glob("*.sqlite"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                continue
            ask = "SELECT e.id, o.at FROM observation AS o JOIN endpoint AS e ON e.no = o.endpoint"
            rows.update((endpoint, at) for endpoint, at in connection.execute(ask))
    return (place for place, count in rows.items() if count > 1)


def _fleet(data: Path, expected: Expected, sites: Iterable[str]) -> Iterator[str]:
    """The coordinator and the hot tier know the newest of every endpoint."""
    rows = {row["endpoint"]: row for row in FleetFile(data).endpoints()}
    for site in sites:
        hot = hot_json.load(data, site, 0)
        for endpoint in SITES[site]:
            newest = expected.newest(endpoint)
            if newest < 0:
                continue
            if endpoint not in rows or rows[endpoint]["observed_at"] < moment(newest).isoformat(
                timespec="microseconds"
            ):
                yield f"the coordinator does not know {endpoint} at minute {newest}"
            if endpoint not in hot or hot[endpoint].observed_at < moment(newest):
                yield f"the hot tier does not know {endpoint} at minute {newest}"


def _left_behind(data: Path, *, powerless: bool) -> list[str]:
    temporary = [path for path in data.rglob("*.tmp") if not path.name.startswith(f".{RESTORING}.")]  # 60 bytes
    left = [str(path.relative_to(data)) for path in temporary]
    left += [
        str(path.relative_to(data)) for name in ("*.spool", ".*.work*") for path in data.rglob(name) if _in_use(path)
    ]
    for path in data.rglob("*damaged*"):
        if _in_use(path) and not (powerless and path.is_relative_to(data / "spool")):
            left.append(str(path.relative_to(data)))
    return [f"left behind: {left}"] if left else []
