"""Host keys and broken servers: each fault with its code, and nothing secret sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rmm.errors import ConfigError, ConnectError, RmmError, TlsError
from rmm.model.endpoint import Credential, Secret
from rmm.transports.ssh import sh
from rmm.transports.winrm.pipeline import Pace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the SSH server of these tests is a Linux matter")


def public(server: Any, name: str = "host") -> str:
    return " ".join((server.folder / f"{name}.pub").read_text().split()[:2])


def fingerprint(server: Any, name: str = "host") -> str:
    done = subprocess.run(
        ["ssh-keygen", "-lf", str(server.folder / f"{name}.pub")], check=True, capture_output=True, text=True
    )
    return done.stdout.split()[1]


async def fault_of(client: Any, target: Any) -> RmmError:
    with pytest.raises(RmmError) as caught:
        await client.run(target)
    return caught.value


async def test_a_changed_host_key_is_named_with_its_fingerprint(client: Any, sshd: Any) -> None:
    error = await fault_of(client, client.target(sshd, known_hosts=str(sshd.folder / "wrong_hosts")))
    assert (error.code, error.retry, error.status) == ("ssh.host_key", "RH", "TLS_ERROR")
    assert fingerprint(sshd) in str(error)
    assert client.gate.log == []


async def test_an_unknown_host(client: Any, sshd: Any, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(f"# nobody\nelsewhere {public(sshd)}\n")
    error = await fault_of(client, client.target(sshd, known_hosts=str(tmp_path / "hosts")))
    assert (error.code, error.retry) == ("ssh.host_unknown", "RH")
    assert fingerprint(sshd) in str(error)
    assert "ssh-keyscan" in error.hint
    assert client.gate.log == []


async def test_hashed_names_and_a_file_that_grows(client: Any, sshd: Any, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    target = client.target(sshd, known_hosts=str(hosts))
    assert (await fault_of(client, target)).code == "ssh.host_unknown"
    hosts.write_text(f"[127.0.0.1]:{sshd.port} {public(sshd)}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(hosts)], check=True, capture_output=True)
    assert "127.0.0.1" not in hosts.read_text()
    assert (await client.run(target)).output == ("hello",)


async def test_a_revoked_key(client: Any, sshd: Any, tmp_path: Path) -> None:
    name = f"[127.0.0.1]:{sshd.port}"
    (tmp_path / "hosts").write_text(f"{name} {public(sshd)}\n@revoked {name} {public(sshd)}\n")
    error = await fault_of(client, client.target(sshd, known_hosts=str(tmp_path / "hosts")))
    assert error.code == "ssh.host_key"
    assert client.gate.log == []


@pytest.mark.parametrize("signer", ["user", "other"])
async def test_an_authority_that_signs_host_keys(
    client: Any, start_sshd: Callable[..., Any], tmp_path: Path, signer: str
) -> None:
    server = start_sshd()
    certify = ["ssh-keygen", "-q", "-s", str(server.folder / signer), "-I", "host", "-h", "-n", "127.0.0.1"]
    subprocess.run([*certify, str(server.folder / "host.pub")], check=True, capture_output=True)
    server.stop()
    server = start_sshd(
        f"HostKey {server.folder}/host", f"HostCertificate {server.folder}/host-cert.pub",
        f"AuthorizedKeysFile {server.folder}/authorized_keys",
    )  # fmt: skip
    key = Credential(
        name="k", username=server.user, secret=Secret(""), kind="key",
        key_file=str(server.folder.parent / "sshd-0" / "user"),
    )  # fmt: skip
    trusted = (server.folder.parent / "sshd-0" / "user.pub").read_text()
    (tmp_path / "hosts").write_text(f"@cert-authority [127.0.0.1]:{server.port} {trusted}")
    target = client.target(server, known_hosts=str(tmp_path / "hosts"), credential=key)
    if signer == "user":
        assert (await client.run(target)).output == ("hello",)
    else:
        assert (await fault_of(client, target)).code == "ssh.host_key"


async def test_the_name_that_was_asked_for_is_what_is_looked_up(client: Any, sshd: Any, tmp_path: Path) -> None:
    """Through a name server of the site; the address that it gives is known, and must not count."""
    async with name_server() as port:
        hosts = tmp_path / "hosts"
        hosts.write_text(f"[127.0.0.1]:{sshd.port} {public(sshd)}\n")
        target = client.target(sshd, host="srv1.test", dns=(f"127.0.0.1:{port}",), known_hosts=str(hosts))
        assert (await fault_of(client, target)).code == "ssh.host_unknown"
        hosts.write_text(f"[srv1.test]:{sshd.port} {public(sshd)}\n")
        assert (await client.run(target)).output == ("hello",)


@contextlib.asynccontextmanager
async def name_server() -> AsyncIterator[int]:
    """Says 127.0.0.1 to every question for an address."""
    import dns.message
    import dns.rrset

    class Answers(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            answer = dns.message.make_response(dns.message.from_wire(data))
            answer.answer.append(dns.rrset.from_text(answer.question[0].name, 60, "IN", "A", "127.0.0.1"))
            self.transport.sendto(answer.to_wire(), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answers, local_addr=("127.0.0.1", 0))
    yield transport.get_extra_info("sockname")[1]
    transport.close()


async def test_a_file_of_host_keys_that_is_no_use(client: Any, sshd: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file of host keys"):
        await client.run(client.target(sshd, known_hosts=str(tmp_path / "none")))
    (tmp_path / "bad").write_text("@nonsense x y z\n")
    with pytest.raises(ConfigError, match="not usable as known_hosts"):
        await client.run(client.target(sshd, known_hosts=str(tmp_path / "bad")))


async def test_no_algorithm_in_common(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd("Ciphers aes128-cbc")
    error = await fault_of(client, client.target(server))
    assert (error.code, error.status, error.retry) == ("ssh.algorithms", "TLS_ERROR", "RH")


async def say(data: bytes, writer: asyncio.StreamWriter, *, endless: bool = False, then: float = 0.0) -> None:
    with contextlib.suppress(OSError):
        writer.write(data)
        while endless:
            writer.write(data)
            await writer.drain()
        await asyncio.sleep(then)


@contextlib.asynccontextmanager
async def serving(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A server whose connections end with the test."""
    tasks: list[asyncio.Task[None]] = []

    async def talk(writer: asyncio.StreamWriter) -> None:
        try:
            await answer(writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(lambda _, writer: tasks.append(asyncio.create_task(talk(writer))), "127.0.0.1")
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


BROKEN: dict[str, tuple[Callable[[asyncio.StreamWriter], Awaitable[None]], str, str]] = {
    "hangs up": (lambda writer: say(b"", writer), "ssh.closed", "R1"),
    "hangs up with words": (lambda writer: say(b"Exceeded MaxStartups\r\n", writer), "ssh.closed", "R1"),
    "hangs up after its version": (lambda writer: say(b"SSH-2.0-x\r\n", writer), "tcp.reset", "R1"),
    "old version": (lambda writer: say(b"SSH-1.5-x\r\n", writer, then=2), "ssh.not_ssh", "R0"),
    "web server": (lambda writer: say(b"x" * 9000, writer, then=2), "ssh.not_ssh", "R0"),
    "banner flood": (lambda writer: say(b"hello\r\n" * 100, writer, endless=True), "ssh.not_ssh", "R0"),
    "huge packet": (lambda writer: say(b"SSH-2.0-x\r\n" + b"\xff" * 64, writer, then=2), "ssh.protocol", "R1"),
    "silence": (lambda writer: say(b"", writer, then=60), "ssh.timeout", "RB"),
    "silence after its version": (lambda writer: say(b"SSH-2.0-x\r\n", writer, then=60), "ssh.timeout", "RB"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_server_that(client: Any, sshd: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    from rmm.transports.ssh import logon

    monkeypatch.setattr(logon, "HANDSHAKE_S", 1.5)
    answer, code, retry = BROKEN[kind]
    async with serving(answer) as port:
        error = await fault_of(client, client.target(sshd, port=port))
    assert (error.code, error.retry) == (code, retry), error
    assert client.gate.log == []


async def test_a_host_key_is_checked_before_the_credential_is_needed(client: Any, sshd: Any) -> None:
    wrong = Credential(name="p", username="u", secret=Secret("canary"))
    error = await fault_of(client, client.target(sshd, known_hosts=str(sshd.folder / "wrong_hosts"), credential=wrong))
    assert isinstance(error, TlsError)
    assert client.gate.log == []


async def test_no_room_for_sessions(client: Any, start_sshd: Callable[..., Any]) -> None:
    server = start_sshd("MaxSessions 0")
    error = await fault_of(client, client.target(server, shell="sh"))
    assert (error.code, error.status) in (("ssh.sessions", "QUOTA"), ("ssh.prohibited", "PROTOCOL_ERROR"))


class Ended:
    """A command whose server closed the channel before anything could be sent to it."""

    def __init__(self, said: bytes, status: int | None) -> None:
        self.stdin = self
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        self.stdout.feed_eof()
        self.stderr.feed_data(said)
        self.stderr.feed_eof()
        self.exit_status = status

    def write(self, _data: bytes) -> None:
        raise BrokenPipeError

    async def wait_closed(self) -> None:
        pass


@pytest.mark.parametrize("status", [1, 0, None])
async def test_a_shell_that_ends_before_its_script_comes_has_said_why(status: int | None) -> None:
    command = sh._Command(1000, Pace((), asyncio.get_running_loop().time() + 5))
    process: Any = Ended(b"Your password has expired.\n", status)
    if not status:  # it did not run the script, and says nothing of it
        with pytest.raises(ConnectError):
            await command.carry_out(process, b"echo hello")
        return
    await command.carry_out(process, b"echo hello")
    result = command.result(status)
    assert (result.state, result.output) == ("failed", ())
    assert "expired" in result.errors[0].message
