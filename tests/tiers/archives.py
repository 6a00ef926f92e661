"""A store whose days are merged, for the tests of the archive."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

from observations import FIELDS, START
from test_sealed import series

from rmm.model.settings import Retention
from rmm.tiers.archive import files
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.sealed import folder_of, sealed_files
from rmm.tiers.cold_sqlite.writer import path_of

FIRST = files.day_of("2026-11-24")
KEEP = Retention(samples=14, changes=0, hourly=0)


@contextlib.asynccontextmanager
async def merged(data: Path, days: int = 9) -> AsyncIterator[ColdTier]:
    """A store of some days from 2026-11-24 12:00 on, all of it merged."""
    async with ColdTier(path_of(data, "hq", 0), FIELDS) as cold:
        await cold.store(series(days))
        await pack(cold)
        yield cold


async def pack(cold: ColdTier) -> None:
    await cold.seal(START + timedelta(days=30))
    await cold.merge(START + timedelta(days=30))


def raws(data: Path) -> list[str]:
    return [file.path.name for file in sealed_files(folder_of(path_of(data, "hq", 0)), "raw")]
