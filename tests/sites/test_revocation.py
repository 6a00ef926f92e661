"""A revoked collector is thrown out, stays out, and is not revived by restarts or backups."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sites_world import World, brokers, link

from rmm.bus import subjects
from rmm.bus.asking import open_asker
from rmm.bus.link import Link
from rmm.bus.login import Login
from rmm.errors import BusError, ConfigError, EnvelopeError
from rmm.hub.authority import Authority
from rmm.hub.broker_config import Ports, write_brokers
from rmm.hub.broker_config import Server as Planned
from rmm.hub.revocation import push_claims, revoke, tell_brokers
from rmm.site.enrolling import enroll, renew


async def thrown_out(up: Link, seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while up.client is not None:
            await asyncio.sleep(0.01)


async def refused(login: Login) -> None:
    with pytest.raises(BusError) as caught:
        async with open_asker(login):
            pass
    assert caught.value.code == "bus.refused"


async def tell(world: World, urls: tuple[str, ...] = ()) -> None:
    await tell_brokers(world.authority, urls or world.urls, world.clock.now())


async def test_a_revoked_collector_is_thrown_out_and_stays_out(world: World) -> None:
    async with world.hub():
        gone = await world.enrolled("berlin", where="a", name="gone")
        stays = await world.enrolled("berlin", where="b", name="stays")
        other = await world.enrolled("tokyo", where="c")
        async with link(gone.login()) as up, link(stays.login()) as second, link(other.login()) as third:
            assert [one.id for one in revoke(world.authority, "berlin", "gone", world.clock.now())] == ["gone"]
            assert world.authority.public_key_of("berlin", "gone") is None  # before any broker knows of it
            await tell(world)
            await thrown_out(up)
            await second.send(subjects.beat("berlin"), b"here")
            await third.send(subjects.beat("tokyo"), b"here")
        await refused(gone.login())
        async with link(stays.login()):
            pass
        world.servers[0].restart()
        await refused(gone.login())
        async with link(stays.login()) as up:
            await up.send(subjects.beat("berlin"), b"here")
    assert revoke(world.authority, "berlin", "gone", world.clock.now()) == []


async def test_a_site_as_a_whole_with_its_open_invitations(world: World) -> None:
    async with world.hub():
        one, two = await world.enrolled("berlin", where="a"), await world.enrolled("berlin", where="b")
        token, other = world.invited("berlin"), world.invited("tokyo")
        revoked = revoke(world.authority, "berlin", "", world.clock.now())
        assert {each.id for each in revoked} == {one.collector, two.collector}
        await tell(world)
        await refused(one.login())
        await refused(two.login())
        with pytest.raises(EnvelopeError, match="withdrawn") as caught:
            await enroll(token, world.folder / "again", clock=world.clock, host="pc")
        assert caught.value.code == "enrol.unknown"
        assert (await enroll(other, world.folder / "tokyo", clock=world.clock, host="pc")).site == "tokyo"
        back = await world.enrolled("berlin", where="anew")  # by a new invitation a site comes back
        assert back.collector not in (one.collector, two.collector)
        async with link(back.login()):
            pass


async def test_it_cannot_renew_itself(world: World) -> None:
    async with world.hub():
        gone = await world.enrolled("berlin")
        async with open_asker(gone.login()) as bus:
            revoke(world.authority, "berlin", "", world.clock.now())  # and no broker was told
            with pytest.raises(EnvelopeError, match="no collector") as caught:
                await renew(bus, gone, world.clock)
    assert caught.value.code == "enrol.revoked"
    assert world.outcomes[-1].refused == "enrol.revoked"


async def test_the_broker_is_told_later_when_it_was_down(world: World) -> None:
    async with world.hub():
        gone = await world.enrolled("berlin")
    world.servers[0].kill()
    revoke(world.authority, "berlin", "", world.clock.now())
    with pytest.raises(BusError):
        await tell(world)
    world.servers[0].start()
    async with link(gone.login()):
        pass  # the broker knows nothing of it; the hub does
    assert world.authority.public_key_of("berlin", gone.collector) is None
    await tell(world)
    await refused(gone.login())


async def test_telling_twice_in_a_second_and_a_clock_that_was_set_back(world: World) -> None:
    async with world.hub():
        first, second = await world.enrolled("berlin", where="a"), await world.enrolled("tokyo", where="b")
    now = world.clock.now()
    async with open_asker(world.authority.system_login(world.urls, now)) as bus:
        revoke(world.authority, "berlin", "", now)
        await push_claims(bus, world.authority, now)
        revoke(world.authority, "tokyo", "", now)
        await push_claims(bus, world.authority, now - timedelta(days=2))
    for _ in range(2):
        await refused(first.login())
        await refused(second.login())
        world.servers[0].restart()  # which finds its configuration's claims again, and keeps the newer ones


async def test_a_registry_from_a_backup_revives_nobody_at_the_broker(world: World) -> None:
    async with world.hub():
        gone = await world.enrolled("berlin")
        registry = world.authority.folder / "registry.json"
        shutil.copy(registry, world.folder / "backup.json")
        revoke(world.authority, "berlin", "", world.clock.now())
        await tell(world)
        await refused(gone.login())
        shutil.copy(world.folder / "backup.json", registry)
        again = Authority.open(world.authority.folder.parent)
        assert again.public_key_of("berlin", gone.collector) is not None  # what the backup says
        await tell_brokers(again, world.urls, world.clock.now())
        await refused(gone.login())


async def test_an_older_configuration_revives_nobody(world: World) -> None:
    """`resolver_preload` has the claims of the time when it was written; a broker keeps the newer ones."""
    server = world.servers[0]
    async with world.hub():
        gone = await world.enrolled("berlin")
    revoke(world.authority, "berlin", "", world.clock.now())
    await tell(world)
    server.restart()
    await refused(gone.login())
    # And a new configuration has them in it, also for a broker with an empty disk.
    planned = Planned(
        host="127.0.0.1",
        name=server.name,
        ports=Ports(server.port, server.ws_port, server.cluster_port, server.http_port),
        listen="127.0.0.1",
    )
    server.kill()
    shutil.rmtree(server.folder / "accounts")
    write_brokers(world.authority, [planned], world.folder / "brokers", world.clock.now())
    server.start()
    await refused(gone.login())


async def test_an_account_of_another_operator_is_nobody(world: World, tmp_path: Path) -> None:
    """A server keeps claims that a system user sends, but believes those of its own operator alone."""
    foreign = Authority.create(tmp_path / "foreign", world.clock.now())
    async with open_asker(world.authority.system_login(world.urls, world.clock.now())) as bus:
        await bus.ask("$SYS.REQ.CLAIMS.UPDATE", foreign.account_claims(world.clock.now()).encode(), timeout_s=5)
    theirs, ours = (one.login(world.urls, world.clock.now()) for one in (foreign, world.authority))
    await refused(msgspec.structs.replace(ours, jwt=theirs.jwt, seed=theirs.seed))


@pytest.mark.slow
async def test_three_servers_know_of_it(authority: Authority, world: World, tmp_path: Path) -> None:
    """Also the one that was away meanwhile, and nobody with a site's certificate speaks on the routes."""
    with brokers(authority, 3, tmp_path / "three") as three:
        wide = World(authority, world.clock, three, tmp_path / "wide")
        async with wide.hub():
            gone = await wide.enrolled("berlin", where="a")
            stays = await wide.enrolled("tokyo", where="b")
            away = three[2]
            away.kill()
            revoke(authority, "berlin", "", wide.clock.now())
            await tell_brokers(authority, [three[0].url], wide.clock.now())
            for server in three[:2]:
                await refused(msgspec.structs.replace(gone.login(), urls=(server.url,)))
            away.start()
            async with asyncio.timeout(20):
                with contextlib.suppress(BusError):
                    while True:  # it lets the revoked one in until it has asked the others
                        async with open_asker(msgspec.structs.replace(gone.login(), urls=(away.url,))):
                            await asyncio.sleep(0.2)
            await refused(msgspec.structs.replace(gone.login(), urls=(away.url,)))
            for server in three:
                async with link(msgspec.structs.replace(stays.login(), urls=(server.url,))):
                    pass
        with pytest.raises(BusError) as caught:
            async with open_asker(
                msgspec.structs.replace(stays.login(), urls=(f"tls://127.0.0.1:{three[0].cluster_port}",))
            ):
                pass
        assert caught.value.code in ("bus.tls", "bus.refused", "bus", "bus.timeout")  # or it hears nothing


def test_nobody_to_revoke(authority: Authority, world: World) -> None:
    with pytest.raises(ConfigError, match="no collector of nowhere"):
        revoke(authority, "nowhere", "", world.clock.now())
