"""Forgetting old history in short transactions, so that neither storing nor reading waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import aiosqlite

from rmm.tiers.cold_sqlite import changes

MOST_ROWS = 5000  # observations per transaction
DAY = 86_400_000_000  # microseconds
MOST_PLACES = 200  # collectors of endpoints whose changes are condensed per transaction


class Slice(NamedTuple):
    """What one transaction forgot, and whether there is more to do."""

    observations: int
    more: bool


async def slice_of(db: aiosqlite.Connection, sql: Mapping[str, str], before: int) -> Slice:
    """Forget a bounded part of what is older than `before` (microseconds)."""
    cursor = await db.execute(sql["forget_observations"], (before, MOST_ROWS))
    gone = cursor.rowcount
    await cursor.close()
    if gone >= MOST_ROWS:
        return Slice(gone, more=True)
    await db.execute(sql["forget_layouts"], (before - 2 * DAY,))
    places = list(await db.execute_fetchall(sql["old_changes"], (before, MOST_PLACES)))
    for number, collector, newest in places:
        await _condense(db, sql, number, collector, newest)
    return Slice(gone, more=len(places) == MOST_PLACES)


async def _condense(db: aiosqlite.Connection, sql: Mapping[str, str], number: int, collector: str, newest: int) -> None:
    """Make the row of `newest` a whole one and delete those before it."""
    values, _ = changes.folded(await db.execute_fetchall(sql["changes_back"], (number, collector, newest)))
    await db.execute(sql["put_change"], (number, collector, newest, 1, changes.pack(values)))
    await db.execute(sql["forget_changes"], (number, collector, newest))
