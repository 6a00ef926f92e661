"""Authentication against real OpenSSH servers: what it costs there is read from their logs."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rmm.errors import AuthError, AuthHeld, ConfigError, RmmError, TransportError
from rmm.model.endpoint import Credential, Secret
from rmm.transports.ssh import SshTransport
from tests.winrm.test_unsent import Queue

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the SSH server of these tests is a Linux matter")

PASSWORDS = ("PasswordAuthentication yes", "KbdInteractiveAuthentication yes")


def password(username: str, secret: str) -> Credential:
    return Credential(name="p", username=username, secret=Secret(secret))


async def failures(server: Any, *, expected: bool = True) -> list[str]:
    """The failed attempts in the server's log, which it may write a moment after its answer."""
    found: list[str] = []
    for _ in range(50):
        found = [line for line in server.log().splitlines() if line.startswith(("Failed ", "PAM: Auth"))]
        if found and expected:
            break
        await asyncio.sleep(0.01 if not expected else 0.1)
    await asyncio.sleep(0.3)
    return [line for line in server.log().splitlines() if line.startswith(("Failed ", "PAM: Auth"))]


async def test_a_password(
    client: Any, start_sshd: Callable[..., Any], account: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    server = start_sshd(*PASSWORDS)
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger="asyncssh")  # a command line that ran in this process has made it quiet
    result = await client.run(client.target(server, credential=password(*account)), "id -un")
    assert "Trying password auth" in caplog.text
    assert account[1] not in caplog.text
    assert result.output == (account[0],)
    assert client.gate.log == ["asked", "accepted"]
    assert await failures(server, expected=False) == []
    assert client.telemetry["auth_ms"] > 0


@pytest.mark.parametrize("lines", [PASSWORDS, (*PASSWORDS, "MaxAuthTries 1"), ("PasswordAuthentication yes",)])
async def test_a_wrong_password_is_one_failed_attempt(
    client: Any, start_sshd: Callable[..., Any], lines: tuple[str, ...]
) -> None:
    server = start_sshd(*lines)
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(server, credential=password(server.user, "wrong")))
    assert caught.value.code == "auth.rejected"
    assert caught.value.retry == "RH"
    assert client.gate.log == ["asked", "rejected"]
    (failed,) = await failures(server)
    assert "Failed password" in failed


async def test_keyboard_interactive_gets_the_password_once(
    client: Any, start_sshd: Callable[..., Any], account: tuple[str, str]
) -> None:
    if not Path("/etc/pam.d/sshd").exists():
        pytest.skip("no PAM service sshd here")
    server = start_sshd("UsePAM yes", "PasswordAuthentication no", "KbdInteractiveAuthentication yes")
    target = client.target(server, credential=password(*account))
    assert (await client.run(target, "id -un")).output == (account[0],)
    wrong = msgspec.structs.replace(target, credential=password(account[0], "wrong"))
    with pytest.raises(AuthError) as caught:
        await client.run(wrong)
    assert caught.value.code == "auth.rejected"
    assert client.gate.log == ["asked", "accepted", "asked", "rejected"]
    told = [line for line in await failures(server) if line.startswith("PAM: Authentication failure")]
    assert len(told) == 1, server.log()


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
async def test_a_password_that_must_be_changed(
    client: Any, start_sshd: Callable[..., Any], account: tuple[str, str], method: str
) -> None:
    if not Path("/etc/pam.d/sshd").exists():
        pytest.skip("no PAM service sshd here")
    words = ("yes", "no") if method == "password" else ("no", "yes")
    server = start_sshd("UsePAM yes", f"PasswordAuthentication {words[0]}", f"KbdInteractiveAuthentication {words[1]}")
    subprocess.run(["chage", "-d", "0", account[0]], check=True)
    try:
        target = client.target(server, credential=password(*account), shell="sh")
        if method == "password":  # OpenSSH lets the account in, and its shell says no
            result = await client.run(target)
            assert (result.state, result.output) == ("failed", ())
            return
        with pytest.raises(AuthError) as caught:
            await client.run(target)
        assert (caught.value.code, caught.value.retry) == ("auth.challenge", "RH")
        assert client.gate.log == ["asked", "rejected"]
    finally:
        subprocess.run(["chage", "-d", "-1", account[0]], check=True)


@pytest.mark.parametrize("offered", ["no", "yes"])  # yes: keyboard-interactive, but nothing behind it asks
async def test_a_server_that_takes_no_passwords_is_sent_none(
    client: Any, start_sshd: Callable[..., Any], offered: str
) -> None:
    server = start_sshd("PasswordAuthentication no", f"KbdInteractiveAuthentication {offered}")
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(server, credential=password(server.user, "a password")))
    assert (caught.value.code, caught.value.status, caught.value.retry) == ("auth.scheme", "CONFIG", "R0")
    assert "rejected" not in client.gate.log
    assert "Failed password" not in server.log()


async def test_a_server_that_takes_no_keys(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd("PubkeyAuthentication no", "PasswordAuthentication yes")
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(server))
    assert caught.value.code == "auth.scheme"
    assert client.gate.log == []


async def test_nothing_leaves_while_the_gate_holds(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd(*PASSWORDS)
    client.gate.held = True
    with pytest.raises(AuthHeld):
        await client.run(client.target(server, credential=password(server.user, "wrong")))
    assert await failures(server, expected=False) == []


async def test_many_endpoints_with_one_wrong_password_through_the_real_gate(
    start_sshd: Callable[..., Any], tmp_path: Path, client: Any
) -> None:
    from rmm.loop import SystemClock
    from rmm.poller.gate import Gate
    from rmm.transports.ssh import SshTransport

    server = start_sshd(*PASSWORDS)
    transport = SshTransport(Gate(tmp_path, SystemClock()))
    target = client.target(server, credential=password(server.user, "wrong"))

    async def one(number: int) -> str:
        deadline = asyncio.get_running_loop().time() + 60
        try:
            async with transport.session(msgspec.structs.replace(target, endpoint=f"e{number}"), deadline=deadline):
                return "in"
        except RmmError as error:
            return error.code

    codes = await asyncio.gather(*(one(number) for number in range(20)))
    assert sorted(set(codes)) == ["auth.held", "auth.rejected"]
    assert codes.count("auth.rejected") == 1
    assert len(await failures(server)) == 1, server.log()


async def test_a_key_with_a_passphrase(client: Any, sshd: Any, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    shutil.copy(sshd.folder / "user", key)
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-f", str(key), "-P", "", "-N", "open sesame"], check=True)
    credential = Credential(name="k", username=sshd.user, secret=Secret("open sesame"), kind="key", key_file=str(key))
    assert (await client.run(client.target(sshd, credential=credential))).output == ("hello",)
    wrong = msgspec.structs.replace(credential, secret=Secret("closed"))
    with pytest.raises(ConfigError, match="locked: not usable as a private key"):
        await client.run(client.target(sshd, credential=wrong))
    with pytest.raises(ConfigError):
        await client.run(client.target(sshd, credential=msgspec.structs.replace(credential, key_file="/no/such")))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
async def test_a_key_that_an_authority_signed(
    client: Any, start_sshd: Callable[..., Any], tmp_path: Path, kind: str
) -> None:
    for name, of in (("authority", "ed25519"), ("signed", kind)):
        subprocess.run(["ssh-keygen", "-q", "-t", of, "-N", "", "-f", str(tmp_path / name)], check=True)
    server = start_sshd(f"TrustedUserCAKeys {tmp_path}/authority.pub")
    key = Credential(name="k", username=server.user, secret=Secret(""), kind="key", key_file=str(tmp_path / "signed"))
    target = client.target(server, credential=key)
    with pytest.raises(AuthError):
        await client.run(target)
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "authority"), "-I", "rmm", "-n", server.user]
    subprocess.run([*sign, str(tmp_path / "signed.pub")], check=True)
    assert (await client.run(target)).output == ("hello",)


async def test_a_key_that_is_not_authorised_is_one_attempt(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd()
    other = Credential(
        name="k", username=server.user, secret=Secret(""), kind="key", key_file=str(server.folder / "other")
    )
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(server, credential=other))
    assert caught.value.code == "auth.rejected"
    assert client.gate.log == ["asked", "rejected"]
    (failed,) = await failures(server)
    assert "Failed publickey" in failed


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """An SSH agent of this test's own; call it with the keys to add."""
    program = shutil.which("ssh-agent")
    if program is None:
        pytest.skip("no ssh-agent here: install openssh-client")
    path = str(tmp_path / "agent")
    process = subprocess.Popen([program, "-D", "-a", path], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", path)

    def add(*keys: Path) -> None:
        for key in keys:
            for _ in range(50):
                done = subprocess.run(["ssh-add", "-q", str(key)], check=False, capture_output=True)
                if done.returncode == 0:
                    break
            assert done.returncode == 0, done.stderr

    yield add
    process.terminate()
    process.wait(10)


def of_agent(server: Any, key_file: str = "") -> Credential:
    return Credential(name="a", username=server.user, secret=Secret(""), kind="agent", key_file=key_file)


async def test_a_key_of_the_agent(client: Any, sshd: Any, agent: Callable[..., None]) -> None:
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(sshd, credential=of_agent(sshd)))
    assert caught.value.code == "auth.agent"
    agent(sshd.folder / "user")
    result = await client.run(client.target(sshd, credential=of_agent(sshd)), "echo $SSH_AUTH_SOCK.")
    assert result.output == (".",), "the agent must not be forwarded"


async def test_one_key_of_many_in_the_agent(
    client: Any, start_sshd: Callable[..., Any], agent: Callable[..., None], tmp_path: Path
) -> None:
    server = start_sshd()
    keys = [tmp_path / f"key{number}" for number in range(6)]
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    agent(*keys, server.folder / "user")
    with pytest.raises(AuthError, match="holds 7 keys") as caught:
        await client.run(client.target(server, credential=of_agent(server)))
    assert "--key-file" in caught.value.hint
    assert client.gate.log == []
    one = of_agent(server, str(server.folder / "user.pub"))
    assert (await client.run(client.target(server, credential=one))).output == ("hello",)
    assert not any("Failed" in line for line in server.log().splitlines()), server.log()


async def test_without_the_word_agent_none_is_asked(
    client: Any, start_sshd: Callable[..., Any], agent: Callable[..., None]
) -> None:
    server = start_sshd(*PASSWORDS)
    agent(server.folder / "user")
    with pytest.raises(AuthError):
        await client.run(client.target(server, credential=password(server.user, "wrong")))
    assert "publickey" not in server.log()


async def test_a_missing_agent_is_named(client: Any, sshd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(sshd, credential=of_agent(sshd)))
    assert (caught.value.code, caught.value.status) == ("auth.agent", "CONFIG")


async def test_a_credential_of_another_kind(client: Any, sshd: Any) -> None:
    keytab = Credential(name="k", username="u", secret=Secret(""), kind="keytab", key_file="x")
    with pytest.raises(AuthError) as caught:
        await client.run(client.target(sshd, credential=keytab))
    assert caught.value.code == "auth.scheme"


async def test_a_server_that_gives_up_while_the_logon_waits_has_refused_nothing(
    client: Any, start_sshd: Callable[..., Any]
) -> None:
    server = start_sshd(*PASSWORDS, "LoginGraceTime 1")
    gate = Queue(lambda: asyncio.sleep(2.5))
    transport = SshTransport(gate)
    target = client.target(server, credential=password(server.user, "wrong"))
    with pytest.raises(TransportError):
        async with transport.session(target, deadline=asyncio.get_running_loop().time() + 20):
            pass
    assert gate.log == ["unsent"]
    await transport.aclose()
