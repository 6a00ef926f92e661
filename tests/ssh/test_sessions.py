"""Which language an endpoint speaks, what is kept between polls, and that nothing of ours is left running there."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rmm.errors import ConnectError, DeadlineError, ProtocolError, RmmError, TransportError, UnsupportedError
from rmm.ports import Script

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the SSH server of these tests is a Linux matter")

Left = Callable[[Any], Awaitable[list[str]]]


def program(folder: Path, text: str) -> Path:
    """An executable for a Subsystem line."""
    path = folder / "subsystem"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


# --- the language ---


async def test_auto_finds_powershell_on_linux_and_takes_sh(client: Any, sshd_pwsh: Any, left_of: Left) -> None:
    target = client.target(sshd_pwsh)
    result = await client.run(target, "uname -s")
    assert (client.language, result.output) == ("sh", ("Linux",))
    assert client.telemetry["open_ms"] > 0
    await client.run(target)
    assert "open_ms" not in client.telemetry, "PowerShell must not be started again to find out"
    assert await left_of(sshd_pwsh) == []


async def test_what_was_found_at_the_last_poll_saves_the_try(client: Any, sshd_pwsh: Any) -> None:
    await client.run(client.target(sshd_pwsh, language="sh"))
    assert (client.language, "open_ms" in client.telemetry) == ("sh", False)


async def test_auto_without_subsystem_takes_sh(client: Any, sshd: Any) -> None:
    assert (await client.run(client.target(sshd))).output == ("hello",)
    assert client.language == "sh"
    # What was remembered may be over: the subsystem is gone since.
    assert (await client.run(client.target(sshd, endpoint="other", language="powershell"))).output == ("hello",)


async def test_powershell_where_the_setting_says_so(client: Any, sshd_pwsh: Any) -> None:
    result = await client.run(client.target(sshd_pwsh, shell="powershell"), "$PSVersionTable.Platform; 1; @{a = 2}")
    assert (client.language, result.output) == ("powershell", ("Unix", 1, {"a": 2}))
    for name in ("connect_ms", "auth_ms", "open_ms", "requests", "bytes_in", "bytes_out"):
        assert client.telemetry[name] > 0, name


async def test_sh_where_the_setting_says_so(client: Any, sshd_pwsh: Any) -> None:
    await client.run(client.target(sshd_pwsh, shell="sh"))
    assert (client.language, "open_ms" in client.telemetry) == ("sh", False)


async def test_a_missing_subsystem_is_named_where_it_is_demanded(client: Any, sshd: Any) -> None:
    with pytest.raises(UnsupportedError) as caught:
        await client.run(client.target(sshd, shell="powershell"))
    assert (caught.value.code, caught.value.status, caught.value.retry) == ("ssh.subsystem", "UNSUPPORTED", "R0")
    assert "sshd_config" in caught.value.hint


async def test_a_subsystem_that_is_not_installed(
    client: Any, start_sshd: Callable[..., Any], tmp_path: Path, left_of: Left
) -> None:
    server = start_sshd(f"Subsystem powershell {tmp_path}/no-such-program -SSHServerMode")
    assert (await client.run(client.target(server))).output == ("hello",)
    with pytest.raises(UnsupportedError) as caught:
        await client.run(client.target(server, shell="powershell"))
    assert caught.value.code == "ssh.subsystem"
    assert await left_of(server) == []


# --- what a subsystem may do wrong ---

WRONG: dict[str, tuple[str, type[RmmError], str]] = {
    "says something else and ends": ("echo not today", UnsupportedError, "ssh.subsystem"),
    "talks without end": ("yes welcome", ProtocolError, "psrp.banner"),
    "sends a line without end": ("tr '\\0' x < /dev/zero", ProtocolError, "psrp.line"),
    "says nothing": ("exec sleep 60", DeadlineError, "timeout"),
    "sends a document type": ("echo '<!DOCTYPE x [<!ENTITY a \"b\">]>'; cat > /dev/null", ProtocolError, "xml.doctype"),
    "acknowledges what was not sent": (
        "echo \"<CommandAck PSGuid='00000000-0000-0000-0000-000000000000' />\"; cat > /dev/null",
        ProtocolError,
        "psrp.line",
    ),
    "complains": (
        "read line; echo \"<DataAck PSGuid='00000000-0000-0000-0000-000000000000' />\"; echo no memory; cat >&2",
        ProtocolError,
        "psrp.server",
    ),
    "ends after the first answer": (
        "read line; echo \"<DataAck PSGuid='00000000-0000-0000-0000-000000000000' />\"",
        ConnectError,
        "psrp.ended",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_subsystem_that(
    client: Any, start_sshd: Callable[..., Any], tmp_path: Path, left_of: Left, kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from rmm.transports.ssh import session

    if kind == "says nothing":
        monkeypatch.setattr(session, "OPEN_S", 3.0)
    text, error, code = WRONG[kind]
    server = start_sshd(f"Subsystem powershell {program(tmp_path, text)}")
    with pytest.raises(error) as caught:
        await client.run(client.target(server, shell="powershell"))
    assert caught.value.code == code, caught.value
    if kind == "says nothing":
        return  # nothing can end a program that neither reads nor writes, and cannot be signalled; it ends by itself
    assert await left_of(server) == []


async def test_a_banner_before_the_first_element(client: Any, start_sshd: Callable[..., Any], tmp_path: Path) -> None:
    from shutil import which

    pwsh = os.environ.get("RMM_PWSH") or which("pwsh")
    if not pwsh:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    text = f"echo '*** Authorised users only ***'; echo '< all is logged >'; exec {pwsh} -SSHServerMode -NoLogo"
    server = start_sshd(f"Subsystem powershell {program(tmp_path, text)}")
    assert (await client.run(client.target(server, shell="powershell"), "1 + 1")).output == (2,)


# --- sessions and processes ---


@pytest.mark.parametrize(
    ("policy", "shell", "kept"),
    [("new", "powershell", ()), ("connection", "powershell", ("connect_ms",)), ("connection", "sh", ("connect_ms",)),
     ("runspace", "powershell", ("connect_ms", "open_ms"))],
)  # fmt: skip
async def test_what_is_kept_between_polls(
    client: Any, sshd_pwsh: Any, left_of: Left, policy: str, shell: str, kept: tuple[str, ...]
) -> None:
    target = client.target(sshd_pwsh, session=policy, shell=shell)
    text = "echo hello"
    for number in range(3):
        assert (await client.run(target, text)).output == ("hello",)
        assert client.telemetry["requests"] > 0
        for name in ("connect_ms", "open_ms"):
            fresh = number == 0 or name not in kept
            assert (name in client.telemetry) == (fresh and (shell == "powershell" or name != "open_ms")), (
                name,
                number,
            )
    assert client.gate.log.count("accepted") == (3 if policy == "new" else 1)
    await client.transport.aclose()
    assert await left_of(sshd_pwsh) == []


async def test_a_session_survives_what_its_pipelines_do(client: Any, sshd_pwsh: Any) -> None:
    loop = asyncio.get_running_loop()
    target = client.target(sshd_pwsh, shell="powershell")
    async with client.transport.session(target, deadline=loop.time() + 60) as session:
        states, outputs = [], []
        for text, seconds, most in (
            ("$PID", 20, 1 << 20),
            ("throw 'x'", 20, 1 << 20),
            ("Start-Sleep 30", 1, 1 << 20),
            ("while ($true) { 'x' * 1000 }", 20, 100_000),
            ("$PID", 20, 1 << 20),
        ):
            result = await session.run(Script(text), deadline=loop.time() + seconds, max_bytes=most)
            states.append((result.state, result.broken))
            outputs.append(result.output)
        assert states == [(state, False) for state in ("completed", "failed", "timed_out", "truncated", "completed")]
        assert outputs[-1] == outputs[0], "one process served them all"


@pytest.mark.parametrize("shell", ["powershell", "sh"])
async def test_an_output_that_is_overdue_ends_the_script(client: Any, sshd_pwsh: Any, shell: str) -> None:
    wait = {"powershell": "Start-Sleep", "sh": "sleep"}[shell]
    script = Script(f"{wait} 1; echo one; {wait} 30; echo two", language=shell, steps=(10.0, 1.0))
    loop = asyncio.get_running_loop()
    async with client.transport.session(client.target(sshd_pwsh, shell=shell), deadline=loop.time() + 60) as session:
        began = loop.time()
        result = await session.run(script, deadline=loop.time() + 25)
        assert (result.state, result.output, result.broken) == ("timed_out", ("one",), False)
        assert loop.time() - began < 20
        assert (await session.run(Script("echo again", language=shell), deadline=loop.time() + 20)).output == ("again",)


@pytest.mark.parametrize("shell", ["powershell", "sh"])
async def test_a_lost_process_or_connection_keeps_what_had_arrived(client: Any, sshd_pwsh: Any, shell: str) -> None:
    text = {
        "powershell": "'before'; Start-Sleep -Milliseconds 500; Stop-Process -Id $PID -Force; Start-Sleep 10",
        "sh": "echo before; sleep 0.5; kill -9 $PPID; sleep 1",
    }
    target = client.target(sshd_pwsh, shell=shell)
    with pytest.raises(TransportError) as caught:
        await client.run(target, text[shell])
    assert caught.value.partial == ("before",)
    assert (caught.value.code, caught.value.retry) == ("psrp.ended" if shell == "powershell" else "tcp.reset", "R1")
    assert (await client.run(target, "echo again")).output == ("again",)


@pytest.mark.parametrize("session", ["new", "runspace"])
@pytest.mark.parametrize(("shell", "text"), [("powershell", "while ($true) { }"), ("sh", "sleep 300 & sleep 300")])
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_nothing_is_left_running(
    client: Any, start_sshd: Callable[..., Any], left_of: Left, session: str, shell: str, text: str, how: str
) -> None:
    pwsh = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not pwsh:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    server = start_sshd(f"Subsystem powershell {pwsh} -SSHServerMode -NoLogo")
    target = client.target(server, shell=shell, session=session)
    if how == "timeout":
        assert (await client.run(target, text, seconds=1.0)).state == "timed_out"
    else:
        poll = asyncio.create_task(client.run(target, text))
        await asyncio.sleep(3.0)
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
    await client.transport.aclose()
    assert await left_of(server) == []


@pytest.mark.slow
async def test_a_stopped_powershell_process_does_not_hold_up_the_end(
    client: Any, start_sshd: Callable[..., Any], left_of: Left
) -> None:
    """SIGSTOP: a process that answers nothing at all any more."""
    pwsh = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not pwsh:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    server = start_sshd(f"Subsystem powershell {pwsh} -SSHServerMode -NoLogo")
    loop = asyncio.get_running_loop()
    began = loop.time()
    target = client.target(server, shell="powershell")
    result = await client.run(target, "$PID; kill -STOP $PID; Start-Sleep 5", seconds=2.0)
    assert (result.state, result.broken) == ("timed_out", True)
    assert loop.time() - began < 40
    os.kill(int(result.output[0]), 18)  # SIGCONT
    assert await left_of(server) == []


@pytest.mark.slow
async def test_fifty_sessions_at_once(client: Any, sshd: Any, left_of: Left) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    target = client.target(sshd)
    results = await asyncio.gather(
        *(client.run(msgspec.structs.replace(target, endpoint=f"e{n}"), f"echo {n}") for n in range(50))
    )
    assert [result.output for result in results] == [(str(n),) for n in range(50)]
    assert await left_of(sshd) == []
    await asyncio.sleep(0.1)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1


async def test_a_server_without_room_for_more_logons(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd("MaxStartups 1", "LoginGraceTime 30")
    holder = await asyncio.open_connection("127.0.0.1", server.port)
    await holder[0].readline()
    try:
        with pytest.raises(ConnectError) as caught:
            await client.run(client.target(server))
        assert (caught.value.code, caught.value.retry) == ("ssh.closed", "R1")
        assert "MaxStartups" in caught.value.hint
        assert client.gate.log == []
    finally:
        holder[1].close()
        await holder[1].wait_closed()
