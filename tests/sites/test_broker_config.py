"""What `rmm hub config` writes is what a real nats-server takes, for one and for three."""

from __future__ import annotations

import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from nats_servers import binary
from sites_world import World, brokers

from rmm.bus.jetstream import open_bus
from rmm.errors import ConfigError
from rmm.hub.authority import Authority
from rmm.hub.broker_config import Ports, servers_of, write_brokers

NOW = datetime.now(UTC)


def test_servers_are_planned() -> None:
    three = servers_of(["a", "b", "c"], 3, Ports(), "0.0.0.0")
    assert [(one.host, one.name, one.ports.client) for one in three] == [
        ("a", "rmm-1", 4222), ("b", "rmm-2", 4222), ("c", "rmm-3", 4222),
    ]  # fmt: skip
    alone = servers_of(["localhost"], 3, Ports(), "127.0.0.1")
    assert [one.ports for one in alone] == [Ports(4222 + n, 8443 + n, 6222 + n, 8222 + n) for n in range(3)]
    for hosts, count in ((["a", "b"], 3), (["a", "a", "b"], 3), ([], 1)):
        with pytest.raises(ConfigError):
            servers_of(hosts, count, Ports(), "")


@pytest.mark.parametrize("count", [1, 3])
def test_a_server_finds_nothing_wrong(authority: Authority, tmp_path: Path, count: int) -> None:
    hosts = ["one.example", "10.1.2.3", "fd00::1"][:count]
    for path in write_brokers(authority, servers_of(hosts, count, Ports(), "::"), tmp_path / "out", NOW):
        done = subprocess.run([binary(), "-t", "-c", str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        text = path.read_text()
        assert "sync_interval: always" in text
        assert text.count("verify: true") == (2 if count == 1 else 3)
        files = [file for file in path.parent.iterdir() if file.is_file()]  # the server has made folders by now
        for file in files:
            assert sys.platform == "win32" or stat.S_IMODE(file.stat().st_mode) == 0o600
        secrets = msgspec.json.decode((authority.folder / "authority.json").read_bytes())
        found = b"".join(file.read_bytes() for file in files)
        assert [name for name, value in secrets.items() if isinstance(value, str) and value.encode() in found] == []
        for pair in ("clients", "routes", "certificate"):  # of the hub's keys, no server has one
            assert secrets[pair]["key"].encode() not in found


def test_names_are_in_the_certificates(authority: Authority, tmp_path: Path) -> None:
    path = write_brokers(authority, servers_of(["hub.example"], 1, Ports(), ""), tmp_path, NOW, place="/etc/nats")[0]
    certificate = x509.load_pem_x509_certificate((path.parent / "server.crt").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["hub.example", "localhost"]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=826)
    assert '"/etc/nats/rmm-1/server.crt"' in path.read_text()


def test_an_authority_is_made_once(authority: Authority) -> None:
    config = authority.folder.parent
    with pytest.raises(ConfigError, match="exists already"):
        Authority.create(config, NOW)
    again = Authority.open(config)
    assert (again.public, again.account, again.operator) == (authority.public, authority.account, authority.operator)
    with pytest.raises(ConfigError, match="this is no hub"):
        Authority.open(config / "nowhere")
    (authority.folder / "authority.json").write_text('{"made_at": "x", "operator": "SECRET"')
    with pytest.raises(ConfigError, match="not readable") as caught:
        Authority.open(config)
    assert "SECRET" not in str(caught.value)


def test_a_registry_that_is_missing_or_damaged_is_not_an_empty_one(authority: Authority) -> None:
    path = authority.folder / "registry.json"
    path.write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        authority.public_key_of("berlin", "x")
    path.unlink()
    with pytest.raises(ConfigError, match="missing"):
        authority.public_key_of("berlin", "x")


async def test_the_bus_works_on_it(world: World) -> None:
    login = world.authority.login(world.urls, NOW)
    async with open_bus(login) as bus:
        await bus.tell("rmm.down.berlin", b"hello")


@pytest.mark.slow
async def test_three_make_a_cluster(authority: Authority, tmp_path: Path) -> None:
    with brokers(authority, 3, tmp_path / "three") as three:
        login = authority.login([one.url for one in three], NOW)
        async with open_bus(login) as bus:
            await bus.tell("rmm.down.berlin", b"hello")
        assert all(len(one.monitor("routez")["routes"]) >= 2 for one in three)
        assert three[0].monitor("jsz")["meta_cluster"]["cluster_size"] == 3
