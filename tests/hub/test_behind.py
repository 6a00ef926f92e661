"""A hub whose history is behind what it takes: what waits is on the disk, in pieces of which one is read at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hubside import OWNERS, SITES, START, Time, observation, plan

from rmm.hub import history
from rmm.hub.history import History, Item
from rmm.model.observation import encode_observation

SEGMENT, PORTION = 20_000, 5


async def _nobody(_batch: Sequence[bytes]) -> None:
    """Nothing was left by a poll."""


async def test_what_waits_for_history_is_in_small_segments(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SEGMENT_BYTES", SEGMENT)
    records = [
        encode_observation(observation("berlin", "berlin-1", START + timedelta(seconds=n), n + 1)) for n in range(100)
    ]
    async with History.open(tmp_path, plan(SITES, OWNERS, clock).keeping, _nobody) as one:
        for first in range(0, len(records), PORTION):
            await one.append([Item("berlin", 0, record) for record in records[first : first + PORTION]])
        sizes = [path.stat().st_size for path in (tmp_path / "spool").rglob("*.spool")]
        assert sum(sizes) > 3 * SEGMENT
        assert max(sizes) < SEGMENT + PORTION * (max(map(len, records)) + 8)
    assert not list((tmp_path / "spool").rglob("*.spool"))


async def test_who_appends_makes_room_for_history_that_is_behind(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "YIELD_S", 0.2)
    record = encode_observation(observation("berlin", "berlin-1", START, 1))
    loop = asyncio.get_running_loop()

    async def took(one: History) -> float:
        began = loop.time()
        await one.append([Item("berlin", 0, record)])
        return loop.time() - began

    async with History.open(tmp_path, plan(SITES, OWNERS, clock).keeping, _nobody) as one:
        await one.append([Item("berlin", 0, record)])
        states = [one.behind]
        monkeypatch.setattr(history, "BEHIND_S", 0.0)
        states.append(one.behind)
        assert states == [False, True]
        assert await took(one) >= 0.2
        monkeypatch.setattr(history, "LOOK_S", 0.01)
        monkeypatch.setattr(history, "AGE_S", 0.0)
        running = asyncio.create_task(one.run())
        async with asyncio.timeout(20):
            while one.behind:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_came_while_history_was_written_has_not_waited_as_long(
    tmp_path: Path, clock: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = encode_observation(observation("berlin", "berlin-1", START, 1))
    async with History.open(tmp_path, plan(SITES, OWNERS, clock).keeping, _nobody) as one:
        await one.append([Item("berlin", 0, record)])
        (inbox,) = one._inboxes.values()
        inbox.since -= 10 * history.BEHIND_S
        assert one.behind

        async def settled(*given: Any) -> bool:  # behind the mark comes what was on its way, and counted before
            await inbox.spool.append(record)
            done: bool = await through(*given)
            return done

        through = one._settle
        monkeypatch.setattr(one, "_settle", settled)
        assert await one.settle(inbox)
        monkeypatch.undo()
        assert inbox.count == 1 and not one.behind
