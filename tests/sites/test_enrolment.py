"""From a token to an identity, over a real broker with the configuration of `rmm hub config`."""

from __future__ import annotations

import asyncio
import secrets
import stat
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from sites_world import Clock, World, link

from rmm.bus import nkeys, subjects
from rmm.bus.asking import open_asker
from rmm.bus.jetstream import open_bus
from rmm.errors import BusError, ConfigError, EnvelopeError, TierError
from rmm.hub.authority import Authority, verifier
from rmm.hub.enrolment import ENROLMENT, answer_enrolment
from rmm.hub.invitations import invite
from rmm.model.enrolment import (
    Grant,
    Question,
    Token,
    decode_token,
    derived,
    encode_token,
    opened,
    seal_grant,
    seal_question,
)
from rmm.site import enrolling, identity
from rmm.site.enrolling import enroll, granted
from rmm.site.identity import Identity, Keys


def question_of(token: Token, keys: Keys, world: World, **fields: object) -> Question:
    values = {
        "site": token.site,
        "at": world.clock.now(),
        "key": keys.envelope.public_key().public_bytes_raw(),
        "user": nkeys.public_key(keys.user),
        "csr": keys.request(),
        "nonce": secrets.token_bytes(16),
        "invitation": token.invitation,
        "host": "pc",
        **fields,
    }
    return Question(**values)


async def asked(world: World, token: Token, data: bytes) -> Grant:
    """What the hub answers, without a broker."""
    reply = answer_enrolment(world.authority, world.sites, world.urls, world.clock, world.outcomes.append)
    return opened(await reply(subjects.enroll(token.invitation), data), Grant)


async def test_a_token_makes_a_collector(world: World) -> None:
    async with world.hub():
        made = await world.enrolled("berlin")
    assert (made.site, made.collector) == ("berlin", "pc-01-corp")
    async with link(made.login()) as up:
        await up.send("rmm.beat.berlin", b"here")
    verify = world.authority.public_key_of("berlin", "pc-01-corp")
    assert verify is not None
    assert verify(b"said", made.sign(b"said"))
    assert not verify(b"other", made.sign(b"said"))
    assert made.verify_hub(b"told", world.authority.sign_receipt(b"told"))
    assert not made.verify_hub(b"other", world.authority.sign_receipt(b"told"))
    assert [(one.what, one.site, one.refused) for one in world.outcomes] == [("enrol", "berlin", "")]
    if sys.platform != "win32":
        for path in [*made.folder.iterdir(), *world.authority.folder.glob("*.json")]:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(made.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(world.authority.folder.stat().st_mode) == 0o700


async def test_private_keys_stay_at_the_site(world: World) -> None:
    seen: list[bytes] = []
    token = world.invited()

    async with world.hub() as bus, bus.hear("rmm.enroll.>") as heard:
        made = await enroll(token, world.folder / "site", clock=world.clock, host="pc")
        seen.append((await anext(aiter(heard))).data)
    content = (made.folder / identity.IDENTITY).read_bytes()
    assert len(seen) == 1
    assert made.keys.envelope.private_bytes_raw() not in seen[0]
    assert made.keys.envelope.private_bytes_raw().hex().encode() in content  # the file, and the file alone
    assert made.keys.user.encode() not in seen[0]
    assert token.secret not in seen[0]
    registry = (world.authority.folder / "registry.json").read_bytes()
    assert made.keys.envelope.private_bytes_raw().hex().encode() not in registry
    assert token.secret.hex().encode() not in registry
    assert made.keys.envelope.private_bytes_raw() != nkeys.private_key(made.keys.user).private_bytes_raw()


async def test_a_token_is_good_once(world: World) -> None:
    token = world.invited()
    async with world.hub():
        await enroll(token, world.folder / "one", clock=world.clock, host="pc")
        with pytest.raises(EnvelopeError, match="token was used") as caught:
            await enroll(token, world.folder / "two", clock=world.clock, host="pc")
    assert caught.value.code == "enrol.used"
    assert "rmm hub invite" in caught.value.hint
    assert not (world.folder / "two").exists()


async def test_of_two_with_one_token_one_wins(world: World) -> None:
    token = world.invited()
    async with world.hub():
        done = await asyncio.gather(
            *(enroll(token, world.folder / f"c{n}", clock=world.clock, host=f"pc{n}") for n in range(3)),
            return_exceptions=True,
        )
    assert sum(isinstance(one, Identity) for one in done) == 1
    assert [one.code for one in done if isinstance(one, EnvelopeError)] == ["enrol.used"] * 2
    assert len(world.authority.registry.read().collectors) == 1


async def test_an_answer_that_was_lost_is_given_again(world: World) -> None:
    token, keys = world.invited(), Keys.new()
    question = question_of(token, keys, world)
    data = seal_question(question, keys.envelope.sign, derived(token.secret, "proof"))
    first, again = await asked(world, token, data), await asked(world, token, data)
    assert not first.refused
    assert (again.refused, again.collector, again.expires_at) == ("", first.collector, first.expires_at)
    assert len(world.authority.registry.read().collectors) == 1


async def test_names_are_not_given_twice(world: World) -> None:
    async with world.hub():
        one = await world.enrolled(where="a")
        two = await world.enrolled(where="b")
        three = await world.enrolled(where="c", name="spare")
    assert [each.collector for each in (one, two, three)] == ["pc-01-corp", "pc-01-corp-2", "spare"]
    with pytest.raises(ConfigError, match="has, or had, a collector 'spare'"):
        world.invited(name="spare")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[:-30], "damaged or not whole"),
        (lambda text: text[:-1], "damaged or not whole"),
        (lambda text: text[:-2], "damaged or not whole"),
        (lambda text: text[:-3], "damaged or not whole"),
        (lambda text: text[:200] + ("A" if text[200] != "A" else "B") + text[201:], "damaged"),
        (lambda text: "hello", "this is no token"),
        (lambda text: "", "this is no token"),
        (lambda text: text + "\x00ü", "damaged"),
        (lambda text: "rmm1." + "A" * 100_000, "this is no token"),
    ],
)
def test_a_damaged_token_is_told(authority: Authority, spoil: Callable[[str], str], message: str) -> None:
    text = encode_token(_token(authority))
    with pytest.raises(EnvelopeError, match=message) as caught:
        decode_token(spoil(text))
    assert caught.value.code == "token.format"
    assert "Copy the whole token" in caught.value.hint


def _token(authority: Authority) -> Token:
    return invite(
        authority, "berlin", sites=["berlin"], urls=["tls://h:1"], lasts=timedelta(hours=1), now=Clock().now()
    )


def test_white_space_in_a_token_is_ignored(authority: Authority) -> None:
    token = _token(authority)
    text = encode_token(token)
    assert decode_token("\n  ".join(text[n : n + 60] for n in range(0, len(text), 60)) + "\r\n") == token
    assert len(text) < 3000


def test_a_token_of_another_version_is_told(authority: Authority) -> None:
    newer = msgspec.structs.replace(_token(authority), schema=2)
    assert decode_token(encode_token(newer)) == newer
    with pytest.raises(EnvelopeError, match="schema 3") as caught:
        decode_token(encode_token(msgspec.structs.replace(newer, schema=3)))
    assert caught.value.code == "token.schema"


async def test_an_expired_token_is_told_before_anything_is_asked(world: World) -> None:
    token = world.invited(hours=1)
    with pytest.raises(ConfigError, match="the token expired at"):
        await enroll(token, world.folder / "site", clock=Clock(timedelta(hours=2)), host="pc")
    with pytest.raises(ConfigError, match="this clock says") as caught:
        await enroll(token, world.folder / "site", clock=Clock(-timedelta(minutes=10)), host="pc")
    assert "Set this machine's clock" in caught.value.hint


async def test_the_hub_refuses_an_expired_token_and_a_wrong_clock(world: World) -> None:
    token, keys = world.invited(hours=1), Keys.new()
    question = question_of(token, keys, world)
    data = seal_question(question, keys.envelope.sign, derived(token.secret, "proof"))
    world.clock.off = timedelta(minutes=6)
    clock = await asked(world, token, data)
    assert (clock.refused, clock.nonce) == ("enrol.clock", question.nonce)
    world.clock.off = timedelta(hours=1)
    assert (await asked(world, token, data)).refused == "enrol.expired"
    assert not world.authority.registry.read().collectors
    with pytest.raises(EnvelopeError, match="the hub refused: the site's clock says") as caught:
        reply = answer_enrolment(world.authority, world.sites, world.urls, Clock(timedelta(minutes=6)))
        granted(await reply(subjects.enroll(token.invitation), data), question, lambda *_: True)
    assert "Set the clock" in caught.value.hint


async def test_what_is_not_right_is_refused_and_changes_nothing(world: World) -> None:
    token, keys, other = world.invited(), Keys.new(), Keys.new()
    proof = derived(token.secret, "proof")
    before = world.authority.registry.read()

    async def refused(data: bytes) -> str:
        return (await asked(world, token, data)).refused

    def sealed(proof: bytes = proof, sign: Keys = keys, **fields: object) -> bytes:
        return seal_question(question_of(token, keys, world, **fields), sign.envelope.sign, proof)

    assert await refused(sealed(proof=b"\0" * 32)) == "enrol.unknown"
    assert await refused(sealed(site="tokyo")) == "enrol.unknown"
    assert await refused(sealed(invitation="0" * 16)) == "enrol.unknown"
    assert await refused(sealed(sign=other)) == "envelope.signature"
    assert await refused(sealed(user="UABC")) == "enrol.key"
    assert await refused(sealed(user=nkeys.public_key(nkeys.new_seed(nkeys.ACCOUNT)))) == "enrol.key"
    assert await refused(sealed(key=b"short")) == "envelope.signature"
    assert await refused(sealed(csr=b"nonsense")) == "envelope.format"
    assert await refused(sealed(csr=b"0" * 5000)) == "envelope.size"
    assert await refused(sealed(schema=3)) == "envelope.schema"
    assert await refused(b"\xff" * 100) == "envelope.format"
    assert await refused(b"\x80") == "envelope.format"
    assert await refused(b"x" * (1 << 17)) == "envelope.size"
    data = bytearray(sealed())
    data[-100] ^= 1
    assert await refused(bytes(data))
    world.sites.remove("berlin")
    assert await refused(sealed()) == "enrol.site"
    world.sites.append("berlin")
    assert world.authority.registry.read() == before
    assert await refused(sealed()) == ""
    assert {one.refused for one in world.outcomes} > {"enrol.unknown", "enrol.key", "enrol.site", ""}


async def test_keys_of_another_collector_are_refused(world: World) -> None:
    first, second, keys = world.invited(), world.invited(), Keys.new()
    data = seal_question(question_of(first, keys, world), keys.envelope.sign, derived(first.secret, "proof"))
    assert not (await asked(world, first, data)).refused
    data = seal_question(question_of(second, keys, world), keys.envelope.sign, derived(second.secret, "proof"))
    assert (await asked(world, second, data)).refused == "enrol.key"


async def test_a_flood_of_wrong_questions_is_told_once(world: World) -> None:
    token = world.invited()
    reply = answer_enrolment(world.authority, world.sites, world.urls, world.clock, world.outcomes.append)
    for _n in range(50):
        await reply(subjects.enroll(token.invitation), b"?")
    assert {(one.site, one.refused) for one in world.outcomes} == {("berlin", "envelope.format")}
    assert [one.again for one in world.outcomes] == [False] + 49 * [True]
    world.clock.off = timedelta(hours=2)
    await reply(subjects.enroll(token.invitation), b"?")
    assert [one.again for one in world.outcomes[50:]] == [False]


async def test_a_newer_site_may_say_more(world: World) -> None:
    """Fields that this hub does not know are covered by proof and signature all the same."""
    token, keys = world.invited(), Keys.new()

    class Newer(Question, frozen=True, kw_only=True, omit_defaults=True):
        colour: str = ""

    plain = question_of(token, keys, world)
    newer = Newer(**{name: getattr(plain, name) for name in plain.__struct_fields__}, colour="red")
    data = seal_question(newer, keys.envelope.sign, derived(token.secret, "proof"))
    assert b"colour" in data
    assert (await asked(world, token, data.replace(b"red", b"ree"))).refused == "enrol.unknown"
    assert not (await asked(world, token, data)).refused


async def test_enrolled_already(world: World) -> None:
    async with world.hub():
        made = await world.enrolled(where="here")
        token = world.invited()
        with pytest.raises(ConfigError, match="enrolled already, as berlin/pc-01-corp"):
            await enroll(token, world.folder / "here", clock=world.clock, host="pc")
    assert Identity.load(world.folder / "here").collector == made.collector
    assert world.authority.registry.read().invitations[token.invitation].used_at is None


async def test_without_a_hub_or_a_broker(world: World) -> None:
    token = world.invited()
    with pytest.raises(BusError, match="no hub listens") as caught:
        await enroll(token, world.folder / "site", clock=world.clock, host="pc")
    assert "rmm hub run" in caught.value.hint
    world.servers[0].kill()
    with pytest.raises(BusError, match=f"cannot be reached at {world.urls[0]}") as caught:
        await enroll(token, world.folder / "site", clock=world.clock, host="pc")
    assert "--proxy" in caught.value.hint
    assert not (world.folder / "site").exists()


async def test_an_impostor_who_answers_is_found_out(world: World) -> None:
    token = world.invited()
    foreign = Authority.create(world.folder / "foreign", world.clock.now())

    async def answer(subject: str, data: bytes) -> bytes:
        asked = opened(data, Question)
        return seal_grant(Grant(nonce=asked.nonce, at=world.clock.now(), site="berlin"), foreign.sign)

    async with open_bus(world.authority.login(world.urls, world.clock.now())) as bus, bus.answer(ENROLMENT, answer):
        with pytest.raises(EnvelopeError, match="what answered is not the hub"):
            await enroll(token, world.folder / "site", clock=world.clock, host="pc")
    assert not (world.folder / "site").exists()


async def test_an_old_answer_is_not_one(world: World) -> None:
    token, keys = world.invited(), Keys.new()
    question = question_of(token, keys, world)
    data = seal_question(question, keys.envelope.sign, derived(token.secret, "proof"))
    reply = answer_enrolment(world.authority, world.sites, world.urls, world.clock)
    old = await reply(subjects.enroll(token.invitation), data)
    verify = verifier(world.authority.public)
    assert granted(old, question, verify).collector
    with pytest.raises(EnvelopeError, match="not to this question"):
        granted(old, question_of(token, keys, world), verify)


async def test_a_folder_that_cannot_be_written_is_left_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes, *, private: bool = False) -> None:
        raise TierError("no space left", code="disk.full")

    monkeypatch.setattr(identity, "replace_file", full)
    async with world.hub():
        with pytest.raises(TierError, match="no space left"):
            await world.enrolled(where="full")
    assert list((world.folder / "full").iterdir()) == []
    with pytest.raises(ConfigError, match="this is no site collector"):
        Identity.load(world.folder / "full")


def test_a_damaged_identity_is_told_without_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "identity.json").write_text('{"site": "berlin", "key": "SECRETSECRET"')
    with pytest.raises(ConfigError, match="damaged") as caught:
        Identity.load(tmp_path)
    assert "SECRET" not in str(caught.value)


async def test_the_bootstrap_login_ends_with_the_token(world: World) -> None:
    token = world.invited(hours=2 / 3600)
    login = enrolling._login(token, "")
    async with link(login) as up:
        client = await up.ready()
        async with asyncio.timeout(10):
            while client.is_connected:
                await asyncio.sleep(0.05)
    with pytest.raises(BusError):
        async with open_asker(login):
            pass
