"""Real Windows machines, recorded by pypsrp's authors, served by the lab and asked by our own client."""

from __future__ import annotations

import asyncio
import lzma
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from climbing import climbed

from rmm.app import App
from rmm.lab.playback import CREATE_PIPELINE, script_of
from rmm.model.recording import Message, Recording, encode_recording
from rmm.ports import Script, ScriptResult
from rmm.transports.winrm import psrp
from rmm.transports.winrm.recorder import recording_of

ARCHIVE = Path(__file__).parent.parent / "data" / "windows-recordings.tar.xz"
STATES = {3: "stopped", 4: "completed", 5: "failed"}


def recording(name: str) -> Recording:
    with lzma.open(ARCHIVE) as packed, tarfile.open(fileobj=packed) as archive:
        file = archive.extractfile(name)
        assert file is not None
        pairs = [
            ((one.get("request") or "").encode(), (one.get("response") or "").encode())
            for one in yaml.safe_load(file.read())["messages"]
        ]
    return recording_of(pairs, "WINDOWS", datetime(2026, 1, 1, tzinfo=UTC))


def message_of(one: Message) -> psrp.Message:
    return psrp.Message(one.type, b"", b"", one.data.encode())


async def ran(app: App, script: str) -> ScriptResult:
    target = app.targets.target(app.settings.endpoints[0])
    deadline = asyncio.get_running_loop().time() + 20
    async with app.kit("0123456789abcdef") as kit, kit.transport("winrm").session(target, deadline=deadline) as session:
        return await session.run(Script(script), deadline=deadline)


PIPELINES = [
    "client_execute_ps.yml", "client_execute_ps_failure.yml", "psrp_error_failed.yml", "psrp_long_running_cmdlet.yml",
    "psrp_no_profile.yml", "psrp_run_protocol_version_2.2.yml", "psrp_run_protocol_version_2.3.yml",
]  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
async def test_what_windows_said_is_said_again(name: str, lab_in: Callable[..., Any], tmp_path: Path) -> None:
    made = recording(name)
    file = tmp_path / "windows.jsonl"
    file.write_bytes(encode_recording(made))
    sent = [one for exchange in made.exchanges for one in exchange.sent if one.type == CREATE_PIPELINE]
    received = [message_of(one) for exchange in made.exchanges for one in exchange.received if exchange.command]
    assert sent
    async with lab_in(recording=file) as app:
        result = await ran(app, script_of(sent[0].data))
    # Of the first pipeline: a recording may hold more.
    ends = [number for number, one in enumerate(received) if one.kind == psrp.PIPELINE_STATE]
    first = received[: ends[0] + 1]
    assert list(result.output) == [psrp.output_of(one) for one in first if one.kind == psrp.PIPELINE_OUTPUT]
    assert result.state == STATES[psrp.state_of(first[-1])]
    records = [psrp.error_record(one) for one in first if one.kind in (psrp.ERROR_RECORD, psrp.PIPELINE_STATE)]
    assert [one.error_id for one in result.errors] == [one.error_id for one in records if one]


async def test_the_ladder_of_a_recorded_windows_server(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    """Its shell and its winrm/config are Windows' own; what was never asked of it is said to be missing."""
    file = tmp_path / "windows.jsonl"
    config, shell = recording("wsman_update_envelope_size_150.yml"), recording("psrp_open_runspace.yml")
    file.write_bytes(encode_recording(Recording(shell.header, (*shell.exchanges, *config.exchanges))))
    async with lab_in(recording=file) as app:
        steps = await climbed(app)
    assert steps["shell"].facts == {
        "configuration": "Microsoft.PowerShell", "protocol": "2.3", "powershell": "5.1.14393.2248",
    }  # fmt: skip
    quota = steps["quota"].facts
    assert (quota["MaxEnvelopeSizekb"], quota["Winrs/IdleTimeout"]) == (150, 7_200_000)
    assert quota["Service/Auth/CbtHardeningLevel"] == "Relaxed"
    assert (steps["quota"].verdict, steps["quota"].code) == ("warning", "quota.unsafe")  # Basic and CredSSP were on
    assert steps["language"].verdict == "failed"
    assert steps["cpu"].verdict == "failed"
