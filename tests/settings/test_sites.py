"""The sections `hub` and `forward`: types, limits and forms, and that no secret is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rmm.errors import ConfigError
from rmm.model.settings import HubSettings, SiteSettings
from rmm.settings.load import load_settings

Load = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path) -> Load:
    def make(text: str) -> Path:
        (tmp_path / "rmm.yaml").write_text(f"sites: [{{id: hq}}]\n{text}\n")
        (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\n")
        return tmp_path

    return make


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(folder)
    return [line.replace(f"{folder / 'rmm.yaml'}:", "") for line in caught.value.problems]


def test_what_is_said_is_read_and_the_rest_is_the_default(folder: Load) -> None:
    text = (
        "hub: {database: 'postgresql://rmm@db.example.org/rmm?sslmode=verify-full', silent_after: 60, slow_after: 30,"
        " urls: [tls://a.example.org:4222, 'wss://[2001:db8::1]:443/nats', tls://10.0.0.1], rate: 500}\n"
        "forward: {spool_gb: 0.5, spool_days: 14, keep_hours: 24, rate: 50, tick: 1, proxy: 'http://proxy:3128'}"
    )
    settings = load_settings(folder(text))
    assert settings.hub == HubSettings(
        database="postgresql://rmm@db.example.org/rmm?sslmode=verify-full", silent_after=60, slow_after=30, rate=500,
        urls=("tls://a.example.org:4222", "wss://[2001:db8::1]:443/nats", "tls://10.0.0.1"),
    )  # fmt: skip
    assert settings.forward == SiteSettings(
        spool_gb=0.5, spool_days=14, keep_hours=24, rate=50, tick=1, proxy="http://proxy:3128"
    )
    bare = load_settings(folder(""))
    assert (bare.hub, bare.forward, bare.bundle, bare.source) == (HubSettings(), SiteSettings(), "", bare.folder)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hub: {silent_after: 1}", "2: hub.silent_after: 5 to 86400 are allowed"),
        ("hub: {slow_after: 1e9}", "2: hub.slow_after: 5 to 604800 are allowed"),
        ("hub: {rate: -1}", "2: hub.rate: 0 to 1000000 are allowed"),
        ("hub: {rate: fast}", "2: hub.rate: Expected `int`, got `str`"),
        (
            "hub: {urls: []}",
            "2: hub.urls: 1 to 16 addresses of brokers are expected, such as tls://hub.example.org:4222",
        ),
        ("hub: {urls: tls://a}", "2: hub.urls: Expected `array`, got `str`"),
        ("hub: {url: [tls://a]}", "2: hub.url: unknown key; did you mean urls?"),
        ("hub: [1]", "2: hub: Expected `object`, got `array`"),
        ("forward: {spool_gb: 0}", "2: forward.spool_gb: 0.01 to 1000000 are allowed"),
        ("forward: {spool_days: 0}", "2: forward.spool_days: 0.01 to 3650 are allowed"),
        ("forward: {keep_hours: -1}", "2: forward.keep_hours: 0 to 8760 are allowed"),
        ("forward: {rate: 0}", "2: forward.rate: 1 to 1000000 are allowed"),
        ("forward: {tick: 0}", "2: forward.tick: 0.1 to 300 are allowed"),
        ("forward: {spool: 1}", "2: forward.spool: unknown key; did you mean spool_gb?"),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Load, text: str, told: str) -> None:
    assert problems(folder(text)) == [told]


@pytest.mark.parametrize(
    "url", ["nats://a:4222", "a:4222", "tls://", "tls://a b", "tls://u:p@a", "https://a", "tls://-a"]
)
def test_a_broker_is_reached_by_tls(folder: Load, url: str) -> None:
    (told,) = problems(folder(f"hub: {{urls: ['{url}']}}"))
    assert told.endswith("is not tls://HOST:PORT or wss://HOST:PORT: sites come with certificates")


@pytest.mark.parametrize(
    "text",
    [
        "hub: {database: 'mysql://rmm:hunter2@db/rmm'}", "hub: {database: 'postgresql://rmm:hunter2 @db/rmm'}",
        "hub: {database: hunter2}", "forward: {proxy: 'https://u:hunter2@proxy:1'}", "forward: {proxy: 'http://u:hunter2@proxy'}",
        "forward: {proxy: 'hunter2'}", "forward: {proxy: 'http://u:hun ter2@proxy:1'}",
    ],
)  # fmt: skip
def test_what_may_hold_a_password_is_not_shown(folder: Load, text: str) -> None:
    (told,) = problems(folder(text))
    assert "hunter2" not in told
    assert "expected" in told
