"""Transactions over a real server: whole or not there, one at a time, and nothing stays open."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cluster import Cluster, schema_of

from rmm.core.alerting.lifecycle import Change
from rmm.errors import LeaseLost, TierError
from rmm.model.rule import Alert
from rmm.tiers.fleet_postgres import address
from rmm.tiers.fleet_postgres import database as adapter
from rmm.tiers.fleet_sqlite import FleetFile, FleetStore, retried

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rmm' AND state LIKE 'idle in transaction%'"
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@asynccontextmanager
async def opened(cluster: Cluster, data: Path) -> AsyncIterator[FleetStore]:
    async with FleetStore.open(cluster.of_folder(data)) as store:
        yield store


async def until(condition: Any, seconds: float = 10.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.02)


def alert(key: str, **more: Any) -> Alert:
    return Alert(
        key=key, rule="r", endpoint="e", name="E", site="hq", severity="critical", state="firing", summary="s",
        value=1.0, first_at=NOW, last_at=NOW, **more,
    )  # fmt: skip


async def test_what_is_raised_within_leaves_nothing(cluster: Cluster, tmp_path: Path) -> None:
    async with opened(cluster, tmp_path) as store:
        with pytest.raises(ValueError, match="mine"):
            async with store.transaction():
                await store.set_mark("x", 1)
                raise ValueError("mine")
        async with store.transaction():
            assert await store.mark_of("x") == 0
            await store.set_mark("x", 2)
            with pytest.raises(TierError, match="already"):
                async with store.transaction():
                    pass
        assert await store.mark_of("x") == 2


@pytest.mark.parametrize("times", [1, 3])
async def test_who_is_cancelled_while_waiting_for_the_turn(cluster: Cluster, tmp_path: Path, times: int) -> None:
    async with opened(cluster, tmp_path) as first, opened(cluster, tmp_path) as second:

        async def write() -> None:
            async with second.transaction():
                await second.set_mark("x", 1)

        async with first.transaction():
            task = asyncio.create_task(write())
            await until(lambda: cluster.execute(f"{LOCKS} AND NOT granted") == [(1,)])
            for _ in range(times):
                task.cancel()
                await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: cluster.execute(LOCKS) == [(0,)])
        assert cluster.execute(OPEN) == [(0,)]
        async with second.transaction():  # it is of use still
            assert await second.mark_of("x") == 0


@pytest.mark.parametrize("pause", [0.0, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.03])
async def test_cancelled_at_any_point(cluster: Cluster, tmp_path: Path, pause: float) -> None:
    """All of it or nothing, and the lock is free."""
    async with opened(cluster, tmp_path) as store:

        async def write() -> None:
            async with store.transaction():
                for number in range(20):
                    await store.set_mark(f"m{number}", 1)

        task = asyncio.create_task(write())
        await asyncio.sleep(pause)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert cluster.execute(LOCKS) == [(0,)]
        assert cluster.execute("SELECT count(*) FROM mark", schema_of(tmp_path)) in ([(0,)], [(20,)])
        await write()
    assert cluster.execute("SELECT count(*) FROM mark", schema_of(tmp_path)) == [(20,)]


async def test_who_waits_too_long_is_told(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(cluster, tmp_path) as first:
        monkeypatch.setattr(adapter, "LOCK_S", 0.2)
        async with opened(cluster, tmp_path) as second, first.transaction():
            with pytest.raises(LeaseLost):
                async with second.transaction():
                    pass


async def test_who_stands_still_within_a_transaction_is_ended(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that is stopped while it has the turn does not keep it for ever, and writes nothing after it."""
    monkeypatch.setattr(address, "IDLE_S", 0.3)
    async with opened(cluster, tmp_path) as first, opened(cluster, tmp_path) as second:
        with pytest.raises(TierError) as caught:
            async with first.transaction():
                await first.set_mark("x", 1)
                async with second.transaction():  # waits until the server has ended the other
                    await second.set_mark("x", 2)
                await first.set_mark("x", 3)
        assert caught.value.code == "database.unreachable"
        assert await second.mark_of("x") == 2
        async with first.transaction():  # by a new connection
            assert await first.mark_of("x") == 2


async def test_the_version_is_of_others_commits(cluster: Cluster, tmp_path: Path) -> None:
    async with opened(cluster, tmp_path) as first, opened(cluster, tmp_path) as second:
        seen = await first.version()
        async with first.transaction():
            await first.set_mark("x", 1)
        async with second.transaction():
            await second.mark_of("x")  # has only read
        assert await first.version() == seen
        async with second.transaction():
            await second.set_mark("x", 2)
        assert await first.version() != seen
        seen = await first.version()
        async with first.transaction():
            assert await first.version() == seen
            await first.set_mark("x", 3)
        assert await first.version() == seen


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_server_that_is_restarted(tmp_path: Path, how: signal.Signals) -> None:
    """What was committed is there, what was not is not; the next transaction finds the server again."""
    cluster = Cluster()
    try:
        async with opened(cluster, tmp_path) as store:
            async with store.transaction():
                await store.set_mark("kept", 1)
            seen = await store.version()
            with pytest.raises(TierError) as caught:
                async with store.transaction():
                    await store.set_mark("lost", 1)
                    cluster.stop(how)
                    await store.set_mark("lost", 2)
            assert caught.value.code == "database.unreachable"
            with pytest.raises(TierError) as caught:
                async with store.transaction():
                    pass
            assert (caught.value.code, caught.value.retry) == ("database.unreachable", "RB")
            with pytest.raises(TierError):
                FleetFile(cluster.of_folder(tmp_path)).endpoints()
            cluster.start()
            async with store.transaction():
                assert (await store.mark_of("kept"), await store.mark_of("lost")) == (1, 0)
            assert await store.version() != seen  # whoever remembers something reads it again
    finally:
        cluster.remove()


async def test_a_deadlock_with_somebody_else_is_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    """An administrator's transaction takes two rows in the other order; the server ends one of the two."""
    schema = schema_of(tmp_path)
    async with opened(cluster, tmp_path) as store:
        async with store.transaction():
            for name in ("a", "b"):
                await store.set_mark(name, 0)
        other = await asyncpg.connect(cluster.url(schema), server_settings={"deadlock_timeout": "10s"})
        tries = 0

        @retried
        async def unit() -> None:
            nonlocal tries
            tries += 1
            async with store.transaction():
                await store.set_mark("a", tries)
                if tries == 1:
                    waiting.set()
                    await asyncio.sleep(0.2)
                await store.set_mark("b", tries)

        waiting = asyncio.Event()
        task = asyncio.create_task(unit())
        await waiting.wait()
        async with other.transaction():
            await other.execute("UPDATE mark SET no = 100 WHERE name = 'b'")
            await other.execute("UPDATE mark SET no = 100 WHERE name = 'a'")
        await task
        await other.close()
        assert tries == 2
        assert (await store.mark_of("a"), await store.mark_of("b")) == (2, 2)


async def test_what_always_conflicts_ends() -> None:
    tries = 0

    @retried
    async def unit() -> None:
        nonlocal tries
        tries += 1
        raise TierError("no", code="database.conflict")

    with pytest.raises(TierError):
        await unit()
    assert tries == 4


async def test_what_a_hostile_endpoint_names_its_rows(cluster: Cluster, tmp_path: Path) -> None:
    """NUL, texts that no index has room for, backslashes: each is one alert, which is found and ends."""
    keys = ["r|e|nul \0 and \\u0000 in words", "r|e|" + "".join(chr(0x4E00 + n % 20000) for n in range(4096)),
            "r|e|\\", "r|e|quote ' \" ␀"]  # fmt: skip
    async with opened(cluster, tmp_path) as store:
        for _ in range(2):
            async with store.transaction():
                await store.put_changes([Change(alert(key, row=key)) for key in keys])
                await store.put_flaps({})
        async with store.transaction():
            assert [one.key for one in await store.live_alerts()][1:] == keys[1:]
            assert len(await store.outbox.alerts(keys[1:])) >= 3
        ended = [Change(alert(key).__class__(**{**_fields(alert(key)), "state": "resolved"})) for key in keys]
        async with store.transaction():
            await store.put_changes(ended)
            assert await store.live_alerts() == []
    assert len(FleetFile(cluster.of_folder(tmp_path)).alerts(states=["resolved"])) == 4


def _fields(one: Alert) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__struct_fields__}


async def test_numbers_of_alerts_go_on_without_gaps(cluster: Cluster, tmp_path: Path) -> None:
    async with opened(cluster, tmp_path) as store:
        for _ in range(5):  # each is written anew, which takes no number
            async with store.transaction():
                await store.put_changes([Change(alert("r|e|1"))])
        async with store.transaction():
            await store.put_changes([Change(alert("r|e|2"))])
    found = FleetFile(cluster.of_folder(tmp_path)).alerts()
    assert sorted(one["number"] for one in found) == [1, 2]
