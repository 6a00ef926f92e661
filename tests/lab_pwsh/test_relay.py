"""Microsoft's PSRP server behind our WSMan: what a client sees of it, and what becomes of the processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from rmm.errors import ConfigError, QuotaError, TransportError
from rmm.lab.faults.plan import load_plan
from rmm.lab.pwsh.runspace import MOST_HELD
from rmm.lab.server import LabInfo
from rmm.ports import Script
from rmm.transports.winrm import envelope
from rmm.transports.winrm.pipeline import Pipeline
from tests.lab_pwsh.conftest import PwshLab, processes_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are looked up in /proc")

Make = Callable[..., Any]


async def test_a_session_is_the_machine_it_was_opened_on(lab_of: Make) -> None:
    lab = await lab_of()
    text = (
        "$env:COMPUTERNAME; (Get-CimInstance Win32_X).Name; Get-ItemProperty HKLM:; (1.5).ToString();"
        '[TimeZoneInfo]::Local.Id; "$ErrorActionPreference"; Get-Variable Computer -ErrorAction Ignore'
    )
    for transport in ("winrm", "winrs"):
        for index, decimal, zone in ((0, "1.5", None), (4, "1,5", "Europe/Berlin")):  # the fifth machine is German
            name = lab.endpoints[index]["name"]
            output = (await lab.run(text, target=lab.target(transport, index))).output
            assert output[:4] == (name, name, "stands in for HKLM:", decimal), transport
            assert zone in (None, output[4])
            assert output[5:] == ("Continue",), "the preparation leaves nothing of its own"


async def test_each_message_of_a_pipeline_comes_through(lab_of: Make) -> None:
    lab = await lab_of()
    result = await lab.run(
        "'a'; 1; 2.5; $true; $null; @{k = @(1, 'x')}; [char]65; [guid]::Empty; [uint64]::MaxValue; [datetime]1;"
        "Write-Progress -Activity p; Write-Verbose v -Verbose; Write-Warning 'careful'; Write-Error 'bad'; 'größe ✓ 𝄞';"
        "Write-Host h; Write-Information i; [byte[]](1, 2); [version]'1.2'; [timespan]'1:00:00'; [decimal]1.5; 'last'"
    )
    assert (result.state, result.warnings) == ("completed", ("careful",))
    assert result.output[:6] == ("a", 1, 2.5, True, None, {"k": [1, "x"]})
    assert result.output[8] == 2**64 - 1
    assert "größe ✓ 𝄞" in result.output
    assert result.output[-1] == "last"
    assert [error.error_id for error in result.errors] == ["Microsoft.PowerShell.Commands.WriteErrorException"]


async def test_a_kept_session_sees_time_go_on(lab_of: Make) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    lab = await lab_of(clock=lambda: now)
    target = lab.target(session="runspace")
    loop = asyncio.get_running_loop()
    async with lab.session(target) as session:
        for _ in range(3):
            result = await session.run(Script("$State['now']; $PID"), deadline=loop.time() + 20)
            assert datetime.fromisoformat(result.output[0]) == now, result
            now += timedelta(hours=1)
            await asyncio.sleep(1.1)
        assert lab.pool.used == 1


async def test_a_process_that_is_killed_is_a_shell_that_is_gone(lab_of: Make) -> None:
    lab = await lab_of()
    for text in (
        "'before'; Start-Sleep -Milliseconds 500; Stop-Process -Id $PID -Force; Start-Sleep 30",
        "'before'; Start-Sleep -Milliseconds 500; [Environment]::Exit(3)",
    ):
        with pytest.raises(TransportError) as caught:
            await lab.run(text)
        assert (caught.value.partial, caught.value.retry) == (("before",), "R1"), text
        assert await lab.idle()
    assert (await lab.run("1")).output == (1,), "the next one is served as ever"


async def test_a_process_that_hangs_is_left_and_killed(lab_of: Make) -> None:
    lab = await lab_of()
    text = "'before'; Start-Sleep 0.4; kill -STOP $PID; 'after'"
    result = await lab.run(text, seconds=2.0)
    assert (result.state, result.output) == ("timed_out", ("before",))
    assert await lab.idle(25)


async def test_a_script_that_sleeps_for_ever_is_stopped_and_the_session_stays(lab_of: Make) -> None:
    lab = await lab_of()
    loop = asyncio.get_running_loop()
    async with lab.session(lab.target(session="runspace")) as session:
        pid = (await session.run(Script("$PID"), deadline=loop.time() + 20)).output
        for text in ("Start-Sleep 100000", "while ($true) { }", "while ($true) { 'x' * 1000 }"):
            result = await session.run(Script(text), deadline=loop.time() + 1.5, max_bytes=200_000)
            assert result.state in ("timed_out", "truncated"), text
        assert (await session.run(Script("$PID"), deadline=loop.time() + 20)).output == pid


async def test_a_flood_is_held_back(lab_of: Make) -> None:
    """100 MB that nobody receives wait in PowerShell, not here."""
    lab = await lab_of()
    async with lab.session(lab.target()) as session:
        deadline = asyncio.get_running_loop().time() + 60
        shell = await session.shell(deadline)
        run = asyncio.create_task(shell.run(Script("1..100 | % { 'x' * 1MB }; 'end'"), deadline, 1 << 30))
        (own,) = set(lab.engine.shells())
        most = 0
        while not run.done():
            most = max(most, own.own.held + sum(command.held for command in own.commands.values()))
            await asyncio.sleep(0.01)
        result = await run
    assert (len(result.output), result.output[-1]) == (101, "end")
    assert 0 < most < MOST_HELD + (1 << 20)
    assert await lab.idle()


async def test_output_that_nobody_receives_stops_the_process(lab_of: Make) -> None:
    lab = await lab_of()
    async with lab.session(lab.target()) as session:
        deadline = asyncio.get_running_loop().time() + 60
        shell = await session.shell(deadline)
        await shell._start(Pipeline(1), Script("1..100 | % { 'x' * 1MB }"), deadline)
        (own,) = set(lab.engine.shells())
        held = -1
        while held != (held := sum(command.held for command in own.commands.values())):
            await asyncio.sleep(1.5)
        assert MOST_HELD <= held < MOST_HELD + (1 << 20)
    assert await lab.idle(), "Delete ends it all the same"


async def test_one_shell_too_many_is_a_quota(lab_of: Make) -> None:
    lab = await lab_of(most=2, spare=0)
    async with lab.session(lab.target()) as first, lab.session(lab.target(index=1)) as second:
        for session in (first, second):
            await session.shell(asyncio.get_running_loop().time() + 30)
        for transport in ("winrm", "winrs"):
            with pytest.raises(QuotaError):
                await lab.run("1", target=lab.target(transport, 2))
    assert await lab.idle()
    assert (await lab.run("1")).output == (1,)


async def test_an_idle_shell_ends_with_its_process(lab_of: Make) -> None:
    lab = await lab_of(idle_rate=30.0)
    async with lab.session(lab.target(session="runspace")) as session:
        await session.shell(asyncio.get_running_loop().time() + 30)
        assert lab.pool.used == 1
        assert await lab.idle()
        with pytest.raises(TransportError) as caught:
            await session.run(Script("1"), deadline=asyncio.get_running_loop().time() + 30)
        assert "2150858843" in str(caught.value)


async def test_clients_that_go_away_leave_no_process(lab_of: Make) -> None:
    lab = await lab_of(most=6, spare=2)
    tasks = [
        asyncio.create_task(lab.run("Start-Sleep 60", target=lab.target(transport, number)))
        for number, transport in enumerate(("winrm", "winrs", "winrm", "winrm", "winrs", "winrm"))
    ]
    for delay, task in zip((0.1, 0.5, 0.9, 1.3, 1.7, 2.1), tasks, strict=True):
        await asyncio.sleep(delay / 3)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await lab.idle(20)


async def test_what_a_script_started_ends_with_its_shell(lab_of: Make) -> None:
    lab = await lab_of(spare=0)
    for transport in ("winrm", "winrs"):
        result = await lab.run("/bin/sh -c 'sleep 300 >/dev/null 2>&1 & echo $!'; 'x'", target=lab.target(transport))
        assert result.output[-1] == "x"
        assert await lab.idle()
        until = time.monotonic() + 20  # whoever is killed takes a moment to be gone
        while lab.processes() and time.monotonic() < until:
            await asyncio.sleep(0.1)
        assert lab.processes() == []


async def test_the_end_of_the_lab_is_the_end_of_all_processes(program: str, lab_of: Make) -> None:
    lab = await lab_of(spare=2)
    tasks = [
        asyncio.create_task(lab.run("Start-Sleep 60", target=lab.target(transport))) for transport in ("winrm", "winrs")
    ]
    await asyncio.sleep(3)
    assert len(lab.processes()) >= 4
    await lab.engine.aclose()
    assert lab.processes() == []
    assert not lab.engine.folder.exists()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_spare_process_that_died_is_not_given_to_anybody(lab_of: Make) -> None:
    lab = await lab_of(spare=2)
    while len(lab.pool.waiting) < 2:
        await asyncio.sleep(0.1)
    spares = list(lab.pool.waiting)
    for process in spares:
        os.kill(process.child.pid, signal.SIGKILL)
    while any(process.alive for process in spares):
        await asyncio.sleep(0.05)
    assert (await lab.run("1")).output == (1,)


@pytest.mark.slow
async def test_many_shells_in_a_row(lab_of: Make) -> None:
    lab = await lab_of(spare=2, most=4)
    for number in range(12):
        assert (await lab.run("param($P0) $P0 + 1", number)).output == (number + 1,)
    assert await lab.idle()
    assert len(lab.processes()) <= 2


async def test_faults_change_what_real_pipelines_say(lab_of: Make, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "faults:\n"
        "  - {kind: content, machines: [0], how: not_json}\n"
        "  - {kind: content, machines: [1], how: fragment_gap}\n"
        "  - {kind: shell, machines: [2], how: stuck, parts: 1}\n"
        "  - {kind: record, machines: [3], error_id: E, category: OpenError, message: m, exception: X,"
        " terminating: true}\n"
    )
    lab = await lab_of(plan=load_plan(tmp_path / "plan.yaml"))
    text = "'0123456789'; @{a = 1}; Write-Warning w"
    result = await lab.run(text, target=lab.target(index=0))
    assert (result.output, result.warnings) == (("01234", {"a": 1}), ("w",))
    with pytest.raises(TransportError) as caught:
        await lab.run(text, target=lab.target(index=1))
    assert caught.value.code == "psrp.fragment"
    result = await lab.run(text, target=lab.target(index=2), seconds=3)
    assert (result.state, result.output) == ("timed_out", ("0123456789",))
    result = await lab.run(text, target=lab.target(index=3))
    assert (result.state, result.output, result.errors[-1].error_id) == ("failed", (), "E")
    assert (await lab.run(text, target=lab.target(index=4))).output == ("0123456789", {"a": 1})


async def test_faults_change_what_the_command_shell_says(lab_of: Make, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "faults:\n"
        "  - {kind: content, machines: [0], how: not_json}\n"
        "  - {kind: record, machines: [1], error_id: E, category: OpenError, message: m, exception: X,"
        " terminating: true}\n"
        "  - {kind: record, machines: [2], error_id: E, category: OpenError, message: m, exception: X}\n"
    )
    lab = await lab_of(plan=load_plan(tmp_path / "plan.yaml"))
    text = "'0123456789'; 'größe 456'"
    result = await lab.run(text, target=lab.target("winrs", 0))
    assert (result.state, result.output) == ("completed", ("01234", "größ"))
    result = await lab.run(text, target=lab.target("winrs", 1))
    assert (result.state, result.output, result.errors[-1].error_id) == ("failed", (), "E")
    result = await lab.run(text, target=lab.target("winrs", 2))
    assert (result.output, result.errors[-1].error_id) == (("0123456789", "größe 456"), "E")
    result = await lab.run(text, target=lab.target("winrs", 3))
    assert (result.output, result.errors) == (("0123456789", "größe 456"), ())


async def test_what_is_no_powershell_is_refused_at_the_start(lab_of: Make, program: str) -> None:
    from rmm.lab.engine_pwsh import PwshEngine

    for wrong in ("/bin/true", "/bin/cat", "/nowhere/pwsh"):
        engine = PwshEngine(wrong, lambda machine, now: {})
        with pytest.raises(ConfigError):
            await engine.start()
        await engine.aclose()


async def test_bad_requests_are_faults(lab_of: Make) -> None:
    """What a client may get wrong is answered, and the shell is as good as before."""
    lab = await lab_of()
    loop = asyncio.get_running_loop()
    async with lab.session(lab.target()) as session:
        deadline = loop.time() + 60
        shell = await session.shell(deadline)
        for body in (
            '<rsp:CommandLine CommandId="no guid"><rsp:Command/><rsp:Arguments>AAAA</rsp:Arguments></rsp:CommandLine>',
            "<rsp:CommandLine><rsp:Command/><rsp:Arguments>???</rsp:Arguments></rsp:CommandLine>",
        ):
            with pytest.raises(Exception, match=r"."):
                await shell.wsman.ask(
                    envelope.COMMAND, shell._resource, headers=envelope.selector(shell.id), body=body, deadline=deadline
                )
        assert (await session.run(Script("1"), deadline=deadline)).output == (1,)


async def test_a_session_without_a_language_takes_one_command(lab_of: Make, tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(
        "faults:\n  - {kind: session, share: 1.0, configurations: {Microsoft.PowerShell: full, RmmJea: none}}\n"
    )
    module = "function Get-RmmData { param($Collector) $Collector | % { (Get-CimInstance $_).Class + 1 } }"
    lab = await lab_of(plan=load_plan(tmp_path / "plan.yaml"), restricted=module)
    target = lab.target(configuration="RmmJea")
    async with lab.session(target) as session:
        loop = asyncio.get_running_loop()

        async def run(text: str, language: str, *arguments: tuple[str, Any]) -> Any:
            return await session.run(Script(text, arguments, language=language), deadline=loop.time() + 20)

        result = await run("Get-RmmData", "command", ("Collector", ["a", "b"]))
        assert (result.state, result.output) == ("completed", ("a1", "b1"))
        refused = await run("1 + 1", "powershell")
        assert (refused.state, refused.errors[-1].error_id) == ("failed", "ScriptsNotAllowed")
        for name in ("Get-CimInstance", "Get-Process", "Import-Module", "/bin/sh"):
            refused = await run(name, "command")
            assert (refused.state, refused.errors[-1].error_id) == ("failed", "CommandNotFoundException"), name
    assert (await lab.run("1 + 1")).output == (2,)


async def test_a_lab_that_is_killed_leaves_nothing(tmp_path: Path, program: str) -> None:
    """SIGKILL, after which no lab can clean up: the system ends PowerShell, also one that hangs."""
    ready = tmp_path / "ready"
    words = [sys.executable, "-m", "rmm.lab", "2", str(tmp_path / "lab"), str(ready), "", "pwsh"]
    lab = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.DEVNULL, env={**os.environ, "RMM_PWSH": program, "TMPDIR": str(tmp_path)}
    )
    while not ready.exists():
        assert lab.returncode is None
        await asyncio.sleep(0.1)
    facts = msgspec.json.decode((tmp_path / "lab" / "lab.json").read_bytes())
    info = LabInfo(2, facts["http_port"], 0, "", "", facts["username"], facts["password"])
    clients = PwshLab(SimpleNamespace(pool=None), info, facts["endpoints"])
    tasks = [
        asyncio.create_task(clients.run(text, target=clients.target(transport)))
        for transport, text in (
            ("winrm", "while ($true) { }"),
            ("winrs", "while ($true) { }"),
            ("winrm", "kill -STOP $PID"),
            ("winrs", "kill -STOP $PID"),  # it does not see the end of its input
        )
    ]
    for _ in range(200):
        if len(processes_of(tmp_path)) >= 7:  # the lab, four that work, two that wait
            break
        await asyncio.sleep(0.1)
    lab.kill()
    await asyncio.gather(*tasks, return_exceptions=True)
    for _ in range(100):
        if not processes_of(tmp_path):
            break
        await asyncio.sleep(0.1)
    survivors = processes_of(tmp_path)
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert survivors == []
    await lab.wait()
