"""Runs the scenarios of config/lab/rows: a lab with that fault plan, the product polling it, expected against seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "config" / "lab" / "rows"
NOT_ON_LOOPBACK = ROWS / "not-on-loopback.yaml"
SIDE_BY_SIDE = 6
# The shipped rule waits for a second poll; here an endpoint that is out of reach is told at once, so that a scenario
# which expects no alert means something.
AT_ONCE = """rules:
  - {id: endpoint_unreachable, field: status, op: in, critical: [UNREACHABLE, TIMEOUT], quarter: availability}
"""
POLL = {"timeout": 8, "connect_timeout": 2}


class Scenario(msgspec.Struct):
    """One file of config/lab/rows. `expect` is one mapping per round; the last one stands for all further rounds."""

    path: str
    row: int
    title: str
    faults: list[dict[str, Any]]
    expect: list[dict[str, Any]]
    site: dict[str, Any] = {}
    poll: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    endpoints: int = 1  # how many machines; the first is the one that is looked at
    rounds: int = 1
    wait_s: float = 0.0  # between rounds
    by_name: bool = False
    scheme: str = "http"
    environment: dict[str, str] = {}  # of the poll, which is then a process of its own
    needs: str = ""  # what the machine that runs it must have, such as kerberos


def load(path: Path) -> Scenario:
    """Read one scenario; a mistake in it is an error with its file's name."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    expect = document.pop("expect")
    try:
        return msgspec.convert(
            document | {"path": path.name, "expect": expect if isinstance(expect, list) else [expect]}, Scenario
        )
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {error}") from error


def scenarios() -> list[Scenario]:
    """All of them, by row."""
    found = [load(path) for path in sorted(ROWS.glob("[0-9]*.yaml"))]
    return sorted(found, key=lambda one: (one.row, one.path))


def left_out() -> dict[int, str]:
    """Row -> why it cannot be shown on loopback."""
    rows: dict[int, str] = yaml.safe_load(NOT_ON_LOOPBACK.read_text(encoding="utf-8"))["rows"]
    return rows


@contextlib.asynccontextmanager
async def lab_of(scenario: Scenario, folder: Path, engine: Any) -> AsyncIterator[Any]:
    """A lab in this process with the scenario's plan; writes a configuration that polls it."""
    from rmm.lab.faults import load_plan
    from rmm.lab.fleet import LabFleet
    from rmm.lab.server import LabInfo, LabOptions, serve

    plan = load_plan(ROWS / scenario.path)
    plan.document["poll"] = POLL | scenario.poll
    first = LabFleet(scenario.endpoints)[0].name
    plan.document = json.loads(json.dumps(plan.document).replace('"FIRST"', json.dumps(first)))
    ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    options = LabOptions(
        endpoints=scenario.endpoints, config=folder, plan=plan, by_name=scenario.by_name, scheme=scenario.scheme
    )
    task = asyncio.create_task(serve(options, engine, ready=ready.set_result, stop=stop))
    try:
        waited: list[asyncio.Future[Any]] = [task, ready]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield ready.result()
    finally:
        stop.set()
        await task


async def run(scenario: Scenario, engine: Any) -> list[dict[str, Any]]:
    """What each round made of the first machine, with what is expected of it under `expected`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with lab_of(scenario, folder, engine):
            (folder / "rules").mkdir()
            (folder / "rules" / "at-once.yaml").write_text(AT_ONCE, encoding="utf-8")
            seen = []
            for number in range(scenario.rounds):
                if number and scenario.wait_s:
                    await asyncio.sleep(scenario.wait_s)
                poll = _poll_in_process if scenario.environment else _poll_here
                observation = await poll(folder, scenario)
                expected = scenario.expect[min(number, len(scenario.expect) - 1)]
                seen.append({"expected": expected, **_facts(observation, folder)})
            return seen


async def _poll_here(folder: Path, scenario: Scenario) -> dict[str, Any]:
    from rmm.app import open_app
    from rmm.model.observation import Observation
    from rmm.model.round import PollRequest

    app = open_app(folder, lambda: (folder / "passphrase").read_text().strip())
    kept: list[Observation] = []
    await app.poll(PollRequest(mode="all"), on_observation=kept.append, config=folder)
    first = app.settings.endpoints[0].id
    plain: dict[str, Any] = msgspec.to_builtins(next(one for one in kept if one.endpoint == first))
    return plain


async def _poll_in_process(folder: Path, scenario: Scenario) -> dict[str, Any]:
    environment = os.environ | {
        name: value.replace("{folder}", str(folder)) for name, value in scenario.environment.items()
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "rmm", "poll", "--all", "--config", str(folder), "--output", "ndjson",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment,
    )  # fmt: skip
    out, err = await process.communicate()
    if not out:
        raise RuntimeError(err.decode())
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    return lines[0]


def _facts(observation: dict[str, Any], folder: Path) -> dict[str, Any]:
    fault = observation.get("fault") or {}
    collectors = observation.get("collectors") or {}
    return {
        "status": observation["status"],
        "code": fault.get("code", ""),
        "retry": fault.get("retry", ""),
        "hint": fault.get("hint", ""),
        "message": fault.get("message", ""),
        "errors": list(observation.get("errors", ())),
        "duration_s": observation["duration_s"],
        "collectors": {
            name: {"outcome": result["outcome"], **(result.get("fault") or {})} for name, result in collectors.items()
        },
        "readings": {name: result.get("readings", []) for name, result in collectors.items()},
        "alerts": _alerts(folder),
    }


def _alerts(folder: Path) -> list[str]:
    from rmm.tiers.fleet_sqlite import FleetFile

    return sorted({alert["rule"] for alert in FleetFile(folder / "data").alerts(states=("firing",))})


def problems(seen: dict[str, Any]) -> list[str]:
    """Where a round is not what was expected of it; the keys are those of `_facts`, `hint` is part of the text."""
    expected = seen["expected"]
    found = [
        f"{key} {seen[key] or 'none'}, not {expected[key]}: {seen['message']}"
        for key in ("status", "code", "retry", "errors")
        if key in expected and seen[key] != expected[key]
    ]
    if expected.get("hint", "").lower() not in seen["hint"].lower():
        found.append(f"hint {seen['hint']!r} says nothing of {expected['hint']!r}")
    if seen["duration_s"] > expected.get("within_s", 60):
        found.append(f"took {seen['duration_s']:.1f} s, more than {expected['within_s']}")
    found += [f"no alert {rule}: {seen['alerts']}" for rule in expected.get("alerts", ()) if rule not in seen["alerts"]]
    found += [f"alert {rule}" for rule in expected.get("no_alerts", ()) if rule in seen["alerts"]]
    for name, wanted in expected.get("collectors", {}).items():
        result = seen["collectors"].get(name, {})
        found += [
            f"{name}: {key} {result.get(key)!r}"
            for key, value in wanted.items()
            if not _is(result.get(key), value, key)
        ]
    for name, wanted in expected.get("readings", {}).items():
        row = (seen["readings"].get(name) or [{}])[0]
        found += [
            f"{name}.{key} is {row.get(key)!r}" for key, value in wanted.items() if not _near(row.get(key), value)
        ]
    return found


def _is(seen: Any, wanted: Any, key: str) -> bool:
    return wanted.lower() in str(seen).lower() if key in ("hint", "message") else bool(seen == wanted)


def _near(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(seen, int | float) and wanted[0] <= seen <= wanted[1]
    return bool(seen == wanted)


async def run_all(chosen: Sequence[Scenario]) -> dict[str, list[dict[str, Any]] | Exception]:
    """All scenarios, some at a time; an exception stands for a scenario that could not be run."""
    from rmm.catalog.load import load_catalog
    from rmm.lab.engine_samples import SamplesEngine
    from rmm.resources import shipped

    engine = SamplesEngine(load_catalog([shipped("collectors")]))
    places = asyncio.Semaphore(SIDE_BY_SIDE)
    results: dict[str, list[dict[str, Any]] | Exception] = {}

    async def one(scenario: Scenario) -> None:
        async with places:
            try:
                async with asyncio.timeout(90):
                    results[scenario.path] = await run(scenario, engine)
            except Exception as error:  # one broken scenario must not hide the others
                results[scenario.path] = error

    await asyncio.gather(*(one(scenario) for scenario in chosen))
    return results


def table(chosen: Iterable[Scenario], results: dict[str, Any]) -> tuple[list[str], int]:
    """(lines, number that are not as expected): row, scenario, expected, seen."""
    lines, bad = [f"{'row':>3}  {'scenario':<58} {'expected':<44} seen"], 0
    for scenario in chosen:
        result = results[scenario.path]
        if isinstance(result, Exception):
            bad += 1
            lines.append(
                f"{scenario.row:>3}  {scenario.title[:58]:<58} {'':<44} FAILED: {type(result).__name__}: {result}"
            )
            continue
        for number, seen in enumerate(result, start=1):
            wrong = problems(seen)
            bad += bool(wrong)
            title = scenario.title if scenario.rounds == 1 else f"{scenario.title} (round {number})"
            told = " ".join(filter(None, (seen["status"], seen["code"], seen["retry"])))
            wanted = " ".join(str(seen["expected"].get(key, "")) for key in ("status", "code", "retry")).strip()
            end = f"  <- {'; '.join(wrong)}" if wrong else ""
            lines.append(f"{scenario.row:>3}  {title[:58]:<58} {wanted:<44} {told}{end}")
    return lines, bad
