"""Runs the scenarios of config/lab/rows: a lab with that fault plan, the product polling it, expected against seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import re
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import yaml
from logons import prepared, store

ROOT = Path(__file__).parents[2]
ROWS = ROOT / "config" / "lab" / "rows"
NOT_ON_LOOPBACK = ROWS / "not-on-loopback.yaml"
SIDE_BY_SIDE = 6
START_S, SCENARIO_S, STOP_S = 60.0, 120.0, 10.0
STALLED = "collector.stalled"
# The shipped rule waits for a second poll; here an endpoint that is out of reach is told at once, so that a scenario
# which expects no alert means something.
AT_ONCE = """rules:
  - {id: endpoint_unreachable, field: status, op: in, critical: [UNREACHABLE, TIMEOUT], quarter: availability}
"""
POLL: dict[str, Any] = {"timeout": 8, "connect_timeout": 2}


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
    mode: str = "all"  # of each round: see `PollRequest`
    wait_s: float = 0.0  # between rounds
    by_name: bool = False
    scheme: str = "http"
    environment: dict[str, str] = {}  # of the poll, which is then a process of its own
    others_first: bool = False  # the other machines are polled before the first round
    changes: dict[int, dict[str, Any]] = {}  # round -> what an administrator does before it: see `POST /lab/accounts`
    needs: str = ""  # what the machine that runs it must have, such as kerberos
    logon: dict[str, Any] = {}  # see `logons`
    shells_left: int = 0  # shells of ours that are in the lab when the poller has ended: none, unless it cannot be
    lab: dict[str, Any] = {}  # further LabOptions


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


def run(scenario: Scenario) -> list[dict[str, Any]]:
    """What each round made of the first machine, with what is expected of it under `expected`.

    The lab and the polls have a process each, forked from a warm one: neither can make the other's loop stand still.
    """
    with tempfile.TemporaryDirectory(prefix="rmm-faults-") as name:
        folder = Path(name) / "config"
        with prepared(scenario.logon, scenario.needs, scenario.endpoints, folder) as made:
            environment = scenario.environment | made["environment"]
            ready = msgspec.structs.replace(scenario, environment=environment, lab=scenario.lab | made["lab"])
            return _run(ready, folder, made["credential"])


def _run(scenario: Scenario, folder: Path, credential: Any) -> list[dict[str, Any]]:
    with _process(serve_lab, scenario, folder) as lab:
        lab.expect(START_S)
        if credential is not None:
            store(folder, credential)
        (folder / "rules").mkdir()
        (folder / "rules" / "at-once.yaml").write_text(AT_ONCE, encoding="utf-8")
        with _process(poll_rounds, scenario, folder) as polls:
            seen: list[dict[str, Any]] = polls.expect(SCENARIO_S)
    for number, facts in enumerate(seen):
        facts["expected"] = scenario.expect[min(number, len(scenario.expect) - 1)]
    return seen


class _Child:
    """This side of a process that answers once."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def expect(self, seconds: float) -> Any:
        if not self._pipe.poll(seconds):
            raise TimeoutError(f"no end within {seconds:.0f} s")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


@contextlib.contextmanager
def _process(work: Callable[[Scenario, Path, Connection], None], scenario: Scenario, folder: Path) -> Iterator[_Child]:
    context: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
    if sys.platform != "win32":
        context.set_forkserver_preload(["runner", "rmm.app", "rmm.lab.server", "rmm.lab.engine_samples", "spnego"])
    here, there = context.Pipe()
    process = context.Process(target=_guarded, args=(work, scenario, folder, there), daemon=True)
    process.start()
    there.close()
    try:
        yield _Child(here)
    finally:
        here.close()  # the lab's sign to stop
        process.join(STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


def _guarded(work: Callable[..., None], scenario: Scenario, folder: Path, pipe: Connection) -> None:
    try:
        work(scenario, folder, pipe)
    except Exception as error:
        with contextlib.suppress(OSError):
            pipe.send(RuntimeError(f"{type(error).__name__}: {error}"))


# The faults are the transport's: a few collectors show them as well as all of them, and leave time for each scenario.
FEW = frozenset(
    {"availability", "system", "cpu", "memory", "volumes", "disk", "network", "services", "pending_reboot", "os",
     "hardware", "software"}
)  # fmt: skip


def serve_lab(scenario: Scenario, folder: Path, pipe: Connection) -> None:
    """A lab with the scenario's plan, and a configuration that polls it, until the pipe is closed."""
    os.environ.update({name: value for name, value in scenario.environment.items() if name.startswith("KRB5_")})
    from rmm.catalog.load import load_catalog
    from rmm.lab.engine_samples import SamplesEngine
    from rmm.lab.faults import load_plan
    from rmm.lab.fleet import LabFleet
    from rmm.lab.server import LabOptions, serve
    from rmm.resources import shipped

    plan = load_plan(ROWS / scenario.path)
    plan.document["poll"] = POLL | scenario.poll
    catalog = load_catalog([shipped("collectors")])
    text = (ROWS / scenario.path).read_text(encoding="utf-8")
    unused = [name for name in catalog if name not in FEW and not re.search(rf"\b{name}\b", text)]
    given = plan.document.setdefault("settings", {})
    given.setdefault("collectors", {}).setdefault("disable", unused)
    first = LabFleet(scenario.endpoints)[0].name
    plan.document = json.loads(json.dumps(plan.document).replace('"FIRST"', json.dumps(first)))
    further: dict[str, Any] = {name: Path(value) if name == "keytab" else value for name, value in scenario.lab.items()}
    options = LabOptions(
        endpoints=scenario.endpoints, config=folder, plan=plan, by_name=scenario.by_name, scheme=scenario.scheme,
        **further,
    )  # fmt: skip
    engine = SamplesEngine(catalog)

    async def main() -> None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_reader(pipe.fileno(), stop.set)
        await serve(options, engine, ready=lambda info: pipe.send("ready"), stop=stop)

    asyncio.run(main())


def poll_rounds(scenario: Scenario, folder: Path, pipe: Connection) -> None:
    """All rounds of a scenario, as the product polls them; sends their facts."""
    os.environ.update({name: value.replace("{folder}", str(folder)) for name, value in scenario.environment.items()})
    from rmm.app import run as run_product

    pipe.send(run_product(_rounds(scenario, folder)))


async def _rounds(scenario: Scenario, folder: Path) -> list[dict[str, Any]]:
    from rmm.model.round import PollRequest
    from rmm.settings.load import load_settings

    app = _app(load_settings(folder), folder)
    first = app.settings.endpoints[0].id
    seen = []
    async with contextlib.AsyncExitStack() as stack:
        app.stack = stack
        for number in range(scenario.rounds):
            if number and scenario.wait_s:
                await asyncio.sleep(scenario.wait_s)
            if number == 0 and scenario.others_first:
                others = tuple(one.id for one in app.settings.endpoints[1:])
                await app.poll(PollRequest(mode="all", endpoints=others), on_observation=lambda _: None, config=folder)
            if number + 1 in scenario.changes:
                _ask_lab(folder, "accounts", scenario.changes[number + 1])
            kept: list[Any] = []
            await app.poll(PollRequest(mode=scenario.mode), on_observation=kept.append, config=folder)
            plain: dict[str, Any] = msgspec.to_builtins(next(one for one in kept if one.endpoint == first))
            facts = _facts(plain, folder)
            facts["others"] = sorted({one.status for one in kept if one.endpoint != first})
            facts["lab"] = _lab(folder)
            seen.append(facts)
    seen[-1]["shells_left"] = _lab(folder)["shells_open"] - scenario.shells_left
    return seen


def _ask_lab(folder: Path, what: str, change: dict[str, Any] | None = None) -> dict[str, Any]:
    url = json.loads((folder / "lab.json").read_text(encoding="utf-8"))[what]
    data = None if change is None else json.dumps(change).encode()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a scenario's environment may name a proxy
    with direct.open(url, data=data, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def _lab(folder: Path) -> dict[str, int]:
    """The lab's own counters; of its accounts the largest badPwdCount and all lock-outs."""
    stats = _ask_lab(folder, "stats")
    accounts = stats.pop("accounts").values()
    stats["most_bad"] = max(one["most_bad"] for one in accounts)
    stats["lockouts"] = sum(one["lockouts"] for one in accounts)
    return stats


def _app(settings: Any, folder: Path) -> Any:
    """The product; its transports live through all rounds, so that what a site's policy keeps is kept."""
    from rmm.app import App

    class Lasting(App):
        stack: contextlib.AsyncExitStack
        _kept: Any = None

        @contextlib.asynccontextmanager
        async def kit(self, epoch: str, **options: Any) -> AsyncIterator[Any]:
            if self._kept is None:
                self._kept = await self.stack.enter_async_context(super().kit(epoch, **options))
            yield msgspec.structs.replace(self._kept, epoch=epoch)

    return Lasting(settings, lambda: (folder / "passphrase").read_text().strip())


def _facts(observation: dict[str, Any], folder: Path) -> dict[str, Any]:
    fault = observation.get("fault") or {}
    collectors = observation.get("collectors") or {}
    return {
        "status": observation["status"],
        "code": fault.get("code", ""),
        "retry": fault.get("retry", ""),
        "hint": fault.get("hint", ""),
        "message": fault.get("message", ""),
        "sample": fault.get("sample", ""),
        "unknown": int(observation["telemetry"].get("unknown_messages", 0)),
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
        for key in ("status", "code", "retry", "errors", "unknown")
        if key in expected and seen[key] != expected[key]
    ]
    if expected.get("hint", "").lower() not in seen["hint"].lower():
        found.append(f"hint {seen['hint']!r} says nothing of {expected['hint']!r}")
    if expected.get("sample", "") not in seen["sample"]:
        found.append(f"sample {seen['sample']!r} has no {expected['sample']!r}")
    if seen["duration_s"] > expected.get("within_s", 60):
        found.append(f"took {seen['duration_s']:.1f} s, more than {expected['within_s']}")
    found += [f"no alert {rule}: {seen['alerts']}" for rule in expected.get("alerts", ()) if rule not in seen["alerts"]]
    found += [
        f"lab: {key} {seen['lab'][key]}, not {value}"
        for key, value in expected.get("lab", {}).items()
        if seen["lab"][key] != value
    ]
    if seen.get("shells_left"):
        found.append(f"shells of ours in the lab at the end, beyond those that must be left: {seen['shells_left']}")
    if (stored := sorted(seen["collectors"])) != expected.get("stored", stored):
        found.append(f"stored: {', '.join(stored)}")
    if seen["others"] != expected.get("others", seen["others"]):
        found.append(f"others {seen['others']}")
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
    return wanted.lower() in str(seen).lower() if key in ("hint", "message", "sample") else bool(seen == wanted)


def _near(seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(seen, int | float) and wanted[0] <= seen <= wanted[1]
    return bool(seen == wanted)


def run_all(
    chosen: Sequence[Scenario], *, done: Callable[[Scenario], None] = lambda _: None
) -> dict[str, list[dict[str, Any]] | Exception]:
    """All scenarios, some at a time; an exception stands for a scenario that could not be run."""

    def one(scenario: Scenario) -> list[dict[str, Any]] | Exception:
        try:
            seen = run(scenario)
            if any(facts["code"] == STALLED and facts["expected"].get("code") != STALLED for facts in seen):
                seen = run(scenario)  # this machine was too busy for a fair answer
        except Exception as error:  # one broken scenario must not hide the others
            return error
        finally:
            done(scenario)
        return seen

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        # The long ones first, so that none is waited for alone at the end.
        ordered = sorted(chosen, key=lambda one: -POLL.get("timeout", 0) - float(one.poll.get("timeout", 0)))
        return dict(zip((scenario.path for scenario in ordered), pool.map(one, ordered), strict=True))
