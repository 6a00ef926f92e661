"""A process that ends between any two statements: what was decided is whole or not there, and is decided again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiosqlite
import asyncpg
import pytest
from cluster import rows
from folding import AT_ONCE, KEYS, START, Time, content, encoded

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.core.alerting.mute import Context
from rmm.model.alerting import Window
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules

pytestmark = pytest.mark.databases("sqlite", "postgres")

RULES = [*shipped_rules(), Rule(id="volume_full", collector="volumes", field="used_pct", warning=80, critical=90)]
WINDOW = Window(name="w", weekly=tuple(range(7)), at=(0,), lasts_s=11 * 60)
SETTINGS = AT_ONCE
# What three endpoints of two sites show in each round: a window that ends, an incident that gets worse, one that ends.
USED = [(99, 10, 85), (99, 10, 85), (99, 85, 99), (99, 10, 10), (10, 10, 10)]


class Ended(BaseException):
    """As if the process was killed: nothing after it is done, not even what cleans up."""


async def play(data: Path, clock: Time, channel: MemoryChannel, number: int) -> None:
    clock.at = START + timedelta(minutes=5 * number + 5)
    async with Coordinator.open(
        data, rules=RULES, keys=KEYS, channels=[channel], clock=clock, settings=SETTINGS, context=Context([WINDOW])
    ) as coordinator:
        batch = [
            encoded(f"e{n}", clock.at, number + 1, "UNREACHABLE" if n == 1 else "OK", f"s{n}",
                    volumes=[{"volume": "C:", "used_pct": used}])
            for n, used in enumerate(USED[number])
        ]  # fmt: skip
        batch.append(encoded("e3", clock.at, number + 1, "OK", "s3", volumes=[{"volume": "C:", "used_pct": 10}]))
        await coordinator.fold(batch)
        if number == 2:  # two of this endpoint were under way for some minutes
            late = [
                encoded("e3", clock.at - timedelta(minutes=ago), 100 - ago, "OK", "s3",
                        volumes=[{"volume": "C:", "used_pct": used}])
                for ago, used in ((3, 99), (2, 10))
            ]  # fmt: skip
            await coordinator.fold(late)
        await coordinator.finish(listed={"e0", "e1", "e2", "e3"})


def whole(data: Path) -> dict[str, list[tuple[Any, ...]]]:
    held: dict[str, list[tuple[Any, ...]]] = content(data)
    for table, columns in (("incident", "*"), ("suppressed", "at, key, body"), ("flap", "*")):
        held[table] = rows(data, f"SELECT {columns} FROM {table} ORDER BY 1, 2")
    return held


async def test_a_cut_after_every_statement(
    tmp_path: Path, clock: Time, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch, database: str
) -> None:
    for number in range(len(USED)):
        await play(tmp_path / "whole", clock, channel, number)
    expected = whole(tmp_path / "whole")
    assert (len(expected["outbox"]), len(expected["suppressed"]), len(expected["incident"])) == (6, 3, 3)
    assert [(key, state) for key, state, _, body in expected["alert"] if '"late":true' in body] == [
        ("volume_full|e3|C:", "resolved")
    ]
    told = {one.id for one in channel.sent}
    left = [0]

    def counted(name: str) -> None:
        plain = getattr(connection, name)

        async def call(self: Any, *arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise Ended
            return await plain(self, *arguments, **options)

        monkeypatch.setattr(connection, name, call)

    connection: Any = aiosqlite.Connection if database == "sqlite" else asyncpg.Connection
    for name in ("execute", "executemany", "execute_fetchall" if database == "sqlite" else "fetch"):
        counted(name)
    cuts = 0
    for cut in range(1, *((400, 11) if database == "sqlite" else (180, 13))):  # over the whole of the five rounds
        data, again = tmp_path / str(cut), MemoryChannel("memory")
        left[0] = cut
        for number in range(len(USED)):
            try:
                await play(data, clock, again, number)
            except Ended:
                cuts += 1
                left[0] = 0
                await play(data, clock, again, number)  # the spool has all of it still
        assert whole(data) == expected, cut
        assert {one.id for one in again.sent} == told, cut
    assert cuts > (20 if database == "sqlite" else 6)


CHILD = """
import asyncio, os, signal, sys
import aiosqlite, asyncpg
from pathlib import Path
sys.path[:0] = [sys.argv[1], str(Path(sys.argv[1]).parent / "postgres")]
from cluster import adopt
from folding import Time
from test_cuts import MemoryChannel, play

left = [int(sys.argv[3])]
adopt()
kind = asyncpg.Connection if "RMM_TEST_CLUSTER" in os.environ else aiosqlite.Connection
plain = kind.execute

async def execute(self, *arguments, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return await plain(self, *arguments, **options)

kind.execute = execute
asyncio.run(play(Path(sys.argv[2]), Time(), MemoryChannel("memory"), int(sys.argv[4])))
"""


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_kills(tmp_path: Path, clock: Time, channel: MemoryChannel) -> None:
    """The same with processes that are really killed, while incidents open and while they close."""
    for number in range(len(USED)):
        await play(tmp_path / "whole", clock, channel, number)
    expected = whole(tmp_path / "whole")
    here, killed = os.fspath(Path(__file__).parent), 0
    for cut in (8, 12, 16, 20):
        data = tmp_path / str(cut)
        for number in range(len(USED)):
            if number in (2, 4):
                command = [sys.executable, "-c", CHILD, here, str(data), str(cut), str(number)]
                killed += subprocess.run(command, timeout=60, check=False).returncode == -signal.SIGKILL
            await play(data, clock, MemoryChannel("memory"), number)
        assert whole(data) == expected
    assert killed >= 6
