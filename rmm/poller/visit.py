"""One poll of one endpoint: a session, the due collectors in one pipeline, and exactly one observation.

It never raises for what an endpoint does: a failure is an observation with a fault.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rmm.core import identity, sessions
from rmm.core.coerce import shown
from rmm.core.counters import kept_counters
from rmm.core.normalize import Normalizer
from rmm.core.parts import Part, read_part
from rmm.core.reboot import is_rebooting
from rmm.core.records import judge, result_of
from rmm.core.resting import build_changed
from rmm.errors import OutputError, RmmError, TransportError
from rmm.model import observation as words
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint, Target
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.settings import PollSettings
from rmm.model.state import EndpointState
from rmm.ports import Clock, ErrorRecord, Identified, Ladder, Script, ScriptResult, Session, Transport

CLEAN_UP_S = 5.0  # of the poll's time, kept back for stopping a pipeline and deleting the shell ...
CLEAN_UP_SHARE = 0.25  # ... but never more than this part of it
RETRY_PAUSE_S = 0.5
REFUSED_PAUSE_S = (2.0, 5.0)  # a service that restarts is back after some seconds
PROBE_S = 2.0  # for finding out whether WinRM is there at all, after a poll that failed
MOST_ERRORS = 5
MOST_TRIES = 6  # of one poll: the retry, then one for each time that a shell is lost again
SHELL_LOST = frozenset({"shell.gone", "shell.aborted"})  # what a memory quota looks like from here
ALONE = "Run `rmm doctor` for this endpoint to see this collector alone, with its time."
MOST_OUTPUTS = 2  # times poll.max_output that one poll takes from an endpoint, in however many pipelines
_WHOSE = re.compile(r'\{"collector":"([a-z0-9_]{1,64})"')
SHELL_TRANSPORTS = frozenset({"ssh"})  # no WinRM; whether they run PowerShell or sh, the session says


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue and the settings give the poller; built once per process by `rmm.app`."""

    collectors: Mapping[str, Collector]
    intervals: Mapping[str, int]  # collector name -> seconds, in the order in which they run
    bundle: Callable[[tuple[str, ...], str], Script]  # (collector names, language) -> script
    rights: Script  # tries the places that its argument lists: see `poller.rights`
    transport: Callable[[str], Transport]  # transport name -> the one instance of this process
    target: Callable[[Endpoint], Target]
    transport_of: Callable[[Endpoint], str]  # the transport's name alone, without unlocking a credential
    shell_of: Callable[[Endpoint], str]  # auto, powershell or sh, for transports that can both
    identify: Callable[[Target, float], Awaitable[Identified]]  # WS-Identify before a deadline
    ladder: Callable[[Target], Ladder]  # the steps to a session, one by one
    poll: PollSettings
    clock: Clock
    epoch: str


class Visitor:
    """Polls endpoints, one call each; holds what they have in common."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._normalizers = {name: Normalizer(collector.manifest) for name, collector in kit.collectors.items()}

    def intervals(self, endpoint: Endpoint, transport: str, state: EndpointState | None = None) -> dict[str, int]:
        """The collectors that can be read from this endpoint at all, with their intervals."""
        language = self._language(endpoint, transport, state)
        return {
            name: interval
            for name, interval in self._kit.intervals.items()
            if (c := self._kit.collectors[name]).session_free
            or (c.windows and language != "sh")
            or (c.linux and language != "powershell")
        }

    def _language(self, endpoint: Endpoint, transport: str, state: EndpointState | None) -> str:
        """What the endpoint runs; empty when the first session has to find out."""
        if transport not in SHELL_TRANSPORTS:
            return "powershell"
        shell = self._kit.shell_of(endpoint)
        return (state.identity.get("language", "") if state else "") if shell == "auto" else shell

    async def visit(
        self,
        endpoint: Endpoint,
        shard: int,
        seq: int,
        due: Sequence[str],
        state: EndpointState | None,
        *,
        orphans: bool = False,
    ) -> Observation:
        """Poll `endpoint` for the collectors in `due`; `orphans`: shells of ours may be left there, end them first."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._kit.poll.timeout
        run = _Run(self._kit, self._normalizers, endpoint, due, state, deadline, orphans=orphans)
        observed_at, began = self._kit.clock.now(), self._kit.clock.monotonic()
        run.observed_at = observed_at
        status, fault = await run.attempt()
        return Observation(
            endpoint=endpoint.id,
            name=endpoint.name,
            site=endpoint.site,
            shard=shard,
            observed_at=observed_at,
            duration_s=round(self._kit.clock.monotonic() - began, 6),
            status=status,
            fault=fault,
            collectors=run.results,
            epoch=self._kit.epoch,
            seq=seq,
            identity=run.identity,
            telemetry=run.telemetry | run.left(),
            errors=run.errors,
        )


class _Run:
    """The working state of one visit."""

    def __init__(
        self,
        kit: Kit,
        normalizers: Mapping[str, Normalizer],
        endpoint: Endpoint,
        due: Sequence[str],
        state: EndpointState | None,
        deadline: float,
        *,
        orphans: bool,
    ) -> None:
        self.kit = kit
        self.normalizers = normalizers
        self.endpoint = endpoint
        self.due = due
        self.state = state
        self.deadline = deadline
        self.observed_at: datetime = kit.clock.now()
        self.results: dict[str, CollectorResult] = {}
        self.identity: dict[str, str] = {}
        self.telemetry: dict[str, float] = {}
        self.errors: tuple[str, ...] = ()  # of the pipeline, beside those of collectors
        self.stopped = False
        self.orphans = orphans
        self.by_command = False  # the endpoint takes commands and no scripts
        self._in_session = False
        self._sessions: list[Session] = []
        self._clean_up = min(CLEAN_UP_S, CLEAN_UP_SHARE * kit.poll.timeout)

    async def attempt(self) -> tuple[str, Fault | None]:
        """The whole poll, with one more try on a fresh connection where the fault says that it can help."""
        had = len(self.results)
        outcome = await self._once()
        lost, tries = self._in_session, 1
        while outcome is not None and self._may_help(outcome, tries, had):
            pause = random.uniform(*REFUSED_PAUSE_S) if outcome.code == "tcp.refused" else RETRY_PAUSE_S
            if self._left() <= self._clean_up + pause:
                break
            await asyncio.sleep(pause)
            had = len(self.results)
            outcome = await self._once()
            lost, tries = lost or self._in_session, tries + 1
        if outcome is not None and not self._in_session:
            outcome = self._restarting(outcome, lost_session=lost)
        if outcome is not None and "availability" in self.due:
            await self._probe(outcome)
        self._availability(outcome)
        if outcome is None:
            failed = self.errors or any(result.outcome == "fault" for result in self.results.values())
            return (words.PARTIAL if failed else words.OK), None
        if outcome.status == words.IDENTITY_MISMATCH:
            self.results.clear()  # data of another machine is never stored under this endpoint
        return outcome.status, fault_of(outcome)

    def _may_help(self, outcome: RmmError, tries: int, had: int) -> bool:
        """Whether another session may bring what this one did not.

        Once it is what the fault says. Further ones are for a shell that is lost again: without the collectors that it
        has read meanwhile it may live, and when it had read none, without the one at which it was lost.
        """
        if outcome.retry != "R1" or tries == 1 or outcome.code not in SHELL_LOST:
            return outcome.retry == "R1" and tries == 1
        if len(self.results) == had:
            waiting = [name for name in self._in_sessions() if name not in self.results]
            if not self.results or not waiting:
                return False
            text = f"the endpoint ended the shell while this collector ran: {outcome}"
            self._give_up(
                waiting[:1], "quota.shell", text, "Is MaxMemoryPerShellMB too small there? rmm never raises it."
            )
        return tries < MOST_TRIES

    def _in_sessions(self) -> list[str]:
        """The due collectors that need a session, in the order in which they run."""
        return [name for name in self.due if not self.kit.collectors[name].session_free]

    def _restarting(self, outcome: RmmError, *, lost_session: bool) -> RmmError:
        """The same failure, as that of a machine that restarts where that is what it looks like."""
        if not is_rebooting(outcome.code, self.state, self.observed_at, lost_session=lost_session):
            return outcome
        hint = "It restarts; no alert is raised for ten minutes. It is polled again in the next rounds."
        return TransportError(str(outcome), code=outcome.code, retry="RB", status=words.REBOOTING, hint=hint)

    def _left(self) -> float:
        return self.deadline - asyncio.get_running_loop().time()

    async def _once(self) -> RmmError | None:
        self._in_session = False
        try:
            target = self._target()
            transport = self.kit.transport(target.transport)
            # The transport keeps the deadline itself; this bounds a defect in one.
            async with asyncio.timeout_at(self.deadline + 2 * CLEAN_UP_S):
                async with transport.session(target, deadline=self.deadline) as session:
                    self._in_session = True
                    self._sessions.append(session)
                    try:
                        self._check_identity(session.peer.get("netbios", ""))
                        await self._collect(session, target)
                    finally:
                        self.telemetry = dict(session.telemetry)
                        self._remember(session.peer)
        except RmmError as error:
            wait = getattr(error, "retry_after_s", 0.0)
            if wait:
                self.telemetry["retry_after_s"] = wait
            return error
        except TimeoutError:
            return TransportError("the transport did not keep its deadline", code="timeout", status=words.TIMEOUT)
        return None

    def left(self) -> dict[str, float]:
        """How many shells of ours are on the endpoint after all; nothing where there are none."""
        count = sum(session.telemetry.get("shells_left", 0.0) for session in self._sessions)
        return {"shells_left": count} if count else {}

    def _target(self) -> Target:
        """What the settings say, with what earlier polls found out."""
        target = self.kit.target(self.endpoint)
        known = self.state.identity if self.state else {}
        if target.transport in SHELL_TRANSPORTS:
            return msgspec.structs.replace(target, language=known.get("language", ""))
        chosen, idle_s = sessions.recall(known, self.observed_at)
        if not (chosen or idle_s or self.orphans):
            return target
        return msgspec.structs.replace(target, chosen=chosen, idle_s=idle_s or target.idle_s, orphans=self.orphans)

    def _remember(self, peer: Mapping[str, str]) -> None:
        known = self.state.identity if self.state else {}
        self.identity |= build_changed(self.state, self.results.get("os"), self.observed_at)
        self.identity |= sessions.remember(known, peer, self.observed_at, opened="open_ms" in self.telemetry)

    def _check_identity(self, seen: str) -> None:
        known = self.state.identity if self.state else {}
        reason = identity.mismatch(self.endpoint.name, known, {"name": seen})
        if reason:
            raise TransportError(
                reason,
                code="identity.mismatch",
                status=words.IDENTITY_MISMATCH,
                retry="RH",
                hint="DNS or DHCP gave this address to another machine, or the name was changed; nothing was stored.",
            )
        if seen:
            self.identity["name"] = seen

    async def _collect(self, session: Session, target: Target) -> None:
        collectors = self.kit.collectors
        names = [name for name in self._in_sessions() if name not in self.results]
        by_wql = target.source == "wql" or target.transport == "wql"
        for name in [name for name in names if by_wql and collectors[name].wql]:
            await self._query(session, name)
        rest = [name for name in names if not (by_wql and collectors[name].wql)]
        if target.transport == "wql":
            for name in rest:
                self.results[name] = CollectorResult(outcome="unsupported")
        elif rest:
            self.by_command = target.source == "jea" and session.language == "powershell"
            fitting = self._fitting(rest, session.language)
            await self._run_scripts(session, fitting, "command" if self.by_command else session.language)
            if target.transport in SHELL_TRANSPORTS and "name" in self.identity:
                self.identity["language"] = session.language

    def _fitting(self, names: list[str], language: str) -> list[str]:
        """Those that have a script in this language; the others are none of this endpoint's."""
        collectors = self.kit.collectors
        fitting = [name for name in names if (collectors[name].linux if language == "sh" else collectors[name].windows)]
        for name in names:
            if name not in fitting:
                self.results[name] = CollectorResult(outcome="unsupported")
        return fitting

    async def _query(self, session: Session, name: str) -> None:
        document: dict[str, list[dict[str, Any]]] = {}
        deadline = min(self.deadline - self._clean_up, self._now() + self.kit.collectors[name].manifest.timeout)
        for source, wanted in self.kit.collectors[name].manifest.sources.items():
            try:
                document[source] = await session.query(wanted.wql, namespace=wanted.namespace, deadline=deadline)
            except TransportError as error:
                if wanted.optional and error.status == words.UNSUPPORTED:
                    document[source] = []
                    continue
                if error.status in (words.UNSUPPORTED, words.ACCESS_DENIED):
                    outcome = "unsupported" if error.status == words.UNSUPPORTED else "fault"
                    self.results[name] = CollectorResult(outcome=outcome, fault=fault_of(error))
                    return
                raise
        for row in document.get("os", ()):
            if isinstance(host := row.get("CSName"), str):
                self._check_identity(host)
        self._normalize(name, document, 0.0, 0)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _run_scripts(self, session: Session, names: list[str], language: str) -> None:
        """All in one pipeline; when one hangs it alone is lost, and the rest goes into a pipeline of its own."""
        waiting, room = names, MOST_OUTPUTS * self.kit.poll.max_output
        while waiting:
            if room <= 0:
                self._give_up(waiting, "output.too_large", "other collectors used up this endpoint's share of output")
                return
            slowest = max(self.kit.collectors[name].manifest.timeout for name in waiting)
            deadline = min(self.deadline - self._clean_up, self._now() + slowest)
            if deadline <= self._now():
                self._give_up(waiting, "script.not_reached", "the poll's time was used up by other collectors")
                return
            script = self.kit.bundle(tuple(waiting), language)
            try:
                most = min(room, self.kit.poll.max_output)
                result = await session.run(script, deadline=deadline, max_bytes=most)
            except TransportError as error:
                self._take_parts(error.partial, waiting)
                raise
            room -= result.bytes
            self._take_parts(result.output, waiting)
            if result.state == "completed":
                self.errors = tuple(shown(record.error_id, 200) for record in result.errors[:MOST_ERRORS])
            waiting = self._settle(result, [name for name in waiting if name not in self.results])

    def _settle(self, result: ScriptResult, missing: list[str]) -> list[str]:
        """Give the collectors without a part their fault; returns those that deserve another pipeline."""
        if not missing:
            return []
        if result.state == "timed_out" and not result.broken:
            self._give_up(missing[:1], "script.timeout", "this collector did not end in time and was stopped")
            return missing[1:]
        if result.state == "truncated":
            self._give_up(missing[:1], "output.too_large", "the output of this collector passed the limit")
            return missing[1:]
        if result.state == "stopped" and not self.stopped:
            self.stopped = True  # by somebody on the endpoint; once it is asked again
            return missing
        if not result.errors:
            self._give_up(missing, "output.missing", f"pipeline {result.state} without its part")
            return []
        return self._settle_record(result.errors[-1], missing)

    def _settle_record(self, record: ErrorRecord, missing: list[str]) -> list[str]:
        """A record ended the pipeline: of the collector that was next, or of all that a poll sends there."""
        verdict = judge(record.error_id, record.category, exception=record.exception, command=self.by_command)
        reason = shown(f"{record.error_id}: {record.message}", 500)
        if verdict.status == words.CONFIG and not self.results:
            raise TransportError(
                reason, code=verdict.code, retry=verdict.retry, hint=verdict.hint, status=verdict.status
            )
        asks = verdict.code == "script.asks"  # the one that asked was stopped; the others did nothing wrong
        for name in missing[:1] if asks else missing:
            self.results[name] = result_of(verdict, reason)
        return missing[1:] if asks else []

    def _give_up(self, names: Iterable[str], code: str, message: str, hint: str = ALONE) -> None:
        for name in names:
            self.results[name] = CollectorResult(outcome="fault", fault=Fault(code, "RB", hint, message))

    def _take_parts(self, outputs: Iterable[Any], expected: Sequence[str]) -> None:
        for output in outputs:
            if not isinstance(output, str) or not output.startswith("{"):
                continue
            try:
                part = read_part(output)
            except OutputError as error:
                self._refuse_part(output, expected, error)
                continue
            if part.collector in expected and part.collector not in self.results:
                self._take_part(part, len(output))

    def _refuse_part(self, text: str, expected: Sequence[str], error: OutputError) -> None:
        """A part that is no part is its collector's fault, if it says whose it is; else that collector is missing."""
        name = _WHOSE.match(text)
        if name is not None and name[1] in expected and name[1] not in self.results:
            self.results[name[1]] = CollectorResult(outcome="fault", fault=fault_of(error), bytes=len(text))

    def _take_part(self, part: Part, size: int) -> None:
        self._check_identity(part.host)
        if part.error is None:
            self._normalize(part.collector, part.document, part.ms, size)
            return
        error = part.error
        failed = result_of(judge(error.id, error.category, error.hresult), shown(str(error), 500))
        self.results[part.collector] = msgspec.structs.replace(failed, gather_ms=part.ms, bytes=size)

    def _normalize(self, name: str, document: Mapping[str, Any], gather_ms: float, size: int) -> None:
        previous = self.state.collectors.get(name) if self.state else None
        counters = kept_counters(previous.result) if previous else None
        try:
            result = self.normalizers[name].read(document, counters=counters, observed_at=self.observed_at)
        except OutputError as error:
            result = CollectorResult(outcome="fault", fault=fault_of(error))
        self.results[name] = msgspec.structs.replace(result, gather_ms=gather_ms, bytes=size)

    async def _probe(self, outcome: RmmError) -> None:
        """After a poll without a session: does TCP connect, does WinRM answer? Costs a good poll nothing."""
        if not isinstance(outcome, TransportError):  # it was not even tried, and this would be
            return
        if verdict(outcome) not in ("auth", "shell", "http", "timeout") or self._left() < PROBE_S:
            return
        try:
            target = self.kit.target(self.endpoint)
            if target.transport in SHELL_TRANSPORTS:
                return
            seen = await self.kit.identify(target, self._now() + PROBE_S)
        except RmmError:
            return
        self.telemetry.setdefault("connect_ms", seen.connect_ms)
        if seen.winrm:
            self.telemetry["identify_ms"] = seen.answer_ms

    def _availability(self, outcome: RmmError | None) -> None:
        if "availability" not in self.due:
            return
        seen = self.telemetry
        document = {
            "probe": [
                {
                    "tcp_ms": seen.get("connect_ms"),
                    "tls_days_left": seen.get("tls_days_left"),
                    "identify_ms": seen.get("identify_ms"),
                    "auth_ms": seen.get("auth_ms"),
                    "open_ms": seen.get("open_ms"),
                    "verdict": verdict(outcome),
                }
            ]
        }
        self._normalize("availability", document, 0.0, 0)


def fault_of(error: RmmError) -> Fault:
    """The fault that an error becomes in an observation."""
    return Fault(error.code, error.retry, error.hint, shown(str(error), 500))


def verdict(outcome: RmmError | None) -> str:
    """The step of the ladder at which a poll failed; `ok` when it did not."""
    if outcome is None:
        return "ok"
    if outcome.status == words.TIMEOUT:
        return "timeout"
    if outcome.status == words.TLS_ERROR:
        return "tls"  # SSH's host keys too
    area = outcome.code.split(".")[0]
    return {"dns": "name", "tcp": "tcp", "tls": "tls", "http": "http", "auth": "auth", "kdc": "auth"}.get(area, "shell")
