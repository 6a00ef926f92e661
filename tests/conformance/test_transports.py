"""One suite over every transport: what `ports.Transport` promises, held against real servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from rmm.app import build
from rmm.errors import AuthError, AuthHeld, ConnectError, TlsError, TransportError, UnsupportedError
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script

# What each transport can do beyond the common part. A test that needs more is not run on it, and this table says so.
# Those that end with `-pwsh` meet real PowerShell: Microsoft's PSRP server behind the lab's WSMan, or in its WinRS.
CAN: dict[str, set[str]] = {
    "winrm": {"objects", "arguments", "query", "names", "https", "records", "reuse", "limit"},
    "pypsrp": {"objects", "arguments", "https", "records"},
    "pywinrm": {"https", "records"},
    "winrs": {"https", "names", "query", "records"},  # the command shell of the native transport
    "winrm-pwsh": {
        "real",
        "objects",
        "arguments",
        "query",
        "names",
        "https",
        "records",
        "reuse",
        "limit",
        "loss",
        "warnings",
    },
    "pypsrp-pwsh": {"real", "types", "objects", "arguments", "https", "records", "warnings"},
    "pywinrm-pwsh": {"real", "https", "records"},
    "winrs-pwsh": {"real", "https", "names", "query", "records"},
    "ssh": {"sh", "reuse", "limit", "loss"},
    "ssh-powershell": {"real", "types", "warnings", "objects", "arguments", "records", "reuse", "limit", "loss"},
}
# Of a simulated machine, and of this one over SSH.
REAL_NAME = "@($env:COMPUTERNAME, [Environment]::MachineName) -ne $null | Select-Object -First 1"
SCRIPTS = {
    "powershell": {
        "name": "$env:COMPUTERNAME",
        "size": "#lab:size 1000000",
        "sleep": "#lab:sleep 30",
        "error": "#lab:error no good",
        "throw": "#lab:throw cannot go on",
    },
    "pwsh": {
        "name": f"({REAL_NAME})",
        "size": f"({REAL_NAME}) + ' ' + 'x' * 999000",
        "sleep": "'before'; Start-Sleep 30; 'after'",
        "error": "Write-Error 'no good'; 'after'",
        "throw": "'before'; throw 'cannot go on'; 'after'",
        "lost": "'before'; Start-Sleep -Milliseconds 500; Stop-Process -Id $PID -Force; Start-Sleep 10",
    },
    "sh": {
        "name": "uname -n",
        "size": "printf '%s ' \"$(uname -n)\"; head -c 999000 /dev/zero | tr '\\0' x; echo",
        "sleep": "echo before; sleep 30; echo after",
        "error": "echo no good >&2; echo after",
        "throw": "echo before; echo cannot go on >&2; exit 3",
        "lost": "echo before; sleep 0.5; kill -9 $PPID; sleep 1",
    },
}


class Gate:
    """Lets everyone through, and counts."""

    def __init__(self, *, held: bool = False) -> None:
        self.log: list[str] = []
        self.held = held

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Gate]:
        if self.held:
            raise AuthHeld("held")
        self.log.append("asked")
        yield self

    def accepted(self) -> None:
        self.log.append("accepted")

    def rejected(self) -> None:
        self.log.append("rejected")

    def unsent(self) -> None: ...


class Bench:
    """One transport with a target that works."""

    def __init__(self, name: str, target: Target, gate: Gate) -> None:
        self.name = name
        self.gate = gate
        self.target = target
        self.transport: Any = build("transports", target.transport, gate=gate)
        self.language = "sh" if name == "ssh" else "powershell"
        self.over_ssh = target.transport == "ssh"
        self.real = "real" in CAN[name]

    def script(self, name: str) -> Script:
        dialect = "pwsh" if self.real else self.language
        return Script(SCRIPTS[dialect][name], language=self.language)

    async def run(self, script: Script, *, seconds: float = 60.0, **changes: Any) -> Any:
        deadline = asyncio.get_running_loop().time() + seconds
        target = msgspec.structs.replace(self.target, **changes)
        async with self.transport.session(target, deadline=deadline) as session:
            return await session.run(script, deadline=deadline)


def lab_of(name: str) -> str:
    """The fixture of the lab that a transport meets."""
    return "lab_pwsh" if name.endswith("-pwsh") else "lab"


def target_of(name: str, request: pytest.FixtureRequest) -> Target:
    transport = name.partition("-")[0]
    common: dict[str, Any] = {"transport": transport, "auth": "ntlm", "session": "new", "scheme": "http"}
    if transport == "ssh":
        server = request.getfixturevalue("sshd" if name == "ssh" else "sshd_pwsh")
        credential = Credential(
            name="k", username=server.user, secret=Secret(""), kind="key", key_file=str(server.folder / "user")
        )
        return Target(
            endpoint="here", name=socket.gethostname(), host="127.0.0.1", port=server.port, credential=credential,
            known_hosts=str(server.folder / "known_hosts"), shell="auto" if name == "ssh" else "powershell", **common,
        )  # fmt: skip
    if transport == "winrs":
        common |= {"transport": "winrm", "configuration": transport}
    lab = request.getfixturevalue(lab_of(name))
    machine = lab.endpoints[7]
    credential = Credential(name="lab", username=lab.username, secret=Secret(lab.password))
    return Target(
        endpoint=machine["id"], name=machine["name"], host=machine["address"], port=lab.http_port,
        credential=credential, ca_file=lab.ca_file, **common,
    )  # fmt: skip


@pytest.fixture(params=sorted(CAN))
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    needs = request.node.get_closest_marker("needs")
    if needs and needs.args[0] not in CAN[request.param]:
        pytest.skip(f"{request.param} declares that it cannot: {needs.args[0]}")
    one = Bench(request.param, target_of(request.param, request), Gate())
    yield one
    await one.transport.aclose()
    await one.transport.aclose()


needs = pytest.mark.needs


async def test_a_script_gives_its_output(bench: Bench) -> None:
    result = await bench.run(bench.script("name"))
    assert result.state == "completed"
    assert result.output == (bench.target.name,)
    assert result.errors == ()
    assert bench.gate.log == ["asked", "accepted"]


async def test_a_megabyte_arrives_whole(bench: Bench) -> None:
    result = await bench.run(bench.script("size"))
    text = "".join(result.output)
    assert text.startswith(f"{bench.target.name} xxx")
    assert len(text) > 999_000
    assert set(text[len(bench.target.name) + 1 :]) == {"x"}


async def test_an_error_that_does_not_end_the_script(bench: Bench) -> None:
    result = await bench.run(bench.script("error"))
    assert result.state == "completed"
    assert result.output == ("after",)
    assert "no good" in result.errors[0].message
    if "records" in CAN[bench.name]:
        assert result.errors[0].error_id == "Microsoft.PowerShell.Commands.WriteErrorException"
        assert result.errors[0].category == "NotSpecified"


async def test_an_error_that_ends_the_script(bench: Bench) -> None:
    result = await bench.run(bench.script("throw"))
    assert result.state == "failed"
    assert result.output == ("before",)
    assert "cannot go on" in result.errors[0].message


async def test_a_script_that_takes_too_long_is_stopped(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with bench.transport.session(bench.target, deadline=began + 30) as session:
        # Real PowerShell starts a process in that time.
        limit = 5.0 if bench.name.endswith("-pwsh") else 1.5
        result = await session.run(bench.script("sleep"), deadline=loop.time() + limit)
    assert result.state == "timed_out"
    assert loop.time() - began < 16
    assert result.output == (("before",) if bench.real or bench.over_ssh else ())


@needs("limit")
async def test_output_over_the_limit_is_cut(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    async with bench.transport.session(bench.target, deadline=loop.time() + 30) as session:
        result = await session.run(bench.script("size"), deadline=loop.time() + 20, max_bytes=100_000)
    assert result.state == "truncated"
    assert sum(len(text) for text in result.output) <= 100_000


@needs("loss")
async def test_what_had_arrived_before_the_loss_is_kept(bench: Bench) -> None:
    with pytest.raises(TransportError) as caught:
        await bench.run(bench.script("lost"))
    assert caught.value.partial == ("before",)
    assert caught.value.retry == "R1"


@needs("reuse")
async def test_what_the_policy_keeps_is_used_again(bench: Bench) -> None:
    target = msgspec.structs.replace(bench.target, session="runspace")
    loop = asyncio.get_running_loop()
    for number in range(3):
        async with bench.transport.session(target, deadline=loop.time() + 30) as session:
            assert session.language == bench.language
            assert (await session.run(bench.script("name"), deadline=loop.time() + 20)).state == "completed"
            telemetry = dict(session.telemetry)
        assert telemetry["requests"] > 0
        assert telemetry["bytes_in"] > 0
        assert ("connect_ms" in telemetry) == (number == 0)
        assert ("open_ms" in telemetry) == (number == 0 and bench.language == "powershell")
    assert bench.gate.log.count("accepted") == 1


@needs("arguments")
async def test_arguments_are_typed_and_never_script_text(bench: Bench) -> None:
    values = ("plain", 'it\'s "$(x)" ; ` \u2018\u2019\u201c', "a\r\nb", 42, True, "")
    text = "param($P0, $P1, $P2, $P3, $P4, $P5) $P0; $P1; $P2; $P3; $P4; $P5" if bench.real else "#lab:echo"
    script = Script(text, tuple((f"P{n}", value) for n, value in enumerate(values)))
    assert (await bench.run(script)).output == values


@needs("sh")
async def test_arguments_of_a_shell_script_are_quoted(bench: Bench) -> None:
    nasty = 'it\'s "$(echo x)" ; `id` $HOME'
    result = await bench.run(Script('printf "%s|%s\\n" "$1" "$2"', (("a", nasty), ("b", "two")), language="sh"))
    assert result.output == (f"{nasty}|two",)


@needs("query")
async def test_a_query_gives_instances(bench: Bench) -> None:
    deadline = asyncio.get_running_loop().time() + 20
    async with bench.transport.session(bench.target, deadline=deadline) as session:
        (system,) = await session.query("SELECT CSName, Caption FROM Win32_OperatingSystem", deadline=deadline)
        assert system["CSName"] == bench.target.name
        services = await session.query("SELECT Name FROM Win32_Service", deadline=deadline)
        assert len(services) > 50
        with pytest.raises(UnsupportedError):
            await session.query("SELECT Name FROM Win32_Nonsense", deadline=deadline)
        assert len(await session.query("SELECT Name FROM Win32_Service", deadline=deadline)) == len(services)


async def test_a_query_elsewhere_is_refused_as_unsupported(bench: Bench) -> None:
    if "query" in CAN[bench.name]:
        return
    deadline = asyncio.get_running_loop().time() + 20
    async with bench.transport.session(bench.target, deadline=deadline) as session:
        with pytest.raises(UnsupportedError):
            await session.query("SELECT Name FROM Win32_Service", deadline=deadline)


@needs("https")
async def test_https_is_verified(bench: Bench, request: pytest.FixtureRequest) -> None:
    lab = request.getfixturevalue(lab_of(bench.name))
    assert (await bench.run(bench.script("name"), scheme="https", port=lab.https_port)).output == (bench.target.name,)
    before = lab.stats()["logons_accepted"]
    with pytest.raises(TlsError) as caught:
        await bench.run(bench.script("name"), scheme="https", port=lab.https_port, ca_file="")
    assert caught.value.code == "tls.untrusted"
    assert lab.stats()["logons_accepted"] == before


async def test_a_wrong_secret_is_one_rejected_logon(bench: Bench, request: pytest.FixtureRequest) -> None:
    if bench.over_ssh:
        key = bench.target.credential.key_file.replace("user", "other")
        wrong = msgspec.structs.replace(bench.target.credential, key_file=key)
        before = 0
    else:
        wrong = msgspec.structs.replace(bench.target.credential, secret=Secret("wrong"))
        before = request.getfixturevalue(lab_of(bench.name)).stats()["logons_rejected"]
    with pytest.raises(AuthError) as caught:
        await bench.run(bench.script("name"), credential=wrong)
    assert caught.value.code == "auth.rejected"
    assert bench.gate.log == ["asked", "rejected"]
    if not bench.over_ssh:
        assert request.getfixturevalue(lab_of(bench.name)).stats()["logons_rejected"] == before + 1


async def test_nothing_is_tried_when_the_gate_holds(bench: Bench, request: pytest.FixtureRequest) -> None:
    bench.gate.held = True
    with pytest.raises(AuthHeld):
        await bench.run(bench.script("name"))


async def test_a_closed_port_is_refused(bench: Bench) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectError) as caught:
        await bench.run(bench.script("name"), port=port, host="127.0.0.1")
    assert caught.value.code == "tcp.refused"
    assert "rejected" not in bench.gate.log


async def test_a_name_that_does_not_exist(bench: Bench) -> None:
    with pytest.raises(ConnectError) as caught:
        await bench.run(bench.script("name"), host="no-such-host.invalid")
    assert caught.value.code in ("dns.unknown", "dns.failure")


async def test_cancellation_leaves_no_shell(bench: Bench, request: pytest.FixtureRequest) -> None:
    task = asyncio.create_task(bench.run(bench.script("sleep"), seconds=40))
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    if not bench.over_ssh:
        lab = request.getfixturevalue(lab_of(bench.name))
        for _ in range(150):
            if not lab.stats()["shells_open"]:
                break
            await asyncio.sleep(0.1)
        assert lab.stats()["shells_open"] == 0


async def test_the_wrong_language_is_refused(bench: Bench) -> None:
    other = "powershell" if bench.language == "sh" else "sh"
    with pytest.raises(TransportError) as caught:
        await bench.run(Script("x", language=other))
    assert caught.value.code == "unsupported.language"


async def test_an_unknown_host_key_gets_no_secret(request: pytest.FixtureRequest, sshd: Any) -> None:
    one = Bench("ssh", target_of("ssh", request), Gate())
    with pytest.raises(TlsError) as caught:
        await one.run(one.script("name"), known_hosts=str(sshd.folder / "wrong_hosts"))
    assert caught.value.code == "ssh.host_key"
    assert "ssh-keyscan" in caught.value.hint
    assert "rejected" not in one.gate.log


# --- what only real PowerShell shows ---

OBJECTS = (
    "'text'; [char]65; [sbyte]-1; [byte]1; [int16]-2; [uint16]2; -3; [uint32]3; [int64]::MinValue; [uint64]::MaxValue;"
    "[single]1.5; 2.5; [decimal]::MaxValue; $true; $null; [datetime]::new(2026, 1, 2, 3, 4, 5, [DateTimeKind]::Utc);"
    "[timespan]::new(1, 2, 3, 4); [guid]'00010203-0405-0607-0809-0a0b0c0d0e0f'; [uri]'http://example/a';"
    "[version]'1.2.3';"
    ", [byte[]](1, 2, 255); [xml]'<a b=\"c\" />'; , @(1, 'a'); @{k = 'v'}; [ordered]@{x = 1; y = $null};"
    "[pscustomobject]@{Name = 'n'; Value = 2}; [DayOfWeek]::Friday; , [System.Collections.Generic.List[int]](4, 5);"
    "{1 + 1}"
)


@needs("types")
async def test_objects_of_every_serialised_type(bench: Bench) -> None:
    result = await bench.run(Script(OBJECTS))
    assert (result.state, result.errors) == ("completed", ())
    output = list(result.output)
    assert len(output) == 29
    assert output[0] == "text"
    assert output[2:12] == [-1, 1, -2, 2, -3, 3, -(2**63), 2**64 - 1, 1.5, 2.5]
    assert (str(output[12]), output[13]) == (str(2**96 - 1), True)
    assert output[14] == ("" if bench.name.startswith("pypsrp") else None)  # the library has no word for nothing
    assert str(output[17]).lower() == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert (str(output[18]), str(output[19])) == ("http://example/a", "1.2.3")
    assert bytes(output[20]) == b"\x01\x02\xff"
    assert "<a b=" in str(output[21])
    assert list(output[22]) == [1, "a"]
    assert dict(output[23]) == {"k": "v"}
    assert list(output[27]) == [4, 5]


@needs("real")
async def test_text_of_every_kind(bench: Bench) -> None:
    texts = ("größe ß", "日本語", "emoji \U0001f600", "combining e\u0301", "_x0041_ _x", "<&>'\"", "tab\tin", "İıŞ")
    script = "; ".join("'" + text.replace("'", "''") + "'" for text in texts)
    assert (await bench.run(Script(script))).output == texts


@needs("warnings")
async def test_streams_beside_the_output(bench: Bench) -> None:
    result = await bench.run(
        Script(
            "1..50 | % { Write-Progress -Activity 'a' -PercentComplete $_ }; Write-Warning 'careful';"
            "Write-Verbose v -Verbose; Write-Debug d -Debug:$false; Write-Information i; Write-Host h;"
            "Write-Error 'bad' -ErrorId Mine; 'end'"
        )
    )
    assert (result.state, result.output, result.warnings) == ("completed", ("end",), ("careful",))
    assert [error.error_id.partition(",")[0] for error in result.errors] == ["Mine"]


@needs("real")
async def test_errors_of_the_engine_itself(bench: Bench) -> None:
    for text, identity in (
        ("if (", "MissingCondition"),
        ("'a'; No-SuchCommand; 'b'", "CommandNotFoundException"),
        ("[int]'x'", "InvalidCastFromStringToInteger"),
        ("throw [InvalidOperationException]::new('no')", "no"),
    ):
        result = await bench.run(Script(text))
        assert any(identity in error.error_id for error in result.errors), (text, result)


@needs("real")
async def test_a_script_that_asks_is_told_no(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    result = await bench.run(Script("Read-Host 'name'; 'after'"), seconds=30)
    assert result.errors
    assert loop.time() - began < 20
