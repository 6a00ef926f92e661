"""Collectors as real processes over a real broker: stopped past their time, killed, with a wrong password."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nats_servers
import pytest
from quick import QUICK

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.provision import make_streams

pytestmark = [
    pytest.mark.crash,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="SIGSTOP, and clocks that processes share"),
]

SHARDS = 4
HOLDER = Path(__file__).with_name("holder.py")


class Process:
    def __init__(self, url: str, folder: Path, name: str, *extra: str) -> None:
        self.folder = folder / name
        self.process = subprocess.Popen(
            [sys.executable, str(HOLDER), url, str(self.folder), name, str(SHARDS), *extra],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def log(self, *words: str, since: float = 0.0) -> list[tuple[float, str, str]]:
        path = self.folder / "log"
        lines = path.read_text().splitlines() if path.exists() else []
        parts = [line.split(" ", 2) for line in lines if line.count(" ") >= 2]
        return [(float(at), word, detail) for at, word, detail in parts if word in words and float(at) >= since]

    def signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
async def broker() -> Iterator[str]:  # type: ignore[misc]
    with nats_servers.server() as one:
        async with open_bus(Login(urls=(one.url,))) as bus:
            await make_streams(bus.link, sites=("hq",))
        yield one.url


@contextlib.contextmanager
def started(url: str, folder: Path, names: str, *extra: str) -> Iterator[dict[str, Process]]:
    processes = {name: Process(url, folder, name, *extra) for name in names}
    try:
        yield processes
    finally:
        for one in processes.values():
            one.end()


def wait(true: object, processes: dict[str, Process], seconds: float = 30.0) -> float:
    began = time.monotonic()
    while not true():  # type: ignore[operator]
        for one in processes.values():
            if one.process.poll() not in (None, -signal.SIGKILL):
                raise AssertionError(one.process.communicate()[1].decode()[-3000:])
        if time.monotonic() - began > seconds:
            raise AssertionError("it did not come to that")
        time.sleep(0.02)
    return time.monotonic() - began


def shards_of(entries: list[tuple[float, str, str]]) -> set[int]:
    return {int(detail.removeprefix("e").split("-")[0].split()[0]) for _, _, detail in entries}


async def test_who_is_stopped_past_its_time_and_resumed_does_nothing(broker: str, tmp_path: Path) -> None:
    """0 polls, 0 logons, 0 writes of the shards that the other one has by then."""
    with started(broker, tmp_path, "ab") as two:
        a, b = two.values()
        wait(lambda: a.log("poll") and b.log("poll"), two)
        time.sleep(1.5)
        for _ in range(3):
            _stopped_and_resumed(two)
            time.sleep(1.0)


def _stopped_and_resumed(two: dict[str, Process]) -> None:
    a, b = two.values()
    wait(lambda: a.log("logon", since=time.monotonic() - 0.3), two)  # in the middle of a round
    a.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    wait(lambda: shards_of(b.log("handed", since=stopped)) == set(range(SHARDS)), two)
    began = {shard: int(fence) for shard, fence in (d.split() for *_, d in b.log("handed", since=stopped))}
    resumed = time.monotonic()
    a.signal(signal.SIGCONT)
    time.sleep(0.15)  # before b, who sees it live again, gives anything back
    assert a.log("poll", "logon", "kept", "handed", since=resumed) == []
    wait(lambda: a.log("handed", since=resumed), two)  # it polls again, by leases of its own
    for at, _, detail in a.log("handed", since=resumed):
        shard, fence = detail.split()
        assert int(fence) > began[shard], (at, detail)


async def test_the_shards_of_a_killed_process_are_polled_again_in_time(broker: str, tmp_path: Path) -> None:
    with started(broker, tmp_path, "abc") as three:
        wait(lambda: len({shard for one in three.values() for shard in shards_of(one.log("poll"))}) == SHARDS, three)
        time.sleep(1.5)
        victim = max(three.values(), key=lambda one: len(one.log("poll", since=time.monotonic() - 1.0)))
        victim.signal(signal.SIGKILL)
        killed = time.monotonic()
        left = [one for one in three.values() if one is not victim]

        def all_polled() -> bool:
            return {s for one in left for s in shards_of(one.log("poll", since=killed))} == set(range(SHARDS))

        took = wait(all_polled, three)
        # The terms are short, and a machine that is busy makes a look of 0.2 s one of seconds.
        assert took < QUICK.ttl + 8.0, (took, {name: one.log("held", since=killed) for name, one in three.items()})
        handed = [detail.split() for one in three.values() for *_, detail in one.log("handed")]
        assert len({tuple(one) for one in handed}) >= SHARDS
        owners: dict[tuple[str, str], set[str]] = {}
        for name, one in three.items():
            for *_, detail in one.log("handed"):
                shard, fence = detail.split()
                owners.setdefault((shard, fence), set()).add(name)
        assert all(len(names) == 1 for names in owners.values())  # never two under one fence


async def test_a_wrong_password_costs_two_at_most_over_kills_and_stops(broker: str, tmp_path: Path) -> None:
    """Each of three dies, is stopped and comes back while it tries; the account is never locked."""
    names = "abc"
    with started(broker, tmp_path, names, "wrong") as three:
        wait(lambda: any(one.log("logon") for one in three.values()), three)
        for number in range(6):
            name = names[number % 3]
            if number % 2:
                three[name].signal(signal.SIGSTOP)
                time.sleep(QUICK.ttl + 0.5)
                three[name].signal(signal.SIGCONT)
            else:
                three[name].end()
                time.sleep(0.5)
                three[name] = Process(broker, tmp_path, name, "wrong")
            time.sleep(0.7)
        assert 1 <= sum(len(one.log("logon")) for one in three.values()) <= 2
