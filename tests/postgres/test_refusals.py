"""What is wrong with a server, a user or a URL is told with a code and what to do, and never with a password."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster import PASSWORD, Cluster

from rmm.errors import ConfigError, RmmError, TierError
from rmm.model.endpoint import Secret
from rmm.tiers.fleet_postgres import Address, Server, errors
from rmm.tiers.fleet_sqlite import BoardFile, FleetFile, FleetStore, Place


async def refusal(place: Place) -> RmmError:
    """What a writer is told; a reader is told the same."""
    with pytest.raises(RmmError) as written:
        async with FleetStore.open(place):
            pass
    return written.value


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that is logged has the password."""
    caplog.set_level(logging.DEBUG)
    yield
    assert PASSWORD not in caplog.text and "so-secret" not in caplog.text


def shown(error: BaseException) -> str:
    """All that anybody sees of an error, with what led to it."""
    return "".join(traceback.format_exception(error)) + repr(error) + getattr(error, "hint", "")


@pytest.mark.usefixtures("quiet")
async def test_a_wrong_password(cluster: Cluster) -> None:
    place = Server(cluster.url(password="wrong-secret"))
    error = await refusal(place)
    assert error.code == "database.logon"
    assert "pgpass" in error.hint
    with pytest.raises(TierError) as caught:
        FleetFile(place).endpoints()
    assert caught.value.code == "database.logon"
    assert "wrong-secret" not in shown(error) + shown(caught.value) + repr(place)
    assert Server(cluster.url(password="wrong"), Secret(PASSWORD)).ask() == []  # the vault's goes before the URL's


async def test_the_password_of_the_environment(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare = f"postgresql://rmm@127.0.0.1:{cluster.port}/postgres"
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    with pytest.raises(TierError):
        Server(bare).ask()
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{cluster.port}:*:rmm:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert Server(bare).ask() == []
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    assert Server(bare).ask() == []


async def test_the_socket(cluster: Cluster) -> None:
    place = Server(f"postgresql://rmm@/postgres?host={cluster.folder}&port={cluster.port}", Secret(PASSWORD))
    assert place.ask() == []
    assert str(cluster.folder) in place.name


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"database": "nowhere"}, "database.unknown"),
        ({"schema": "nowhere"}, "database.unknown"),
        ({"user": "nobody"}, "database.logon"),
    ],
)
async def test_what_there_is_not(cluster: Cluster, options: dict[str, str], code: str) -> None:
    error = await refusal(Server(cluster.url(**options)))
    assert error.code == code
    assert f"127.0.0.1:{cluster.port}" in str(error)
    assert PASSWORD not in shown(error)


async def test_nobody_listens() -> None:
    place = Server("postgresql://rmm:so-secret@127.0.0.1:1/rmm")
    error = await refusal(place)
    assert (error.code, error.retry) == ("database.unreachable", "RB")
    assert "so-secret" not in shown(error)
    board = BoardFile(place)
    assert board.state() != board.state()  # so that it is read, which tells
    with pytest.raises(TierError) as caught:
        board.read()
    assert caught.value.code == "database.unreachable"


async def test_no_rights_and_read_only(cluster: Cluster) -> None:
    cluster.schema("someones")
    cluster.execute(f"DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}';")
    cluster.execute("GRANT USAGE ON SCHEMA someones TO guest;")
    assert (await refusal(Server(cluster.url("someones", user="guest")))).code == "database.rights"
    cluster.execute("ALTER ROLE guest SET default_transaction_read_only = on;")
    error = await refusal(Server(cluster.url("someones", user="guest")))
    assert error.code == "database.read_only"
    assert FleetFile(Server(cluster.url("someones", user="guest"))).endpoints() == []  # who only reads may do that
    cluster.execute("REVOKE ALL ON SCHEMA someones FROM guest; DROP ROLE guest;")


async def test_another_encoding(cluster: Cluster) -> None:
    cluster.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    assert (await refusal(Server(cluster.url(database="latin")))).code == "database.unknown"


FINE: dict[str, Any] = {
    "version": 150018, "standby": False, "read_only": False, "encoding": "UTF8", "schema": "public",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "code"),
    [({}, ""), ({"version": 130000}, ""), ({"version": 120022}, "database.old"), ({"version": 90624}, "database.old"),
     ({"standby": True}, "database.read_only"), ({"schema": None}, "database.unknown")],
)  # fmt: skip
def test_what_a_server_says_of_itself(changed: dict[str, Any], code: str) -> None:
    found = errors.refused("rmm at db", FINE | changed)
    assert (found.code if found else "") == code


@pytest.mark.parametrize(
    "url",
    ["", "rmm", "mysql://u:so-secret@h/d", "postgresql://u:so-secret/x@h/d", "postgresql://u:so#secret@h/d",
     "postgresql://u:so-secret@h/d/e", "postgresql://u:p@so-secret@h/d"],
)  # fmt: skip
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Address(url)
    assert "secret" not in shown(caught.value)


@pytest.mark.parametrize("options", ["?sslmode=maybe", "?nonsense=1", "?sslmode=verify-full&sslrootcert=/nowhere"])
async def test_options_that_do_not_fit(cluster: Cluster, options: str) -> None:
    error = await refusal(Server(cluster.url() + options))
    assert error.code in ("config", "database.options", "database.unreachable")
    assert PASSWORD not in shown(error) and "so-secret" not in shown(error)


@pytest.mark.parametrize(
    ("host", "verified"),
    [("db.example", True), ("192.0.2.1", True), ("127.0.0.1", False), ("localhost:5433", False), ("[::1]:5432", False),
     ("", False), ("localhost,db.example", True)],
)  # fmt: skip
def test_the_certificate_of_another_machine_is_verified(
    host: str, verified: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    assert Address(f"postgresql://rmm@{host}/rmm")._verified() is verified
    assert Address(f"postgresql://rmm@{host}/rmm?sslmode=disable")._verified() is False


async def test_tls_that_is_asked_for_and_not_there(cluster: Cluster) -> None:
    """The server has no certificate: nothing is sent in plain."""
    error = await refusal(Server(cluster.url() + "?sslmode=require"))
    assert error.code == "database.unreachable"
    assert PASSWORD not in shown(error)
