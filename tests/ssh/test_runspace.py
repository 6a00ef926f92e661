"""Microsoft's PSRP server over the pipes of a child process: `pwsh -ServerMode`, no SSH between."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rmm.errors import ConnectError, DeadlineError, ProtocolError, TransportError, UnsupportedError
from rmm.ports import Script, ScriptResult
from rmm.transports.outofprocess import Runspace


class Pipes:
    """`outofprocess.Stream` over a child process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.sent = b""

    async def read(self) -> bytes:
        assert self.process.stdout is not None
        return await self.process.stdout.read(64 << 10)

    async def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.sent += data
        with contextlib.suppress(OSError):
            self.process.stdin.write(data)
            await self.process.stdin.drain()


class Server:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.pipes = Pipes(process)
        self.runspace = Runspace(self.pipes)

    async def run(self, text: str, *arguments: Any, seconds: float = 20.0, most: int = 1 << 20) -> ScriptResult:
        deadline = asyncio.get_running_loop().time() + seconds
        given = tuple((f"P{number}", value) for number, value in enumerate(arguments))
        return await self.runspace.run(Script(text, given), deadline, most)


async def started(*command: str) -> Server:
    pipe = asyncio.subprocess.PIPE
    return Server(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe))


async def ended(server: Server) -> int:
    """Close standard input, and give the exit code that follows."""
    assert server.process.stdin is not None
    server.process.stdin.close()
    await asyncio.wait_for(server.process.communicate(), 20)
    assert server.process.returncode is not None
    return server.process.returncode


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    pwsh = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not pwsh:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    one: Server = await started(pwsh, "-ServerMode")
    try:
        await one.runspace.open(asyncio.get_running_loop().time() + 30)
        yield one
    finally:
        if one.process.returncode is None:
            await ended(one)


async def test_output_of_every_kind_and_the_platform(server: Server) -> None:
    result = await server.run("'text'; 1; 1.5; $true; $null; @(1, 'a'); @{k = 'v'}; [char]65")
    assert result.state == "completed"
    assert result.output[:5] == ("text", 1, 1.5, True, None)
    assert {"k": "v"} in result.output
    assert server.runspace.platform in ("Unix", "Win32NT")


async def test_typed_arguments_that_are_never_script_text(server: Server) -> None:
    values = ('it\'s "$(1+1)" ; ` \u2018\u2019\u201c', "a\r\nb", 42, True, "", "_x0041_")
    text = "param($P0, $P1, $P2, $P3, $P4, $P5) $P0; $P1; $P2; $P3; $P4; $P5; $P2.GetType().Name"
    assert (await server.run(text, *values)).output == (*values, "Int32")


async def test_errors_have_their_language_independent_parts(server: Server) -> None:
    result = await server.run("'a'; Get-Item /no/such/file; Write-Warning 'careful'; 'b'")
    assert (result.state, result.output, result.warnings) == ("completed", ("a", "b"), ("careful",))
    (error,) = result.errors
    assert error.error_id == "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand"
    assert error.category == "ObjectNotFound"
    assert error.exception == "System.Management.Automation.ItemNotFoundException"


async def test_a_terminating_error_and_a_syntax_error(server: Server) -> None:
    result = await server.run("'before'; throw [InvalidOperationException]::new('cannot go on'); 'after'")
    assert (result.state, result.output) == ("failed", ("before",))
    assert result.errors[-1].exception == "System.InvalidOperationException"
    broken = await server.run("if (")
    assert broken.state == "failed"
    assert broken.errors


async def test_large_output_and_a_large_script_in_fragments(server: Server) -> None:
    result = await server.run("'x' * 3000000", most=16 << 20)
    assert [len(text) for text in result.output] == [3_000_000]
    result = await server.run(f"$text = '{'y' * 1_500_000}'; $text.Length")
    assert result.output == (1_500_000,)


async def test_a_deadline_stops_the_pipeline_and_not_the_session(server: Server) -> None:
    for text in ("'before'; Start-Sleep 60", "'before'; while ($true) { }", "'before'; $Host.UI.Write('x'); sleep 60"):
        began = asyncio.get_running_loop().time()
        result = await server.run(text, seconds=1.0)
        assert (result.state, result.output, result.broken) == ("timed_out", ("before",), False), text
        assert asyncio.get_running_loop().time() - began < 30
    assert (await server.run("1 + 1")).output == (2,)
    assert [server.pipes.sent.count(f"<{kind} ".encode()) for kind in ("Command", "Signal", "Close")] == [4, 3, 4]


async def test_output_over_the_limit_is_cut(server: Server) -> None:
    result = await server.run("while ($true) { 'x' * 1000 }", most=100_000)
    assert (result.state, result.broken) == ("truncated", False)
    assert 50 < len(result.output) <= 100
    assert (await server.run("1 + 1")).output == (2,)


async def test_a_script_that_asks_gets_an_error_at_once(server: Server) -> None:
    for text in ("Read-Host 'name'", "$Host.UI.PromptForCredential('a', 'b', 'c', 'd')", "Get-Credential x"):
        began = asyncio.get_running_loop().time()
        result = await server.run(f"{text}; 'after'")
        assert result.errors, text
        assert asyncio.get_running_loop().time() - began < 30
    result = await server.run(
        "Write-Host 'shown to nobody'; Write-Progress -Activity 'x'; Write-Verbose 'y' -Verbose; 1"
    )
    assert (result.state, result.output) == ("completed", (1,))


async def test_a_pipeline_that_stops_itself(server: Server) -> None:
    result = await server.run("'before'; [powershell]::Create('CurrentRunspace').Stop(); exit 3; 'after'")
    assert result.state in ("completed", "failed", "stopped")
    assert result.output[:1] == ("before",)


async def test_many_pipelines_in_one_session_which_then_closes_in_order(server: Server) -> None:
    first = await server.run("$PID; $global:kept = 5")
    for number in range(20):
        assert (await server.run("param($P0) $P0 + $global:kept", number)).output == (number + 5,)
    assert (await server.run("$PID")).output == first.output[:1]
    await server.runspace.close()
    assert not server.runspace.fresh
    assert await ended(server) in (4000 & 0xFF, 4000), "end of input ends the process"


async def test_a_runspace_is_used_up_after_its_pipelines(server: Server) -> None:
    server.runspace.pipelines = 199
    assert (await server.run("1")).output == (1,)
    assert not server.runspace.fresh


@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX matter")
async def test_a_killed_process_leaves_the_partial_output(server: Server) -> None:
    with pytest.raises(ConnectError) as caught:
        await server.run("'before'; Start-Sleep -Milliseconds 300; Stop-Process -Id $PID -Force; Start-Sleep 30")
    assert caught.value.partial == ("before",)
    assert (caught.value.code, caught.value.retry) == ("psrp.ended", "R1")
    assert server.runspace.broken


@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX matter")
async def test_a_process_that_answers_nothing_is_given_up(server: Server) -> None:
    server.process.send_signal(signal.SIGSTOP)
    try:
        result = await server.run("1", seconds=0.5)
        assert (result.state, result.broken) == ("timed_out", True)
    finally:
        server.process.send_signal(signal.SIGCONT)


async def test_cancellation_makes_the_session_unusable(server: Server) -> None:
    task = asyncio.create_task(server.run("Start-Sleep 60"))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not server.runspace.fresh


@pytest.mark.skipif(os.name == "nt", reason="uses programs of POSIX")
@pytest.mark.parametrize(
    ("program", "error", "code"),
    [
        ("echo 'pwsh: not found'", UnsupportedError, "psrp.absent"),
        ("cat", DeadlineError, "timeout"),  # gives us back what we say, and nothing else
        ("exec sleep 4", DeadlineError, "timeout"),
        ("echo '<Data Stream=\"Default\" PSGuid=\"00000000-0000-0000-0000-000000000000\">AAAA</Data>'; cat >/dev/null",
         ProtocolError, "psrp.fragment"),
    ],
)  # fmt: skip
async def test_what_is_no_powershell(program: str, error: type[TransportError], code: str) -> None:
    one = await started("/bin/sh", "-c", program)
    try:
        with pytest.raises(error) as caught:
            await one.runspace.open(asyncio.get_running_loop().time() + 1.5)
        assert caught.value.code == code
        if code == "psrp.absent":
            assert "pwsh: not found" in str(caught.value)
    finally:
        assert one.process.stdin is not None
        one.process.stdin.close()
        await asyncio.wait_for(one.process.communicate(), 20)
