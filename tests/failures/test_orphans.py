"""Rows 52, 69: a killed poller leaves shells; its next start ends them, and without one their idle timeout does.

The poller is a real process that gets SIGKILL in the middle of a round; the lab counts shells as Windows does.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest

from rmm.errors import QuotaError
from rmm.ports import Script
from rmm.transports.winrm import WinrmTransport
from rmm.transports.winrm.session import WinrmSession

MACHINES = 12
# Scripts that never end, so that a kill finds all shells open; only in the lab's first seconds.
STUCK = "faults:\n  - {kind: shell, how: stuck, share: 1, for_s: %s}\n"
STUCK_S = 12
OTHERS = {"Their pool", "rmm 0123456789abcdef"}  # another client's, another installation's


async def poller(lab: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rmm", "poll", "--all", "--config", str(lab.folder), "--output", "ndjson",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def killed(lab: Any) -> list[dict[str, Any]]:
    """Kill a poller when every machine has a shell of it; what is left in the lab."""
    process = await poller(lab)
    before = len(await lab.shells())
    seen = await lab.until(lambda now: len(now) >= before + MACHINES, 40)
    assert len(seen) == before + MACHINES
    os.kill(process.pid, signal.SIGKILL)
    await process.communicate()
    left: list[dict[str, Any]] = await lab.shells()
    return left


async def abandoned(lab: Any, name: str) -> None:
    """Open a shell called `name` and lose it."""
    deadline = asyncio.get_running_loop().time() + 20
    session = WinrmSession(lab.target(), lab.gate, name)
    await session.open(deadline)
    await session._reopen(deadline)
    session._drop()


@pytest.mark.crash
async def test_the_next_start_ends_what_a_killed_poller_left(lab_up: Any) -> None:
    async with lab_up(STUCK % STUCK_S, endpoints=MACHINES) as lab:
        loop = asyncio.get_running_loop()
        healthy = loop.time() + STUCK_S
        for name in OTHERS:
            await abandoned(lab, name)
        left = await killed(lab)
        own = {shell["name"] for shell in left} - OTHERS
        assert len(left) == MACHINES + len(OTHERS)
        assert [name.startswith("rmm ") for name in own] == [True]
        await asyncio.sleep(max(0.0, healthy - loop.time()))
        process = await poller(lab)
        out, err = await process.communicate()
        assert [json.loads(line)["status"] for line in out.splitlines()] == ["OK"] * MACHINES, err
        assert {shell["name"] for shell in await lab.shells()} == OTHERS
        # ... and only once: after a clean end nobody looks for orphans.
        assert (await lab.control("stats"))["listings"] == MACHINES
        process = await poller(lab)
        await process.communicate()
        assert (await lab.control("stats"))["listings"] == MACHINES


@pytest.mark.crash
async def test_without_a_next_start_nothing_is_left_after_180_seconds(lab_up: Any) -> None:
    rate = 30.0
    async with lab_up(STUCK % 600, endpoints=MACHINES, idle_rate=rate) as lab:
        await killed(lab)
        began = asyncio.get_running_loop().time()
        assert await lab.until(lambda now: not now, 300 / rate) == []
        assert (asyncio.get_running_loop().time() - began) * rate < 200


async def test_orphans_of_our_own_make_room_where_the_quota_is_used_up(lab_up: Any) -> None:
    plan = "faults:\n  - {kind: quota, shells: 4, share: 1}\n"
    async with lab_up(plan) as lab:
        wanted = lab.target()
        for name in ("rmm mine", "rmm mine", "rmm mine 2", "Their pool"):
            await abandoned(lab, name)
        deadline = asyncio.get_running_loop().time() + 20
        async with WinrmTransport(lab.gate, owner="rmm mine").session(wanted, deadline=deadline) as session:
            result = await session.run(Script("$env:COMPUTERNAME"), deadline=deadline)
        assert result.output == (wanted.name,)
        assert session.telemetry["shells_reaped"] == 2
        assert {shell["name"] for shell in await lab.shells()} == {"rmm mine 2", "Their pool"}


async def test_a_quota_that_others_use_up_stays_a_fault_and_nothing_of_theirs_is_ended(lab_up: Any) -> None:
    plan = "faults:\n  - {kind: quota, shells: 1, share: 1}\n"
    async with lab_up(plan) as lab:
        wanted = lab.target()
        await abandoned(lab, "Their pool")
        deadline = asyncio.get_running_loop().time() + 20
        with pytest.raises(QuotaError) as caught:
            async with WinrmTransport(lab.gate, owner="rmm mine").session(wanted, deadline=deadline) as session:
                await session.run(Script("$env:COMPUTERNAME"), deadline=deadline)
        assert caught.value.code == "quota.shells"
        assert [shell["name"] for shell in await lab.shells()] == ["Their pool"]
