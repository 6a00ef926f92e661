"""Spool, hot and cold together: nothing acknowledged is lost, whichever of them a crash kept from being written."""

import asyncio
import contextlib
import random
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from observations import FIELDS, START, observe, typical

from rmm.core.shard import shard_of
from rmm.errors import TierError
from rmm.model.observation import Observation, decode_observation, encode_observation
from rmm.model.settings import Retention
from rmm.tiers import hot_json, layout
from rmm.tiers.cold_sqlite import ColdReader, ColdTier
from rmm.tiers.memory import MemoryTier
from rmm.tiers.shard_store import ShardStore, open_shard
from rmm.tiers.spool import Spool

FOREVER = START + timedelta(days=365)


def at_work(data: Path) -> AbstractAsyncContextManager[ShardStore]:
    return open_shard(data, "hq", 0, fields=FIELDS, now=lambda: FOREVER)


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
        assert len(list(store.pending())) == 1  # until the coordinator has it
        await store.release()
    async with at_work(tmp_path) as store:
        assert list(store.pending()) == []
        assert store.state("srv-1") is not None


async def test_at_rest_it_holds_only_what_is_still_waited_for_and_forgets_nothing(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("slow", 0), None)
        await store.flush()
        await store.release()
    async with at_work(tmp_path) as store:
        for n in range(20):
            await store.acknowledge(typical(f"srv-{n}", 1, seq=n), None)
        await store.rest()
        assert set(store._states) == {"slow"}
        await store.acknowledge(typical("slow", 2), None)
        again = store.state("srv-3")  # whoever asks all the same gets an answer
        assert again is not None
        assert again.observed_at == typical("srv-3", 1).observed_at
        await store.acknowledge(typical("srv-4", 3), None)
        await store.flush()
    states = hot_json.load(tmp_path, "hq", 0)
    assert set(states) == {"slow", *(f"srv-{n}" for n in range(20))}
    seen = {name: state.observed_at - START for name, state in states.items()}
    minute = typical("x", 1).observed_at - START
    assert (seen["slow"], seen["srv-3"], seen["srv-4"]) == (2 * minute, minute, 3 * minute)


async def test_what_is_acknowledged_while_it_comes_to_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("srv-1", 1), None)
        write = hot_json.write

        def slowly(*args: Any) -> None:
            time.sleep(0.1)
            write(*args)

        monkeypatch.setattr(hot_json, "write", slowly)
        resting = asyncio.create_task(store.rest())
        await asyncio.sleep(0.05)
        await store.acknowledge(typical("srv-2", 1), None)
        await store.acknowledge(typical("srv-1", 2), None)
        await resting
        assert set(store._states) == {"srv-1", "srv-2"}
        await store.flush()
    states = hot_json.load(tmp_path, "hq", 0)
    assert {name: state.observed_at for name, state in states.items()} == {
        "srv-1": typical("srv-1", 2).observed_at, "srv-2": typical("srv-2", 1).observed_at,
    }  # fmt: skip


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


class Outlet:
    """A coordinator that takes everything, or commits nothing."""

    def __init__(self, *, commits: bool = True) -> None:
        self.taken: list[bytes] = []
        self._commits = commits

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        self.taken.append(data)

    async def committed(self, site: str, shard: int) -> bool:
        return self._commits


async def laid_out(data: Path, count: int, outlet: Outlet) -> int:
    def place(name: str) -> int:
        return shard_of(name, count)

    return await layout.relocate(data, "hq", count, place, fields=FIELDS, now=lambda: START, outlet=outlet)


async def test_states_follow_a_change_of_the_shard_count(tmp_path: Path) -> None:
    assert await laid_out(tmp_path, 1, Outlet()) == 0
    async with at_work(tmp_path) as store:
        for n in range(50):
            await store.acknowledge(typical(f"srv-{n}", 0), None)
        await store.flush()
    for minute, count in enumerate((4, 3, 1), start=1):
        assert layout.must_relocate(tmp_path, "hq", count)
        with pytest.raises(TierError, match="number of shards"):
            await laid_out(tmp_path, count, Outlet(commits=False))
        outlet = Outlet()
        assert await laid_out(tmp_path, count, outlet) > 0
        assert len({decode_observation(data).endpoint for data in outlet.taken}) == 50
        places = {name: shard for shard in range(5) for name in hot_json.load(tmp_path, "hq", shard)}
        assert places == {f"srv-{n}": shard_of(f"srv-{n}", count) for n in range(50)}
        assert hot_json.shards_of(tmp_path, "hq") == list(range(count))
        assert not layout.must_relocate(tmp_path, "hq", count)
        assert await laid_out(tmp_path, count, outlet) == 0
        for shard in range(count):
            async with open_shard(tmp_path, "hq", shard, fields=FIELDS, now=lambda: START) as store:
                for name in [name for name, place in places.items() if place == shard]:
                    await store.acknowledge(typical(name, minute), None)
                await store.flush()
    reader = ColdReader(tmp_path, "hq")
    for n in range(50):
        assert len(reader.history(f"srv-{n}", "cpu.util_pct[0,0]", since=START, until=FOREVER)) == 4
        assert len(reader.changes(f"srv-{n}", since=START, until=FOREVER)) == 300  # nothing changed by moving


async def test_moving_can_be_broken_off_anywhere(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        for n in range(30):
            await store.acknowledge(observe(f"srv-{n}"), None)
        await store.flush()
        await store.release()

    class Cut(Exception):
        pass

    def breaking(calls: int) -> Callable[[str], int]:
        left = iter(range(calls))

        def place(name: str) -> int:
            if next(left, None) is None:
                raise Cut
            return shard_of(name, 3)

        return place

    for calls in range(0, 300, 7):
        with contextlib.suppress(Cut):
            hot_json.relocate(tmp_path, "hq", 3, breaking(calls), START)
        names = {name for shard in range(4) for name in hot_json.load(tmp_path, "hq", shard)}
        assert names == {f"srv-{n}" for n in range(30)}
    hot_json.relocate(tmp_path, "hq", 3, lambda name: shard_of(name, 3), START)
    places = [(name, shard) for shard in range(4) for name in hot_json.load(tmp_path, "hq", shard)]
    assert sorted(places) == sorted((f"srv-{n}", shard_of(f"srv-{n}", 3)) for n in range(30))


async def test_what_is_acknowledged_after_a_flush_outlives_the_release(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(observe("srv-1", 0), None)
        await store.flush()
        await store.acknowledge(observe("srv-2", 1), None)
        await store.release()
    async with at_work(tmp_path) as store:
        assert [decode_observation(data).endpoint for data in store.pending()] == ["srv-2"]
        assert store.state("srv-1") is not None


class Stubborn(MemoryTier):
    """A tier that refuses some observations."""

    def __init__(self, refused: str, error: Exception) -> None:
        super().__init__(FIELDS)
        self.refused, self.error = refused, error

    def knows(self, endpoint: str, at: datetime) -> bool:
        return False

    async def store(self, observations: Sequence[Observation], hints: object = None) -> None:
        if any(observation.endpoint == self.refused for observation in observations):
            raise self.error
        await super().store(observations)


@asynccontextmanager
async def with_tier(data: Path, tier: Stubborn) -> AsyncIterator[ShardStore]:
    async with Spool(data / "spool" / "hq" / "0") as spool:
        cold = cast(ColdTier, tier)
        store = ShardStore(data, "hq", 0, spool=spool, cold=cold, fields=FIELDS, now=lambda: START)
        await store.recover()
        yield store
        await store.settle()


async def test_after_a_failed_store_nothing_is_released(tmp_path: Path) -> None:
    async with with_tier(tmp_path, Stubborn("srv-2", TierError("full of holes"))) as store:
        for n in range(3):
            await store.acknowledge(observe(f"srv-{n}", n), None)
        for _ in range(2):  # also when it is tried again
            with pytest.raises(TierError, match="full"):
                await store.flush()
        with pytest.raises(TierError, match="full"):
            await store.acknowledge(observe("srv-9", 9), None)
        await store.release()
    async with at_work(tmp_path) as store:
        assert [decode_observation(data).endpoint for data in store.pending()] == ["srv-0", "srv-1", "srv-2"]


async def test_history_that_finds_no_room_waits_in_the_spool(tmp_path: Path) -> None:
    tier = Stubborn("srv-2", TierError("no room", code="disk.full"))
    async with with_tier(tmp_path, tier) as store:
        for n in range(2):
            await store.acknowledge(observe(f"srv-{n}", n), None)
        await store.flush()
        await store.release()  # what is in all tiers
        for n in range(2, 50):  # more than are queued: nobody waits for what is not stored
            await store.acknowledge(observe(f"srv-{n}", n), None)
        await store.flush()
        assert store.postponed is not None
        assert store.postponed.code == "disk.full"
        await store.release()  # forgets nothing of it
        assert store.state("srv-49") is not None
    assert [len(tier.statuses(f"srv-{n}", since=START, until=FOREVER)) for n in (1, 2, 49)] == [1, 0, 0]
    assert set(hot_json.load(tmp_path, "hq", 0)) == {"srv-0", "srv-1"}  # never ahead of history
    async with with_tier(tmp_path, tier) as store:  # still no room: it opens, and goes on
        assert [decode_observation(data).endpoint for data in store.pending()] == [f"srv-{n}" for n in range(2, 50)]
        assert store.postponed is not None
        await store.acknowledge(observe("srv-50", 50), None)
    async with at_work(tmp_path) as store:
        assert store.postponed is None
        assert len(list(store.pending())) == 49
        await store.release()
    assert list((tmp_path / "spool").rglob("*.spool")) == []
    reader = ColdReader(tmp_path, "hq")
    assert [len(reader.statuses(f"srv-{n}", since=START, until=FOREVER)) for n in (2, 49, 50)] == [1, 1, 1]


async def test_one_observation_that_cannot_be_stored_does_not_stop_the_shard(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tier = Stubborn("srv-2", KeyError("core"))
    async with with_tier(tmp_path, tier) as store:
        for n in range(5):
            await store.acknowledge(observe(f"srv-{n}", n), None)
        await store.flush()
        await store.release()
    assert [len(tier.statuses(f"srv-{n}", since=START, until=FOREVER)) for n in range(5)] == [1, 1, 0, 1, 1]
    (kept,) = (tmp_path / "spool" / "hq" / "0").glob("*.damaged")
    assert decode_observation(kept.read_bytes()).endpoint == "srv-2"
    assert "cannot be stored" in caplog.text


async def test_a_spooled_record_of_no_observation_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Spool(tmp_path / "spool" / "hq" / "0") as spool:
        await spool.append(b'{"no":"observation"}')
        await spool.append(encode_observation(observe("srv-1")))
    async with at_work(tmp_path) as store:
        assert len(list(store.pending())) == 1
        assert store.damaged == 1
        await store.release()
    (kept,) = (tmp_path / "spool" / "hq" / "0").glob("*.damaged")
    assert kept.read_bytes() == b'{"no":"observation"}'
    assert "unreadable" in caplog.text


@pytest.mark.parametrize("now", [START, FOREVER])
@pytest.mark.parametrize("seed", [0, 4, 7])
async def test_readings_in_any_order_over_any_restarts_tell_one_history(
    seed: int, now: datetime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a clock makes them that is set back, also before them all; each opening is another process."""
    monkeypatch.setattr("rmm.tiers.cold_sqlite.changes.DELTAS", 3)
    chance = random.Random(seed)
    items = []
    for minute in range(40):
        names = chance.sample(["a", "b", "c"], chance.randint(1, 3))
        services = [{"service": n, "state": chance.choice("RRS"), "account": "x"} for n in names]
        items.append(observe("srv-1", minute, seq=minute, services=services if minute % 5 else services[:1]))
    memory = MemoryTier(FIELDS)
    await memory.store(items)
    chance.shuffle(items)
    for start in range(0, len(items), 3):
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: now) as store:
            for item in (*items[start : start + 3], items[start // 2]):
                await store.acknowledge(item, None)
            await store.flush()
            await store.release()
    of_all = {"since": START, "until": FOREVER}
    assert ColdReader(tmp_path, "hq").changes("srv-1", **of_all) == memory.changes("srv-1", **of_all)


async def test_a_cancelled_flush_still_happens(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        for n in range(100):
            await store.acknowledge(typical(f"srv-{n}", 0), None)
        flushing = asyncio.create_task(store.flush())
        await asyncio.sleep(0.001)
        flushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await flushing
    assert len(hot_json.load(tmp_path, "hq", 0)) == 100


async def test_history_that_was_removed_begins_with_everything(tmp_path: Path) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("srv-1", 0), None)
        await store.flush()
        await store.release()
    for path in (tmp_path / "cold" / "hq").iterdir():
        path.unlink()
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("srv-1", 1), None)
        await store.flush()
    assert len(ColdReader(tmp_path, "hq").changes("srv-1", since=START, until=FOREVER)) == 300


async def test_history_that_lost_its_end_takes_what_it_lacks_with_the_next_reading(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a damaged WAL does it: what was committed last is not there any more."""
    cold, kept = tmp_path / "cold" / "hq" / "0.sqlite", tmp_path / "kept"
    for minute, state in enumerate(("Running", "Stopped", "Stopped")):
        async with at_work(tmp_path) as store:
            services = [{"service": "a", "state": state, "account": "x"}]
            await store.acknowledge(observe("srv-1", minute, seq=minute, services=services), None)
            await store.flush()
            await store.release()
        if minute == 0:
            shutil.copy(cold, kept)
        if minute == 1:
            assert "kept whole" not in caplog.text
            shutil.copy(kept, cold)
    assert "kept whole" in caplog.text
    values = ColdReader(tmp_path, "hq").values("srv-1", "services.state[a]", since=START, until=FOREVER)
    assert values == [(START, "Running"), (START + timedelta(minutes=2), "Stopped")]


async def test_old_history_goes(tmp_path: Path) -> None:
    day = 24 * 60
    for minute in (0, 100 * day, 102 * day):  # on the first days after such a time the clock is not believed
        moment = START + timedelta(minutes=minute)
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: moment, keep=Retention()) as store:  # noqa: B023
            await store.acknowledge(typical("srv-1", minute), None)
            await store.flush()
    reader = ColdReader(tmp_path, "hq")
    assert len(reader.statuses("srv-1", since=START, until=FOREVER)) == 2
    assert len(reader.values("srv-1", "services.state[svc1]", since=START, until=FOREVER)) == 1


async def test_readers_leave_a_damaged_file_where_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with at_work(tmp_path) as store:
        await store.acknowledge(typical("srv-1", 0), None)
        await store.flush()
    state = hot_json.read_endpoint(tmp_path, "hq", "srv-1")
    assert state is not None
    assert state == hot_json.read_endpoint(tmp_path, "hq", "srv-1", shard=0)
    assert hot_json.read_endpoint(tmp_path, "hq", "srv-2") is None
    path = hot_json.path_of(tmp_path, "hq", 0)
    content = path.read_bytes()
    for damage in (content[:-10], content.replace(b"SRV-1", b"SRV-3", 1), b""):
        path.write_bytes(damage)
        assert hot_json.read_endpoint(tmp_path, "hq", "srv-1") is None
        assert path.read_bytes() == damage
    assert caplog.text.count("is damaged") == 3
    assert msgspec.json.decode(content)["schema"] == 1  # its checksum is a field like others
    path.write_bytes(b"{" + content.partition(b",")[2].replace(b'"schema":1', b'"schema":2', 1))
    with pytest.raises(TierError, match="schema 2"):
        hot_json.load(tmp_path, "hq", 0)


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
LATER = START.replace(year=2027)
async def main():
    minute = int(sys.argv[2])
    while True:
        async with open_shard(pathlib.Path(sys.argv[1]), "hq", 0, fields=FIELDS, now=lambda: LATER) as store:
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
async def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    acknowledged: set[tuple[int, int]] = set()
    for turn in range(15):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 100), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.random() * 0.3)
        process.kill()  # SIGKILL; TerminateProcess on Windows
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
