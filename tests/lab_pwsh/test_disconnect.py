"""How long a session stays that nobody is connected to, and what ends with it."""

from __future__ import annotations

import asyncio
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import NAMESPACES, SelectorSet, WSMan

from tests.lab_pwsh.conftest import PwshLab

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are looked up in /proc")
RATE, IDLE_S = 20.0, 60.0


def client_of(lab: PwshLab) -> WSMan:
    return WSMan(
        lab.endpoints[0]["address"], port=lab.info.http_port, ssl=False, auth="ntlm", username=lab.info.username,
        password=lab.info.password,
    )  # fmt: skip


def left(client: WSMan) -> RunspacePool:
    """A session with a script that runs, left by its client for IDLE_S at most."""
    pool = RunspacePool(client)
    pool.open()
    shell = PowerShell(pool)
    shell.add_script("Start-Sleep 100")
    shell.begin_invoke()
    request = ET.Element(f"{{{NAMESPACES['rsp']}}}Disconnect")
    ET.SubElement(request, f"{{{NAMESPACES['rsp']}}}IdleTimeOut").text = f"PT{IDLE_S:.3f}S"
    client.disconnect(pool.shell.resource_uri, request, selector_set=pool.shell._selector_set)
    return pool


def code_of(client: WSMan, pool: RunspacePool) -> int:
    """The fault that a Send is answered with; 0 for none."""
    try:
        pool.shell.send("stdin", b"")
    except WSManFaultError as error:
        return int(error.code or 0)
    return 0


async def test_it_stays_for_its_idle_time_and_not_longer(lab_of: Callable[..., Any]) -> None:
    lab = await lab_of(idle_rate=RATE)
    client = client_of(lab)
    began = time.monotonic()
    pool = await asyncio.to_thread(left, client)
    began_at_latest = time.monotonic()
    assert lab.pool.used == 1
    codes: list[int] = []
    while not codes or codes[-1] == 2150859204:
        assert time.monotonic() < began_at_latest + IDLE_S / RATE + 20
        codes.append(await asyncio.to_thread(code_of, client, pool))  # what is refused does not keep it
        await asyncio.sleep(0.1)
    assert time.monotonic() - began >= IDLE_S / RATE
    assert len(codes) > 3
    assert codes[-1] == 2150858843
    assert await lab.idle(), "its process ends with it, and the script that ran"


async def test_its_time_begins_anew_when_the_client_is_back(lab_of: Callable[..., Any]) -> None:
    lab = await lab_of(idle_rate=RATE)
    client = client_of(lab)
    pool = await asyncio.to_thread(left, client)
    selectors = SelectorSet()
    selectors.add_option("ShellId", pool.id)
    until = time.monotonic() + 2 * IDLE_S / RATE
    while time.monotonic() < until:
        await asyncio.to_thread(client.reconnect, pool.shell.resource_uri, None, None, selectors)
        await asyncio.sleep(0.3)
    assert lab.pool.used == 1
    await asyncio.to_thread(pool.close)
    assert await lab.idle()
