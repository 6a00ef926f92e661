"""Rows 52, 69: a killed poller leaves shells; its next start ends them, and without one their idle timeout does.

The poller is a real process that gets SIGKILL in the middle of a round; the lab counts shells as Windows does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.load import load_catalog
from rmm.errors import QuotaError
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.faults import load_plan
from rmm.lab.server import LabInfo, LabOptions, serve
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script
from rmm.resources import shipped
from rmm.transports.winrm import WinrmTransport
from rmm.transports.winrm.session import WinrmSession

MACHINES = 12
# Scripts that never end, so that a kill finds all shells open; only in the lab's first seconds.
STUCK = "faults:\n  - {kind: shell, how: stuck, share: 1, for_s: %s}\n"
STUCK_S = 12
OTHERS = {"Their pool", "rmm 0123456789abcdef"}  # another client's, another installation's


@contextlib.asynccontextmanager
async def lab_up(folder: Path, plan: str, *, idle_rate: float = 1.0) -> AsyncIterator[LabInfo]:
    (folder / "plan.yaml").write_text(plan, encoding="utf-8")
    stop = asyncio.Event()
    ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
    options = LabOptions(endpoints=MACHINES, config=folder, plan=load_plan(folder / "plan.yaml"), idle_rate=idle_rate)
    engine = SamplesEngine(load_catalog([shipped("collectors")]))
    task = asyncio.create_task(serve(options, engine, ready=ready.set_result, stop=stop))
    try:
        yield await ready
    finally:
        stop.set()
        await task


async def control(info: LabInfo, what: str) -> Any:
    def read() -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{info.http_port}/lab/{what}", timeout=10) as answer:
            return json.load(answer)

    return await asyncio.to_thread(read)


async def shells(info: LabInfo) -> list[dict[str, Any]]:
    return list(await control(info, "shells"))


async def until(what: Callable[[list[dict[str, Any]]], bool], info: LabInfo, seconds: float) -> list[dict[str, Any]]:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        seen = await shells(info)
        if what(seen) or loop.time() > end:
            return seen
        await asyncio.sleep(0.05)


async def poller(folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rmm", "poll", "--all", "--config", str(folder), "--output", "ndjson",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def killed(folder: Path, info: LabInfo) -> list[dict[str, Any]]:
    """Kill a poller when every machine has a shell of it; what is left in the lab."""
    process = await poller(folder)
    before = len(await shells(info))
    seen = await until(lambda now: len(now) >= before + MACHINES, info, 40)
    assert len(seen) == before + MACHINES
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    return await shells(info)


class Everyone:
    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Everyone]:
        yield self

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...


def target(info: LabInfo, folder: Path, **changes: Any) -> Target:
    machine = json.loads((folder / "lab.json").read_text(encoding="utf-8"))["endpoints"][0]
    credential = Credential(name="lab", username=info.username, secret=Secret(info.password))
    values: dict[str, Any] = {
        "endpoint": machine["id"], "name": machine["name"], "host": machine["address"], "port": info.http_port,
        "scheme": "http", "transport": "winrm", "auth": "ntlm", "session": "new", "credential": credential,
    }  # fmt: skip
    return Target(**(values | changes))


async def abandoned(wanted: Target, name: str) -> None:
    """Open a shell called `name` and lose it."""
    deadline = asyncio.get_running_loop().time() + 20
    session = WinrmSession(wanted, Everyone(), name)
    await session.open(deadline)
    await session._reopen(deadline)
    await session._drop()


@pytest.mark.crash
async def test_the_next_start_ends_what_a_killed_poller_left(tmp_path: Path) -> None:
    async with lab_up(tmp_path, STUCK % STUCK_S) as info:
        loop = asyncio.get_running_loop()
        healthy = loop.time() + STUCK_S
        for name in OTHERS:
            await abandoned(target(info, tmp_path), name)
        left = await killed(tmp_path, info)
        own = {shell["name"] for shell in left} - OTHERS
        assert len(left) == MACHINES + len(OTHERS)
        assert [name.startswith("rmm ") for name in own] == [True]
        await asyncio.sleep(max(0.0, healthy - loop.time()))
        process = await poller(tmp_path)
        out, err = await process.communicate()
        assert [json.loads(line)["status"] for line in out.splitlines()] == ["OK"] * MACHINES, err
        assert {shell["name"] for shell in await shells(info)} == OTHERS
        # ... and only once: after a clean end nobody looks for orphans.
        assert (await control(info, "stats"))["listings"] == MACHINES
        process = await poller(tmp_path)
        await process.communicate()
        assert (await control(info, "stats"))["listings"] == MACHINES


@pytest.mark.crash
async def test_without_a_next_start_nothing_is_left_after_180_seconds(tmp_path: Path) -> None:
    rate = 30.0
    async with lab_up(tmp_path, STUCK % 600, idle_rate=rate) as info:
        await killed(tmp_path, info)
        began = asyncio.get_running_loop().time()
        assert await until(lambda now: not now, info, 300 / rate) == []
        assert (asyncio.get_running_loop().time() - began) * rate < 200


async def test_orphans_of_our_own_make_room_where_the_quota_is_used_up(tmp_path: Path) -> None:
    plan = "faults:\n  - {kind: quota, shells: 4, share: 1}\n"
    async with lab_up(tmp_path, plan) as info:
        wanted = target(info, tmp_path)
        for name in ("rmm mine", "rmm mine", "rmm mine 2", "Their pool"):
            await abandoned(wanted, name)
        deadline = asyncio.get_running_loop().time() + 20
        async with WinrmTransport(Everyone(), owner="rmm mine").session(wanted, deadline=deadline) as session:
            result = await session.run(Script("$env:COMPUTERNAME"), deadline=deadline)
        assert result.output == (wanted.name,)
        assert session.telemetry["shells_reaped"] == 2
        assert {shell["name"] for shell in await shells(info)} == {"rmm mine 2", "Their pool"}


async def test_a_quota_that_others_use_up_stays_a_fault_and_nothing_of_theirs_is_ended(tmp_path: Path) -> None:
    plan = "faults:\n  - {kind: quota, shells: 1, share: 1}\n"
    async with lab_up(tmp_path, plan) as info:
        wanted = target(info, tmp_path)
        await abandoned(wanted, "Their pool")
        deadline = asyncio.get_running_loop().time() + 20
        with pytest.raises(QuotaError) as caught:
            async with WinrmTransport(Everyone(), owner="rmm mine").session(wanted, deadline=deadline) as session:
                await session.run(Script("$env:COMPUTERNAME"), deadline=deadline)
        assert caught.value.code == "quota.shells"
        assert [shell["name"] for shell in await shells(info)] == ["Their pool"]
