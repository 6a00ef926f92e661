"""`rmm hub run` with a real broker: one that becomes lax, one that is not there, and logins that it turns away."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sites_world import Configured, World, brokers, enrolled_at

from rmm.bus.asking import open_asker
from rmm.errors import BusError
from rmm.hub.authority import Authority
from rmm.hub.revocation import revoke, tell_brokers
from rmm.hub_service import serve_hub
from rmm.site.enrolling import enroll


class Served:
    """A hub's folder with its broker."""

    def __init__(self, world: World, config: Path) -> None:
        self.world = world
        self.config = config
        self.said: list[str] = []

    @property
    def server(self) -> Configured:
        return self.world.servers[0]

    @contextlib.asynccontextmanager
    async def running(self, *, ready: bool = True) -> AsyncIterator[asyncio.Task[int]]:
        self.said.clear()
        task = asyncio.create_task(serve_hub(self.config, lambda: "", self.said.append, lambda _: ()))
        try:
            if ready:
                await until(lambda: task.done() or any("is at work" in line for line in self.said))
                assert not task.done(), task.exception()
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def lax(self, now: bool = True) -> None:
        text = self.server.config.read_text()
        words = ("sync_interval: always", "sync_interval: 2m")
        self.server.config.write_text(text.replace(*(words if now else words[::-1])))

    def rows(self, query: str) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.config.parent / "data" / "fleet.sqlite")) as database:
            return database.execute(query).fetchall()

    def notifications(self) -> list[dict[str, Any]]:
        file = self.config.parent / "told"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def until(condition: Callable[[], Any], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.05)


@pytest.fixture
def served(world: World, authority: Authority, tmp_path: Path) -> Served:
    config = authority.folder.parent
    (config / "rmm.yaml").write_text(
        f"data: {tmp_path / 'data'}\nhub: {{urls: ['{world.urls[0]}']}}\nsites: [{{id: berlin}}, {{id: tokyo}}]\n"
        f"channels:\n  file: {{type: log, file: {tmp_path / 'told'}}}\n"
    )
    (config / "endpoints.csv").write_text("ComputerName,SiteId\n")
    return Served(world, config)


@pytest.fixture
def world(authority: Authority, clock: Any, tmp_path: Path) -> Iterator[World]:
    """With its broker beside it, not within the hub's folder."""
    with brokers(authority, 1, tmp_path / "brokers") as servers:
        yield World(authority, clock, servers, tmp_path)


async def test_a_broker_that_has_become_lax_ends_the_hub_with_the_reason(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rmm.bus.link.LONGEST_PAUSE_S", 1.0)
    async with served.running() as hub:
        served.server.kill()
        await asyncio.to_thread(served.server.start)
        await asyncio.sleep(1.5)  # as strict as before: the hub goes on
        assert not hub.done()
        served.lax()
        served.server.kill()
        await asyncio.to_thread(served.server.start)
        with pytest.raises(BusError) as error:
            await asyncio.wait_for(hub, 40)
    assert error.value.code == "bus.durability"
    assert "sync_interval is not `always`" in str(error.value)
    assert "sync_interval: always" in error.value.hint
    [told] = served.notifications()
    assert "sync_interval: always" in json.dumps(told)
    assert "hub_broker" in json.dumps(told)


async def test_a_lax_broker_is_refused_at_the_start(served: Served) -> None:
    served.lax()
    served.server.kill()
    await asyncio.to_thread(served.server.start)
    async with served.running(ready=False) as hub:
        with pytest.raises(BusError) as error:
            await asyncio.wait_for(hub, 40)
    assert error.value.code == "bus.durability"
    assert not any("is at work" in line for line in served.said)


async def test_a_broker_that_is_not_there_is_waited_for_and_people_know_what_to_do(served: Served) -> None:
    served.server.kill()
    async with served.running(ready=False) as hub:
        await until(lambda: served.said)
        [line] = served.said
        assert f"tls://127.0.0.1:{served.server.port}" in line
        assert "Does the broker run there" in line
        await asyncio.to_thread(served.server.start)
        await until(lambda: any("is at work" in line for line in served.said))
        assert not hub.done()


async def test_a_broker_that_is_too_old_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.bus.connection.OLDEST", (99, 0))
    async with served.running(ready=False) as hub:
        with pytest.raises(BusError) as error:
            await asyncio.wait_for(hub, 30)
    assert error.value.code == "bus.version"
    assert served.said == []


async def test_logins_that_the_broker_refuses_are_counted_and_in_the_audit_log(served: Served, caplog: Any) -> None:
    world = served.world
    expired = await enrolled_at(world, timedelta(days=91))
    fresh = await enrolled_at(world, timedelta(days=0))
    other = Authority.create(served.config.parent / "theirs", datetime.now(UTC))
    old, good = expired.login(), fresh.login()
    async with served.running():
        gone = await enroll(world.invited(name="gone"), served.config.parent / "gone", clock=world.clock, host="PC")
        revoke(world.authority, "berlin", "gone", world.clock.now())
        await tell_brokers(world.authority, world.urls, world.clock.now())
        foreign = msgspec.structs.replace(good, jwt=other.login(world.urls, world.clock.now()).jwt)
        logins = [
            gone.login(), gone.login(), msgspec.structs.replace(good, jwt=old.jwt, seed=old.seed),
            msgspec.structs.replace(good, seed=gone.login().seed), foreign, old,
        ]  # fmt: skip
        caplog.clear()
        for login in logins:
            with pytest.raises(BusError):
                async with open_asker(login):
                    pass
        count = "SELECT site, reason, number FROM site_refused WHERE reason LIKE 'login.%' ORDER BY site, reason"
        wanted = [
            ("berlin", "login.expired"), ("berlin", "login.refused"), ("berlin", "login.revoked"),
            ("unknown", "login.tls"), ("unknown", "login.unknown"),
        ]  # fmt: skip
        await until(lambda: [row[:2] for row in served.rows(count)] == wanted, 20)
        assert all(number >= 1 for *_, number in served.rows(count))
        assert served.rows(count)[2][2] >= 2  # each time
        acts = "SELECT count(*) FROM act WHERE what = 'refuse log on'"
        assert served.rows(acts) == [(5,)]
    lines = [one.message for one in caplog.records if "refused a login" in one.message]
    assert len(lines) == 5
    assert not any(login.jwt in line for login in logins for line in lines)
    assert any("berlin/gone was revoked at" in line for line in lines)
    assert any(f"the login of berlin/{expired.collector} ended at" in line for line in lines)
    assert max(one.levelno for one in caplog.records) == logging.WARNING
