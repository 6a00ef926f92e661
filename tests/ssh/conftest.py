"""What the SSH tests share: a gate that counts, targets, an account with a password, and a look at processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rmm.errors import AuthHeld
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script, ScriptResult
from rmm.transports.ssh import SshTransport


class Gate:
    """Lets everyone through, and counts."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.held = False

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


class Client:
    """The transport, and how to reach one server with it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.transport = SshTransport(self.gate)
        self.telemetry: dict[str, float] = {}
        self.language = ""

    def target(self, server: Any, **changes: Any) -> Target:
        key = Credential(
            name="k", username=server.user, secret=Secret(""), kind="key", key_file=str(server.folder / "user")
        )
        values: dict[str, Any] = {
            "endpoint": "e", "name": "e", "host": "127.0.0.1", "port": server.port, "scheme": "http",
            "transport": "ssh", "auth": "ntlm", "session": "new", "credential": key,
            "known_hosts": str(server.folder / "known_hosts"),
        }  # fmt: skip
        return Target(**(values | changes))

    async def run(
        self, target: Target, text: str = "echo hello", *, seconds: float = 20.0, language: str = ""
    ) -> ScriptResult:
        loop = asyncio.get_running_loop()
        async with self.transport.session(target, deadline=loop.time() + 30) as session:
            self.language = session.language
            try:
                return await session.run(
                    Script(text, language=language or session.language), deadline=loop.time() + seconds
                )
            finally:
                self.telemetry = dict(session.telemetry)


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    one = Client()
    yield one
    await one.transport.aclose()


def password(username: str, secret: str) -> Credential:
    return Credential(name="p", username=username, secret=Secret(secret))


@pytest.fixture(scope="session")
def account() -> Iterator[tuple[str, str]]:
    """A local account with a password, which only root can make; it is gone afterwards."""
    if os.name == "nt" or os.geteuid() != 0 or shutil.which("useradd") is None:
        pytest.skip("an account with a password can be made by root only")
    name, secret = f"rmm-test-{secrets.token_hex(3)}", secrets.token_hex(8)
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:{secret}\n", text=True, check=True)
    yield name, secret
    subprocess.run(["userdel", "-r", "-f", name], check=True, capture_output=True)


def started_through(port: int) -> list[str]:
    """The command lines of all processes that came of a session with the server on this port, orphans included."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for entry in (folder / "environ").read_bytes().split(b"\0"):
                if entry.startswith(b"SSH_CONNECTION=") and entry.endswith(f" {port}".encode()):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode() or folder.name)
    return found


@pytest.fixture
def left_of() -> Callable[[Any], Any]:
    """Waits until a server has no process for us any more; gives what is left after ten seconds."""

    async def wait(server: Any) -> list[str]:
        left: list[str] = []
        for _ in range(100):
            left = started_through(server.port)
            if not left:
                return []
            await asyncio.sleep(0.1)
        return left

    return wait
