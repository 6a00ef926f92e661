"""Bits that turn over on the disk: in each kind of file, at places that a seed gives.

What is found is kept aside or told by an error, and the rest goes on. What nothing can find is counted: SQLite has no
checksums over its pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from rmm.errors import RmmError, TierError
from rmm.tiers import hot_json
from rmm.tiers.archive import archiver, upkeep
from rmm.tiers.archive.files import folder_of
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.fleet_sqlite.reader import FleetFile
from tests.crash import cycle, judge, sweep
from tests.crash.disk import Killed, Tree, build, tree
from tests.crash.judge import EVER, Expected
from tests.crash.truth import CORES, OLD, SERVICES, SITES, minute_of, moment, state, switches, util

KINDS: dict[str, Callable[[str], bool]] = {
    "hot": lambda path: path.startswith("data/hot/") and path.endswith(".json"),
    "spool": lambda path: fnmatch(path, "data/spool/*.spool"),
    "cold": lambda path: fnmatch(path, "data/cold/*.sqlite") and path.count("/") == 3,
    "merged": lambda path: fnmatch(path, "data/cold/*.sqlite") and path.count("/") == 4,
    "cold WAL": lambda path: path.startswith("data/cold/") and path.endswith("-wal"),
    "fleet": lambda path: path == "data/fleet.sqlite",
    "fleet WAL": lambda path: path == "data/fleet.sqlite-wal",
    "archive": lambda path: fnmatch(path, "data/archive/*.parquet"),
    "archive, never verified": lambda path: fnmatch(path, "data/archive/*.parquet"),
    "archive's notes": lambda path: fnmatch(path, "data/archive/*.b2") or fnmatch(path, "data/archive/*.json"),
}

# Where not everything can be found: SQLite's pages have no checksums, and a WAL ends at the first frame that is wrong;
# the checksums of the archive are compared by `rmm archive verify`, and not each time a value is read.
UNVERIFIED = "archive, never verified"
WITHOUT_CHECKSUM = ("cold", "merged", "cold WAL", "fleet", "fleet WAL", UNVERIFIED)

UNHARMED, FOUND, SILENT, STUCK = "nothing changed by it", "found", "NOT FOUND, another value", "STUCK"


@dataclass
class Count:
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)  # kind -> outcome -> how often
    findings: list[tuple[str, list[str]]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Store:
    """A store as it is found at one moment of the cycle, and what was promised then."""

    moment: str
    found: Tree
    expected: Expected


def stores(recording: sweep.Recording, every: int) -> Iterator[Store]:
    """What kills leave: with files at rest, with WALs, with observations in the spool."""
    for point, replay in recording.replay():
        if point.number % every == 0:
            yield Store(point.step, tree(replay.disk, Killed()), Expected.of(recording.before, point.said))


def run(recording: sweep.Recording, count: int, seed: int, every: int = 120) -> Count:
    """`count` flips of each kind, spread over the moments of the cycle at which there are files of it."""
    result, began = Count(), time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="rmm-flips-", dir=sweep.memory()))
    every_store = list(stores(recording, every))
    try:
        for kind, belongs in KINDS.items():
            outcomes = result.outcomes[kind] = Counter()
            having = [
                one for one in every_store if any(content and belongs(path) for path, content in one.found.items())
            ]
            for number in range(count if having else 0):
                chance = random.Random(f"{seed}/{kind}/{number}")
                store = chance.choice(having)
                where, flipped = _flipped(store.found, belongs, chance)
                outcome, wrong = judged(place, flipped, store.expected, verified=kind != UNVERIFIED)
                outcomes[outcome] += 1
                told = (f"{where}, {store.moment}: {outcome}", wrong)
                if outcome == STUCK or (outcome == SILENT and kind not in WITHOUT_CHECKSUM):
                    result.findings.append(told)
    finally:
        shutil.rmtree(place, ignore_errors=True)
        result.seconds = time.monotonic() - began
    return result


def _flipped(found: Tree, belongs: Callable[[str], bool], chance: random.Random) -> tuple[str, Tree]:
    paths = sorted(path for path, content in found.items() if content and belongs(path))
    path = chance.choice(paths)
    content = bytearray(found[path] or b"")
    place, bit = chance.randrange(len(content)), chance.randrange(8)
    for _ in range(30):  # most of a small database is empty, and nobody reads it
        if content[place]:
            break
        place = chance.randrange(len(content))
    content[place] ^= 1 << bit
    return f"bit {bit} of byte {place} of {path}", {**found, path: bytes(content)}


def judged(place: Path, flipped: Tree, expected: Expected, *, verified: bool = True) -> tuple[str, list[str]]:
    """(outcome, what is wrong or what told it); `verified` is whether `rmm archive verify` runs before all is read."""
    folder = place / "found"
    folder.mkdir()
    noted = _Noted()
    logging.getLogger("rmm").addHandler(noted)
    try:
        build(flipped, folder)
        return asyncio.run(_outcome(folder / "data", expected, noted, verified=verified))
    except (RmmError, OSError, sqlite3.Error, AssertionError, KeyError, ValueError, TypeError, AttributeError) as error:
        return STUCK, [f"{type(error).__name__}: {error}"]
    finally:
        logging.getLogger("rmm").removeHandler(noted)
        shutil.rmtree(folder)


class _Noted(logging.Handler):
    """What the product said."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


async def _outcome(data: Path, expected: Expected, noted: _Noted, *, verified: bool) -> tuple[str, list[str]]:
    log = os.open(data.with_name("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    run = cycle.Run(data, log, minute=expected.minute + 1000, epoch="judge")
    told: list[str] = []
    # A round may break off on what it finds, once: the next one works.
    for attempt in range(3):
        try:
            await judge.recover(run)
            for site in SITES:
                await cycle.one_round(run, site)
            break
        except RmmError as error:
            told.append(f"{error.code}: {error}")
            if attempt == 2:
                return STUCK, told
    os.close(log)
    if verified and folder_of(data, OLD).exists():
        told += _archive(data)
    missing, wrong, errors = _read(data, expected)
    wrong += _newest(data, run.minute)
    if wrong:
        return SILENT, wrong
    aside = [path.name for path in data.rglob("*damaged*")]
    found = bool(told or errors or aside or noted.said)
    if missing and not found:
        return SILENT, missing
    return (FOUND if found else UNHARMED), [*told, *errors, *aside, *missing]


def _archive(data: Path) -> Iterator[str]:
    """What verifying tells, and the next run; the archive of a site waits while a file of its history is damaged."""
    yield from (f"{one.path.name}: {one.why}" for one in upkeep.verify(data, OLD) if one.state != "ok")
    try:
        archiver.run(data, OLD, cycle.ARCHIVED + 1)
    except TierError as error:
        if error.code != "tier.damaged":
            raise
        yield f"{error.code}: {error}"


def _read(data: Path, expected: Expected) -> tuple[list[str], list[str], list[str]]:
    """(what is missing, what reads as another value than it was, what was told as an error)."""
    missing: list[str] = []
    wrong: list[str] = []
    errors: list[str] = []
    for site in SITES:
        reader = ColdReader(data, site)
        for endpoint in SITES[site]:
            try:
                seen = _seen(reader, endpoint, wrong)
                if lost := sorted(expected.of_endpoint(endpoint) - seen):
                    missing.append(f"{endpoint}: minutes {lost[:5]}")
                _samples(reader, endpoint, seen, missing, wrong)
                wrong += _changes(reader, endpoint)
            except RmmError as error:
                errors.append(str(error))
    return missing, wrong, errors


def _seen(reader: ColdReader, endpoint: str, wrong: list[str]) -> set[int]:
    seen = set()
    for row in reader.statuses(endpoint, **EVER):
        if (row["status"], row["fault"], row["duration_ms"]) != ("OK", "", 250.0) or row["at"].second:
            wrong.append(f"{endpoint}: {row}")
        seen.add(minute_of(row["at"]))
    return seen


def _samples(reader: ColdReader, endpoint: str, seen: set[int], missing: list[str], wrong: list[str]) -> None:
    for core in range(CORES):
        for name, true in (("util_pct", util), ("switches", switches)):
            samples = reader.history(endpoint, f"cpu.{name}[{core}]", **EVER)
            if lost := sorted(seen - {minute_of(at) for at, _ in samples}):
                missing.append(f"{endpoint}: {name}[{core}] of minutes {lost[:5]}")
            other = [(at, value) for at, value in samples if value != true(endpoint, minute_of(at), core)]
            wrong += [f"{endpoint}: {name}[{core}] {other[:3]}"] if other else []


def _changes(reader: ColdReader, endpoint: str) -> Iterator[str]:
    """A value that a change tells of and that no reading had at that time."""
    names = {f"svc{n}": n for n in range(SERVICES)}
    for one in reader.changes(endpoint, **EVER):
        name, field_name, value = one["key"], one["field"], one["value"]
        right = one["collector"] == "services" and name in names
        if right and field_name == "state":
            right = value == state(endpoint, minute_of(one["at"]), names[name])
        elif right:
            right = (field_name, value) in (("account", "LocalSystem"), ("", True))
        if not right:
            yield f"{endpoint}: {one}"


def _newest(data: Path, minute: int) -> list[str]:
    """What the round after the flip has stored is right, everywhere."""
    wrong = []
    fleet = {row["endpoint"]: row["observed_at"] for row in FleetFile(data).endpoints()}
    for site in SITES:
        at = minute if site != OLD else minute - 1
        states = hot_json.load(data, site, 0)
        for endpoint in SITES[site]:
            if endpoint not in states or states[endpoint].observed_at < moment(at):
                wrong.append(f"hot: {endpoint} is not at minute {at}")
            if fleet.get(endpoint, "") < moment(at).isoformat(timespec="microseconds"):
                wrong.append(f"fleet: {endpoint} is not at minute {at}")
            with contextlib.suppress(RmmError):
                values = ColdReader(data, site).values(endpoint, "services.state[svc0]", **EVER)
                if not values or values[-1][1] != state(endpoint, at, 0):
                    wrong.append(f"cold: {endpoint} svc0 is {values[-1:]}")
    return wrong
