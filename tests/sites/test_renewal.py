"""Certificates and logins end, and are renewed before."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest
from sites_world import World, enrolled_at, link

from rmm.bus import nkeys, subjects
from rmm.bus.asking import open_asker
from rmm.errors import BusError, EnvelopeError, TierError
from rmm.hub.authority import verifier
from rmm.hub.enrolment import LIFE, answer_renewal
from rmm.model.enrolment import GRANT_CONTEXT, Grant, Question, is_signed, opened, seal_question
from rmm.site import identity as identities
from rmm.site.enrolling import renew
from rmm.site.identity import Identity


async def test_it_is_due_at_two_thirds_and_gives_new_ones_for_the_same_keys(world: World) -> None:
    old = await enrolled_at(world, timedelta(days=61))
    assert old.expires_at - old.renews_at == pytest.approx(LIFE / 3, abs=timedelta(seconds=2))
    assert old.renews_at < world.clock.now() < old.expires_at
    async with world.hub(), open_asker(old.login()) as bus:
        new = await renew(bus, old, world.clock)
        again = await renew(bus, new, world.clock)  # as when an answer was lost
    assert new.expires_at > world.clock.now() + timedelta(days=89)
    assert again.expires_at == new.expires_at
    assert (new.collector, new.keys.user) == (old.collector, old.keys.user)
    assert new.sign(b"x") == old.sign(b"x")
    assert new.login().jwt != old.login().jwt
    assert new.login().cert_file != old.login().cert_file
    assert Identity.load(new.folder.parent).expires_at == new.expires_at
    async with link(new.login()) as up:
        await up.send(subjects.beat("berlin"), b"here")
    registry = world.authority.registry.read()
    assert registry.collectors["berlin/pc"].expires_at == new.expires_at
    assert [(one.what, one.refused) for one in world.outcomes] == [("renew", "")] * 2


async def test_what_has_expired_gets_no_connection(world: World) -> None:
    expired = await enrolled_at(world, timedelta(days=91))
    fresh = await enrolled_at(world, timedelta(days=0))
    login, good = expired.login(), fresh.login()
    certificate = msgspec.structs.replace(good, cert_file=login.cert_file, key_file=login.key_file)
    jwt = msgspec.structs.replace(good, jwt=login.jwt, seed=login.seed)
    web = tuple(f"wss://127.0.0.1:{server.ws_port}" for server in world.servers)
    cases = (
        (login, "another certificate", "Has the certificate of this"),
        (certificate, "another certificate", "Has the certificate of this"),
        (
            msgspec.structs.replace(certificate, urls=web),
            "another certificate",
            "Has the certificate of this collector",
        ),
        (jwt, "refuses the login", "has its login expired"),
        (msgspec.structs.replace(jwt, urls=web), "refuses the login", "has its login expired"),
    )
    for wrong, said, hint in cases:
        with pytest.raises(BusError) as error:
            async with open_asker(wrong):
                pass
        assert error.value.code == "bus.refused", error.value
        assert said in str(error.value)
        assert "://127.0.0.1:" in str(error.value)
        assert hint in error.value.hint
    for one in (good, msgspec.structs.replace(good, urls=web)):
        async with link(one):
            pass
    assert fresh.ended(world.clock.now()) is None
    ended = expired.ended(world.clock.now())
    assert ended is not None
    assert f"ended {expired.expires_at:%Y-%m-%d}" in ended.told
    assert f"rmm hub revoke berlin --collector {expired.collector}" in ended.told


async def test_the_broker_ends_a_connection_whose_login_expires(world: World) -> None:
    almost = await enrolled_at(world, LIFE - timedelta(seconds=3))
    async with link(almost.login()) as up, asyncio.timeout(10):
        while up.client is not None:
            await asyncio.sleep(0.05)


async def test_nobody_renews_another(world: World) -> None:
    async with world.hub():
        berlin, tokyo = await world.enrolled("berlin", name="one"), await world.enrolled("tokyo", name="two")
    reply = answer_renewal(world.authority, world.urls, world.clock, world.outcomes.append)
    before = world.authority.registry.read()

    async def asked(subject: str, signer: Identity, **fields: object) -> str:
        values: dict[str, object] = {
            "site": "berlin",
            "collector": "one",
            "at": world.clock.now(),
            "key": b"",
            "user": nkeys.public_key(berlin.keys.user),
            "csr": signer.keys.request(),
            "nonce": b"n" * 16,
            **fields,
        }
        data = await reply(subject, seal_question(Question(**values), signer.sign))  # type: ignore[arg-type]
        assert is_signed(data, GRANT_CONTEXT, verifier(world.authority.public))
        return opened(data, Grant).refused

    assert await asked("rmm.ask.berlin.renew", tokyo) == "envelope.signature"
    assert await asked("rmm.ask.tokyo.renew", tokyo) == "enrol.revoked"  # the subject's site, another in the question
    assert await asked("rmm.ask.tokyo.renew", tokyo, site="tokyo") == "enrol.revoked"  # it has no collector `one`
    assert await asked("rmm.ask.berlin.renew", berlin, collector="three") == "enrol.revoked"
    assert await asked("rmm.ask.berlin.renew", berlin, user=nkeys.public_key(tokyo.keys.user)) == "enrol.key"
    assert await asked("rmm.ask.berlin.renew", berlin, csr=b"?") == "envelope.format"
    assert opened(await reply("rmm.ask.berlin.renew", b"?"), Grant).refused == "envelope.format"
    assert world.authority.registry.read() == before
    assert await asked("rmm.ask.berlin.renew", berlin) == ""


async def test_an_enrolment_is_no_renewal(world: World) -> None:
    """What was signed for one purpose is not taken for another."""
    async with world.hub():
        berlin = await world.enrolled("berlin", name="one")
    question = Question(
        site="berlin",
        collector="one",
        at=world.clock.now(),
        key=b"",
        user=nkeys.public_key(berlin.keys.user),
        csr=berlin.keys.request(),
        nonce=b"n" * 16,
    )
    data = seal_question(question, berlin.sign, b"any key of a proof")
    reply = answer_renewal(world.authority, world.urls, world.clock)
    assert opened(await reply("rmm.ask.berlin.renew", data), Grant).refused == "envelope.signature"


async def test_a_full_disk_at_either_end_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = await enrolled_at(world, timedelta(days=61))

    def full(*_: object, **__: object) -> None:
        raise TierError("no space left", code="disk.full")

    async with world.hub(), open_asker(old.login()) as bus:
        with monkeypatch.context() as patched:
            patched.setattr("rmm.hub.registry.replace_file", full)
            with pytest.raises(EnvelopeError, match="cannot do it at present") as caught:
                await renew(bus, old, world.clock)
            assert caught.value.code == "enrol.hub"
        with monkeypatch.context() as patched:
            patched.setattr(identities, "replace_file", full)
            with pytest.raises(TierError):
                await renew(bus, old, world.clock)
        assert Identity.load(old.folder.parent).expires_at == old.expires_at
        assert (await renew(bus, old, world.clock)).expires_at > old.expires_at
