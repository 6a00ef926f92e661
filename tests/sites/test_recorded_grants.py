"""A hub one version older or newer renews a collector, and the other way round: as it was recorded."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from record_grants import AT, COLLECTOR, RECORDED, SITE, URLS, Then, hub, keys, question

from rmm.errors import EnvelopeError
from rmm.hub.authority import verifier
from rmm.hub.enrolment import Outcome, answer_renewal
from rmm.model.enrolment import GRANT_CONTEXT, RENEW_CONTEXT, Grant, Question, is_signed, opened
from rmm.site.enrolling import granted
from rmm.site.identity import Identity, write

VERSIONS = ("0", "1", "2")


def asked() -> Question:
    made: Question = question(keys().request())
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_a_grant_is_taken(tmp_path: Path, version: str) -> None:
    hubs = (RECORDED / "hub.bin").read_bytes()
    given = granted((RECORDED / f"grant-{version}.bin").read_bytes(), asked(), verifier(hubs))
    write(tmp_path / "site", keys(), given, hubs)
    found = Identity.load(tmp_path)
    assert (found.site, found.collector, found.urls) == (SITE, COLLECTOR, URLS)
    assert found.expires_at == AT + timedelta(days=90)
    login = found.login()
    assert login.jwt
    assert "BEGIN CERTIFICATE" in login.cert_file
    assert found.renewed(given).login() == login


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_renewal_is_answered(tmp_path: Path, version: str) -> None:
    authority, told = hub(tmp_path), list[Outcome]()
    reply = answer_renewal(authority, URLS, Then(), told.append)
    answer = await reply("rmm.ask.berlin.renew", (RECORDED / f"renewal-{version}.bin").read_bytes())
    given = granted(answer, asked(), verifier(authority.public))
    write(tmp_path / "site", keys(), given, authority.public)
    assert Identity.load(tmp_path).collector == COLLECTOR
    assert [(one.what, one.refused) for one in told] == [("renew", "")]


def test_what_is_two_versions_away_is_refused() -> None:
    sealed = msgspec.msgpack.decode((RECORDED / "grant-1.bin").read_bytes())
    for schema in (-1, 3):
        with pytest.raises(EnvelopeError) as caught:
            opened(msgspec.msgpack.encode({**sealed, "schema": schema}), Grant)
        assert caught.value.code == "envelope.schema"


def test_what_is_made_today_is_what_was_recorded() -> None:
    """Whoever changes the fields makes a new version of them; and each message says which it is."""
    for name, kind, context, verify in (
        ("renewal-1", Question, RENEW_CONTEXT, verifier(asked().key)),
        ("grant-1", Grant, GRANT_CONTEXT, verifier((RECORDED / "hub.bin").read_bytes())),
    ):
        data = (RECORDED / f"{name}.bin").read_bytes()
        assert is_signed(data, context, verify)
        assert msgspec.msgpack.decode(data)["schema"] == 1
        assert msgspec.msgpack.encode(msgspec.msgpack.decode(data, type=kind)) == data
