"""SSH sessions that are kept between polls, when what is kept is lost or wanted twice."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from rmm.ports import Script

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the SSH server of these tests is a Linux matter")


def deadline() -> float:
    return asyncio.get_running_loop().time() + 40


async def test_powershell_whose_connection_was_lost_meanwhile_is_started_anew(client: Any, sshd_pwsh: Any) -> None:
    target = client.target(sshd_pwsh, shell="powershell", session="runspace")
    for _ in range(2):
        async with client.transport.session(target, deadline=deadline()) as one:
            assert (await one.run(Script("1 + 1"), deadline=deadline())).output == (2,)
        one._connection.abort()
        await asyncio.sleep(0.1)
    await client.transport.aclose()


async def test_of_two_sessions_of_one_endpoint_one_is_kept(client: Any, sshd: Any) -> None:
    target = client.target(sshd, shell="sh", session="connection")
    sessions = [client.transport.session(target, deadline=deadline()) for _ in range(2)]
    async with sessions[0] as first, sessions[1] as second:
        pass
    await client.transport.aclose()
    assert not first._alive
    assert not second._alive
