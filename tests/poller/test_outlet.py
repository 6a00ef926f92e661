"""The way to the coordinator, when the coordinator fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from rmm.errors import TierError
from rmm.poller.outlet import BATCH, CAPACITY, BusOutlet


@pytest.mark.parametrize("kind", [TierError, ZeroDivisionError])
async def test_nobody_waits_for_a_coordinator_that_failed(kind: type[Exception]) -> None:
    async def fold(batch: Sequence[bytes]) -> None:
        raise kind("no")

    before = len(asyncio.all_tasks())
    with pytest.raises(kind):
        async with asyncio.timeout(10), BusOutlet.open(fold) as outlet:
            for _ in range(CAPACITY + 2 * BATCH):
                await outlet.publish("hq", 0, b"x")
            assert not await outlet.committed("hq", 0)
    assert len(asyncio.all_tasks()) == before
