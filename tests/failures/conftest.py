"""A lab of this process with a fault plan, and what asks it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.load import load_catalog
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.faults import load_plan
from rmm.lab.server import LabInfo, LabOptions, serve
from rmm.model.endpoint import Credential, Secret, Target
from rmm.resources import shipped

sys.path.insert(0, str(Path(__file__).parent))  # for runner, table and their like


class Everyone:
    """A gate that lets everybody through."""

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Everyone]:
        yield self

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...

    def unsent(self) -> None: ...


class Lab:
    """A lab that is up."""

    gate = Everyone()

    def __init__(self, info: LabInfo, folder: Path) -> None:
        self.info = info
        self.folder = folder

    async def control(self, what: str) -> Any:
        def read() -> Any:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.info.http_port}/lab/{what}", timeout=10) as answer:
                return json.load(answer)

        return await asyncio.to_thread(read)

    async def shells(self) -> list[dict[str, Any]]:
        return list(await self.control("shells"))

    async def until(self, what: Callable[[list[dict[str, Any]]], bool], seconds: float) -> list[dict[str, Any]]:
        """The shells, when they are as wanted or the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            seen = await self.shells()
            if what(seen) or loop.time() > end:
                return seen
            await asyncio.sleep(0.05)

    def target(self, **changes: Any) -> Target:
        machine = json.loads((self.folder / "lab.json").read_text(encoding="utf-8"))["endpoints"][0]
        credential = Credential(name="lab", username=self.info.username, secret=Secret(self.info.password))
        values: dict[str, Any] = {
            "endpoint": machine["id"], "name": machine["name"], "host": machine["address"],
            "port": self.info.http_port, "scheme": "http", "transport": "winrm", "auth": "ntlm", "session": "new",
            "credential": credential,
        }  # fmt: skip
        return Target(**(values | changes))


LabUp = Callable[..., AbstractAsyncContextManager[Lab]]


@pytest.fixture
def lab_up(tmp_path: Path) -> LabUp:
    """`lab_up(plan, endpoints=1, idle_rate=1.0)`: a lab with this plan (YAML), and the configuration that polls it."""

    @contextlib.asynccontextmanager
    async def up(plan: str = "faults: []", *, endpoints: int = 1, idle_rate: float = 1.0) -> AsyncIterator[Lab]:
        folder = tmp_path / "lab"
        folder.mkdir(exist_ok=True)
        (folder / "plan.yaml").write_text(plan, encoding="utf-8")
        stop = asyncio.Event()
        ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
        options = LabOptions(
            endpoints=endpoints, config=folder, plan=load_plan(folder / "plan.yaml"), idle_rate=idle_rate
        )
        engine = SamplesEngine(load_catalog([shipped("collectors")]))
        task = asyncio.create_task(serve(options, engine, ready=ready.set_result, stop=stop))
        try:
            yield Lab(await ready, folder)
        finally:
            stop.set()
            await task

    return up
