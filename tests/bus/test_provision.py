"""What the hub checks and makes, and what the broker's permissions keep apart."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import nats_servers
import pytest

from rmm.bus import nkeys, subjects
from rmm.bus.jetstream import JetStreamBus, Login, open_bus
from rmm.bus.provision import check_durability, make_streams, prepare
from rmm.errors import BusError, BusFull


def system(broker: nats_servers.Server) -> Login:
    return Login(urls=(broker.system_url,))


async def streams(bus: JetStreamBus) -> dict[str, Any]:
    from rmm.bus.api import call

    found: dict[str, Any] = await call(bus.link, "STREAM.LIST", {})
    return {one["config"]["name"]: one["config"] for one in found["streams"] or []}


async def test_the_hub_makes_what_is_needed_and_says_it_again() -> None:
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await prepare(bus, sites=["a"], system=system(broker))
            await bus.publish("rmm.up.a", b"kept")
            await prepare(bus, sites=["a", "b"], monitor=[broker.monitor_url], share=64)
            await prepare(bus, sites=["a", "b"], monitor=[broker.monitor_url], share=64)
            found = await streams(bus)
            async with bus.subscribe("rmm.up.*") as messages, asyncio.timeout(5):
                assert (await anext(messages)).data == b"kept"
    assert sorted(found) == sorted(["RMM_UP", "KV_rmm_leases_a", "KV_rmm_guard_a", "KV_rmm_leases_b", "KV_rmm_guard_b"])
    up = found["RMM_UP"]
    assert (up["retention"], up["storage"], up["discard"]) == ("limits", "file", "new")
    assert up["discard_new_per_subject"]
    assert up["max_msgs_per_subject"] == 64
    assert up["max_bytes"] >= 2 * 64 * up["max_msg_size"]


@pytest.mark.parametrize(
    ("options", "reason", "fix"),
    [
        ({"sync": ""}, "sync_interval is not `always`", "sync_interval: always"),
        ({"sync": "2m"}, "sync_interval is not `always`", "sync_interval: always"),
        ({"sync": "always\n  strict: false"}, "not `strict`", "strict: true"),
    ],
)
async def test_a_lax_broker_is_refused_with_reason_and_fix(options: Any, reason: str, fix: str) -> None:
    with nats_servers.server(**options) as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            ways: tuple[dict[str, Any], ...] = ({"system": system(broker)}, {"monitor": [broker.monitor_url]})
            for way in ways:
                with pytest.raises(BusError) as error:
                    await prepare(bus, sites=["a"], **way)
                assert error.value.code == "bus.durability"
                assert reason in str(error.value)
                assert fix in error.value.hint
            assert await streams(bus) == {}  # nothing was made


async def test_a_broker_of_which_nothing_is_known_is_refused() -> None:
    [port] = nats_servers.free_ports(1)
    ways: tuple[dict[str, Any], ...] = ({}, {"monitor": [f"http://127.0.0.1:{port}"]})
    for way in ways:
        with pytest.raises(BusError) as error:
            await check_durability(**way)
        assert error.value.code == "bus.durability"
        assert "unknown" in str(error.value)
        assert "system account" in error.value.hint


async def test_who_is_no_system_user_cannot_vouch_for_the_broker() -> None:
    with nats_servers.server() as broker, pytest.raises(BusError) as error:
        await check_durability(system=Login(urls=(broker.url,)))
    assert error.value.code == "bus.durability"


async def test_one_lax_server_of_a_cluster_is_enough_to_refuse(tmp_path: Any) -> None:
    with nats_servers.cluster(3, tmp_path) as three:
        await check_durability(system=system(three.servers[0]))
        lax = three.servers[2]
        lax.config.write_text(lax.config.read_text().replace("sync_interval: always", "sync_interval: 2m"))
        lax.restart()
        three.wait_ready()
        with pytest.raises(BusError) as error:
            await check_durability(system=system(three.servers[0]))
        assert f"the broker {lax.name} " in str(error.value)
        lax.kill()  # one that is down does not stop the hub
        async with open_bus(Login(urls=(three.urls[0],))) as bus:
            await prepare(bus, sites=["a"], replicas=3, system=system(three.servers[0]))


async def test_too_little_disk_says_what_to_do() -> None:
    with nats_servers.server(sync="always\n  max_file_store: 1MB") as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            with pytest.raises(BusError) as error:
                await make_streams(bus.link, sites=["a"])
    assert "max_file_store" in error.value.hint


async def test_what_is_published_before_the_hub_was_there_says_what_to_do() -> None:
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            with pytest.raises(BusError) as error:
                await bus.publish("rmm.up.a", b"")
    assert error.value.code == "bus.nobody"


async def test_a_message_that_is_too_large_is_refused() -> None:
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=["a"])
            with pytest.raises(BusError) as error:
                await bus.publish("rmm.up.a", bytes(513 << 10))
            assert error.value.code == "bus.size"
            with pytest.raises(BusError) as told:
                await bus.tell("rmm.down.a", bytes(2 << 20))
            assert told.value.code == "bus.size"
            await bus.publish("rmm.up.a", b"the connection is still there")


# What permissions keep apart.


class Users:
    """A broker with a hub and two sites, whose permissions are the ones of `rmm.bus.subjects`."""

    def __init__(self) -> None:
        self.seeds = {name: nkeys.new_seed("U") for name in ("hub", "a", "b", "invited")}
        wanted = {
            "hub": subjects.hub_permissions(),
            "a": subjects.site_permissions("a"),
            "b": subjects.site_permissions("b"),
            "invited": subjects.invitation_permissions("i1"),
        }
        users = "\n".join(
            f"{{ nkey: {nkeys.public_key(self.seeds[name])}, permissions: {{ "
            f"publish: {self.listed(one.publish)}, subscribe: {self.listed(one.subscribe)} }} }}"
            for name, one in wanted.items()
        )
        self.auth = (
            f"accounts {{ RMM {{ jetstream: enabled, users: [\n{users}\n] }}\n"
            "SYS { users: [{ user: sys, password: sys }] } }\nsystem_account: SYS\n"
        )

    def listed(self, patterns: tuple[str, ...]) -> str:
        return "[" + ", ".join(f'"{one}"' for one in patterns) + "]"

    def login(self, broker: nats_servers.Server, name: str) -> Login:
        inbox = {"hub": subjects.HUB_INBOX, "invited": subjects.enroll_inbox("i1")}.get(name) or subjects.site_inbox(
            name
        )
        return Login(urls=(broker.url,), seed=self.seeds[name], inbox=inbox)


@pytest.fixture
def users() -> Iterator[tuple[Users, nats_servers.Server]]:
    made = Users()
    with nats_servers.server(auth=made.auth) as broker:
        yield made, broker


async def test_with_its_permissions_everybody_can_do_what_is_theirs(users: Any) -> None:
    made, broker = users

    async def reply(subject: str, question: bytes) -> bytes:
        return subject.encode()

    async with open_bus(made.login(broker, "hub")) as hub, open_bus(made.login(broker, "a")) as site:
        await prepare(hub, sites=["a", "b"], system=system(broker))
        async with (
            hub.subscribe(subjects.UP) as messages,
            hub.hear("rmm.beat.*") as beats,
            hub.answer("rmm.ask.*.*", reply),
            hub.answer("rmm.enroll.*", reply),
            site.hear(subjects.down("a")) as receipts,
            asyncio.timeout(20),
        ):
            await site.publish(subjects.up("a"), b"1")
            delivery = await anext(messages)
            assert (delivery.subject, subjects.site_of(delivery.subject)) == ("rmm.up.a", "a")
            await delivery.ack()
            await site.tell(subjects.beat("a"), b"2")
            assert (await anext(beats)).data == b"2"
            await hub.tell(subjects.down("a"), b"3")
            assert (await anext(receipts)).data == b"3"
            assert await site.ask(subjects.ask("a", "receipt"), b"", timeout_s=5) == b"rmm.ask.a.receipt"
            for bucket in subjects.BUCKETS:
                keys = site.keys(bucket, ttl_s=5)
                first = await keys.put("a.shard.1", b"x", after=0)
                second = await keys.put("a.shard.1", b"y", after=first)
                assert (await keys.all("a.>"))["a.shard.1"].revision == second
                assert await hub.keys(bucket).all("*.shard.*") == await keys.all("a.shard.*")
                await keys.drop("a.shard.1", after=second)
                assert await keys.get("a.shard.1") is None
            async with open_bus(made.login(broker, "invited")) as invited:
                assert await invited.ask(subjects.enroll("i1"), b"", timeout_s=5) == b"rmm.enroll.i1"


async def test_a_site_can_do_nothing_in_the_name_of_another(users: Any) -> None:
    made, broker = users
    async with (
        open_bus(made.login(broker, "hub")) as hub,
        open_bus(made.login(broker, "a")) as site,
        open_bus(made.login(broker, "b")) as other,
    ):
        await prepare(hub, sites=["a", "b"], system=system(broker))
        theirs = await other.keys("rmm_leases").put("b.shard.1", b"theirs", after=0)
        async with hub.hear("rmm.>") as all_told, site.hear("rmm.down.b") as down, site.hear("_INBOX.>") as inboxes:
            keys = site.keys("rmm_leases")
            forbidden = (
                site.publish("rmm.up.b", b"forged"),
                site.ask("rmm.ask.b.receipt", b"", timeout_s=1),
                site.ask("rmm.enroll.i1", b"", timeout_s=1),
                keys.get("b.shard.1"),
                keys.put("b.shard.1", b"forged", after=theirs),
                keys.drop("b.shard.1", after=theirs),
                keys.all("b.>"),
                keys.all("*.shard.*"),
                *(
                    site.link.request(f"$JS.API.{subject}", b"", timeout_s=1)
                    for subject in (
                        "STREAM.PURGE.RMM_UP",
                        "STREAM.INFO.RMM_UP",
                        "STREAM.CREATE.X",
                        "CONSUMER.CREATE.RMM_UP.x",
                        "CONSUMER.CREATE.KV_rmm_leases_a.x",
                        "STREAM.MSG.GET.RMM_UP",
                        "DIRECT.GET.KV_rmm_leases_b",
                        "STREAM.MSG.DELETE.KV_rmm_leases_b",
                    )
                ),
            )
            said = await asyncio.gather(*forbidden, return_exceptions=True)
            assert [one for one in said if not isinstance(one, BusError)] == []
            for subject in ("rmm.down.b", "rmm.beat.b", "rmm.enroll.i1", "$SYS.REQ.SERVER.PING.JSZ"):
                await site.tell(subject, b"forged")
            await site.link.flush()  # the broker has seen all of it
            await hub.tell("rmm.down.b", b"for b alone")
            await asyncio.sleep(0.3)
            for messages in (down, inboxes):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await anext(messages)
            async with asyncio.timeout(5):
                assert (await anext(all_told)).data == b"for b alone"
        assert (await other.keys("rmm_leases").get("b.shard.1")).value == b"theirs"  # type: ignore[union-attr]


async def test_an_answer_of_the_server_is_no_request_to_it(users: Any) -> None:
    """Who publishes says where the confirmation goes; it must not be taken for a request to purge, say."""
    made, broker = users
    async with open_bus(made.login(broker, "hub")) as hub, open_bus(made.login(broker, "a")) as site:
        await prepare(hub, sites=["a", "b"], system=system(broker))
        for n in range(5):
            await hub.publish("rmm.up.b", b"%d" % n)
        for target in (
            "STREAM.PURGE.RMM_UP",
            "STREAM.DELETE.RMM_UP",
            "STREAM.MSG.DELETE.RMM_UP",
            "CONSUMER.DELETE.RMM_UP.x",
        ):
            await site.link.send("rmm.up.a", b"x", reply=f"$JS.API.{target}")
            await site.link.send("$KV.rmm_leases.a.x", b"x", reply=f"$JS.API.{target}")
        asked: list[str] = []

        async def reply(subject: str, question: bytes) -> bytes:
            asked.append(subject)
            return b""

        async with hub.answer("rmm.ask.*.*", reply):
            await site.link.send("rmm.ask.a.x", b"", reply="$JS.API.STREAM.DELETE.RMM_UP")
            await site.link.send("rmm.ask.a.x", b"", reply="rmm.down.b")
            await site.ask("rmm.ask.a.last", b"", timeout_s=10)  # in order, so the others have been there
        assert asked == ["rmm.ask.a.last"]  # the hub does not answer with its own permissions to wherever a site says
        async with hub.subscribe(subjects.UP) as messages, asyncio.timeout(5):
            got = [await anext(messages) for _ in range(9)]
        assert sorted(one.data for one in got if one.subject == "rmm.up.b") == [b"%d" % n for n in range(5)]


async def test_a_flooding_site_leaves_the_others_their_share(users: Any) -> None:
    made, broker = users
    async with (
        open_bus(made.login(broker, "hub")) as hub,
        open_bus(made.login(broker, "a")) as site,
        open_bus(made.login(broker, "b")) as other,
    ):
        await prepare(hub, sites=["a", "b"], system=system(broker), share=20)
        with pytest.raises(BusFull):
            for _ in range(100):
                await site.publish("rmm.up.a", bytes(500_000))
        keys = site.keys("rmm_leases")
        with pytest.raises(BusFull):
            for n in range(2000):
                await keys.put(f"a.flood.{n}", bytes(4000), after=0)
        for n in range(20):
            await other.publish("rmm.up.b", b"%d" % n)
        await other.keys("rmm_leases").put("b.shard.1", b"x", after=0)


def test_names() -> None:
    assert subjects.site_of("rmm.up.a") == subjects.site_of("rmm.ask.a.receipt") == "a"
    assert subjects.site_of("rmm.enroll.i1") == subjects.site_of("x") == ""
    assert len({subjects.durable(one) for one in ("rmm.up.*", "rmm.up.>", "rmm.up_any", "rmm.up.any")}) == 4
    for wrong in ("", "a.b", "*", ">", "a b", "ä", "a\n", "x" * 65):
        with pytest.raises(ValueError, match="cannot be a word"):
            subjects.up(wrong)
