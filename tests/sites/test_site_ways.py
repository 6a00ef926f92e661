"""How a site reaches the broker where it is not the plain way: a proxy with an account, another address."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sites_world import World
from test_site_run import running, until
from test_ways import proxy
from typer.testing import CliRunner

from rmm.bus.provision import make_streams
from rmm.cli.main import build
from rmm.cli.site_way import Way, keep, way_of
from rmm.configured import proxy_of
from rmm.errors import BusError, ConfigError, VaultError
from rmm.hub.invitations import invite
from rmm.model.enrolment import Token, encode_token
from rmm.model.settings import SiteSettings
from rmm.settings.load import load_own
from rmm.settings.proxies import taken_apart, with_account
from rmm.site.control import STOP
from rmm.vault import Vault

PASSWORD, PASSPHRASE = "S3cret/@:ß", "open sesame"
WANTED = base64.b64encode(f"CORP\\bob:{PASSWORD}".encode()).decode()
QUOTED = "CORP%5Cbob:S3cret%2F%40%3A%C3%9F"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "site-config"
    folder.mkdir()
    (folder / "passphrase").write_text(PASSPHRASE)
    return folder


def token_of(world: World) -> Token:
    """One that names a place where no broker is."""
    return invite(
        world.authority, "berlin", sites=world.sites, urls=["tls://127.0.0.1:1"], lasts=timedelta(hours=1),
        now=world.clock.now(),
    )  # fmt: skip


def enroll(config: Path, token: Token, *words: str) -> str:
    """What is printed. Raises what the command raises."""
    own = ["--config", str(config), "--passphrase-file", str(config / "passphrase")]
    arguments = ["site", "enroll", "-", *own, *words]
    result = CliRunner().invoke(build(["site"]), arguments, input=encode_token(token), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def holding(config: Path, text: str) -> list[Path]:
    """Files in which a text stands."""
    return [path for path in config.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_through_a_proxy_with_an_account_and_by_another_address(world: World, config: Path) -> None:
    async with world.hub() as bus, proxy() as through:
        await make_streams(bus.link, sites=world.sites)
        through.wanted = WANTED
        token, place = token_of(world), f"127.0.0.1:{through.port}"
        way = ["--url", world.urls[0], "--proxy"]
        with pytest.raises(BusError, match="407"):
            await asyncio.to_thread(enroll, config, token, *way, f"http://CORP%5Cbob:wrong@{place}")
        assert [path.name for path in config.iterdir()] == ["passphrase"]
        said = await asyncio.to_thread(enroll, config, token, *way, f"http://{QUOTED}@{place}")
        assert "site.yaml says how the broker is reached; rmm-proxy is in the vault" in said
        assert yaml.safe_load((config / "site.yaml").read_text()) == {
            "forward": {"proxy": f"http://{place}", "proxy_login": {"vault": "rmm-proxy"}, "urls": [world.urls[0]]},
        }
        for text in (PASSWORD, QUOTED, WANTED, "S3cret"):
            assert holding(config, text) == []
        known, lines = len(through.requests), list[str]()
        async with running(config, lines, STOP):
            status = await until(config, lines, lambda one: one.link == "up", 30)
        assert status.trouble == ""
        assert len(through.requests) > known
        assert holding(config, "S3cret") == []
    credential = Vault.open(config / "credentials.vault", PASSPHRASE).credential("rmm-proxy")
    assert (credential.username, credential.secret.reveal()) == ("CORP\\bob", PASSWORD)


def test_without_the_vault_the_proxy_is_tried_without_an_account(
    config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(config, Way("http://proxy:3128", "bob", PASSWORD, PASSPHRASE))
    forward = load_own(config).forward
    assert proxy_of(config, forward, lambda: PASSPHRASE) == "http://bob:S3cret%2F%40%3A%C3%9F@proxy:3128"
    assert proxy_of(config, forward, lambda: "wrong") == "http://proxy:3128"
    assert "forward.proxy_login: " in caplog.text
    assert "the passphrase is wrong" in caplog.text
    assert proxy_of(config, SiteSettings(), lambda: 1 / 0) == ""  # type: ignore[arg-type, return-value]


def test_what_the_site_says_already_is_left_as_it_is(config: Path) -> None:
    (config / "site.yaml").write_text("poll: {workers: 2}\n")
    said = keep(config, Way("http://proxy:3128", urls=("wss://hub:8443",)))
    assert said.splitlines()[0] == f"put this into {config / 'site.yaml'}:"
    assert yaml.safe_load(said.partition("\n")[2]) == {
        "forward": {"proxy": "http://proxy:3128", "urls": ["wss://hub:8443"]}
    }
    assert (config / "site.yaml").read_text() == "poll: {workers: 2}\n"
    assert keep(config, Way()) == ""


@pytest.mark.parametrize("text", ["http://bob:hunter2@proxy", "https://bob:hunter2@proxy:1", "bob:hunter2@proxy:1", ""])
def test_an_address_that_is_none_is_told_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError, match="no address of a proxy") as caught:
        taken_apart(text)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_all_that_is_needed_is_asked_for_before_a_token_is_used(config: Path) -> None:
    assert taken_apart("http://proxy:3128/") == ("http://proxy:3128", "", None)
    assert taken_apart(with_account("http://[::1]:8080", "a:b", PASSWORD)) == ("http://[::1]:8080", "a:b", PASSWORD)
    with pytest.raises(ConfigError, match="the password of bob is needed, and there is no terminal"):
        way_of(config, "http://bob@proxy:3128", [], config / "passphrase")
    Vault.open_or_create(config / "credentials.vault", "another one")
    with pytest.raises(VaultError, match="the passphrase is wrong"):
        way_of(config, "http://bob:x@proxy:3128", [], config / "passphrase")
    made: Any = way_of(config, "http://proxy:3128", ["tls://a:1"], None)
    assert made == Way("http://proxy:3128", urls=("tls://a:1",))
    assert "secret" not in repr(Way("http://proxy:3128", "bob", "secret", "secret"))
