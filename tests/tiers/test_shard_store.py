"""Spool, hot and cold together: nothing acknowledged is lost, whichever of them a crash kept from being written."""

import os
import random
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from observations import FIELDS, START, observe, typical

from rmm.core.shard import shard_of
from rmm.errors import TierError
from rmm.model.observation import decode_observation
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.shard_store import open_shard


def at_work(data: Path):  # type: ignore[no-untyped-def]
    return open_shard(data, "hq", 0, fields=FIELDS, now=lambda: START)


async def test_a_round_is_in_hot_and_cold_and_the_spool_is_empty(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        for minute in range(3):
            for n in range(20):
                await store.acknowledge(typical(f"srv-{n}", minute, seq=n), None)
        await store.flush()
        await store.release()
    states = hot_json.load(tmp_path, "hq", 0)
    assert len(states) == 20
    reader = ColdReader(tmp_path, "hq")
    for name, state in states.items():
        hot = msgspec.json.decode(bytes(state.collectors["cpu"].result))["readings"][0]["util_pct"]
        assert reader.history(name, "cpu.util_pct[0,0]", since=START, until=START + timedelta(days=1))[-1][1] == hot
    assert not list((tmp_path / "spool" / "hq" / "0").glob("*.spool"))
    stored = reader.changes("srv-1", since=START, until=START + timedelta(days=1))
    assert len(stored) == 300  # three values per service, once: they did not change


async def test_what_a_crash_left_in_the_spool_is_folded_again(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("srv-1", 0), None)
    (tmp_path / "hot" / "hq" / "0.json").unlink(missing_ok=True)
    async with at_work(tmp_path) as store:
        assert [decode_observation(data).endpoint for data in store.pending()] == ["srv-1"]
        assert store.state("srv-1") is not None
    async with at_work(tmp_path) as store:
        assert len(store.pending()) == 1  # until the coordinator has it
        await store.release()
    async with at_work(tmp_path) as store:
        assert store.pending() == []
        assert store.state("srv-1") is not None


async def test_a_damaged_hot_file_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = hot_json.path_of(tmp_path, "hq", 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b'{"schema":1, "endpoi')
    async with at_work(tmp_path) as store:
        await store.acknowledge(observe(), None)
        await store.flush()
    assert "damaged" in caplog.text
    assert path.with_name("0.damaged-1").exists()
    assert set(hot_json.load(tmp_path, "hq", 0)) == {"srv-1"}


async def test_states_follow_a_change_of_the_shard_count(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        for n in range(50):
            await store.acknowledge(observe(f"srv-{n}"), None)
        await store.flush()
    for count in (4, 3, 1):
        hot_json.relocate(tmp_path, "hq", count, lambda name, count=count: shard_of(name, count), START)
        places = {name: shard for shard in range(5) for name in hot_json.load(tmp_path, "hq", shard)}
        assert places == {f"srv-{n}": shard_of(f"srv-{n}", count) for n in range(50)}
        assert hot_json.relocate(tmp_path, "hq", count, lambda name: 0, START) == 0


async def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "cold").write_text("a file where a folder should be")
    with pytest.raises(TierError, match="cold"):
        async with at_work(tmp_path):
            pass


WRITER = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[3])
from observations import FIELDS, START, typical
from rmm.tiers.shard_store import open_shard
async def main():
    minute = int(sys.argv[2])
    while True:
        async with open_shard(pathlib.Path(sys.argv[1]), "hq", 0, fields=FIELDS, now=lambda: START) as store:
            async def one(n):
                await store.acknowledge(typical(f"srv-{n}", minute, seq=n), None)
                print(minute, n, flush=True)
            await asyncio.gather(*(one(n) for n in range(40)))
            await store.flush()
            await store.release()
        minute += 1
asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    acknowledged: set[tuple[int, int]] = set()
    for turn in range(15):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 100), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.random() * 0.3)
        os.kill(process.pid, signal.SIGKILL)
        text = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        acknowledged |= {(int(m), int(n)) for m, n in (line.split() for line in text.split(b"\n")[:-1])}
        hot = hot_json.path_of(tmp_path, "hq", 0)
        assert not hot.exists() or msgspec.json.decode(hot.read_bytes())["site"] == "hq"
    async with at_work(tmp_path) as store:
        await store.flush()
    reader = ColdReader(tmp_path, "hq")
    newest: dict[int, int] = {}
    for minute, n in acknowledged:
        newest[n] = max(minute, newest.get(n, 0))
    for n, minute in newest.items():
        kept = {row["at"] for row in reader.statuses(f"srv-{n}", since=START, until=START + timedelta(days=9))}
        assert {START + timedelta(minutes=m) for m, host in acknowledged if host == n} <= kept
        state = hot_json.load(tmp_path, "hq", 0)[f"srv-{n}"]
        assert state.observed_at >= START + timedelta(minutes=minute)
