"""A logon that never left is none: the connection was lost, or the time was up, while it waited for its turn."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from rmm.errors import ConnectError, DeadlineError
from rmm.model.endpoint import Credential, Secret
from rmm.transports.winrm import WinrmTransport
from rmm.transports.winrm.kdc import KDC, TicketError, ticket_error
from rmm.transports.winrm.kerberos import Password, Ticket
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.wsman import open_wsman
from tests.winrm.test_session import target


class Queue:
    """A gate at which something happens before the permission is given."""

    def __init__(self, wait: Callable[[], Any] | None = None) -> None:
        self.log: list[str] = []
        self._wait = wait

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Queue]:
        if self._wait is not None:
            await self._wait()
        yield self

    def accepted(self) -> None:
        self.log.append("accepted")

    def rejected(self) -> None:
        self.log.append("rejected")

    def unsent(self) -> None:
        self.log.append("unsent")


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_connection_that_was_lost_in_the_queue(lab: Any, scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    async def lose() -> None:
        seen[0].abort()
        await asyncio.sleep(0.05)

    async def opened(wanted: Any, deadline: float) -> Any:
        from rmm.transports.winrm.network import open_connection

        seen.append(await open_connection(wanted, deadline))
        return seen[0]

    monkeypatch.setattr("rmm.transports.winrm.wsman.open_connection", opened)
    gate = Queue(lose)
    changes = {} if scheme == "http" else {"port": lab.https_port, "ca_file": lab.ca_file, "auth": "basic"}
    wanted = target(lab, 19, scheme=scheme, **changes)
    with pytest.raises(ConnectError) as caught:
        await open_wsman(wanted, Logons(gate), asyncio.get_running_loop().time() + 10, {})
    assert caught.value.code == "tcp.reset"
    assert gate.log == ["unsent"]


async def test_a_turn_that_came_after_the_deadline(lab: Any) -> None:
    gate = Queue(lambda: asyncio.sleep(1.2))
    transport = WinrmTransport(gate)
    with pytest.raises(DeadlineError):
        async with transport.session(target(lab, 20), deadline=asyncio.get_running_loop().time() + 1):
            pass
    assert gate.log == ["unsent"]
    await transport.aclose()


@pytest.mark.parametrize(("asked", "log"), [(False, ["unsent"]), (True, [])])
async def test_a_kdc_that_was_never_given_the_password(
    monkeypatch: pytest.MonkeyPatch, asked: bool, log: list[str]
) -> None:
    def log_on(credential: Credential, password: Password) -> Ticket:
        if asked:
            password.give()
        raise ticket_error(KDC + 156, credential.username)

    monkeypatch.setattr("rmm.transports.winrm.kerberos.log_on", log_on)
    monkeypatch.setattr("rmm.transports.winrm.kerberos.check_installed", lambda: None)
    gate = Queue()
    logons = Logons(gate)
    credential = Credential(name="c", username="poll@CORP.EXAMPLE", secret=Secret("x"))
    with pytest.raises(TicketError):
        await logons.ticket(credential, asyncio.get_running_loop().time() + 5)
    assert gate.log == log
    await logons.aclose()
