"""Refused enrolments and renewals are counted by site and reason, and are in the audit log once."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import Time, acts, until
from typer.testing import CliRunner

from rmm import hub_service
from rmm.app import App
from rmm.bus.memory import MemoryBus
from rmm.cli.main import build
from rmm.coordinator.acts import note
from rmm.errors import TierError
from rmm.hub import outcomes
from rmm.hub.authority import Authority
from rmm.hub.enrolment import Outcome
from rmm.hub.invitations import invite
from rmm.hub.outcomes import Outcomes
from rmm.metrics.gather import Gatherer
from rmm.model.enrolment import Grant, Question
from rmm.model.incident import Act
from rmm.model.sites import Refused
from rmm.settings.load import load_settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "rmm.yaml").write_text(f"data: {tmp_path / 'data'}\nsites: [{{id: berlin}}, {{id: lyon}}]\n")
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\n")
    Authority.create(folder, datetime.now(UTC))
    return folder


@asynccontextmanager
async def serving(config: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryBus]:
    """`rmm hub run`, but for its broker."""
    bus, said = MemoryBus(), list[str]()

    @asynccontextmanager
    async def broker(*_: object) -> AsyncIterator[MemoryBus]:
        yield bus

    monkeypatch.setattr(hub_service, "_broker", broker)
    serving = asyncio.create_task(hub_service.serve_hub(config, lambda: "", said.append, lambda _: ()))
    try:
        await until(lambda: bool(said) or serving.done())
        yield bus
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


def renewal(site: str, collector: str) -> bytes:
    fields: dict[str, Any] = {"at": datetime.now(UTC), "key": b"k" * 32, "user": "U", "csr": b""}
    one = Question(site=site, collector=collector, nonce=secrets.token_bytes(16), signature=b"s" * 64, **fields)
    return msgspec.msgpack.encode(one)


async def asked(bus: MemoryBus, subject: str, data: bytes) -> str:
    return msgspec.msgpack.decode(await bus.ask(subject, data, timeout_s=5), type=Grant).refused


async def test_what_is_refused_is_counted_where_people_look(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites, now = ("berlin", "lyon"), datetime.now(UTC)
    token = invite(Authority.open(config), "berlin", sites=sites, urls=["tls://h:1"], lasts=timedelta(hours=1), now=now)
    async with serving(config, monkeypatch) as bus:
        for _ in range(5):
            assert await asked(bus, f"rmm.enroll.{token.invitation}", b"?") == "envelope.format"
        for _ in range(3):
            assert await asked(bus, "rmm.ask.lyon.renew", renewal("lyon", "gone")) == "enrol.revoked"
        assert await asked(bus, "rmm.enroll.nothing", b"?") == "envelope.format"
    shown = CliRunner().invoke(build(["sites"]), ["sites", "list", "--config", str(config), "--output", "json"])
    assert [(row["site"], row["refused"]) for row in json.loads(shown.stdout)] == [("berlin", 5), ("lyon", 3)]
    values = Gatherer(load_settings(config)).gather().values["rmm_site_refused_total"]
    assert values == {
        ("berlin", "envelope.format"): 5, ("lyon", "enrol.revoked"): 3, ("unknown", "envelope.format"): 1,
    }  # fmt: skip
    app = App(load_settings(config), lambda: "")
    assert [(one.who, one.what) for one in acts(app.data)] == [
        ("berlin", "refuse enrol"), ("lyon", "refuse renew"), ("", "refuse enrol"),
    ]  # fmt: skip


async def test_what_cannot_be_written_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcomes, "RETRY_S", 0.01)
    clock, failures, written = Time(), 2, list[tuple[list[Act], list[Refused]]]()

    async def write(acts: Any, refused: Any) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise TierError("the disk is full", code="disk.full")
        written.append((list(acts), list(refused)))
        await note(tmp_path, *acts, refused=refused)

    heard = Outcomes(["berlin"], write)
    running = asyncio.create_task(heard.run())
    for number in range(4):
        heard.hear(Outcome(what="enrol", at=clock.now(), site="berlin", refused="enrol.used", again=number > 0))
    heard.hear(Outcome(what="enrol", at=clock.now(), site="berlin", collector="c1"))
    await until(lambda: bool(written))
    heard.hear(Outcome(what="enrol", at=clock.now(), site="berlin", refused="enrol.used", again=True))
    running.cancel()  # what was heard meanwhile is written at the end
    await asyncio.gather(running, return_exceptions=True)
    assert [[one.number for one in refused] for _, refused in written] == [[4], [1]]
    assert [one.what for one in acts(tmp_path)] == ["refuse enrol", "enrol"]
