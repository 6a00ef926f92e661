"""What a poll reads of another machine, and what it takes for its own after that was accepted."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rounds import Bench, Session, Sleepy

from rmm.catalog.bundle import bundler
from rmm.catalog.load import load_catalog
from rmm.core.identity import installation
from rmm.core.parts import read_part
from rmm.core.schedule import due
from rmm.loop import SystemClock
from rmm.model.endpoint import Endpoint, Target
from rmm.model.observation import CollectorResult
from rmm.model.state import CollectorState, EndpointState
from rmm.poller.visit import Visitor
from rmm.resources import shipped

NOW = datetime(2026, 1, 2, tzinfo=UTC)
ONE, TWO = "4C4C4544-0034-4410-8056-B4C04F4E3132", "4C4C4544-0034-4410-8056-B4C04F4E3133"


def state(collectors: dict[str, CollectorState]) -> EndpointState:
    return EndpointState(
        endpoint="e", name="E", site="hq", observed_at=NOW, status="OK", fault=None, duration_s=0.1, epoch="a", seq=1,
        collectors=collectors,
    )  # fmt: skip


def test_all_that_was_read_of_the_machine_before_is_due_at_once() -> None:
    read = {"software": CollectorState(attempted_at=NOW), "os": CollectorState(attempted_at=NOW + timedelta(hours=1))}
    at = NOW + timedelta(minutes=30)
    later = NOW + timedelta(hours=2)
    asked = {"software": 86_400, "os": 86_400}
    assert due(asked, state(read), later, mode="due", endpoint="e") == ()
    assert due(asked, state(read), later, mode="due", endpoint="e", since=at) == ("software",)


class Querying(Sleepy):  # type: ignore[misc]  # rounds lies beside the tests, outside of any package
    """Sessions that answer every query with one row, of a board."""

    def __init__(self, uuid: str) -> None:
        super().__init__(lambda _: 0.0)
        self.uuid = uuid
        self.asked: list[str] = []

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Any]:
        session = Session()

        async def query(wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
            self.asked.append(wql)
            return [{"UUID": self.uuid, "CSName": "E", "LastBootUpTime": "2026-01-01T00:00:00Z"}]

        session.query = query
        session.peer = {"netbios": "E"}
        yield session


@pytest.mark.parametrize(("answers", "status"), [(ONE, "OK"), (TWO, "IDENTITY_MISMATCH")])
async def test_a_poll_by_queries_alone_notices_another_board(tmp_path: Path, answers: str, status: str) -> None:
    transport = Querying(answers)
    kit = Bench(tmp_path, transport, concurrency=1, timeout=5.0).kit("b", SystemClock(), ("system", "hardware"))
    target = msgspec.structs.replace(kit.target(Endpoint(id="e", name="E", site="hq")), transport="wql")
    kit = msgspec.structs.replace(kit, target=lambda _: target)
    reading = CollectorResult(outcome="ok", readings=({"uuid": ONE, "serial": None},))
    known = CollectorState(attempted_at=NOW, at=NOW, result=msgspec.Raw(msgspec.json.encode(reading)))
    seen = await Visitor(kit).visit(
        Endpoint(id="e", name="E", site="hq"), 0, 2, ("system",), state({"hardware": known})
    )
    assert seen.status == status
    assert (seen.refused is not None) == (answers == TWO)
    if seen.refused is not None:
        assert (seen.refused.expected["uuid"], seen.refused.seen["uuid"]) == (ONE, TWO)
        assert seen.collectors == {}
    assert ("SELECT UUID FROM Win32_ComputerSystemProduct" in transport.asked) is True


@pytest.mark.skipif(shutil.which("sh") is None, reason="there is no POSIX shell")
async def test_a_posix_shell_tells_the_installation() -> None:
    script = bundler(load_catalog([shipped("collectors")]))(("os",), "sh")
    done = await asyncio.to_thread(subprocess.run, ["sh"], input=script.text.encode(), capture_output=True, check=True)
    (part,) = [read_part(line) for line in done.stdout.decode().splitlines() if line.startswith('{"collector"')]
    file = Path("/etc/machine-id")
    assert installation(part.machine) == (installation(file.read_text()) if file.is_file() else "")
