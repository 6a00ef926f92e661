"""A hub whose history is behind what it takes: what waits is on the disk, in pieces of which one is read at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

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
