"""What the libraries' transports tell the gate: a fault is answered only to who is logged on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pypsrp.exceptions import WSManFaultError

from rmm.errors import DeadlineError, UnsupportedError
from rmm.model.endpoint import Credential, Secret, Target
from rmm.transports.pypsrp import _error
from rmm.transports.threads import ThreadTransport
from tests.winrm.test_unsent import Queue

NO_CONFIGURATION = 2150858811


async def visit(gate: Queue, opened: Any, seconds: float = 10.0) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target(
        endpoint="e", name="e", host="127.0.0.1", port=port, scheme="http", transport="pypsrp", auth="ntlm",
        session="new", credential=Credential(name="c", username="CORP\\poll", secret=Secret("x")),
    )  # fmt: skip
    transport: Any = ThreadTransport("pypsrp", gate, opened=opened, closed=lambda _: None, session=lambda *_: None)
    try:
        async with transport.session(target, deadline=asyncio.get_running_loop().time() + seconds):
            pass
    finally:
        await transport.aclose()
        server.close()


async def test_a_fault_shows_that_the_logon_was_good() -> None:
    def opened(target: Target, seconds: float) -> Any:
        fault = WSManFaultError(NO_CONFIGURATION, "m", "no such configuration", "", "", "")
        raise _error(fault, target) from fault

    gate = Queue()
    with pytest.raises(UnsupportedError):
        await visit(gate, opened)
    assert gate.log == ["accepted"]


async def test_a_turn_that_came_after_the_deadline() -> None:
    gate, called = Queue(lambda: asyncio.sleep(0.6)), []
    with pytest.raises(DeadlineError):
        await visit(gate, lambda *_: called.append(1), seconds=0.5)
    assert (gate.log, called) == (["unsent"], [])
