"""nkeys and JWT: known values, round trips, damage."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.bus import nkeys
from rmm.bus.nats_jwt import account_jwt, decode, operator_jwt, user_jwt
from rmm.bus.subjects import Permissions
from rmm.core.token_keys import tls_key
from rmm.errors import BusError, EnvelopeError
from rmm.model.enrolment import decode_token

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# From the documentation of NATS: `nk -gen user -pubout`.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


def test_a_known_pair() -> None:
    assert nkeys.public_key(SEED) == PUBLIC
    assert nkeys.check_public(PUBLIC, nkeys.USER) == PUBLIC
    assert nkeys.verify(PUBLIC, b"nonce", nkeys.sign(SEED, b"nonce"))
    assert not nkeys.verify(PUBLIC, b"other", nkeys.sign(SEED, b"nonce"))


@given(st.sampled_from([nkeys.OPERATOR, nkeys.ACCOUNT, nkeys.USER]), st.binary(min_size=32, max_size=32))
def test_there_and_back(kind: str, raw: bytes) -> None:
    seed = nkeys.seed_text(kind, raw)
    assert seed.startswith(f"S{kind}")
    assert nkeys.private_key(seed).private_bytes_raw() == raw
    assert nkeys.public_key(seed).startswith(kind)
    assert len(seed) == 58
    assert len(nkeys.public_key(seed)) == 56


@given(st.one_of(st.text(max_size=80), st.binary(max_size=60).map(lambda raw: raw.hex().upper())))
def test_what_is_no_key(text: str) -> None:
    for ask in (nkeys.private_key, nkeys.public_key, lambda text: nkeys.check_public(text, nkeys.USER)):
        with pytest.raises(BusError) as caught:
            ask(text)
        assert caught.value.code == "bus.key"


@given(st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_a_slip_of_one_letter_is_noticed(place: int, letter: str) -> None:
    text = SEED[:place] + letter + SEED[place + 1 :]
    if text != SEED:
        with pytest.raises(BusError):
            nkeys.private_key(text)


def test_a_seed_is_no_public_key_nor_one_of_another_kind() -> None:
    with pytest.raises(BusError):
        nkeys.check_public(SEED, nkeys.USER)
    with pytest.raises(BusError):
        nkeys.check_public(PUBLIC, nkeys.ACCOUNT)
    with pytest.raises(BusError):
        nkeys.private_key(PUBLIC)


def test_claims_say_what_they_were_made_for() -> None:
    operator, account, signer, user = (nkeys.new_seed(kind) for kind in "OAAU")
    public = nkeys.public_key(account)
    claims = decode(operator_jwt(operator, name="rmm", system_account=public, now=NOW))
    assert claims.iss == claims.sub == nkeys.public_key(operator)
    claims = decode(
        account_jwt(operator, public, name="RMM", now=NOW, signing_keys=[nkeys.public_key(signer)], revoked={PUBLIC: 7})
    )
    assert (claims.iss, claims.sub, claims.iat) == (nkeys.public_key(operator), public, int(NOW.timestamp()))
    assert claims.nats["revocations"] == {PUBLIC: 7}
    text = user_jwt(
        signer,
        nkeys.public_key(user),
        account=public,
        name="one",
        now=NOW,
        expires=NOW.replace(year=2027),
        permissions=Permissions(("a.b",), ()),
    )
    claims = decode(text)
    assert claims.nats["issuer_account"] == public
    assert claims.nats["pub"] == {"allow": ["a.b"]}
    assert claims.nats["sub"] == {"deny": [">"]}  # an empty list of what is allowed would allow everything
    assert claims.exp > claims.iat
    for spoiled in (text[:-4] + "AAAA", text.replace(".", "", 1), text[10:], "", "a.b.c", "é.b.c"):
        with pytest.raises(BusError) as caught:
            decode(spoiled)
        assert caught.value.code == "bus.jwt"


@given(st.one_of(st.text(), st.text(alphabet="ABCab01_-= \n").map("rmm1.".__add__)))
def test_any_text_is_a_token_or_told(text: str) -> None:
    with pytest.raises(EnvelopeError):
        decode_token(text)


@given(st.binary(min_size=32, max_size=32))
def test_any_seed_makes_a_key_for_tls(seed: bytes) -> None:
    assert tls_key(seed).private_numbers() == tls_key(seed).private_numbers()
