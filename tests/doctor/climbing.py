"""A lab in this process with a fault plan, and the application of the configuration that it writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rmm.app import App, open_app
from rmm.poller.doctor import Step, climb

POLL = {"timeout": 10, "connect_timeout": 1}


@pytest.fixture(scope="session")
def engine() -> Any:
    from rmm.catalog.load import load_catalog
    from rmm.lab.engine_samples import SamplesEngine
    from rmm.resources import shipped

    return SamplesEngine(load_catalog([shipped("collectors")]))


def app_of(folder: Path) -> App:
    return open_app(folder, lambda: (folder / "passphrase").read_text().strip())


@pytest.fixture
def lab_in(tmp_path: Path, engine: Any) -> Callable[..., Any]:
    """`async with lab_in([fault, ...], scheme="https") as app`."""

    @contextlib.asynccontextmanager
    async def started(faults: list[dict[str, Any]] | None = None, **options: Any) -> AsyncIterator[App]:
        from rmm.lab.faults import Plan, load_plan
        from rmm.lab.server import LabInfo, LabOptions, serve

        site, settings = options.pop("site", {}), options.pop("settings", {})
        plan = Plan()
        if faults:
            file = tmp_path / "plan.yaml"
            file.write_text(yaml.safe_dump({"faults": [{"machines": [0]} | fault for fault in faults]}))
            plan = load_plan(file)
        plan.document |= {"poll": POLL, "site": site, "settings": settings} | options.pop("document", {})
        folder = tmp_path / options.pop("folder", "lab")
        ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
        stop = asyncio.Event()
        wanted = LabOptions(**({"endpoints": 2, "config": folder, "plan": plan} | options))
        task = asyncio.create_task(serve(wanted, engine, ready=ready.set_result, stop=stop))
        try:
            waited: list[asyncio.Future[Any]] = [task, ready]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield app_of(folder)
        finally:
            stop.set()
            await task

    return started


async def climbed(app: App, index: int = 0, epoch: str = "0123456789abcdef") -> dict[str, Step]:
    """The steps of one endpoint by name; a collector with the name of a rung, such as tcp, is `collector tcp`."""
    steps: dict[str, Step] = {}
    async with app.kit(epoch) as kit:
        async for step in climb(kit, app.settings.endpoints[index]):
            name = f"collector {step.name}" if step.collector and step.name in steps else step.name
            assert name not in steps, name
            steps[name] = step
    return steps
