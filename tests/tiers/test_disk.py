"""Full and read-only file systems: one clear error, no false acknowledgement, and everything goes on afterwards."""

import asyncio
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from observations import FIELDS, START, typical

from rmm.errors import TierError
from rmm.model.observation import decode_observation
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.migrations import tier_error
from rmm.tiers.shard_store import open_shard
from rmm.tiers.spool import Spool


def mount(*arguments: str) -> bool:
    if platform.system() != "Linux":
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)):
        pytest.skip("mounting a small file system needs root on Linux")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_disk_that_fills_up_while_a_round_is_stored(small: Path) -> None:
    acknowledged: set[tuple[str, float]] = set()
    caught: list[TierError] = []
    for minute in range(200):
        try:
            async with open_shard(small, "hq", 0, fields=FIELDS, now=lambda: START) as store:
                for n in range(20):
                    await store.acknowledge(typical(f"srv-{n}", minute, seq=n), None)
                    acknowledged.add((f"srv-{n}", minute))
                await store.flush()
        except TierError as error:
            caught.append(error)
            break
    assert [error.code for error in caught] == ["disk.full"], caught
    assert "small" in str(caught[0])
    assert acknowledged
    # Nothing is half-written, and when there is room again everything that was acknowledged is there.
    hot_json.load(small, "hq", 0)
    assert mount("-o", "remount,size=60m", str(small))
    async with open_shard(small, "hq", 0, fields=FIELDS, now=lambda: START) as store:
        pending = {
            (o.endpoint, (o.observed_at - START).total_seconds() / 60) for o in map(decode_observation, store.pending())
        }
        await store.flush()
        assert acknowledged <= pending
        await store.release()
    reader = ColdReader(small, "hq")
    for n in range(20):
        kept = reader.statuses(f"srv-{n}", since=START, until=START.replace(year=2027))
        assert len(kept) >= sum(1 for name, _ in acknowledged if name == f"srv-{n}")


async def test_a_spool_on_a_full_disk_promises_nothing(small: Path) -> None:
    acknowledged = []
    async with Spool(small / "spool") as spool:
        with pytest.raises(TierError) as caught:
            for number in range(100):
                record = b'{"n":%d,"x":"%s"}' % (number, b"x" * 100_000)
                await spool.append(record)
                acknowledged.append(record)
        assert caught.value.code == "disk.full"
        with pytest.raises(TierError):
            await spool.append(b"{}")
    again = Spool(small / "spool")
    assert list(again.replay())[: len(acknowledged)] == acknowledged
    assert again.damaged == 0


async def test_a_read_only_disk(small: Path) -> None:
    async with open_shard(small, "hq", 0, fields=FIELDS, now=lambda: START) as store:
        await store.acknowledge(typical("srv-1", 0), None)
        await store.flush()
        await store.release()
    assert mount("-o", "remount,ro", str(small))
    with pytest.raises(TierError) as caught:
        async with open_shard(small, "hq", 0, fields=FIELDS, now=lambda: START):
            pass
    assert caught.value.code == "disk.read_only"
    # What is there can still be read.
    assert hot_json.read_endpoint(small, "hq", "srv-1") is not None
    assert len(ColdReader(small, "hq").statuses("srv-1", since=START, until=START)) == 1
    async with Spool(small / "spool" / "hq" / "1") as spool:
        with pytest.raises(TierError) as caught:
            await spool.append(b"{}")
        assert caught.value.code == "disk.read_only"


async def test_many_waiting_appends_all_hear_of_the_failure(small: Path) -> None:
    async with Spool(small / "spool") as spool:
        outcomes = await asyncio.gather(*(spool.append(b"x" * 1_000_000) for _ in range(9)), return_exceptions=True)
    assert len(outcomes) == 9
    assert all(isinstance(outcome, TierError) for outcome in outcomes)  # one group: none of it was acknowledged


def test_what_sqlite_cannot_open_is_told_by_its_cause(small: Path, tmp_path: Path) -> None:
    """SQLite says the same of a disk that is full, of one that is read-only, and of anything else."""
    refused = sqlite3.OperationalError("unable to open database file")
    assert tier_error(tmp_path / "x.sqlite", refused).code == "disk.io"
    assert tier_error(tmp_path / "missing" / "x.sqlite", refused).code == "disk.io"
    (small / "filler").write_bytes(bytes(shutil.disk_usage(small).free))
    assert tier_error(small / "x.sqlite", refused).code == "disk.full"
    (small / "filler").unlink()
    assert mount("-o", "remount,ro", str(small))
    assert tier_error(small / "x.sqlite", refused).code == "disk.read_only"
