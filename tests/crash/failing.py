"""Calls that fail: ENOSPC and EIO at the k-th call that changes the disk, for every k of every step of the cycle.

A small library is preloaded into the process at work (`failing.c`, which needs a C compiler), so that Python, SQLite
and DuckDB all meet the error where the system would give it. "full": from that call on nothing that needs room
succeeds, and the call itself writes half. "I/O error": that one call alone fails. Then the disk is well again.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from rmm.tiers import spool
from tests.crash import cycle, direct, full, sweep
from tests.crash.judge import Expected, quiet, wrongs
from tests.crash.trace import ROOT
from tests.crash.truth import Ident

SOURCE = Path(__file__).with_name("failing.c")
LONGEST_S = 60

# How it fails -> error, whether the disk is full from then on, the codes by which the product may tell it.
WAYS: dict[str, tuple[int, bool, tuple[str, ...]]] = {
    "full": (errno.ENOSPC, True, ("disk.full",)),
    "I/O error": (errno.EIO, False, ("disk.io",)),
}


def why_not() -> str:
    """Why calls cannot be made to fail here; empty when they can."""
    if sys.platform != "linux":
        return "preloading a library is for Linux"
    return "" if shutil.which("cc") else "no C compiler here"


class Share(msgspec.Struct):
    """Which calls one of several processes lets fail: of all `every`th ones, in the steps and places chosen."""

    folder: str
    number: int
    jobs: int
    every: int = 1
    steps: tuple[str, ...] = tuple(name for name, _ in cycle.STEPS)
    calls: tuple[int, int] = (1, sys.maxsize)
    careless: bool = False  # the spool does not heed an fsync that fails: to try the harness itself


def run(
    folder: Path, jobs: int, every: int = 1, said: Callable[[str], None] = lambda _line: None, **chosen: Any
) -> full.Shortage:
    """Let the calls fail in all WAYS, shared by several processes; `chosen` as in `Share`."""
    library = folder / "failing.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    result, began = full.Shortage(), time.monotonic()

    def work(number: int) -> None:
        share = msgspec.json.encode(Share(str(folder / str(number)), number, jobs, every, **chosen)).decode()
        command = [sys.executable, "-m", "tests.crash.failing", share]
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                one = json.loads(line)
                if "step" in one:
                    said(f"    {one['step']}: {one['calls']} calls, {one['way']}")
                    continue
                result.outcomes[one["outcome"]] += 1
                if one["wrong"]:
                    result.findings.append((one["where"], one["wrong"]))
                    said(f"        WRONG {one['where']}: {one['wrong'][:3]}")
        if process.returncode:
            result.findings.append((f"share {number}", [f"the harness ended with {process.returncode}"]))

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(work, range(jobs)))
    result.seconds = time.monotonic() - began
    return result


def main() -> None:
    """`python -m tests.crash.failing SHARE`, with the library preloaded: a line of JSON per failure."""
    share = msgspec.json.decode(sys.argv[1], type=Share)
    Path(share.folder).mkdir()
    cycle.small_limits()
    if share.careless:
        spool.os = _Careless()  # type: ignore[attr-defined,assignment]
    count = 1 + max(number for number, (name, _) in enumerate(cycle.STEPS) if name in share.steps)
    with ProcessPoolExecutor(1, get_context("fork")) as other:  # this process is forked, which DuckDB does not like
        snapshots, before = other.submit(_snapshots, Path(share.folder), count).result()
    import_module("duckdb")  # once; it is connected in the processes that are forked alone
    place = Path(tempfile.mkdtemp(prefix="rmm-failing-", dir=sweep.memory()))
    number = 0
    try:
        for snapshot in snapshots:
            if snapshot.name not in share.steps:
                continue
            calls = _failed(place, snapshot, 0, "full", before)["calls"]
            for way in WAYS:
                _tell(step=snapshot.name, way=way, calls=calls)
                for k in range(share.calls[0], min(calls, share.calls[1]) + 1):
                    number += 1
                    if number % share.every == 0 and number // share.every % share.jobs == share.number:
                        one = _failed(place, snapshot, k, way, before)
                        where = f"{way}, {snapshot.name}: call {k} ({one['outcome']})"
                        _tell(where=where, outcome=f"{way}: {one['outcome']}", wrong=one["wrong"])
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Careless:
    """`os`, but an fsync always succeeds."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def fsync(self, descriptor: int) -> None:
        with suppress(OSError):
            os.fsync(descriptor)


def _tell(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def _snapshots(folder: Path, count: int) -> tuple[list[full.Snapshot], list[Ident]]:
    with quiet():
        return asyncio.run(full.snapshots(folder, count))


def _failed(place: Path, snapshot: full.Snapshot, k: int, way: str, before: list[Ident]) -> dict[str, Any]:
    """Make the step in a process of its own, whose k-th call fails: how it ended, what is wrong, how many calls."""
    shutil.rmtree(place)
    shutil.copytree(snapshot.folder, place / "disk")
    (place / "log").write_bytes(snapshot.log)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST_S)
        try:
            os.write(writing, json.dumps(_made(place, snapshot, k, way, before)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    return json.loads(told) if told else {"calls": 0, "outcome": "hangs", "wrong": [f"not done in {LONGEST_S} s"]}


def _made(place: Path, snapshot: full.Snapshot, k: int, way: str, before: list[Ident]) -> dict[str, Any]:
    """The same in this process; the disk is well again when the store is judged."""
    error, is_full, codes = WAYS[way]
    data, log = place / "disk" / "data", place / "log"
    library = ctypes.CDLL(None)
    library.calls_counted.restype = ctypes.c_long
    library.fail_at(str(place / "disk").encode(), ctypes.c_long(k), error, int(is_full))
    with quiet():
        outcome, wrong = full.step(snapshot, data, log, codes)
    calls = library.calls_counted()
    library.fail_at(b"", ctypes.c_long(0), 0, 0)
    with direct.writing():
        wrong += wrongs(data, Expected.of(before, cycle.said(log.read_bytes())), powerless=False)
    return {"calls": calls, "outcome": outcome, "wrong": wrong}


if __name__ == "__main__":
    main()
