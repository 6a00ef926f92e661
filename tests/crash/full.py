"""Disks that are full, and read-only, at every step of the cycle: a small file system in memory, which needs root."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from rmm.errors import RmmError
from tests.crash import cycle
from tests.crash.disk import Killed, Tree, loaded, tree
from tests.crash.judge import Expected, quiet, wrongs
from tests.crash.truth import Ident

ROOM = (0, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256)  # kB that are left when a step begins
SIZE_MB = 16

READ_ONLY = -1
CODES = ("disk.full", "disk.read_only")  # by which the product may tell it


@dataclass
class Shortage:
    """What became of the steps. `outcomes`: ended, or the code of the error that told it -> how often."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, list[str]]] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Snapshot:
    """The store before a step, and the run that is about to make it."""

    name: str
    folder: Path
    log: bytes
    run: cycle.Run


def why_not() -> str:
    """Why no small file system can be mounted here; empty when one can."""
    if sys.platform != "linux":
        return "mounting a small file system in memory is for Linux"
    if os.geteuid() != 0:
        return "mounting needs root"
    with tempfile.TemporaryDirectory(prefix="rmm-mount-") as folder:
        if error := _mount("-t", "tmpfs", "-o", "size=1m", "none", folder):
            return f"nothing can be mounted here: {error}"
        subprocess.run(["umount", folder], check=True)
    return ""


def _mount(*options: str) -> str:
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    return done.stderr.strip() or f"mount ended with {done.returncode}" if done.returncode else ""


@contextmanager
def small(folder: Path) -> Iterator[Path]:
    """A file system of SIZE_MB in a new folder."""
    folder.mkdir()
    if error := _mount("-t", "tmpfs", "-o", f"size={SIZE_MB}m", "none", str(folder)):
        raise OSError(error)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def run(folder: Path, rooms: Sequence[int] = ROOM, every: int = 1) -> Shortage:
    """Each `every`th step with each room, and read-only."""
    result, began = Shortage(), time.monotonic()
    with quiet():
        kept, before = asyncio.run(snapshots(folder))
    with small(folder / "small") as disk:
        for snapshot in kept[::every]:
            for room in (*rooms, READ_ONLY):
                _one(disk, snapshot, room, before, result)
    result.seconds = time.monotonic() - began
    return result


async def snapshots(folder: Path, count: int = len(cycle.STEPS)) -> tuple[list[Snapshot], list[Ident]]:
    """The first `count` steps of the cycle with room enough, kept before each."""
    data, log = folder / "data", folder / "log"
    before = cycle.prepare(data)
    run, found = cycle.Run(data, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)), []
    for number, (name, make) in enumerate(cycle.STEPS[:count]):
        kept = folder / f"before-{number}"
        shutil.copytree(data, kept / "data")
        if cycle.backup_of(data).exists():
            shutil.copytree(cycle.backup_of(data), cycle.backup_of(kept / "data"))
        found.append(Snapshot(name, kept, log.read_bytes(), replace(run, shards=dict(run.shards))))
        await make(run)
    os.close(run.log)
    return found, before


def _one(disk: Path, snapshot: Snapshot, room: int, before: Sequence[Ident], result: Shortage) -> None:
    place, log = disk / "found", disk.with_name("step.log")
    shutil.copytree(snapshot.folder, place)
    log.write_bytes(snapshot.log)
    was = tree(loaded(place), Killed())
    with _shortage(disk, room), quiet():
        outcome, wrong = step(snapshot, place / "data", log)
    if room == READ_ONLY and (outcome == "ended" or not _same(was, tree(loaded(place), Killed()))):
        wrong.append("a read-only disk was written")
    expected = Expected.of(before, cycle.said(log.read_bytes()))
    wrong += wrongs(place / "data", expected, powerless=False)
    result.outcomes[outcome] += 1
    if wrong:
        word = "read-only" if room == READ_ONLY else f"{room} kB left"
        result.findings.append((f"{word} at: {snapshot.name} ({outcome})", wrong))
    shutil.rmtree(place)


def _same(was: Tree, now: Tree) -> bool:
    return was == now


@contextmanager
def _shortage(disk: Path, room: int) -> Iterator[None]:
    filler = disk / "filler"
    if room == READ_ONLY:
        gc.collect()  # an error that is still about may keep a cursor, and with it a file that was closed, open
        assert not _mount("-o", "remount,ro", str(disk))
    else:
        stat = os.statvfs(disk)
        filler.write_bytes(bytes(max(0, stat.f_bavail * stat.f_frsize - room * 1024)))
    try:
        yield
    finally:
        assert not _mount("-o", "remount,rw", str(disk))
        filler.unlink(missing_ok=True)


def step(snapshot: Snapshot, data: Path, log: Path, codes: Sequence[str] = CODES) -> tuple[str, list[str]]:
    """Make the step: (how it ended, what is wrong with that); with an error it has to be one of these codes."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    run = replace(snapshot.run, data=data, log=descriptor, shards=dict(snapshot.run.shards))
    try:
        asyncio.run(dict(cycle.STEPS)[snapshot.name](run))  # type: ignore[arg-type]
    except RmmError as error:
        return error.code, [] if error.code in codes else [f"{error.code}: {error}"]
    except Exception as error:
        return type(error).__name__, [f"{type(error).__name__}: {error}"]
    finally:
        with suppress(OSError):
            os.close(descriptor)
    return "ended", []
