"""A client leaves its PowerShell session and comes back: pypsrp, whose own tests do the same with Windows."""

from __future__ import annotations

import base64
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pypsrp.complex_objects import PSInvocationState, RunspacePoolState
from pypsrp.exceptions import WSManFaultError
from pypsrp.messages import ConnectRunspacePool, SessionCapability
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.shell import WinRS
from pypsrp.wsman import NAMESPACES, OptionSet, SelectorSet, WSMan

GONE, DISCONNECTED, SUSPENDED = 2150858843, 2150859204, 2150859230
NOT_SUPPORTED, OTHER_SESSION, OTHER_CLIENT, TWICE = 2150859205, 2150859206, 2150859213, 2150859215
SCRIPTS = {  # one that has said something when it is left, and goes on
    "lab": "#lab:sleep 2",
    "lab_pwsh": "'before'; Start-Sleep 2; 'after'; Write-Warning w",
}


class Bench:
    """A machine with one engine behind it, and connections to it."""

    def __init__(self, engine: str, lab: Any) -> None:
        self.engine = engine
        self.real = engine == "lab_pwsh"
        self.machine = lab.endpoints[3]
        self._lab = lab

    def client(self) -> WSMan:
        """A client session of its own."""
        return WSMan(
            self.machine["address"], port=self._lab.http_port, ssl=False, auth="ntlm", operation_timeout=20,
            username=self._lab.username, password=self._lab.password,
        )  # fmt: skip

    def pool(self, client: WSMan) -> RunspacePool:
        pool = RunspacePool(client)
        pool.open()
        return pool

    def begin(self, pool: RunspacePool, script: str = "") -> PowerShell:
        shell = PowerShell(pool)
        shell.add_script(script or SCRIPTS[self.engine])
        shell.begin_invoke()
        return shell

    def check(self, shell: PowerShell) -> None:
        """Connect to a pipeline of SCRIPTS: its whole output is there, once and in order."""
        output = connected(shell)
        assert shell.state == PSInvocationState.COMPLETED
        if self.real:
            assert output == ["before", "after"]
            assert [str(one.message) for one in shell.streams.warning] == ["w"]
        else:
            assert len(output) == 1

    def state(self, client: WSMan, pool: RunspacePool) -> dict[str, str]:
        """What the list of shells says of this one; empty where it is not in it."""
        request = ET.Element(f"{{{NAMESPACES['wsen']}}}Enumerate")
        ET.SubElement(request, f"{{{NAMESPACES['wsman']}}}OptimizeEnumeration")
        answer = client.enumerate(NAMESPACES["rsp"], request)
        for one in answer.findall("wsen:EnumerateResponse/wsman:Items/rsp:Shell", NAMESPACES):
            facts = {child.tag.partition("}")[2]: child.text or "" for child in one}
            if facts["ShellId"] == pool.id:
                return facts
        return {}


@pytest.fixture(params=["lab", "lab_pwsh"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    one = Bench(request.param, request.getfixturevalue(request.param))
    yield one
    client = one.client()
    for pool in RunspacePool.get_runspace_pools(client):  # no shell is left to other tests
        client.delete(pool.shell.resource_uri, selector_set=selectors(pool))


def connected(shell: PowerShell) -> list[Any]:
    """All output of a pipeline that was left."""
    return list(shell.connect())  # type: ignore[no-untyped-call]


def selectors(pool: RunspacePool) -> SelectorSet:
    found = SelectorSet()
    found.add_option("ShellId", pool.id)
    return found


def disconnect(client: WSMan, pool: RunspacePool, **options: str) -> None:
    """As pypsrp does, with what it has no arguments for."""
    request = ET.Element(f"{{{NAMESPACES['rsp']}}}Disconnect")
    for name, text in options.items():
        ET.SubElement(request, f"{{{NAMESPACES['rsp']}}}{name}").text = text
    client.disconnect(pool.shell.resource_uri, request, selector_set=selectors(pool))
    pool.state = RunspacePoolState.DISCONNECTED
    for pipeline in pool.pipelines.values():
        pipeline.state = PSInvocationState.DISCONNECTED


def refused(code: int, call: Any, *args: Any) -> None:
    with pytest.raises(WSManFaultError) as caught:
        call(*args)
    assert caught.value.code == code, caught.value


def test_the_same_client_comes_back_and_gets_what_was_said_meanwhile(bench: Bench) -> None:
    client = bench.client()
    pool = bench.pool(client)
    shell = bench.begin(pool)
    pool.disconnect()
    assert bench.state(client, pool)["State"] == "Disconnected"
    refused(DISCONNECTED, bench.begin, pool)
    refused(DISCONNECTED, pool._receive)
    refused(DISCONNECTED, pool.shell.send, "stdin", b"")
    refused(DISCONNECTED, pool.shell.signal, "powershell/signal/ctrl_c", shell.id)
    refused(TWICE, disconnect, client, pool)
    time.sleep(2.5)  # the script ends while nobody is there
    pool.connect()
    assert bench.state(client, pool)["State"] == "Connected"
    refused(SUSPENDED, pool.shell.receive, "stdout", shell.id)  # the shell's Reconnect is not its commands'
    bench.check(shell)
    shell.close()
    output = bench.begin(pool, "#lab:sleep 0" if not bench.real else "'next'").end_invoke()
    assert len(output) == 1, "the session is as good as before"
    pool.close()
    assert bench.state(client, pool) == {}


def test_another_client_finds_the_session_and_takes_its_output(bench: Bench) -> None:
    first = bench.client()
    pool = bench.pool(first)
    shell = bench.begin(pool)
    private = pool.application_private_data
    second = bench.client()
    (found,) = RunspacePool.get_runspace_pools(second)
    refused(OTHER_CLIENT, found.connect)  # it is not disconnected yet
    pool.disconnect()
    (found,) = RunspacePool.get_runspace_pools(second)
    assert (found.id, list(found.pipelines)) == (pool.id, [shell.id])
    selected = selectors(pool)
    refused(OTHER_SESSION, second.reconnect, pool.shell.resource_uri, None, None, selected)
    found.connect()
    assert (found.protocol_version, found.min_runspaces, found.max_runspaces) == (pool.protocol_version, 1, 1)
    assert found.application_private_data is not None
    assert str(found.application_private_data.data) == str(private.data)  # type: ignore[union-attr]
    (taken,) = found.create_disconnected_power_shells()
    bench.check(taken)
    refused(OTHER_CLIENT, first.reconnect, pool.shell.resource_uri, None, None, selected)
    disconnect(second, found)
    (found,) = RunspacePool.get_runspace_pools(second)
    found.connect()
    found.connect()  # pypsrp's Reconnect of what is connected to this client: ignored
    assert found.state == RunspacePoolState.OPENED
    found.close()


def test_what_does_not_connect_is_refused_and_the_session_stays(bench: Bench) -> None:
    client = bench.client()
    pool = bench.pool(client)
    pool.disconnect()
    other = RunspacePool(client)
    for pool_id, version in ((str(uuid.uuid4()).upper(), "2.3"), (pool.id, "3.0"), (pool.id, "")):
        other.id = pool_id
        options = OptionSet()
        if version:
            options.add_option("protocolversion", version)
        request = ET.Element(f"{{{NAMESPACES['rsp']}}}Connect")
        content = ET.SubElement(request, f"{{{NAMESPACES['pwsh']}}}connectXml")
        content.text = connect_data(other, pool.id)
        with pytest.raises(WSManFaultError):
            client.connect(pool.shell.resource_uri, request, options, selectors(pool))
    with pytest.raises(WSManFaultError):
        disconnect_mode = ET.Element(f"{{{NAMESPACES['rsp']}}}Disconnect")
        ET.SubElement(disconnect_mode, f"{{{NAMESPACES['rsp']}}}BufferMode").text = "Keep"
        client.disconnect(pool.shell.resource_uri, disconnect_mode, selector_set=selectors(pool))
    assert bench.state(client, pool)["State"] == "Disconnected"
    pool.connect()
    assert len(bench.begin(pool, "'x'" if bench.real else "#lab:sleep 0").end_invoke()) == 1
    pool.close()


def connect_data(pool: RunspacePool, shell: str) -> str:
    fragments = pool._fragmenter.fragment(SessionCapability("2.3", "2.0", "1.1.0.1"), shell)
    fragments += pool._fragmenter.fragment(ConnectRunspacePool(), pool.id)
    return base64.b64encode(b"".join(fragments)).decode()


def test_a_command_shell_cannot_be_left(bench: Bench) -> None:
    client = bench.client()
    with WinRS(client) as shell:
        found = SelectorSet()
        found.add_option("ShellId", shell.id or "")
        request = ET.Element(f"{{{NAMESPACES['rsp']}}}Disconnect")
        refused(NOT_SUPPORTED, client.disconnect, shell.resource_uri, request, None, found)


def test_disconnect_of_what_is_not_there(bench: Bench) -> None:
    client = bench.client()
    pool = bench.pool(client)
    pool.close()
    for ask in (client.connect, client.reconnect, client.disconnect):
        refused(GONE, ask, "http://schemas.microsoft.com/powershell/Microsoft.PowerShell", None, None, selectors(pool))


def test_is_alive_says_whether_a_client_is_there(bench: Bench) -> None:
    client = bench.client()
    pool = bench.pool(client)
    assert pool.is_alive()
    pool.disconnect()
    assert not pool.is_alive()


def test_a_receive_that_waits_is_answered_when_its_client_leaves(bench: Bench) -> None:
    client, other = bench.client(), bench.client()
    other.session_id = client.session_id  # another connection of the same client
    pool = bench.pool(client)
    shell = bench.begin(pool, "Start-Sleep 15; 'x'" if bench.real else "#lab:sleep 15")
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(pool.shell.receive, "stdout", shell.id)
        time.sleep(1)
        assert not waiting.done()
        began = time.monotonic()
        disconnect(other, pool)
        refused(SUSPENDED, waiting.result, 10)
        assert time.monotonic() - began < 8


@pytest.mark.parametrize("mode", ["Block", "Drop"])
def test_what_becomes_of_more_output_than_the_buffers_hold(lab_pwsh: Any, tmp_path: Path, mode: str) -> None:
    """With Block the script waits for a client, with Drop it ends without one and the oldest output is lost."""
    bench = Bench("lab_pwsh", lab_pwsh)
    client = bench.client()
    pool = bench.pool(client)
    ended = tmp_path / "ended"
    shell = bench.begin(pool, f"1..60 | % {{ \"$_ \" + 'x' * 100KB }}; Set-Content '{ended}' 1; 'last'")
    disconnect(client, pool, BufferMode=mode)
    assert bench.state(client, pool)["BufferMode"] == mode
    until = time.monotonic() + (4 if mode == "Block" else 30)
    while not ended.exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert ended.exists() == (mode == "Drop")
    time.sleep(0.5)
    pool.connect()
    *numbered, last = connected(shell)
    assert shell.state == PSInvocationState.COMPLETED
    numbers = [int(text.partition(" ")[0]) for text in numbered]
    assert all(len(text) > 102_400 for text in numbered), "a message is there as a whole or not at all"
    assert last == "last"
    assert numbers == list(range(61 - len(numbers), 61))
    assert len(numbers) == 60 if mode == "Block" else 5 < len(numbers) < 40
    pool.close()


def test_a_new_client_learns_how_many_runspaces_there_are_now(lab_pwsh: Any) -> None:
    bench = Bench("lab_pwsh", lab_pwsh)
    client = bench.client()
    pool = bench.pool(client)
    pool.max_runspaces = 4
    pool.min_runspaces = 2
    pool.disconnect()
    (found,) = RunspacePool.get_runspace_pools(bench.client())
    found.connect()
    assert (found.min_runspaces, found.max_runspaces) == (2, 4)
    found.close()
