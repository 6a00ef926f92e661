"""Kills at random moments: one store that goes on growing, and a process over it that is killed again and again."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from rmm.tiers.archive import files
from tests.crash import cycle
from tests.crash.judge import Expected, wrongs
from tests.crash.truth import OLD

SOONEST_S, LATEST_S = 0.005, 0.6


@dataclass
class Toll:
    """What the kills did. `steps`: what was at work when the process died -> how often."""

    kills: int = 0
    acknowledged: int = 0
    bytes: int = 0
    days: int = 0  # in the archive
    seconds: float = 0.0
    steps: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[str, list[str]]] = field(default_factory=list)


def run(folder: Path, count: int, seed: int, said: Callable[[str], None] = lambda _line: None) -> Toll:
    """Kill `count` times, each time at a moment that the seed gives; the whole store is judged at the end.

    A child is forked from this process, which has imported everything, so that most of its life is work.
    """
    if sys.platform == "win32":
        raise NotImplementedError("os.fork")
    data, log = folder / "data", folder / "log"
    before = cycle.prepare(data)
    chance, toll, began = random.Random(seed), Toll(), time.monotonic()
    for number in range(1, count + 1):
        _one(data, log, chance.uniform(SOONEST_S, LATEST_S), number)
        toll.kills += 1
        if number % 100 and number != count:
            continue
        expected = Expected.of(before, cycle.said(log.read_bytes()))
        said(f"    {number} kills, {len(expected.acknowledged)} observations acknowledged")
        shutil.copytree(data, folder / "copy" / "data")  # judging it goes on with it
        with ProcessPoolExecutor(1, get_context("fork")) as other:  # this process is forked, which DuckDB does not like
            wrong = other.submit(wrongs, folder / "copy" / "data", expected, powerless=False).result()
        toll.findings += [(f"after {number} kills", wrong)] if wrong else []
        toll.days = len(files.days(files.folder_of(data, OLD)))
        shutil.rmtree(folder / "copy")
    toll.steps.update(_steps(log))
    toll.acknowledged = len(expected.acknowledged)
    toll.bytes = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    toll.seconds = time.monotonic() - began
    return toll


def _one(data: Path, log: Path, after: float, number: int) -> None:
    child = os.fork()
    if child == 0:
        try:
            cycle.small_limits()
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            asyncio.run(cycle.forever(cycle.Run(data, descriptor, minute=cycle.newest(log), epoch=f"e{number}")))
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise AssertionError(f"the process ended by itself before kill {number}")


def _steps(log: Path) -> Counter[str]:
    """The step of each start that was the last before the next start."""
    steps: Counter[str] = Counter()
    last = ""
    for one in cycle.said(log.read_bytes()):
        if "start" in one and last:
            steps[last] += 1
        last = one.get("step", last)
    return steps


def main() -> None:
    """`python -m tests.crash.kills COUNT SEED`, for itself."""
    with tempfile.TemporaryDirectory(prefix="rmm-kills-") as folder:
        toll = run(Path(folder), int(sys.argv[1]), int(sys.argv[2]), print)
        print(toll)
        sys.exit(1 if toll.findings else 0)


if __name__ == "__main__":
    main()
