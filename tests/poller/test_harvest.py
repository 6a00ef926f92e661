"""One session, one pipeline: what a collector that throws, hangs or floods costs, and what the poll's time costs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from rounds import Bench, Sleepy

from rmm.catalog.bundle import bundler
from rmm.core.merge import merge
from rmm.core.schedule import due
from rmm.errors import ConnectError, TransportError, UnsupportedError
from rmm.loop import SystemClock
from rmm.model.collector import Argument, Collector, Field, Journal, Manifest, Source
from rmm.model.endpoint import Credential, Endpoint, Secret, Target
from rmm.model.observation import CollectorResult, Observation
from rmm.model.settings import PollSettings
from rmm.model.state import EndpointState
from rmm.plugins import build
from rmm.poller.kit import Kit
from rmm.poller.visit import Visitor
from rmm.ports import Script, ScriptResult

GOOD = """ConvertTo-Json -InputObject @{ a = @(@{ N = 7 }) } -Compress -Depth 4"""
SHELL_GOOD = """printf '{"a":[{"N":7}]}'"""


def collector(name: str, windows: str = GOOD, linux: str = "", timeout: int = 20) -> Collector:
    manifest = Manifest(
        name=name, title=name, schema=1, interval=60, timeout=timeout, cost="C1", owner="t", rows="a",
        sources={"a": Source()}, fields={"n": Field(type="int", prop="N")},
    )  # fmt: skip
    return Collector(manifest=manifest, folder="", windows=windows, linux=linux)


class Here(Bench):  # type: ignore[misc]  # rounds lies beside the tests, outside of any package
    """Visits to one endpoint with collectors of the test's own."""

    def __init__(self, data: Path, transport: Any, collectors: Sequence[Collector], *, timeout: float = 60.0) -> None:
        super().__init__(data, transport, concurrency=1, timeout=timeout)
        self.collectors = {one.name: one for one in collectors}
        self.target: Callable[[Endpoint], Target] = self._target
        self.most = 16 << 20

    def kit(self, epoch: str, clock: SystemClock) -> Kit:
        own: Kit = msgspec.structs.replace(
            super().kit(epoch, clock),
            collectors=self.collectors,
            intervals=dict.fromkeys(self.collectors, 60),
            bundle=bundler(self.collectors),
            target=self.target,
            poll=PollSettings(concurrency=1, timeout=self.poll.timeout, max_output=self.most),
        )
        return own

    async def visit(self, state: EndpointState | None = None, seq: int = 1) -> Observation:
        endpoint = Endpoint(id="e", name="127.0.0.1", site="hq")
        now = datetime.now(UTC)
        names = due(dict.fromkeys(self.collectors, 60), state, now, mode="all", endpoint="e")
        return await Visitor(self.kit("k", SystemClock())).visit(endpoint, 0, seq, names, state)


def told(seen: Observation) -> dict[str, str]:
    return {
        name: result.outcome if result.fault is None else f"{result.outcome} {result.fault.code}"
        for name, result in seen.collectors.items()
    }


class Open:
    """A gate that lets everyone through."""

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Open]:
        yield self

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...

    def unsent(self) -> None: ...


MISBEHAVING = {
    "good": GOOD,
    "throws": "throw 'boom'",
    "hangs": "while ($true) { Start-Sleep -Milliseconds 50 }",
    "floods": "'{\"a\":[{\"N\":\"' + ('x' * 9000000) + '\"}]}'",
    "endless": "while ($true) { 'x' * 1000 }",
    "errors": "foreach ($n in 1..60000) { Write-Error 'again and again' -ErrorAction Continue }; '{}'",
    "last": GOOD,
}


TYPES = """param([hashtable]$Bookmarks = @{}, [int]$Seconds = -1, [int]$Most = 1, [string]$Word = 'none')
$rows = foreach ($key in $Bookmarks.Keys) {
    @{ Log = $key; Record = $Bookmarks[$key]; Kind = $Bookmarks[$key].GetType().Name }
}
$one = @{ Log = 'L\u00f6g'; Record = 2147483649; Time = '2026-11-20T10:00:00.0000000Z'; Access = 'ok' }
$seen = @{ N = $Seconds; Most = $Most; Word = $Word }
ConvertTo-Json -InputObject @{ given = @($rows); seconds = @($seen); a = @(); log = @($one) } -Compress -Depth 4
"""


def remembering() -> Collector:
    manifest = Manifest(
        name="j", title="j", schema=1, interval=60, timeout=20, cost="C1", owner="t", rows="a",
        sources={"a": Source(), "log": Source()}, key=("log",),
        fields={"log": Field(type="text", kind="text", prop="Log")},
        journal=Journal(records="a", logs="log", group=("Log",)),
        arguments={"Most": Argument(type="int", default=7), "Word": Argument(type="text", default='it\'s "$(x)"')},
    )  # fmt: skip
    return Collector(manifest=manifest, folder="", windows=TYPES)


async def test_real_powershell_is_given_typed_arguments_and_bookmarks(sshd_pwsh: Any, tmp_path: Path) -> None:
    raw: list[Any] = []
    here = Here(tmp_path, Listening("ssh", raw), [collector("good"), remembering()])
    here.target = lambda endpoint: over_ssh(sshd_pwsh, "powershell")
    first = await here.visit()
    second = await here.visit(merge(None, first), 2)
    await here.transport.aclose()
    assert told(first) == told(second) == {"good": "ok", "j": "ok"}
    documents = [json.loads(output[1])["document"] for output in raw]
    assert documents[0]["given"] == []
    assert documents[0]["seconds"] == [{"N": 3600, "Most": 7, "Word": 'it\'s "$(x)"'}]
    assert documents[1]["given"] == [{"Log": "L\u00f6g", "Record": 2147483649, "Kind": "Int64"}]
    assert 120 <= documents[1]["seconds"][0]["N"] < 180


async def test_a_transport_without_arguments_has_the_script_read_its_own_window(tmp_path: Path) -> None:
    fake = Fake({})
    fake.takes_arguments = False
    here = Here(tmp_path, fake, [collector("a"), remembering()])
    here.kit("k", SystemClock())
    seen = await here.visit()
    assert told(seen)["a"] == "ok"
    assert fake.asked == [["a", "j"]]
    assert fake.given == [True, False]


async def test_real_powershell_loses_what_misbehaves_and_nothing_else(sshd_pwsh: Any, tmp_path: Path) -> None:
    scripts = [collector(n, t, timeout=2 if n in ("hangs", "endless") else 20) for n, t in MISBEHAVING.items()]
    here = Here(tmp_path, build("transports", "ssh", gate=Open()), scripts)
    here.most = 4 << 20
    here.target = lambda endpoint: over_ssh(sshd_pwsh, "powershell")
    began = time.monotonic()
    seen = await here.visit()
    await here.transport.aclose()
    assert seen.fault is None
    assert seen.status == "PARTIAL"
    assert told(seen) == {
        "good": "ok",
        "throws": "fault script.failed",
        "hangs": "fault script.timeout",
        "floods": "fault output.too_large",
        "endless": "fault script.timeout",
        "errors": "fault output.too_large",  # cut on its way: an error record says whose it is to nobody
        "last": "ok",
    }
    assert seen.collectors["last"].readings == ({"n": 7},)
    assert seen.collectors["good"].bytes > 30
    assert seen.collectors["floods"].bytes < 1000, "what is too large is not sent"
    assert seen.collectors["good"].gather_ms >= 0
    assert time.monotonic() - began < 45


SHELL = {
    "good": SHELL_GOOD,
    "hangs": "while :; do sleep 0.05; done",
    "floods": "while :; do echo 01234567890123456789012345678901234567890123456789; done",
    "last": SHELL_GOOD,
}


async def test_a_posix_shell_does_likewise(sshd: Any, tmp_path: Path) -> None:
    scripts = [collector(n, "", t, timeout=2 if n == "hangs" else 20) for n, t in SHELL.items()]
    here = Here(tmp_path, build("transports", "ssh", gate=Open()), scripts)
    here.target = lambda endpoint: over_ssh(sshd, "sh")
    seen = await here.visit()
    await here.transport.aclose()
    assert told(seen) == {
        "good": "ok", "hangs": "fault script.timeout", "floods": "fault output.too_large", "last": "ok",
    }  # fmt: skip


def part(name: str, ms: float = 1.0) -> str:
    document = {"a": [{"N": 7}]}
    return json.dumps({"collector": name, "host": "H", "ms": ms, "document": document}, separators=(",", ":"))


class Scripted:
    """A session whose pipelines take as long as their collectors: `takes` is name -> seconds, 100 stands for ever."""

    language = "powershell"
    peer: Mapping[str, str] = {}

    def __init__(self, owner: Fake) -> None:
        self.telemetry: dict[str, float] = {}
        self._owner = owner

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 1) -> ScriptResult:
        now = asyncio.get_running_loop().time()
        self._owner.given.append(bool(script.arguments))
        if script.arguments and not self._owner.takes_arguments:
            raise UnsupportedError("no arguments", code="unsupported.arguments")
        names = [line.split()[1] for line in script.text.splitlines() if line.startswith("#rmm:begin")]
        self._owner.asked.append(names)
        done: list[str] = []
        for name, step in zip(names, script.steps, strict=True):
            takes = self._owner.takes.get(name, 0.0)
            if name in self._owner.fatal:
                raise ConnectError("gone", code="tcp.reset", retry="R1")
            if takes > step or now + takes > deadline:
                overdue = step <= takes and now + step < deadline
                await asyncio.sleep(max(0.0, min(now + step, deadline) - asyncio.get_running_loop().time()))
                broken = name in self._owner.unstoppable
                return ScriptResult(output=tuple(done), state="timed_out", bytes=9, broken=broken, overdue=overdue)
            now += takes
            await asyncio.sleep(takes)
            done.append(part(name, takes * 1000))
        return ScriptResult(output=tuple(done), state="completed", bytes=9)


class Listening:
    """A transport whose outputs the test sees too."""

    def __init__(self, name: str, outputs: list[Any]) -> None:
        self.name = name
        self._inner: Any = build("transports", name, gate=Open())
        self._outputs = outputs

    @contextlib.asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Any]:
        async with self._inner.session(target, deadline=deadline) as session:
            run = session.run

            async def heard(script: Script, **options: Any) -> ScriptResult:
                result: ScriptResult = await run(script, **options)
                self._outputs.append(result.output)
                return result

            session.run = heard
            yield session

    async def aclose(self) -> None:
        await self._inner.aclose()


def over_ssh(server: Any, shell: str) -> Target:
    credential = Credential(
        name="k", username=server.user, secret=Secret(""), kind="key", key_file=str(server.folder / "user")
    )
    return Target(
        endpoint="e", name="127.0.0.1", host="127.0.0.1", port=server.port, scheme="http", transport="ssh", auth="ntlm",
        session="new", credential=credential, known_hosts=str(server.folder / "known_hosts"), shell=shell,
    )  # fmt: skip


class Fake(Sleepy):  # type: ignore[misc]
    def __init__(self, takes: dict[str, float], *, unstoppable: Sequence[str] = (), fatal: Sequence[str] = ()) -> None:
        super().__init__(lambda _: 0.0)
        self.takes, self.unstoppable, self.fatal = takes, unstoppable, fatal
        self.asked: list[list[str]] = []
        self.given: list[bool] = []  # whether each script came with arguments
        self.takes_arguments = True
        self.sessions = 0
        self.refuses_from = 99

    @contextlib.asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Any]:
        self.sessions += 1
        if self.sessions > self.refuses_from:
            raise ConnectError("nobody there", code="tcp.refused", retry="R0")
        yield Scripted(self)


async def test_one_that_cannot_be_stopped_costs_its_session_and_the_rest_has_another(tmp_path: Path) -> None:
    fake = Fake({"b": 100.0}, unstoppable=["b"])
    here = Here(tmp_path, fake, [collector(n, timeout=1) for n in "abcd"], timeout=20.0)
    seen = await here.visit()
    assert told(seen) == {"a": "ok", "b": "fault script.timeout", "c": "ok", "d": "ok"}
    assert fake.asked == [["a", "b", "c", "d"], ["c", "d"]]
    assert fake.sessions == 2
    assert (seen.status, seen.fault) == ("PARTIAL", None)


async def test_a_machine_that_is_gone_is_no_collectors_fault(tmp_path: Path) -> None:
    fake = Fake({"b": 100.0}, unstoppable=["b"])
    fake.refuses_from = 1
    here = Here(tmp_path, fake, [collector(n, timeout=1) for n in "abc"], timeout=20.0)
    seen = await here.visit()
    assert seen.fault is not None
    assert seen.fault.code == "tcp.refused"
    assert told(seen) == {"a": "ok"}


async def test_what_the_time_does_not_reach_is_told_and_comes_first(tmp_path: Path) -> None:
    names = "abcde"
    fake = Fake(dict.fromkeys(names, 0.4))
    here = Here(tmp_path, fake, [collector(n) for n in names], timeout=2.0)  # 1.5 s are for collectors
    seen = await here.visit()
    first = told(seen)
    assert [first[n] for n in "abc"] == ["ok"] * 3
    assert [first[n] for n in "de"] == ["not_run script.not_reached"] * 2
    assert seen.status == "PARTIAL"
    state = merge(None, seen)
    assert state.collectors["e"].deferred_at == seen.observed_at
    assert state.collectors["a"].deferred_at is None
    later = seen.observed_at + timedelta(seconds=1)
    order = due(dict.fromkeys(names, 3600), state, later, mode="due", endpoint="e")
    assert order[-1] == "e"
    assert order == ("d", "e"), "what ran is not due again, what did not run is"
    again = await here.visit(state, 2)
    assert fake.asked[-1] == list("deabc")
    assert [told(again)[n] for n in "dea"] == ["ok"] * 3
    after = merge(state, again)
    assert after.collectors["e"].deferred_at is None
    assert merge(merge(None, again), seen) == after, "no order of observations matters"


async def test_the_end_of_a_poll_is_a_fault_of_who_had_most_of_it(tmp_path: Path) -> None:
    fake = Fake({"a": 0.1, "slow": 100.0})
    here = Here(tmp_path, fake, [collector("a"), collector("slow", timeout=60)], timeout=2.0)
    assert told(await here.visit()) == {"a": "ok", "slow": "fault script.timeout"}
    fake.takes = {"a": 1.0, "slow": 100.0}
    assert told(await here.visit()) == {"a": "ok", "slow": "not_run script.not_reached"}


async def test_one_that_hangs_leaves_time_for_those_behind_it(tmp_path: Path) -> None:
    fake = Fake({"hangs": 100.0})
    here = Here(tmp_path, fake, [collector("hangs", timeout=60), collector("b"), collector("c")], timeout=4.0)
    assert told(await here.visit()) == {"hangs": "fault script.timeout", "b": "ok", "c": "ok"}


def test_deferrals_fold_in_any_order() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)

    def seen(seconds: int, outcome: str) -> Observation:
        return Observation(
            endpoint="e", name="E", site="hq", shard=0, observed_at=at + timedelta(seconds=seconds), duration_s=1.0,
            status="OK", fault=None, collectors={"a": CollectorResult(outcome=outcome)}, epoch="x", seq=seconds,
        )  # fmt: skip

    observations = [seen(1, "not_run"), seen(2, "ok"), seen(3, "not_run"), seen(4, "not_run")]
    orders = [observations, observations[::-1], [observations[i] for i in (2, 0, 3, 1, 2)]]
    states = []
    for order in orders:
        state = None
        for one in order:
            state = merge(state, one)
        assert state is not None
        states.append(state)
    assert states[0] == states[1] == states[2]
    assert states[0].collectors["a"].attempted_at == at + timedelta(seconds=2)
    assert states[0].collectors["a"].deferred_at == at + timedelta(seconds=4)


async def test_a_lost_connection_is_still_tried_once_more(tmp_path: Path) -> None:
    fake = Fake({}, fatal=["b"])
    here = Here(tmp_path, fake, [collector(n) for n in "ab"], timeout=20.0)
    seen = await here.visit()
    assert isinstance(ConnectError("x"), TransportError)
    assert seen.fault is not None
    assert fake.sessions == 2
