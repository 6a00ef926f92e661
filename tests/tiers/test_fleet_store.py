"""Transactions of the fleet's database."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rmm.tiers.fleet_sqlite import FleetStore, alone


@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_while_a_transaction_begins_leaves_none_open(tmp_path: Path, times: int) -> None:
    """The statement waits in a thread for another's lock, and gets it after nobody waits for it any more."""
    async with FleetStore.open(tmp_path) as store:

        async def write() -> None:
            async with alone(tmp_path), store.transaction():
                await asyncio.sleep(60)

        with closing(sqlite3.connect(tmp_path / "fleet.sqlite", isolation_level=None, timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
            task = asyncio.create_task(write())
            for _ in range(times):
                await asyncio.sleep(0.1)
                task.cancel()
            await asyncio.sleep(0.1)
            other.execute("ROLLBACK")
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0.5)  # the longest that SQLite sleeps between two tries is a fifth of that
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
