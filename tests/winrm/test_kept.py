"""Sessions that are kept between polls, when a poll does not end as it should: nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rmm.transports.winrm import WinrmTransport
from rmm.transports.winrm.session import WinrmSession
from tests.winrm.test_session import NAME, Open, target


def deadline() -> float:
    return asyncio.get_running_loop().time() + 20


@pytest.mark.parametrize("session", ["connection", "runspace"])
async def test_a_session_that_is_left_by_an_exception_is_closed(lab: Any, session: str) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 15, session=session)
    with pytest.raises(ZeroDivisionError):
        async with transport.session(wanted, deadline=deadline()) as one:
            await one.run(NAME, deadline=deadline())
            raise ZeroDivisionError
    assert not one.wsman.usable
    assert lab.stats()["shells_open"] == 0
    await transport.aclose()


async def test_of_two_sessions_of_one_endpoint_one_is_kept(lab: Any) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 16, session="runspace")
    async with transport.session(wanted, deadline=deadline()) as first:
        await first.run(NAME, deadline=deadline())
        async with transport.session(wanted, deadline=deadline()) as second:
            await second.run(NAME, deadline=deadline())
    await transport.aclose()
    assert not first.wsman.usable
    assert not second.wsman.usable
    assert lab.stats()["shells_open"] == 0


async def test_a_runspace_whose_connection_was_closed_meanwhile_is_made_anew(lab: Any) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 17, session="runspace")
    for _ in range(2):
        async with transport.session(wanted, deadline=deadline()) as one:
            assert (await one.run(NAME, deadline=deadline())).output == (wanted.name,)
        one.wsman.connection.abort()
        await asyncio.sleep(0.05)
    await transport.aclose()
    assert lab.stats()["shells_open"] == 0


async def test_closing_is_thorough_when_it_is_cancelled(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    transport = WinrmTransport(Open())
    async with transport.session(target(lab, 18, session="runspace"), deadline=deadline()) as one:
        await one.run(NAME, deadline=deadline())
    connection = one.wsman.connection

    async def lost(*_: object, **__: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        shell = await one.shell(deadline())
        patch.setattr(shell, "delete", lost)
        with pytest.raises(asyncio.CancelledError):
            await one.aclose()
    assert not connection.usable
    await shell.delete((await opened(one)).wsman)  # for the tests that follow
    await one.aclose()
    await transport.aclose()


async def opened(session: WinrmSession) -> WinrmSession:
    await session.open(deadline())
    return session
