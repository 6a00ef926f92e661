"""Several processes on one database: they take turns, a killed one leaves all or nothing, the result is that of one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cluster import rows
from folding import KEYS, START, Time, content, encoded

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.model.alerting import AlertSettings
from rmm.model.observation import decode_observation
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules

HERE = Path(__file__).parent
COORDINATOR = HERE.parent / "coordinator"
DISK = Rule(id="volume_full", collector="volumes", field="used_pct", warning=80, critical=90)
RULES = [*shipped_rules(), DISK]
ENDPOINTS, BATCHES, SIZE = 24, 30, 8

pytestmark = pytest.mark.databases("postgres")

CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from cluster import adopt
adopt()
from test_turns import work
asyncio.run(work(Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])))
"""


def batches(of: int, workers: int) -> list[list[bytes]]:
    """What one of some workers is given: its own sites, with late ones and some twice."""
    rng = random.Random(7)
    found = []
    for number in range(BATCHES):
        batch = []
        for _ in range(SIZE):
            n, minute = rng.randrange(ENDPOINTS), number * 2 - (30 if rng.random() < 0.2 else 0)
            used, times = rng.choice((10, 85, 97)), rng.choice((1, 1, 2))
            one = encoded(f"e{n}", START + timedelta(minutes=40 + minute), 1000 + minute, "OK", f"s{n % 4}",
                          volumes=[{"volume": "C:", "used_pct": used}])  # fmt: skip
            if n % workers == of:
                batch += [one] * times
        found.append(batch)
    return found


async def work(data: Path, of: int, workers: int, most: int) -> None:
    """Fold them, with a mark of how far that is; `most`: kill this process after so many statements."""
    clock = Time()
    if most:
        _deadly(most)
    async with Coordinator.open(
        data, rules=RULES, keys=KEYS, channels=[MemoryChannel("memory")], clock=clock,
        settings=AlertSettings(resolve_after=0),
    ) as coordinator:  # fmt: skip
        for number, batch in enumerate(batches(of, workers)):
            clock.at = START + timedelta(minutes=41 + number * 2)
            await coordinator.fold(batch)
            if most:
                (data / "done").write_text(str(number))


def _deadly(most: int) -> None:
    import asyncpg

    left = [most]
    for name in ("execute", "executemany", "fetch", "fetchrow"):
        plain = getattr(asyncpg.Connection, name)

        async def call(self: Any, *arguments: Any, plain: Any = plain, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return await plain(self, *arguments, **options)

        setattr(asyncpg.Connection, name, call)


def child(data: Path, of: int, workers: int, most: int = 0) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CHILD, str(HERE), str(COORDINATOR), str(data), str(of), str(workers), str(most)]
    return subprocess.Popen(command)


def whole(data: Path) -> dict[str, Any]:
    """What is there, with nothing of the order in which workers took their turns: numbers of alerts, times of turns."""
    held: dict[str, Any] = content(data)
    held["alert"] = [(key, state, at, msgspec.json.decode(body)["count"]) for key, state, at, body in held["alert"]]
    held["late"] = rows(data, "SELECT endpoint, at, epoch, seq FROM late ORDER BY 1, 2, 3, 4")
    held["outbox"] = sorted(row[0].split("@")[0] for row in held["outbox"])
    return held


async def test_two_processes_come_to_what_one_does(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    await work(tmp_path / "one", 0, 1, 0)
    began = time.monotonic()
    processes = [child(tmp_path / "two", number, 2) for number in range(2)]
    assert [process.wait(100) for process in processes] == [0, 0]
    assert time.monotonic() - began < 90
    found, expected = whole(tmp_path / "two"), whole(tmp_path / "one")
    assert len(expected["endpoint"]) == ENDPOINTS and len(expected["alert"]) > ENDPOINTS
    assert found["endpoint"] == expected["endpoint"]
    assert found["late"] == expected["late"]
    assert found["alert"] == expected["alert"]
    numbers = [row[0] for row in rows(tmp_path / "two", "SELECT no FROM alert ORDER BY no")]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.crash
async def test_killed_at_any_statement(tmp_path: Path) -> None:
    """What the killed process had folded is there, what it was at is not at all; the rest is folded again."""
    (tmp_path / "one").mkdir()
    await work(tmp_path / "one", 0, 1, 0)
    expected = whole(tmp_path / "one")
    for most in (9, 31, 74, 130):
        data = tmp_path / str(most)
        data.mkdir()
        killed = child(data, 0, 1, most)
        assert killed.wait(60) == -signal.SIGKILL
        made = rows(data, "SELECT to_regclass('endpoint') IS NOT NULL") == [(True,)]  # else killed before that
        seen = {row[0] for row in rows(data, "SELECT id FROM endpoint")} if made else set[str]()
        done = int((data / "done").read_text()) if (data / "done").exists() else -1
        sure, under = (
            {decode_observation(one).endpoint for batch in batches(0, 1)[:end] for one in batch}
            for end in (done + 1, done + 2)
        )
        assert seen in (sure, under)  # the transaction that it was at: all of it or nothing
        await work(data, 0, 1, 0)
        assert whole(data)["endpoint"] == expected["endpoint"]
        assert whole(data)["late"] == expected["late"]
