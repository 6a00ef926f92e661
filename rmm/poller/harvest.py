"""What the collectors that are due give in an endpoint's sessions: each its readings or its own fault.

One that throws, hangs or floods loses its own part alone; the rest goes into another pipeline, and where the one that
hangs could not be stopped (COM and WMI calls may not heed it) into another session. What the time does not reach is
`not_run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rmm.catalog.bundle import ARGUMENTS
from rmm.core import journal
from rmm.core.change import changes, is_inventory
from rmm.core.coerce import shown
from rmm.core.context import DENIED, UNSUPPORTED
from rmm.core.counters import kept_counters
from rmm.core.identity import installation
from rmm.core.normalize import NOTES, Normalizer
from rmm.core.parts import Part, read_part
from rmm.core.records import judge, result_of
from rmm.core.sample import sample_of
from rmm.errors import OutputError, RmmError, TransportError
from rmm.model import observation as words
from rmm.model.endpoint import Target
from rmm.model.observation import Change, CollectorResult, Fault
from rmm.model.state import CollectorState, EndpointState
from rmm.poller.fencing import still_ours
from rmm.poller.kit import Kit
from rmm.ports import ErrorRecord, Script, ScriptResult, Session

MOST_ERRORS = 5
MOST_SHARE = 0.75  # of the time that is left: what one collector may use while others wait behind it
EXCERPT = 4096  # characters of a part that could not be read
MOST_OUTPUTS = 2  # times poll.max_output that one poll takes from an endpoint, in however many pipelines
NOT_REACHED = "It comes first in the next poll. Where this happens often, raise poll.timeout or disable what is slow."
ALONE = "Run `rmm doctor` for this endpoint to see this collector alone, with its time."
BOARD, BOARD_S = "SELECT UUID FROM Win32_ComputerSystemProduct", 10.0
QUERYING = frozenset({"winrm", "wql", "pypsrp"})  # transports whose sessions answer WQL
_previous = msgspec.json.Decoder(CollectorResult)
_WHOSE = re.compile(r'\{"collector":"([a-z0-9_]{1,64})"')


Heard = Callable[[str, Mapping[str, Any]], None]


class Harvest:
    """Grows over the sessions of one visit.

    Args:
        kit: of the process.
        normalizers: by collector.
        due: names of the collectors, in the order in which they run.
        state: what is known of the endpoint.
        until: loop time by which the last pipeline has to end.
        observed_at: of the observation.
        recognise: told each name that the machine gives itself; raises TransportError when it is another machine.
        heard: told each collector's raw document, where somebody wants to see it.
        since: when another machine was accepted here; counters and bookmarks from before are not this one's.
    """

    def __init__(
        self,
        kit: Kit,
        normalizers: Mapping[str, Normalizer],
        due: Sequence[str],
        state: EndpointState | None,
        *,
        until: float,
        observed_at: datetime,
        recognise: Callable[[str], None],
        heard: Heard | None = None,
        since: datetime | None = None,
    ) -> None:
        self.results: dict[str, CollectorResult] = {}
        self.errors: tuple[str, ...] = ()  # of the pipeline, beside those of collectors
        self.machine = ""  # the GUID of the Windows installation that answered, where it told
        self.uuid = ""  # of the board, where a poll by queries alone asked for it
        self.language = ""  # of the session that ran scripts
        self._kit = kit
        self._normalizers = normalizers
        self._due = due
        self._state = state
        self._until = until
        self._observed_at = observed_at
        self._recognise = recognise
        self._heard = heard
        self._since = since
        self._target: Target | None = None
        self._stopped = False
        self._bare = False  # the transport carries no arguments
        self._lost: list[str] = []  # collectors whose hanging cost their session
        self._by_command = False  # the endpoint takes commands and no scripts

    @property
    def waiting(self) -> list[str]:
        """The due collectors that need a session and have no result yet, in the order in which they run."""
        collectors = self._kit.collectors
        return [name for name in self._due if not collectors[name].session_free and name not in self.results]

    def end(self) -> None:
        """The visit is over. It and this object would keep each other, and 100 KB, until the garbage is collected."""
        self._recognise = _nobody

    async def also(self, name: str, session: Session, target: Target) -> None:
        """Run one collector more, which is not due, if it is there and was not run. Raises TransportError."""
        if name in self._kit.collectors and name not in self._due:
            self._due = (*self._due, name)
            await self.collect(session, target)

    async def collect(self, session: Session, target: Target) -> None:
        """Run all that is waiting. Raises TransportError; what had arrived by then is kept.

        What waits afterwards needs another session: this one was lost to a collector that hangs.
        """
        self._target = target
        collectors = self._kit.collectors
        names, lost = self.waiting, len(self._lost)
        can = [name for name in names if collectors[name].wql] if target.transport in QUERYING else []
        # One pipeline costs about the same for one script as for twenty, so a query saves something only where there
        # is no script to run.
        auto = target.source == "auto" and can == names
        asked = can if auto or target.source == "wql" or target.transport == "wql" else []
        for name in asked:
            await self._query(session, name, then_script=auto)
            if len(self._lost) > lost:
                return
        rest = [name for name in names if name not in self.results]
        if asked and (target.transport == "wql" or not rest):
            await self._ask_board(session)
        if target.transport == "wql":
            for name in rest:
                self.results[name] = CollectorResult(outcome="unsupported")
        elif rest:
            self._by_command = target.source == "jea" and session.language == "powershell"
            fitting = self._fitting(rest, session.language)
            await self._run_scripts(session, fitting, "command" if self._by_command else session.language)
            self.language = session.language

    def _fitting(self, names: list[str], language: str) -> list[str]:
        """Those that have a script in this language; the others are none of this endpoint's."""
        collectors = self._kit.collectors
        fitting = [name for name in names if (collectors[name].linux if language == "sh" else collectors[name].windows)]
        for name in names:
            if name not in fitting:
                self.results[name] = CollectorResult(outcome="unsupported")
        return fitting

    async def _query(self, session: Session, name: str, *, then_script: bool) -> None:
        still_ours()
        document: dict[str, list[dict[str, Any]]] = {}
        if self._now() >= self._until:
            self.not_run([name])
            return
        deadline = min(self._until, self._now() + self._kit.collectors[name].manifest.timeout)
        for source, wanted in self._kit.collectors[name].manifest.sources.items():
            try:
                document[source] = await session.query(wanted.wql, namespace=wanted.namespace, deadline=deadline)
            except TransportError as error:
                denied = error.status == words.ACCESS_DENIED
                if wanted.optional and (error.status == words.UNSUPPORTED or (denied and not then_script)):
                    document[source] = []
                    told = {"Source": source, "Reason": DENIED if denied else UNSUPPORTED}
                    document.setdefault(NOTES, []).append(told)
                    continue
                if error.status in (words.UNSUPPORTED, words.ACCESS_DENIED):
                    if then_script:  # with the same account: WMI's rights over WSMan are others than a shell's
                        return
                    outcome = "unsupported" if error.status == words.UNSUPPORTED else "fault"
                    self.results[name] = CollectorResult(outcome=outcome, fault=fault_of(error))
                    return
                if error.status == words.TIMEOUT and self._now() < self._until:
                    self._hung(name, lost=True)
                    return
                raise
        for row in document.get("os", ()):
            if isinstance(host := row.get("CSName"), str):
                self._recognise(host)
        self.normalize(name, document, 0.0, 0)

    async def _ask_board(self, session: Session) -> None:
        """No script runs that would tell the installation: the board's UUID can be had by a query."""
        if self.uuid or "hardware" in self._due or "hardware" not in self._kit.collectors:
            return  # it is read anyway, or nothing would follow
        deadline = min(self._until, self._now() + BOARD_S)
        with contextlib.suppress(TransportError):  # as evidence it is missing then, and the readings are there
            rows = await session.query(BOARD, deadline=deadline)
            self.uuid = next((text for row in rows if isinstance(text := row.get("UUID"), str)), "")

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _run_scripts(self, session: Session, names: list[str], language: str) -> None:
        """All in one pipeline; when one hangs it alone is lost, and the rest goes into a pipeline of its own."""
        waiting, room, lost = names, MOST_OUTPUTS * self._kit.poll.max_output, len(self._lost)
        while waiting and len(self._lost) == lost:
            still_ours()
            began = self._now()
            if room <= 0 or began >= self._until:
                self.not_run(waiting, "share of output" if room <= 0 else "time")
                return
            script = self._script(waiting, language, self._until - began)
            deadline = min(self._until, began + sum(script.steps))
            try:
                most = min(room, self._kit.poll.max_output)
                result = await session.run(script, deadline=deadline, max_bytes=most)
            except TransportError as error:
                if error.code == "unsupported.arguments" and script.arguments and not self._bare:
                    self._bare = True  # nothing was sent; without bookmarks scripts read a window, and that is enough
                    continue
                self._take_parts(error.partial, waiting)
                raise
            room -= result.bytes
            self._take_parts(result.output, waiting)
            if result.state == "completed":
                self.errors = tuple(shown(record.error_id, 200) for record in result.errors[:MOST_ERRORS])
            known = sum(max(0.0, self.results[name].gather_ms) for name in waiting if name in self.results)
            missing = [name for name in waiting if name not in self.results]
            waiting = self._settle(result, missing, deadline - began - known / 1000)

    def _script(self, names: list[str], language: str, left: float) -> Script:
        """The bundle; of the seconds that are left none may use so much that nothing remains for those behind it."""
        script = self._kit.bundle(tuple(names), language)
        steps = (*(min(step, MOST_SHARE * left) for step in script.steps[:-1]), *script.steps[-1:])
        given = {} if self._bare or language != "powershell" else self._arguments(names)
        arguments = ((ARGUMENTS, given),) if given else script.arguments
        return msgspec.structs.replace(script, steps=steps, arguments=arguments)

    def _arguments(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """What each collector's script is given, by the names of its parameters."""
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            manifest = self._kit.collectors[name].manifest
            values = {argument: one.default for argument, one in manifest.arguments.items()}
            if manifest.journal is not None:
                kept = (self._kept(name) or {}).get(journal.KEPT)
                values |= journal.arguments(kept, self._observed_at)
            if values:
                found[name] = values
        return found

    def _kept(self, name: str) -> dict[str, Any] | None:
        """What the last reading left for this one."""
        previous = self._state.collectors.get(name) if self._state else None
        if previous is None or (self._since and previous.at and previous.at < self._since):
            return None
        return kept_counters(previous.result)

    def _settle(self, result: ScriptResult, missing: list[str], ran_s: float) -> list[str]:
        """Give the collectors without a part their fault; returns those that deserve another pipeline.

        `ran_s`: for how long the first of them ran, if the pipeline was stopped at the deadline.
        """
        if not missing:
            return []
        if result.state == "timed_out":
            # The end of the poll says something of a collector only where that had its time, or most of a poll's.
            share = min(self._kit.collectors[missing[0]].manifest.timeout, self._kit.poll.timeout / 2)
            if result.overdue or ran_s >= share:
                self._hung(missing[0], lost=result.broken)
            else:
                self.not_run(missing[:1])
            return missing[1:]
        if result.state == "truncated":
            self.give_up(missing[:1], "output.too_large", "the output of this collector passed the limit")
            return missing[1:]
        if result.state == "stopped" and not self._stopped:
            self._stopped = True  # by somebody on the endpoint; once it is asked again
            return missing
        if not result.errors:
            self.give_up(missing, "output.missing", f"pipeline {result.state} without its part")
            return []
        return self._settle_record(result.errors[-1], missing)

    def _hung(self, name: str, *, lost: bool) -> None:
        """`lost`: it did not heed the stop, and the session is lost with it."""
        how = "could not be stopped" if lost else "was stopped"
        self.give_up([name], "script.timeout", f"this collector did not end in time and {how}")
        if lost:
            self._lost.append(name)

    def acquit(self) -> None:
        """No session could be had after one that was lost: that says more of the endpoint than of a collector."""
        for name in self._lost:
            self.results.pop(name, None)

    def not_run(self, names: Iterable[str], what: str = "time") -> None:
        """These collectors were not asked, and come first in the next poll."""
        message = f"other collectors used up this poll's {what}"
        self.give_up(names, "script.not_reached", message, NOT_REACHED, outcome="not_run")

    def _settle_record(self, record: ErrorRecord, missing: list[str]) -> list[str]:
        """A record ended the pipeline: of the collector that was next, or of all that a poll sends there."""
        verdict = judge(record.error_id, record.category, exception=record.exception, command=self._by_command)
        reason = shown(f"{record.error_id}: {record.message}", 500)
        if verdict.status == words.CONFIG and not self.results:
            raise TransportError(
                reason, code=verdict.code, retry=verdict.retry, hint=verdict.hint, status=verdict.status
            )
        asks = verdict.code == "script.asks"  # the one that asked was stopped; the others did nothing wrong
        for name in missing[:1] if asks else missing:
            self.results[name] = result_of(verdict, reason)
        return missing[1:] if asks else []

    def give_up(
        self, names: Iterable[str], code: str, message: str, hint: str = ALONE, *, outcome: str = "fault"
    ) -> None:
        """These collectors end with a fault."""
        for name in names:
            self.results[name] = CollectorResult(outcome=outcome, fault=Fault(code, "RB", hint, message))

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
        error.sample = text[:EXCERPT]
        name = _WHOSE.match(text)
        if name is not None and name[1] in expected and name[1] not in self.results:
            self.results[name[1]] = CollectorResult(
                outcome="fault", fault=fault_of(error, self._target), bytes=len(text)
            )

    def _take_part(self, part: Part, size: int) -> None:
        self.machine = self.machine or installation(part.machine)
        self._recognise(part.host)
        if part.error is None:
            self.normalize(part.collector, part.document, part.ms, size)
            return
        error = part.error
        failed = result_of(judge(error.id, error.category, error.hresult), shown(str(error), 500))
        self.results[part.collector] = msgspec.structs.replace(failed, gather_ms=part.ms, bytes=size)

    def normalize(self, name: str, document: Mapping[str, Any], gather_ms: float, size: int) -> None:
        """A document becomes this collector's readings, or its fault."""
        if self._heard is not None:
            self._heard(name, document)
        try:
            result = self._normalizers[name].read(document, counters=self._kept(name), observed_at=self._observed_at)
        except OutputError as error:
            result = CollectorResult(outcome="fault", fault=fault_of(error))
        previous = self._state.collectors.get(name) if self._state else None
        found = self._changes(name, previous, result) if previous else ()
        self.results[name] = msgspec.structs.replace(result, gather_ms=gather_ms, bytes=size, changes=found)

    def _changes(self, name: str, previous: CollectorState, result: CollectorResult) -> tuple[Change, ...]:
        """What an inventory tells that the reading before it did not."""
        manifest = self._kit.collectors[name].manifest
        if previous.at is None or not is_inventory(manifest):
            return ()
        try:
            before = _previous.decode(bytes(previous.result))
        except msgspec.DecodeError:  # of an older version, or damaged: then nothing can be compared
            return ()
        return changes(manifest, before, result)


def _nobody(name: str) -> None:
    """Recognises every name."""


def fault_of(error: RmmError, target: Target | None = None) -> Fault:
    """The fault that an error becomes in an observation; of `target`, whose names and secret no sample may show."""
    sample = sample_of(error.sample, target) if target is not None else ""
    return Fault(error.code, error.retry, error.hint, shown(str(error), 500), sample)
