"""What a process left in the spool of a shard that another collector polls now is handed over all the same."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path

from observations import FIELDS, START, typical

from rmm.model.observation import decode_observation
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.layout import hand_over, left_over
from rmm.tiers.shard_store import ShardStore, open_shard

LATER = START + timedelta(days=1)


class Outlet:
    """Of a coordinator that can commit, or not."""

    def __init__(self, commits: bool) -> None:
        self.commits = commits
        self.taken: list[str] = []

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        self.taken.append(decode_observation(data).endpoint)

    async def committed(self, site: str, shard: int) -> bool:
        return self.commits


def stores(data: Path) -> Callable[[str, int], AbstractAsyncContextManager[ShardStore]]:
    return lambda site, shard: open_shard(data, site, shard, fields=FIELDS, now=lambda: LATER)


async def killed(data: Path, shard: int, *endpoints: str) -> None:
    """A process acknowledges these observations, and dies."""
    async with stores(data)("hq", shard) as store:
        for name in endpoints:
            await store.acknowledge(typical(name, 0), None)


async def test_it_waits_until_it_is_committed_and_goes_then(tmp_path: Path) -> None:
    await killed(tmp_path, 2, "srv-1", "srv-2")
    await killed(tmp_path, 3, "srv-3")
    assert left_over(tmp_path, "hq", [3]) == [2]
    for commits, left in ((False, [2]), (True, [])):
        outlet = Outlet(commits)
        await hand_over(tmp_path, "hq", 2, stores(tmp_path), outlet)
        assert outlet.taken == ["srv-1", "srv-2"]
        assert left_over(tmp_path, "hq", [3]) == left
    assert left_over(tmp_path, "hq", []) == [3]
    assert len(ColdReader(tmp_path, "hq").history("srv-2", "cpu.util_pct[0,0]", since=START, until=LATER)) == 1
