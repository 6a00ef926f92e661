"""The product polls both engines: the same state gives the same readings, and one session with one pipeline is enough."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.lab.engines import engine_of
from rmm.lab.server import LabInfo, LabOptions, serve

STARTED = datetime.now(UTC) - timedelta(hours=1)
PROFILES = ("server2016", "server2022-dc-de", "windows10-laptop-fr", "windows11-ja")
# What follows the collector's own clock, or the time that things took.
CLOCKED = {("system", "clock_skew_s")}


class Both:
    """A lab with each engine; their machines are the same, and so is their time."""

    def __init__(self) -> None:
        self.now = STARTED + timedelta(hours=1)
        self.folders: dict[str, Path] = {}
        self.infos: dict[str, LabInfo] = {}

    async def rmm(self, engine: str, *words: str) -> str:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rmm", *words, "--config", str(self.folders[engine]), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(child.communicate(), 110)
        return out.decode()

    async def poll(self, engine: str, *words: str) -> dict[str, Any]:
        """Endpoint -> observation of one round."""
        lines = (await self.rmm(engine, "poll", "--output", "ndjson", *words)).splitlines()
        return {one["endpoint"]: one for one in map(json.loads, lines)}

    async def stats(self, engine: str) -> dict[str, int]:
        def read() -> dict[str, int]:
            with urllib.request.urlopen(self.infos[engine].stats_url, timeout=10) as answer:
                return dict(json.load(answer))

        return await asyncio.to_thread(read)


@pytest.fixture
async def both(tmp_path: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Both]:
    monkeypatch.setenv("RMM_PWSH", program)
    one, stop, tasks = Both(), asyncio.Event(), []
    for name in ("samples", "pwsh"):
        one.folders[name] = tmp_path / name
        options = LabOptions(
            endpoints=len(PROFILES), config=tmp_path / name, started=STARTED, clock=lambda: one.now, profiles=PROFILES,
            concurrency=4,
        )  # fmt: skip
        ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
        engine = engine_of(name, clock=lambda: one.now)
        tasks.append(asyncio.create_task(serve(options, engine, ready=ready.set_result, stop=stop)))
        await asyncio.wait((ready, tasks[-1]), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await tasks[-1]
        one.infos[name] = ready.result()
    yield one
    stop.set()
    await asyncio.gather(*tasks)


def compared(observation: dict[str, Any]) -> dict[str, Any]:
    """What must be equal of an observation."""
    return {
        name: {
            "fault": (part.get("fault") or {}).get("code"),
            "readings": [
                {field: value for field, value in row.items() if (name, field) not in CLOCKED}
                for row in part.get("readings") or ()
            ],
        }
        for name, part in observation["collectors"].items()
        if name != "availability"
    }


def differences(name: str, found: dict[str, Any], expected: dict[str, Any]) -> list[tuple[Any, ...]]:
    """(collector, row, field, found, expected) of what is not equal."""
    if found["fault"] != expected["fault"] or len(found["readings"]) != len(expected["readings"]):
        return [(name, found["fault"], expected["fault"], len(found["readings"]), len(expected["readings"]))]
    return [
        (name, number, field, row.get(field), other.get(field))
        for number, (row, other) in enumerate(zip(found["readings"], expected["readings"], strict=True))
        for field in row.keys() | other.keys()
        if row.get(field) != other.get(field)
    ]


@pytest.mark.timeout(300)
async def test_real_powershell_reads_what_the_samples_engine_answers(both: Both) -> None:
    for number in range(2):
        seen = {engine: await both.poll(engine, "--all") for engine in ("samples", "pwsh")}
        assert len(seen["pwsh"]) == len(seen["samples"]) == len(PROFILES)
        for endpoint, observation in seen["pwsh"].items():
            expected, found = compared(seen["samples"][endpoint]), compared(observation)
            assert set(found) == set(expected)
            assert len(found) > 20
            wrong = [(endpoint, *one) for name in expected for one in differences(name, found[name], expected[name])]
            assert wrong == [], number
        both.now += timedelta(seconds=60)


async def test_a_round_of_one_endpoint_is_one_session_and_one_pipeline(both: Both) -> None:
    counts = await both.stats("pwsh")
    seen = await both.poll("pwsh", "--all", "--endpoint", next(iter(json.loads(
        (both.folders["pwsh"] / "lab.json").read_text())["endpoints"]))["id"])  # fmt: skip
    after = await both.stats("pwsh")
    (observation,) = seen.values()
    size = sum(len(json.dumps(part)) for part in observation["collectors"].values())
    print(size, {name: after[name] - counts[name] for name in ("requests", "shells_opened", "pipelines")}, observation.get("telemetry"))
    assert after["shells_opened"] - counts["shells_opened"] == 1
    assert after["pipelines"] - counts["pipelines"] == 1
    assert after["requests"] - counts["requests"] <= 8 + 1 + size // 500_000


def test_there_is_a_message_where_powershell_is_missing(tmp_path: Path) -> None:
    import subprocess

    environment = {**os.environ, "PATH": "/nowhere", "RMM_PWSH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "rmm", "lab", "up", "--engine", "pwsh", "--config", str(tmp_path / "c")],
        capture_output=True, text=True, check=False, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "RMM_PWSH" in done.stderr
    assert not (tmp_path / "c").exists()
