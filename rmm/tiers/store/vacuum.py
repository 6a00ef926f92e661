"""Gives the room of free pages back to the disk. For the holder of the lease."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import NamedTuple

from rmm.tiers.migrations import tier_error
from rmm.tiers.store.places import StoreFile
from rmm.tiers.store.sqlite import reading

LEAST_SHARE = 0.2  # of the pages of a file are free
LEAST_BYTES = 1 << 20


class Vacuumed(NamedTuple):
    """What became of a file; `why` it was left alone, empty when it was not."""

    path: Path
    before: int
    after: int
    why: str = ""


def vacuum(file: StoreFile, *, every: bool = False) -> Vacuumed:
    """Rewrite the file when enough of it is free, or `every` time. Raises TierError."""
    before = file.size()
    try:
        with reading(file.path) as connection:
            free, pages, size = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("freelist_count", "page_count", "page_size")
            )
        if not every and (free * size < LEAST_BYTES or free < LEAST_SHARE * pages):
            return Vacuumed(file.path, before, before, f"{free} of {pages} pages are free")
        # SQLite writes the new file beside the old one, and once more into the WAL or journal.
        room, wanted = shutil.disk_usage(file.path.parent).free, 2 * (pages - free) * size + LEAST_BYTES
        if room < wanted:
            return Vacuumed(file.path, before, before, f"needs {wanted >> 20} MB, {room >> 20} MB are free")
        with contextlib.closing(sqlite3.connect(file.path, timeout=10, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise tier_error(file.path, error) from error
    return Vacuumed(file.path, before, file.size())
