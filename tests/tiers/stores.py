"""A store with some days of history, for the tests of what looks after it."""

import asyncio
from datetime import timedelta
from pathlib import Path

from observations import FIELDS, START, typical

from rmm.model.settings import Retention
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.shard_store import open_shard

ENDPOINTS = ("srv-1", "srv-2")
DAYS = 9


def build(data: Path, *, days: int = DAYS, last: int = 5, endpoints: tuple[str, ...] = ENDPOINTS) -> str:
    """Two observations an hour and endpoint; all but the newest hours sealed, all but today merged. Its checksum."""

    async def fill() -> None:
        for day in range(days + 1):
            hours = 24 if day < days else last
            end = START + timedelta(days=day, hours=hours)
            keep = Retention(samples=0, changes=0, hourly=0, daily=0)
            async with open_shard(data, "hq", 0, fields=FIELDS, now=lambda end=end: end, keep=keep) as store:  # type: ignore[misc]
                for half in range(2 * hours):
                    for name in endpoints:
                        minute = day * 1440 + half * 30
                        await store.acknowledge(typical(name, minute, seq=minute, services=5 + day), None)
                await store.flush()
                await store.release()

    asyncio.run(fill())
    return checksum(data)


def checksum(data: Path) -> str:
    return SiteSamples(data, "hq").checksum()
