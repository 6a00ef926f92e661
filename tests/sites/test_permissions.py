"""What a user of the broker may not: other sites' subjects, keys, inboxes and streams, and the brokers themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import nats
import pytest
from nats.aio.client import Client
from sites_world import World, link

from rmm.bus import nkeys, subjects
from rmm.bus.asking import open_asker
from rmm.bus.login import Login, tls_context
from rmm.bus.provision import prepare
from rmm.errors import BusError
from rmm.hub.authority import Authority
from rmm.site.enrolling import _login
from rmm.site.identity import Identity

DENIED = "permissions violation"


@asynccontextmanager
async def client(login: Login, errors: list[str] | None = None, **options: Any) -> AsyncIterator[Client]:
    """A connection as nats-py makes it, which says what the server denies."""
    said = errors if errors is not None else []

    async def failed(error: Exception) -> None:
        said.append(str(error).lower())

    made = await nats.connect(
        servers=list(login.urls),
        tls=tls_context(login),
        user_jwt_cb=lambda: login.jwt.encode(),
        signature_cb=lambda nonce: nkeys.sign_nonce(login.seed, nonce),
        inbox_prefix=login.inbox,
        allow_reconnect=False,
        error_cb=failed,
        connect_timeout=5,
        **options,
    )
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def prepared(world: World) -> AsyncIterator[tuple[Client, Identity, Identity]]:
    """The hub's own client, with streams and buckets, and a collector of each of two sites."""
    now = world.clock.now()
    async with world.hub() as bus, client(world.authority.login(world.urls, now)) as hub:
        await prepare(bus, sites=world.sites, system=world.authority.system_login(world.urls, now))
        await hub.jetstream().publish("$KV.rmm_leases.tokyo.shard.0", b"tokyo's own")
        yield hub, await world.enrolled("berlin"), await world.enrolled("tokyo")


async def test_a_site_has_its_own_subjects(world: World) -> None:
    async with prepared(world) as (hub, berlin, _), client(berlin.login()) as site:
        heard = await hub.subscribe("rmm.beat.*")
        await hub.flush()
        ack = await site.jetstream().publish(subjects.up("berlin"), b"envelope")
        assert ack.stream == subjects.STREAM
        await site.publish(subjects.beat("berlin"), b"beat")
        assert (await heard.next_msg(5)).data == b"beat"
        down = await site.subscribe(subjects.down("berlin"))
        await site.flush()
        await hub.publish(subjects.down("berlin"), b"receipt")
        assert (await down.next_msg(5)).data == b"receipt"
        ack = await site.jetstream().publish("$KV.rmm_leases.berlin.shard.0", b"mine")
        assert ack.stream == "KV_rmm_leases_berlin"


FORBIDDEN = [
    subjects.up("tokyo"),
    subjects.beat("tokyo"),
    subjects.ask("tokyo", "receipt"),
    subjects.ask("tokyo", "renew"),
    subjects.down("berlin"),  # receipts are the hub's
    subjects.down("tokyo"),
    subjects.enroll("0123456789abcdef"),
    "$KV.rmm_leases.tokyo.shard.0",
    "$KV.rmm_guard.tokyo.account",
    "_INBOX.s.tokyo.x",
    "_INBOX.h.x",
    "$JS.API.STREAM.MSG.GET.KV_rmm_leases_tokyo",
    "$JS.API.STREAM.MSG.GET.RMM_UP",
    "$JS.API.STREAM.MSG.DELETE.KV_rmm_leases_tokyo",
    "$JS.API.STREAM.MSG.DELETE.RMM_UP",
    "$JS.API.DIRECT.GET.KV_rmm_leases_tokyo",
    "$JS.API.DIRECT.GET.KV_rmm_leases_tokyo.$KV.rmm_leases.tokyo.shard.0",
    "$JS.API.STREAM.PURGE.RMM_UP",
    "$JS.API.STREAM.DELETE.RMM_UP",
    "$JS.API.STREAM.DELETE.KV_rmm_leases_berlin",
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.UPDATE.RMM_UP",
    "$JS.API.STREAM.INFO.RMM_UP",
    "$JS.API.STREAM.NAMES",
    "$JS.API.CONSUMER.CREATE.RMM_UP",
    "$JS.API.CONSUMER.CREATE.KV_rmm_leases_berlin",
    "$JS.API.CONSUMER.MSG.NEXT.RMM_UP.x",
    "$JS.ACK.RMM_UP.x.1.1.1.1.1",
    "$SYS.REQ.CLAIMS.UPDATE",
    "$SYS.REQ.SERVER.PING",
    "anything",
]
UNHEARD = [
    ">",
    "*",
    "rmm.>",
    "rmm.up.>",
    "rmm.up.berlin",  # a second listener could not keep the hub from it, but has no business there
    "rmm.beat.*",
    "rmm.down.*",
    "rmm.down.tokyo",
    "rmm.ask.berlin.>",
    "rmm.enroll.>",
    "_INBOX.>",
    "_INBOX.s.*.>",
    "_INBOX.s.tokyo.>",
    "_INBOX.h.>",
    "$KV.>",
    "$JS.>",
    "$SYS.>",
]


async def allowed(made: Client, errors: list[str], subjects_: list[str], *, hear: bool) -> list[str]:
    """Those that the server does not deny; the connection stays."""
    errors.clear()
    for subject in subjects_:
        if hear:
            await made.subscribe(subject)
        else:
            await made.publish(subject, b"{}")
    for _ in range(20):
        await made.flush(5)  # what is denied is said before the answer to this
        left = [one for one in subjects_ if not any(DENIED in text and f'"{one.lower()}"' in text for text in errors)]
        if not left:
            break
        await asyncio.sleep(0.01)
    return left


async def test_a_site_has_nothing_of_another(world: World) -> None:
    errors: list[str] = []
    async with prepared(world) as (hub, berlin, _), client(berlin.login(), errors) as site:
        heard = await hub.subscribe("rmm.>")
        await hub.flush()
        assert await allowed(site, errors, FORBIDDEN, hear=False) == []
        assert await allowed(site, errors, UNHEARD, hear=True) == []
        assert await allowed(site, errors, [subjects.beat("berlin")], hear=False)
        assert (await heard.next_msg(5)).subject == "rmm.beat.berlin"  # and nothing before it
        assert site.is_connected


async def test_an_invitation_asks_one_question(world: World) -> None:
    token, other = world.invited("berlin"), world.invited("tokyo")
    errors: list[str] = []
    async with prepared(world), client(_login(token, ""), errors) as guest:
        forbidden = [*FORBIDDEN, subjects.up("berlin"), subjects.beat("berlin"), subjects.enroll(other.invitation)]
        assert await allowed(guest, errors, forbidden, hear=False) == []
        unheard = [*UNHEARD, subjects.down("berlin"), f"_INBOX.e.{other.invitation}.>", "_INBOX.e.>"]
        assert await allowed(guest, errors, unheard, hear=True) == []
        assert await allowed(guest, errors, [subjects.enroll(token.invitation)], hear=False)


async def test_a_message_that_is_too_large_is_not_taken(world: World) -> None:
    async with prepared(world) as (_, berlin, _), client(berlin.login()) as site:
        with pytest.raises(nats.errors.MaxPayloadError):
            await site.publish(subjects.beat("berlin"), b"x" * ((1 << 20) + 1))


async def test_who_shows_no_certificate_or_a_foreign_one_stays_out(world: World, tmp_path: Path) -> None:
    async with world.hub():
        login = (await world.enrolled("berlin")).login()
    bare = Login(urls=login.urls, jwt=login.jwt, seed=login.seed, ca_file=login.ca_file, inbox=login.inbox)
    foreign = Authority.create(tmp_path / "foreign", world.clock.now()).login(world.urls, world.clock.now())
    for wrong in (
        bare,
        Login(**{**fields(login), "cert_file": foreign.cert_file, "key_file": foreign.key_file}),
        Login(**{**fields(login), "jwt": foreign.jwt, "seed": foreign.seed}),
        Login(**{**fields(login), "seed": nkeys.new_seed(nkeys.USER)}),
        Login(**{**fields(login), "jwt": ""}),
    ):
        with pytest.raises(BusError) as caught:
            async with open_asker(wrong):
                pass
        assert login.seed not in str(caught.value)
    async with link(login):
        pass


async def test_a_broker_with_another_certificate_is_not_spoken_to(world: World, tmp_path: Path) -> None:
    async with world.hub():
        login = (await world.enrolled("berlin")).login()
    foreign = Authority.create(tmp_path / "foreign", world.clock.now()).login(world.urls, world.clock.now())
    with pytest.raises(BusError, match="certificate"):
        async with open_asker(Login(**{**fields(login), "ca_file": foreign.ca_file})):
            pass


@pytest.mark.filterwarnings("ignore:parameter 'timeout' of type")  # nats-py with a newer aiohttp
async def test_the_web_socket_wants_the_same(world: World) -> None:
    async with world.hub():
        login = (await world.enrolled("berlin")).login()
    urls = (f"wss://127.0.0.1:{world.servers[0].ws_port}",)
    async with link(Login(**{**fields(login), "urls": urls})) as up:
        await up.send(subjects.beat("berlin"), b"over the web")
    with pytest.raises(BusError):
        async with open_asker(Login(**{**fields(login), "urls": urls, "cert_file": "", "key_file": ""})):
            pass


async def test_a_site_that_speaks_for_another(world: World) -> None:
    """Impersonation: the hub knows no collector of that name at the other site, nor that key."""
    async with world.hub():
        berlin, tokyo = await world.enrolled("berlin", name="one"), await world.enrolled("tokyo", name="two")
    assert world.authority.public_key_of("tokyo", "one") is None
    verify = world.authority.public_key_of("tokyo", "two")
    assert verify is not None
    assert verify(b"x", tokyo.sign(b"x"))
    assert not verify(b"x", berlin.sign(b"x"))
    assert not verify(b"x", b"")


async def test_a_stolen_disk_has_nobody_elses_credential(world: World) -> None:
    async with world.hub():
        berlin = await world.enrolled("berlin", where="berlin")
        tokyo = await world.enrolled("tokyo", where="tokyo")
    stolen = b"".join(path.read_bytes() for path in (world.folder / "berlin").rglob("*") if path.is_file())
    hub = (world.authority.folder / "authority.json").read_bytes()
    secrets = [
        value for name, value in msgspec.json.decode(hub).items() if isinstance(value, str) and name != "made_at"
    ]
    pairs = [value["key"] for value in msgspec.json.decode(hub).values() if isinstance(value, dict)]
    assert len(secrets) == 6
    assert len(pairs) == 3
    others = [*secrets, *pairs, tokyo.keys.user, tokyo.keys.envelope.private_bytes_raw().hex(), tokyo.login().key_file]
    assert [one for one in others if one.encode() in stolen or one.replace("\n", "\\n").encode() in stolen] == []
    assert b"tokyo" not in stolen
    assert berlin.keys.user.encode() in stolen


def fields(login: Login) -> dict[str, Any]:
    return {name: getattr(login, name) for name in login.__struct_fields__}
