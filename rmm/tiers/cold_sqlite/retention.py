"""Forgetting old history in short transactions, so that neither storing nor reading waits for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, sealed_files

MOST_ROWS = 5000  # observations per transaction
MOST_PLACES = 200  # collectors of endpoints whose changes are condensed per transaction


class Slice(NamedTuple):
    """What one transaction forgot, and whether there is more to do."""

    observations: int
    more: bool


async def slice_of(db: aiosqlite.Connection, sql: Mapping[str, str], before: int, changed: int) -> Slice:
    """Forget a bounded part of what is older: samples than `before`, changes than `changed` (microseconds)."""
    cursor = await db.execute(sql["forget_observations"], (before, MOST_ROWS))
    gone = cursor.rowcount
    await cursor.close()
    if gone >= MOST_ROWS:
        return Slice(gone, more=True)
    await db.execute(sql["forget_hours"], (before // HOUR,))
    await db.execute(sql["forget_layouts"], (before - 2 * DAY,))
    places = list(await db.execute_fetchall(sql["old_changes"], (changed, MOST_PLACES)))
    for number, collector, newest in places:
        await _condense(db, sql, number, collector, newest)
    return Slice(gone, more=len(places) == MOST_PLACES)


async def _condense(db: aiosqlite.Connection, sql: Mapping[str, str], number: int, collector: str, newest: int) -> None:
    """Make the row of `newest` a whole one and delete those before it."""
    values, _ = changes.folded(await db.execute_fetchall(sql["changes_back"], (number, collector, newest)))
    await db.execute(sql["put_change"], (number, collector, newest, 1, changes.pack(values)))
    await db.execute(sql["forget_changes"], (number, collector, newest))


def forget_files(folder: Path, kind: str, before: int) -> list[Path]:
    """Delete the files of merged history of a kind all of whose days are before this day; returns which."""
    gone = [file.path for file in sealed_files(folder, kind) if file.end <= before]
    for path in gone:
        for suffix in ("-wal", "-shm", ""):  # the file last: without it nothing is left that belongs to nobody
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    return gone
