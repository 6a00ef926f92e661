"""`rmm hub` and `rmm site` as people type them, with a broker from what `rmm hub config` wrote."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from nats_servers import binary, free_ports
from sites_world import Clock, Configured, World, link
from typer.testing import CliRunner

from rmm.cli.main import build
from rmm.hub.authority import Authority
from rmm.hub.broker_config import Ports
from rmm.hub.broker_config import Server as Planned
from rmm.model.enrolment import decode_token
from rmm.site.identity import Identity

SETTINGS = """
data: data
sites:
  - id: berlin
    credential: poll
"""


def rmm(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rmm", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        encoding="utf-8",
        input=given,
        env={**os.environ, "PYTHONUTF8": "1"},
    )


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder = tmp_path / "hub-folder"
    folder.mkdir()
    (folder / "rmm.yaml").write_text(SETTINGS, encoding="utf-8")
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\n", encoding="utf-8")
    return folder


async def test_from_nothing_to_a_site(hub: Path, tmp_path: Path) -> None:
    made = rmm("hub", "init", "--config", str(hub))
    assert made.returncode == 0, made.stderr
    assert "keep a copy" in made.stdout
    again = rmm("hub", "init", "--config", str(hub))
    assert again.returncode == 2
    assert "exists already" in again.stderr

    client, websocket, cluster, monitor = free_ports(4)
    ports = ["--port", client, "--websocket-port", websocket, "--cluster-port", cluster, "--monitor-port", monitor]
    options = ["--hosts", "127.0.0.1", "--listen", "127.0.0.1", "--out", tmp_path / "brokers", *ports]
    made = rmm("hub", "config", "--config", str(hub), "--output", "json", *map(str, options))
    assert made.returncode == 0, made.stderr
    rows = json.loads(made.stdout)
    assert [(row["name"], row["client"]) for row in rows] == [("rmm-1", client)]

    planned = Planned(host="127.0.0.1", name="rmm-1", ports=Ports(client, websocket, cluster, monitor))
    server = Configured(Path(rows[0]["config"]), planned)
    server.start()
    try:
        made = rmm("hub", "invite", "berlin", "--config", str(hub), "--url", server.url)
        assert made.returncode == 0, made.stderr
        token = made.stdout.strip()
        assert "for one collector of berlin" in made.stderr
        world = World(Authority.open(hub), Clock(), [server], tmp_path)
        site = tmp_path / "site-folder"
        async with world.hub():
            done = await asyncio.to_thread(
                rmm, "site", "enroll", "-", "--config", str(site), given=token[:40] + "\n" + token[40:]
            )
            assert done.returncode == 0, done.stderr
            assert "of site berlin" in done.stdout
            identity = Identity.load(site)
            async with link(identity.login()):
                pass
            (tmp_path / "token").write_text(token)
            done = await asyncio.to_thread(
                rmm, "site", "enroll", f"@{tmp_path / 'token'}", "--config", str(tmp_path / "b")
            )
            assert done.returncode != 0
            assert "token was used" in done.stderr
            assert "rmm hub invite" in done.stderr
            done = await asyncio.to_thread(rmm, "site", "enroll", token, "--config", str(site))
            assert done.returncode == 2
            assert "enrolled already, as berlin/" in done.stderr
        shown = json.loads(rmm("audit", "--config", str(hub), "--output", "json").stdout)
        assert [(row["what"], "berlin" in str(row)) for row in shown] == [("invite", True)]
    finally:
        server.kill()


@pytest.mark.parametrize("count", [1, 3])
def test_the_configuration_of_brokers_is_printed_or_written(hub: Path, tmp_path: Path, count: int) -> None:
    Authority.create(hub, datetime.now(UTC))
    out, hosts = tmp_path / "brokers", ",".join(["a.example", "b.example", "c.example"][:count])
    words = ["hub", "config", "--config", str(hub), "--servers", str(count), "--hosts", hosts, "--place", str(out)]
    cli, command = CliRunner(), build(["hub"])
    printed = cli.invoke(command, words)
    assert printed.exit_code == 0, printed.output
    assert not out.exists()
    assert "nothing was written: --out DIR makes a folder" in printed.stderr
    assert "PRIVATE KEY" not in printed.stdout
    rows = json.loads(cli.invoke(command, [*words, "--output", "json"]).stdout)
    assert [row["host"] for row in rows] == hosts.split(",")
    written = cli.invoke(command, [*words, "--out", str(out)])
    assert written.exit_code == 0, written.output
    assert "start each: nats-server -c CONFIGURATION" in written.stdout
    for n, row in enumerate(rows):
        folder = out / f"rmm-{n + 1}"
        for path in folder.iterdir():
            assert f"  {path.name} " in written.stdout, path
        assert str(folder / "nats-server.conf") in written.stdout
        done = subprocess.run(
            [binary(), "-t", "-c", str(folder / "nats-server.conf")], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        text = (folder / "nats-server.conf").read_text()
        assert undated(text) == undated(row["text"])
        assert undated(text) <= undated(printed.stdout)


def undated(text: str) -> set[str]:
    """The lines of a configuration without its claims, which say when they were made."""
    return {line for line in text.splitlines() if '"ey' not in line}


def test_what_is_wrong_is_told(hub: Path, tmp_path: Path) -> None:
    done = rmm("hub", "invite", "berlin", "--config", str(hub))
    assert done.returncode == 2
    assert "rmm hub init" in done.stderr
    assert rmm("hub", "init", "--config", str(hub)).returncode == 0
    for arguments, said in (
        (["hub", "invite", "paris"], "there is no site 'paris'; there are berlin"),
        (["hub", "invite", "berlin", "--url", "http://x"], "the address of the broker is not one"),
        (["hub", "invite", "berlin", "--name", "a b"], "--name 'a b' is none"),
        (["hub", "config", "--servers", "2"], "Choose 1 or 3"),
        (["hub", "revoke", "berlin"], "no collector of berlin was enrolled"),
        (["site", "enroll", "hello"], "this is no token of rmm"),
        (["site", "enroll", f"@{tmp_path / 'nothing'}"], "cannot be read"),
    ):
        done = rmm(*arguments, "--config", str(hub))
        assert done.returncode not in (0, 1), (arguments, done.stdout)
        assert said in done.stderr, (arguments, done.stderr)
        assert "fix: " in done.stderr


def test_a_token_as_json_and_a_revocation_without_a_broker(hub: Path, tmp_path: Path) -> None:
    assert rmm("hub", "init", "--config", str(hub)).returncode == 0
    made = rmm("hub", "invite", "berlin", "--config", str(hub), "--output", "json", "--hours", "2")
    row = json.loads(made.stdout)
    assert decode_token(row["token"]).invitation == row["invitation"]
    assert row["site"] == "berlin"
    done = rmm("hub", "revoke", "berlin", "--config", str(hub), "--reason", "stolen")
    assert done.returncode == 3, done.stderr
    assert "the broker was not told" in done.stderr
    assert "open invitations are void" in done.stdout
    assert not Authority.open(hub).registry.read().invitations
    shown = json.loads(rmm("audit", "--config", str(hub), "--output", "json").stdout)
    assert [row["what"] for row in shown] == ["invite", "revoke"]
    assert "stolen" in str(shown)
