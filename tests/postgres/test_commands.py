"""Commands with `hub.database`: all that they show is PostgreSQL's, and what is PostgreSQL's own they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cluster import PASSWORD, Cluster, schema_of
from folding import KEYS, START, encoded
from typer.testing import CliRunner

from rmm import app as application
from rmm.app import App, open_app
from rmm.channels.memory import MemoryChannel
from rmm.cli.main import build
from rmm.coordinator import Coordinator
from rmm.core.alerting.lifecycle import Change
from rmm.errors import TierError
from rmm.loop import SystemClock
from rmm.model.board import Board
from rmm.model.identity import Refusal
from rmm.model.observation import decode_observation, encode_observation
from rmm.model.rule import Alert
from rmm.model.settings import HubSettings, Settings
from rmm.settings.load import load_settings
from rmm.settings.rules import shipped_rules
from rmm.tiers.fleet_postgres import Server
from rmm.tiers.fleet_sqlite import BoardFile, FleetFile, FleetStore
from rmm.tiers.fleet_sqlite.folder import path_of

CONFIG = """
data: ../data
sites: [{id: hq, credential: c}]
people: {ann: {channels: [{channel: log}]}}
oncall: {first: {timezone: UTC, layers: [{people: [ann], every: 1w, starts: 2026-01-05}]}}
"""
Command = Callable[..., str]


@pytest.fixture
def folder(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the database of a cluster, and a fleet of three in it."""
    made = tmp_path / "conf"
    made.mkdir()
    (made / "rmm.yaml").write_text(CONFIG)
    lines = "".join(f"e{n},E{n},127.0.0.{n + 1},hq\n" for n in range(3))
    (made / "endpoints.csv").write_text(f"EndpointId,ComputerName,IPAddress,SiteCode\n{lines}")
    url = cluster.url(cluster.schema(schema_of(tmp_path)))

    def with_database(folder: Path, flags: Mapping[str, Any] | None = None) -> Settings:
        return msgspec.structs.replace(load_settings(folder, flags), hub=HubSettings(database=url))

    monkeypatch.setattr(application, "load_settings", with_database)
    return made


@pytest.fixture
def command(folder: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    def run(*words: str, code: int = 0, **options: Any) -> str:
        done = CliRunner().invoke(build([words[0]]), [*words, "--config", str(folder)], **options)
        text = done.output + (str(done.exception) if done.exception else "")
        assert done.exit_code == code, text
        assert PASSWORD not in text and "so-secret" not in text
        return text

    return run


def opened(folder: Path) -> App:
    return open_app(folder, lambda: "")


async def fold(app: App, *, used: int = 97) -> None:
    now = datetime.now(UTC)
    refused = Refusal(asked="e2", expected={"name": "E2"}, seen={"name": "OTHER"})
    other = msgspec.structs.replace(
        decode_observation(encoded("e2", now, now.microsecond, "IDENTITY_MISMATCH")), refused=refused
    )

    async with Coordinator.open(
        app.data, rules=[*shipped_rules(), *app.rules], keys=KEYS, channels=[MemoryChannel("log")],
        clock=SystemClock(), place=app.fleet,
    ) as coordinator:  # fmt: skip
        await coordinator.fold([
            encoded("e0", now, now.microsecond, volumes=[{"volume": "C:", "used_pct": used, "free_b": 1.0}]),
            encoded("e1", now, now.microsecond, "UNREACHABLE"),
            encode_observation(other),
        ])  # fmt: skip
        await coordinator.finish(listed={"e0", "e1", "e2"})


def test_commands(folder: Path, command: Command) -> None:
    assert json.loads(command("status", "--output", "json"))[0]["status"] == ""  # nothing was polled yet
    app = opened(folder)
    asyncio.run(fold(app))
    assert isinstance(app.fleet, Server) and PASSWORD not in repr(app.fleet)
    found = {row["endpoint"]: row["status"] for row in json.loads(command("status", "--output", "json"))}
    assert found == {"e0": "OK", "e1": "UNREACHABLE", "e2": "IDENTITY_MISMATCH"}
    alerts = {row["rule"]: row for row in FleetFile(app.fleet).alerts()}
    assert len(alerts) >= 1
    listed = command("alerts", "list")
    assert all(f"{row['number']}" in listed for row in alerts.values())
    number = str(next(iter(alerts.values()))["number"])
    command("alerts", "ack", number, "--reason", "seen")
    assert FleetFile(app.fleet).alert(int(number))["state"] == "acknowledged"  # type: ignore[index]
    command("alerts", "silence", "rule=volume_full", "--for", "1h", "--reason", "work")
    assert "volume_full" in command("alerts", "silences")
    assert "E2" in command("endpoints", "quarantined")
    command("endpoints", "accept", "e2", "--yes")
    assert [one.endpoint for one in FleetFile(app.fleet).acceptances()] == ["e2"]
    assert "OTHER" in command("changes", "e2")
    assert "E0" in command("top", "--once")
    assert "C: of E0 is 97" in command("notify", "log")
    assert "C: of E0" in command("report", "alerts", "--format", "json", "--out", "-")
    command("oncall", "override", "add", "first", "ann", "--until", "+2h", "--reason", "mine")
    assert "mine" in command("oncall", "override", "list")
    assert 'rmm_source_readable{source="fleet"} 1' in command("metrics", "print")
    assert not path_of(app.data).exists()


def test_the_store_says_what_it_does_not_do(folder: Path, command: Command, tmp_path: Path) -> None:
    app = opened(folder)
    asyncio.run(fold(app))
    name = app.fleet_server
    assert name.startswith("postgres at 127.0.0.1:")
    for words, means in ((["check"], "pg_amcheck"), (["status"], "none of these figures"),
                         (["repair"], "left alone"), (["backup", str(tmp_path / "kept")], "pg_dump"),
                         (["restore", str(tmp_path / "kept"), "--force"], "pg_restore")):  # fmt: skip
        said = command("store", *words)
        assert name in said and means in said, said


def test_a_server_that_is_gone(folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = HubSettings(database="postgresql://rmm:so-secret@127.0.0.1:1/rmm")
    monkeypatch.setattr(
        application, "load_settings", lambda *given: msgspec.structs.replace(load_settings(*given), hub=nowhere)
    )
    said = command("status", code=1)
    assert "rmm at 127.0.0.1:1" in said


def test_the_vaults_password(folder: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    from rmm.model.endpoint import Credential, Secret

    bare = cluster.url(password="wrong")
    hub = HubSettings(database=bare, database_password={"vault": "db"})
    app = App(msgspec.structs.replace(load_settings(folder), hub=hub), lambda: "")
    app._credentials["db"] = Credential(name="db", username="rmm", secret=Secret(PASSWORD))
    assert FleetFile(app.fleet).endpoints() == []


async def test_a_reader_within_an_event_loop(cluster: Cluster, tmp_path: Path) -> None:
    """A poll asks for acceptances while it runs."""
    async with FleetStore.open(cluster.of_folder(tmp_path)) as store:
        async with store.transaction():
            await store.set_mark("x", 1)
        assert FleetFile(cluster.of_folder(tmp_path)).acceptances() == []


async def test_the_board_is_read_when_something_was_written(cluster: Cluster, tmp_path: Path) -> None:
    place = cluster.of_folder(tmp_path)
    board = BoardFile(place)
    empty = board.state()
    assert (board.read(), board.state()) == (Board([], [], []), empty)  # nobody has made it yet
    async with FleetStore.open(place) as store:
        made = board.state()
        assert made != empty and board.state() == made
        async with store.transaction():
            await store.set_mark("x", 1)
        assert board.state() != made
        async with store.transaction():
            alert = Alert(
                key="r|e|", rule="r", endpoint="e", name="E", site="hq", severity="critical", state="firing",
                summary="s", value=1, first_at=START, last_at=START,
            )  # fmt: skip
            await store.put_changes([Change(alert)])
    assert [(one.number, one.rule) for one in board.read().alerts] == [(1, "r")]
    cluster.execute("UPDATE alert SET body = '{';", schema_of(tmp_path))
    for read in (board.read, FleetFile(place).alerts):
        with pytest.raises(TierError) as caught:
            read()
        assert caught.value.code == "database.damaged"
