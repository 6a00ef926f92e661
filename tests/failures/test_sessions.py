"""Rows 56, 70, 72, 94: which shell a poll opens, what it remembers of that, and when a runspace is made anew."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from rmm.app import build, open_app
from rmm.catalog.bundle import COMMAND
from rmm.errors import AccessError, UnsupportedError
from rmm.model.observation import Observation
from rmm.model.round import PollRequest
from rmm.ports import Script
from rmm.transports.winrm import WinrmTransport
from rmm.transports.winrm.shell import RECYCLE

NAME = Script("$env:COMPUTERNAME")
WINRS_ONLY = "faults:\n  - {kind: session, configurations: {}, machines: [0]}\nsite: {fallback: [winrs]}\n"


async def poll(folder: Path) -> Observation:
    app = open_app(folder, lambda: (folder / "passphrase").read_text().strip())
    kept: list[Observation] = []
    await app.poll(PollRequest(mode="all"), on_observation=kept.append, config=folder)
    return kept[0]


async def run_once(lab: Any, **changes: Any) -> Any:
    transport = WinrmTransport(lab.gate)
    deadline = asyncio.get_running_loop().time() + 20
    try:
        async with transport.session(lab.target(**changes), deadline=deadline) as session:
            result = await session.run(NAME, deadline=deadline)
            assert [str(item) for item in result.output] == [lab.target().name]
            return session
    finally:
        await transport.aclose()


async def test_what_was_found_is_remembered_and_tried_anew_after_a_week(lab_up: Any) -> None:
    async with lab_up(WINRS_ONLY) as lab:
        first, second = await poll(lab.folder), await poll(lab.folder)
        assert first.status == second.status == "OK"
        assert first.identity["session"] == second.identity["session"] == "winrs"
        assert second.identity["session_at"] == first.identity["session_at"]
        # The failed Create is of the first poll alone.
        assert first.telemetry["requests"] == second.telemetry["requests"] + 1
        hot = next((lab.folder / "data" / "hot" / "lab").glob("[0-9]*.json"))
        state = json.loads(hot.read_text(encoding="utf-8"))
        for endpoint in state["endpoints"].values():
            old = first.observed_at - timedelta(days=8)
            endpoint["identity"]["session_at"] = old.isoformat()
        hot.write_text(json.dumps(state), encoding="utf-8")
        third = await poll(lab.folder)
        assert third.telemetry["requests"] == first.telemetry["requests"]
        assert datetime.fromisoformat(third.identity["session_at"]) > old
        # Where the configured one has come meanwhile, nothing is remembered any more.
        settings = yaml.safe_load((lab.folder / "rmm.yaml").read_text(encoding="utf-8"))
        settings["sites"][0] |= {"configuration": "winrs", "fallback": []}
        (lab.folder / "rmm.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        assert "session" not in (await poll(lab.folder)).identity


async def test_an_idle_timeout_out_of_bounds_is_made_shorter_and_remembered(lab_up: Any) -> None:
    async with lab_up("faults:\n  - {kind: session, longest_idle_s: 100, machines: [0]}\n") as lab:
        first, second = await poll(lab.folder), await poll(lab.folder)
        assert first.status == second.status == "OK"
        assert second.identity["idle_s"] == "60"
        assert first.telemetry["requests"] == second.telemetry["requests"] + 1


async def test_only_a_missing_configuration_leads_to_the_next(lab_up: Any) -> None:
    plan = "faults:\n  - {kind: fault, step: create, code: 5, subcode: 'w:AccessDenied', times: 1, machines: [0]}\n"
    async with lab_up(plan) as lab:
        with pytest.raises(AccessError):
            await run_once(lab, fallback=("winrs",))
        session = await run_once(lab, configuration="No.Such", fallback=("Nor.This", "Microsoft.PowerShell", "winrs"))
        assert session.peer["session"] == "Microsoft.PowerShell"
        assert session.telemetry["requests"] == 10
        with pytest.raises(UnsupportedError) as caught:
            await run_once(lab, configuration="No.Such", fallback=("Nor.This",))
        assert caught.value.code == "unsupported.configuration"
        assert (await lab.control("stats"))["shells_open"] == 0


async def test_what_is_remembered_counts_only_while_it_is_in_the_list(lab_up: Any) -> None:
    async with lab_up() as lab:
        session = await run_once(lab, chosen="winrs")
        assert "session" not in session.peer
        session = await run_once(lab, chosen="winrs", fallback=("winrs",))
        assert session.peer["session"] == "winrs"


async def test_a_runspace_is_made_anew_before_windows_tires_of_it(lab_up: Any) -> None:
    plan = "faults:\n  - {kind: quota, commands: 3, machines: [0]}\n"  # that were not terminated
    async with lab_up(plan) as lab:
        transport = WinrmTransport(lab.gate)
        for number in range(RECYCLE + 1):
            deadline = asyncio.get_running_loop().time() + 20
            async with transport.session(lab.target(session="runspace"), deadline=deadline) as session:
                assert (await session.run(NAME, deadline=deadline)).state == "completed"
            opened = (await lab.control("stats"))["shells_opened"] if number >= RECYCLE - 1 else 1
            assert opened == (1 if number < RECYCLE else 2)
        assert len(await lab.shells()) == 1
        await transport.aclose()
        assert await lab.shells() == []


@pytest.mark.parametrize("name", ["winrm", "pypsrp"])
async def test_a_command_reaches_a_session_without_a_language(lab_up: Any, name: str) -> None:
    async with lab_up("faults:\n  - {kind: session, configurations: {RmmJea: none}, machines: [0]}\n") as lab:
        transport: Any = build("transports", name, gate=lab.gate)
        deadline = asyncio.get_running_loop().time() + 20
        target = lab.target(configuration="RmmJea")
        asked = Script(COMMAND, (("Collector", ["cpu", "nonesuch"]),), language="command")
        async with transport.session(target, deadline=deadline) as session:
            result = await session.run(asked, deadline=deadline)
            refused = await session.run(NAME, deadline=deadline)
        assert [json.loads(text)["collector"] for text in result.output] == ["cpu", "nonesuch"]
        assert json.loads(result.output[1])["error"]["id"] == "RmmNoCollector"
        assert (refused.state, refused.errors[-1].error_id) == ("failed", "ScriptsNotAllowed")
        await transport.aclose()
