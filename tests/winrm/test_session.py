"""The native transport against the lab: requests counted, kept things reused, shells deleted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rmm.errors import ConnectError, DeadlineError, TlsError
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script
from rmm.transports.winrm import WinrmTransport

NAME = Script("$env:COMPUTERNAME")


class Open:
    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Open]:
        yield self

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...

    def unsent(self) -> None: ...


def target(lab: Any, index: int = 0, **changes: Any) -> Target:
    machine = lab.endpoints[index]
    values: dict[str, Any] = {
        "endpoint": machine["id"], "name": machine["name"], "host": machine["address"], "port": lab.http_port,
        "scheme": "http", "transport": "winrm", "auth": "ntlm", "session": "new",
        "credential": Credential(name="lab", username=lab.username, secret=Secret(lab.password)),
    }  # fmt: skip
    return Target(**(values | changes))


@pytest.mark.parametrize(("session", "counts"), [("new", [8, 8]), ("connection", [8, 6]), ("runspace", [7, 3])])
async def test_requests_per_poll(lab: Any, session: str, counts: list[int]) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 11, session=session)
    seen = []
    for _ in counts:
        deadline = asyncio.get_running_loop().time() + 20
        async with transport.session(wanted, deadline=deadline) as one:
            assert (await one.run(NAME, deadline=deadline)).output == (wanted.name,)
            assert one.peer["netbios"] == wanted.name
        seen.append(int(one.telemetry["requests"]))
    await transport.aclose()
    # A kept runspace is opened without a Delete, and every pipeline in it is terminated: 8 - 1 + 1.
    expected = [8, 3] if session == "runspace" else counts
    assert seen == expected
    assert lab.stats()["shells_open"] == 0


async def test_requests_of_a_query(lab: Any) -> None:
    transport = WinrmTransport(Open())
    counts = []
    for _ in range(2):
        deadline = asyncio.get_running_loop().time() + 20
        async with transport.session(target(lab, 12, session="connection"), deadline=deadline) as one:
            await one.query("SELECT CSName FROM Win32_OperatingSystem", deadline=deadline)
        counts.append(int(one.telemetry["requests"]))
    await transport.aclose()
    assert counts == [3, 1]


async def test_a_kept_runspace_is_used_again_and_survives_a_stopped_pipeline(lab: Any) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 13, session="runspace")
    before = lab.stats()["shells_opened"]
    for seconds in (20.0, 1.0, 20.0):
        loop = asyncio.get_running_loop()
        async with transport.session(wanted, deadline=loop.time() + 30) as one:
            script = NAME if seconds > 1 else Script("#lab:sleep 20")
            result = await one.run(script, deadline=loop.time() + seconds)
            assert result.state == ("completed" if seconds > 1 else "timed_out")
    assert lab.stats()["shells_opened"] == before + 1
    await transport.aclose()
    assert lab.stats()["shells_open"] == 0


async def test_a_connection_that_was_closed_meanwhile_is_opened_again(lab: Any) -> None:
    transport = WinrmTransport(Open())
    wanted = target(lab, 14, session="connection")
    for _ in range(2):
        deadline = asyncio.get_running_loop().time() + 20
        async with transport.session(wanted, deadline=deadline) as one:
            assert (await one.run(NAME, deadline=deadline)).output == (wanted.name,)
        assert one._wsman is not None
        one._wsman.connection.abort()
        await asyncio.sleep(0)
    await transport.aclose()


async def test_https_to_an_address_whose_certificate_is_another_machines(lab: Any) -> None:
    transport = WinrmTransport(Open())
    wrong = target(lab, 15, scheme="https", port=lab.https_port, ca_file=lab.ca_file, name="other.lab.example")
    before = lab.stats()["logons_accepted"]
    with pytest.raises(TlsError) as caught:
        async with transport.session(wrong, deadline=asyncio.get_running_loop().time() + 10):
            pass
    assert caught.value.code == "tls.name"
    assert lab.stats()["logons_accepted"] == before


async def test_many_at_once_each_get_their_own_answer(lab: Any) -> None:
    transport = WinrmTransport(Open())

    async def poll(index: int) -> bool:
        deadline = asyncio.get_running_loop().time() + 30
        wanted = target(lab, index)
        async with transport.session(wanted, deadline=deadline) as one:
            result = await one.run(Script("#lab:size 120000"), deadline=deadline)
        text = str(result.output[0])
        return text.startswith(f"{wanted.name} ") and len(text) == 120_000

    assert all(await asyncio.gather(*(poll(index) for index in range(50))))
    assert lab.stats()["shells_open"] == 0


async def test_a_lost_endpoint_is_a_connect_error(lab: Any) -> None:
    transport = WinrmTransport(Open())
    with pytest.raises(ConnectError):
        async with transport.session(target(lab, host="127.254.0.1"), deadline=asyncio.get_running_loop().time() + 10):
            pass


async def test_connect_timeout_is_what_the_settings_say(lab: Any) -> None:
    transport = WinrmTransport(Open())
    loop = asyncio.get_running_loop()
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # a queue of one, filled below: what comes then gets no answer, as behind a firewall that drops
        filling = [socket.socket() for _ in range(4)]
        for one in filling:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        await asyncio.sleep(0.2)
        began = loop.time()
        wanted = target(lab, host="127.0.0.1", port=full.getsockname()[1], connect_timeout=0.5)
        with pytest.raises(DeadlineError) as caught:
            async with transport.session(wanted, deadline=began + 20):
                pass
        for one in filling:
            one.close()
    assert caught.value.code == "tcp.timeout"
    assert 0.4 < loop.time() - began < 2.0
