"""A lab with PowerShell in this process, so that tests see its pool and its processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rmm.app import build
from rmm.lab.engine_pwsh import PwshEngine
from rmm.lab.faults import Plan
from rmm.lab.server import LabInfo, LabOptions, serve
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script, ScriptResult

# The shortest module that shows which state a session sees.
STAND_IN = """
function Import-RmmLabState { param($Path) $global:State = Get-Content -Raw $Path | ConvertFrom-Json -AsHashtable }
Import-RmmLabState $env:RMM_LAB_STATE
function Get-CimInstance { param($ClassName) [pscustomobject]@{ Name = $global:State['computer']; Class = $ClassName } }
function Get-ItemProperty { param($Path) "stands in for $Path" }
"""


class Gate:
    """Lets everyone through."""

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Gate]:
        yield self

    def accepted(self) -> None: ...
    def rejected(self) -> None: ...
    def unsent(self) -> None: ...


def processes_of(place: Path) -> list[int]:
    """Every process that has this folder in its environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if str(place).encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found


class PwshLab:
    """A running lab, and clients of it."""

    def __init__(self, engine: Any, info: LabInfo, endpoints: list[Mapping[str, str]]) -> None:
        self.engine = engine
        self.pool = engine.pool
        self.info = info
        self.endpoints = endpoints
        self.transports: list[Any] = []

    def target(self, transport: str = "winrm", index: int = 0, **changes: Any) -> Target:
        machine = self.endpoints[index]
        if transport == "winrs":
            transport, changes = "winrm", {"configuration": "winrs", **changes}
        values: dict[str, Any] = {
            "endpoint": machine["id"], "name": machine["name"], "host": machine["address"],
            "port": self.info.http_port, "scheme": "http", "transport": transport, "auth": "ntlm", "session": "new",
            "credential": Credential(name="lab", username=self.info.username, secret=Secret(self.info.password)),
        }  # fmt: skip
        return Target(**(values | changes))

    @contextlib.asynccontextmanager
    async def session(self, target: Target) -> AsyncIterator[Any]:
        transport = build("transports", target.transport, gate=Gate())
        try:
            async with transport.session(target, deadline=asyncio.get_running_loop().time() + 60) as session:
                yield session
        finally:
            await transport.aclose()

    async def run(
        self, text: str, *arguments: Any, target: Target | None = None, seconds: float = 40.0, **options: Any
    ) -> ScriptResult:
        given = tuple((f"P{number}", value) for number, value in enumerate(arguments))
        async with self.session(target or self.target()) as session:
            deadline = asyncio.get_running_loop().time() + seconds
            result: ScriptResult = await session.run(Script(text, given), deadline=deadline, **options)
            return result

    def processes(self) -> list[int]:
        """Every process that has this lab's environment, those that wait in the pool included."""
        return processes_of(self.engine.folder)

    async def idle(self, seconds: float = 15.0) -> bool:
        """Wait until no process is in use."""
        for _ in range(int(seconds * 20)):
            if not self.pool.used:
                return True
            await asyncio.sleep(0.05)
        return False


@pytest.fixture
def program() -> str:
    found = os.environ.get("RMM_PWSH") or shutil.which("pwsh")
    if not found:
        pytest.skip("no PowerShell here: name one with RMM_PWSH")
    return found


@pytest.fixture
async def lab_of(tmp_path: Path, program: str) -> AsyncIterator[Callable[..., Any]]:
    """`await lab_of(spare=..., most=..., plan=..., **options of the lab)`."""
    module = tmp_path / "modules" / "RmmLab.Windows" / "RmmLab.Windows.psm1"
    module.parent.mkdir(parents=True)
    module.write_text(STAND_IN)
    stop, tasks = asyncio.Event(), []

    async def make(
        *, spare: int = 1, most: int = 4, plan: Plan | None = None,
        state: Callable[..., Mapping[str, Any]] | None = None, restricted: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC), **options: Any,
    ) -> PwshLab:  # fmt: skip
        engine = PwshEngine(
            program, state or (lambda machine, now: {"computer": machine.name, "now": now.isoformat()}),
            spare=spare, most=most, modules=tmp_path / "modules", clock=clock, restricted=restricted,
        )  # fmt: skip
        ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
        made = LabOptions(endpoints=8, config=tmp_path / "lab", plan=plan, clock=clock, **options)
        tasks.append(asyncio.create_task(serve(made, engine, ready=ready.set_result, stop=stop)))
        await asyncio.wait((ready, tasks[-1]), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await tasks[-1]
        facts = msgspec.json.decode((tmp_path / "lab" / "lab.json").read_bytes())
        return PwshLab(engine, ready.result(), facts["endpoints"])

    yield make
    stop.set()
    await asyncio.gather(*tasks)
