"""Every moment of a recorded cycle, and every way in which the disk can be found afterwards, judged."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash import cycle, direct, trace
from tests.crash.disk import Killed, KilledWithin, Loss, OnlyData, OnlyNames, Some, Tree, build, tree
from tests.crash.judge import Expected, wrongs
from tests.crash.replay import Point, Replay
from tests.crash.trace import Call
from tests.crash.truth import Ident

LeftOut = Callable[[Call, str], bool]  # a call that is not repeated, and its path


# Temporary files, DuckDB's, a backup in the making, what a restore has copied before it exchanges anything.
SCRAPS = re.compile(r"\.tmp$|\.work(\.wal)?$|^\.backup\.\d+\.part/|/\.restore\.part/")
ALL = range(1, sys.maxsize)


def nothing(_call: Call, _path: str) -> bool:
    return False


@dataclass
class Recording:
    """A cycle as it was recorded, and where: the paths in it are those of this folder."""

    folder: Path
    before: list[Ident]  # what the store had acknowledged when the recording began

    def replay(self, left_out: LeftOut = nothing, moments: range = ALL) -> Iterator[tuple[Point, Replay]]:
        """Each of these moments, with the disk as it was then."""
        replay = Replay(self.folder / "disk", self.folder / "log", left_out=left_out)
        replay.begin()
        for point in replay.points(trace.read(self.folder / "trace")):
            if point.number >= moments.stop:
                break
            if point.number >= moments.start:
                yield point, replay


def record(folder: Path) -> Recording:
    """Run the cycle once, recorded; the disk is put back to how it was before."""
    before = cycle.prepare(folder / "disk" / "data")
    shutil.copytree(folder / "disk", folder / "aside")
    command = [sys.executable, "-m", "tests.crash.cycle", str(folder / "disk" / "data"), str(folder / "log")]
    trace.record(command, folder / "trace")
    shutil.rmtree(folder / "disk")
    (folder / "aside").rename(folder / "disk")
    return Recording(folder, before)


@dataclass
class Verdict:
    """What a sweep found. `judged` and `states`: variant -> how often; `findings`: (where, what is wrong)."""

    points: int = 0
    states: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, list[str]]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Verdict) -> None:
        """What another piece of the same sweep found."""
        self.points += other.points
        self.states += other.states
        self.judged += other.judged
        self.findings += other.findings
        self.seconds += other.seconds


def losses(point: Point, seeds: int, seed: int) -> Iterator[tuple[str, Loss]]:
    """Variant and what is lost; all but the first two are losses of power."""
    yield "killed", Killed()
    yield "killed within a write", KilledWithin(point.ended, f"{seed}/{point.number}")
    yield "power: nothing more than what was synced", Loss()
    yield "power: names kept, data lost", OnlyNames()
    yield "power: data kept, names lost", OnlyData()
    for number in range(seeds):
        yield "power: some of it", Some(f"{seed}/{point.number}/{number}")


def sweep(
    recording: Recording,
    *,
    seeds: int = 1,
    seed: int = 0,
    every: int = 1,
    moments: range = ALL,
    variants: str = "",
    most: int = 0,
    left_out: LeftOut = nothing,
) -> Verdict:
    """Judge each `every`th of these moments in all variants whose name begins with `variants`, until `most` findings.

    A state of the disk that was judged already, with the same promises, is not judged again.
    """
    verdict, known, began = Verdict(), set[bytes](), time.monotonic()
    place = Path(tempfile.mkdtemp(prefix="rmm-crash-", dir=memory()))
    try:
        for point, replay in recording.replay(left_out, moments):
            verdict.points += 1
            if point.number % every:
                continue
            expected = Expected.of(recording.before, point.said)
            for variant, loss in losses(point, seeds, seed):
                if not variant.startswith(variants):
                    continue
                verdict.states[variant] += 1
                found = tree(replay.disk, loss)
                if variant != "killed" or point.number % 10:
                    found = without_scraps(found)
                name = _name(found, len(point.said))
                if name in known:
                    continue
                known.add(name)
                verdict.judged[variant] += 1
                wrong = judge(place, found, expected, powerless=variant.startswith("power"))
                if wrong:
                    where = f"{variant}, after change {point.number} ({point.step}: {point.what})"
                    verdict.findings.append((where, wrong))
                    if most and len(verdict.findings) >= most:
                        return verdict
    finally:
        shutil.rmtree(place, ignore_errors=True)
        verdict.seconds = time.monotonic() - began
    return verdict


def without_scraps(found: Tree) -> Tree:
    """What is in files that are removed unread, because they were never finished, is no difference between states.

    Every tenth state that a kill leaves is judged with it, so that reading it would be seen.
    """
    return {path: b"" if content and SCRAPS.search(path) else content for path, content in found.items()}


def judge(place: Path, found: Tree, expected: Expected, *, powerless: bool) -> list[str]:
    """What is wrong with a store that is found so."""
    folder = place / "found"
    folder.mkdir()
    try:
        build(found, folder)
        with direct.writing():
            return wrongs(folder / "data", expected, powerless=powerless)
    finally:
        shutil.rmtree(folder)


def _name(found: Tree, said: int) -> bytes:
    digest = hashlib.blake2b(str(said).encode())
    for path, content in sorted(found.items()):
        digest.update(f"\n{path} {-1 if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.digest()


def memory() -> str | None:
    """States are judged in memory where there is such a folder: thousands are built."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
