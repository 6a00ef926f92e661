"""One poll of one endpoint: a session, the due collectors in one pipeline, and exactly one observation.

It never raises for what an endpoint does: a failure is an observation with a fault.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from rmm.core import identity, self_telemetry, sessions
from rmm.core.normalize import Normalizer
from rmm.core.reboot import is_rebooting
from rmm.core.resting import build_changed
from rmm.errors import RmmError, TransportError
from rmm.model import observation as words
from rmm.model.endpoint import Endpoint, Target
from rmm.model.identity import Acceptance, Refusal
from rmm.model.observation import Fault, Observation
from rmm.model.state import EndpointState
from rmm.poller.harvest import Harvest, Heard, fault_of
from rmm.poller.kit import SHELL_TRANSPORTS, Kit
from rmm.ports import Session

CLEAN_UP_S = 5.0  # of the poll's time, kept back for stopping a pipeline and deleting the shell ...
CLEAN_UP_SHARE = 0.25  # ... but never more than this part of it
RETRY_PAUSE_S = 0.5
REFUSED_PAUSE_S = (2.0, 5.0)  # a service that restarts is back after some seconds
PROBE_S = 2.0  # for finding out whether WinRM is there at all, after a poll that failed
MOST_TRIES = 6  # of one poll: the retry, then one for each time that a shell is lost again
SHELL_LOST = frozenset({"shell.gone", "shell.aborted"})  # what a memory quota looks like from here


class Visitor:
    """Polls endpoints, one call each; holds what they have in common. `heard` is told each raw document."""

    def __init__(self, kit: Kit, heard: Heard | None = None) -> None:
        self._kit = kit
        self._heard = heard
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

    def accepted(self, endpoint: Endpoint) -> Acceptance | None:
        """The acceptance of another machine that is in force for this endpoint."""
        return identity.in_force(self._kit.accepted.get(endpoint.id), endpoint.name, endpoint.uuid)

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
        waited_s: float = 0.0,
        opened: list[Session] | None = None,
    ) -> Observation:
        """Poll `endpoint` for the collectors in `due`.

        `orphans`: shells of ours may be left there, end them first. `waited_s`: for a place, since its turn came.
        `opened` gets each session: of a visit that is cancelled, they alone say what is left on the endpoint.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._kit.poll.timeout
        run = _Run(
            self._kit, self._normalizers, endpoint, due, state, deadline,
            orphans=orphans, heard=self._heard, accepted=self.accepted(endpoint),
        )  # fmt: skip
        run.sessions = opened if opened is not None else run.sessions
        began = self._kit.clock.monotonic()
        try:
            status, fault = await run.attempt()
            run.tell(fault, took_s=self._kit.clock.monotonic() - began, waited_s=waited_s)
        finally:
            run.harvest.end()
        return Observation(
            endpoint=endpoint.id,
            name=endpoint.name,
            site=endpoint.site,
            shard=shard,
            observed_at=run.observed_at,
            duration_s=round(self._kit.clock.monotonic() - began, 6),
            status=status,
            fault=fault,
            collectors=run.harvest.results,
            epoch=self._kit.epoch,
            seq=seq,
            identity=run.evidence(),
            telemetry=run.telemetry | run.left(),
            errors=run.harvest.errors,
            refused=run.refused,
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
        heard: Heard | None,
        accepted: Acceptance | None,
    ) -> None:
        self.kit = kit
        self.endpoint = endpoint
        self.due = due
        self.state = state
        self.deadline = deadline
        self.observed_at: datetime = kit.clock.now()
        self.identity: dict[str, str] = {}
        self.telemetry: dict[str, float] = {}
        self.orphans = orphans
        self.refused: Refusal | None = None  # another machine answered
        self._normalizers = normalizers
        self._accepted = accepted
        self._in_session = False
        self._tries = 0
        self.sessions: list[Session] = []
        self._clean_up = min(CLEAN_UP_S, CLEAN_UP_SHARE * kit.poll.timeout)
        self.harvest = Harvest(
            kit, normalizers, due, state,
            until=deadline - self._clean_up, observed_at=self.observed_at, recognise=self._check_identity,
            heard=heard, since=accepted.at if accepted else None,
        )  # fmt: skip

    async def attempt(self) -> tuple[str, Fault | None]:
        """The whole poll, with one more try on a fresh connection where the fault says that it can help."""
        had = len(self.harvest.results)
        outcome = await self._once()
        lost, tries = self._in_session, 1
        while self._may_help(outcome, tries, had):
            pause = random.uniform(*REFUSED_PAUSE_S) if outcome and outcome.code == "tcp.refused" else RETRY_PAUSE_S
            if self._left() <= self._clean_up + pause:
                break
            await asyncio.sleep(pause)
            had = len(self.harvest.results)
            outcome = await self._once()
            lost, tries = lost or self._in_session, tries + 1
        if outcome is not None and not self._in_session:
            outcome = self._restarting(outcome, lost_session=lost)
        outcome = self._other_hardware() or outcome
        if outcome is not None:
            self.harvest.acquit()
        if outcome is not None and "availability" in self.due:
            await self._probe(outcome)
        self._availability(outcome)
        if outcome is None:
            self.harvest.not_run(self.harvest.waiting)
            lacking = any(result.outcome in ("fault", "not_run") for result in self.harvest.results.values())
            failed = self.harvest.errors or lacking
            return (words.PARTIAL if failed else words.OK), None
        if outcome.status == words.IDENTITY_MISMATCH:
            self.harvest.results.clear()  # data of another machine is never stored under this endpoint
        return outcome.status, fault_of(outcome, self.kit.target(self.endpoint) if outcome.sample else None)

    def _may_help(self, outcome: RmmError | None, tries: int, had: int) -> bool:
        """Whether another session may bring what this one did not.

        It may where a collector that hangs cost the last one, and once where the fault says so. Further ones are for a
        shell that is lost again: without the collectors that it has read meanwhile it may live, and when it had read
        none, without the one at which it was lost.
        """
        if outcome is None:
            return bool(self.harvest.waiting) and tries < MOST_TRIES
        if outcome.retry != "R1" or tries == 1 or outcome.code not in SHELL_LOST:
            return outcome.retry == "R1" and tries == 1
        if len(self.harvest.results) == had:
            waiting = self.harvest.waiting
            if not self.harvest.results or not waiting:
                return False
            text = f"the endpoint ended the shell while this collector ran: {outcome}"
            self.harvest.give_up(
                waiting[:1], "quota.shell", text, "Is MaxMemoryPerShellMB too small there? rmm never raises it."
            )
        return tries < MOST_TRIES

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
        self._tries += 1
        try:
            target = self._target()
            transport = self.kit.transport(target.transport)
            # The transport keeps the deadline itself; this bounds a defect in one.
            async with asyncio.timeout_at(self.deadline + 2 * CLEAN_UP_S):
                async with transport.session(target, deadline=self.deadline) as session:
                    self._in_session = True
                    self.sessions.append(session)
                    try:
                        await self._collect(session, target)
                        if target.transport in SHELL_TRANSPORTS and "name" in self.identity and self.harvest.language:
                            self.identity["language"] = self.harvest.language
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

    async def _collect(self, session: Session, target: Target) -> None:
        try:
            self._check_identity(session.peer.get("netbios", ""))
            await self.harvest.collect(session, target)
            await self._check_installation(session, target)
        except TransportError:
            if self.refused is not None and "hardware" in self.kit.collectors:
                await self._look(session, target)
            raise

    async def _look(self, session: Session, target: Target) -> None:
        """Read which machine it is that has the wrong name: a person who accepts it, accepts this one and no other."""
        look = Harvest(
            self.kit, self._normalizers, ["hardware"], None,
            until=self.deadline - self._clean_up, observed_at=self.observed_at, recognise=lambda name: None,
        )  # fmt: skip
        with contextlib.suppress(RmmError):
            await look.collect(session, target)
        assert self.refused is not None
        found = identity.evidence_of("", look.machine, look.results.get("hardware"))
        self.refused = msgspec.structs.replace(self.refused, seen=self.refused.seen | found)

    def evidence(self) -> dict[str, str]:
        """What is kept of the identity. The newest takes the place of all that was known, so it has that too."""
        if not self.identity or self.refused is not None:
            return {}  # another machine's tells nothing of this one; without any, what is known is kept
        known = self.state.identity if self.state else {}
        return {key: known[key] for key in ("name", "language", "machine") if key in known} | self.identity

    def left(self) -> dict[str, float]:
        """How many shells of ours are on the endpoint after all; nothing where there are none."""
        count = shells_left(self.sessions)
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
        self.identity |= build_changed(self.state, self.harvest.results.get("os"), self.observed_at)
        self.identity |= sessions.remember(known, peer, self.observed_at, opened="open_ms" in self.telemetry)

    def _check_identity(self, seen: str) -> None:
        known = self.state.identity if self.state else {}
        reason = identity.mismatch(self.endpoint.name, known, {"name": seen}, self._accepted)
        if reason:
            hint = "DNS or DHCP gave this address to another machine, or the name was changed; nothing was stored. "
            hint += f"If this machine is right: `rmm endpoints accept {self.endpoint.id}`."
            raise self._refused(reason, hint, identity.evidence_of(seen, self.harvest.machine, None))
        if seen:
            self.identity["name"] = seen

    async def _check_installation(self, session: Session, target: Target) -> None:
        known = self.state.identity if self.state else {}
        hardware = self.state.collectors.get("hardware") if self.state else None
        another = identity.another_board(self.endpoint.uuid, self.harvest.uuid, hardware)
        if another or identity.must_show_hardware(known, self.harvest.machine):
            await self.harvest.also("hardware", session, target)
        if self.harvest.machine and "name" in self.identity:
            self.identity["machine"] = self.harvest.machine

    def _other_hardware(self) -> TransportError | None:
        """The machine has the right name and is another one: set up anew under an old name, or a clone."""
        known = self.state.collectors.get("hardware") if self.state else None
        result, stored_at = self.harvest.results.get("hardware"), self.state.identity_at if self.state else None
        reason = identity.hardware_mismatch(self.endpoint.uuid, known, result, self._accepted)
        reason = reason or identity.unproved(self._accepted, stored_at, self.harvest.machine, result)
        if not reason:
            return None
        hint = (
            f"Was it replaced? `rmm endpoints accept {self.endpoint.id}` accepts this machine (or write its UUID "
            "into the column Uuid of the endpoint list); nothing was stored."
        )
        name = self.identity.get("name", "")
        return self._refused(reason, hint, identity.evidence_of(name, self.harvest.machine, result))

    def _refused(self, reason: str, hint: str, seen: dict[str, str]) -> TransportError:
        state, endpoint = self.state, self.endpoint
        known, hardware = (state.identity, state.collectors.get("hardware")) if state else ({}, None)
        self.refused = identity.refusal(endpoint.name, endpoint.uuid, known, hardware, seen, self._accepted)
        return TransportError(reason, code="identity.mismatch", status=words.IDENTITY_MISMATCH, retry="RH", hint=hint)

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
            seen = await self.kit.identify(target, asyncio.get_running_loop().time() + PROBE_S)
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
        self.harvest.normalize("availability", document, 0.0, 0)

    def tell(self, fault: Fault | None, *, took_s: float, waited_s: float) -> None:
        """The reading of the collector `self`, which a poll that failed has too."""
        if self_telemetry.NAME not in self.due:
            return
        told = self_telemetry.document(
            self.harvest.results.values(),
            [session.telemetry for session in self.sessions],
            fault,
            total_ms=took_s * 1000.0,
            queue_wait_ms=waited_s * 1000.0,
            tries=self._tries,
            shortest_s=min(self.kit.intervals.get(name, 0) or 86_400 for name in self.due),
        )
        self.harvest.normalize(self_telemetry.NAME, told, 0.0, 0)


def shells_left(sessions: Sequence[Session]) -> float:
    """How many shells of ours these sessions have left on their endpoint."""
    return sum(session.telemetry.get("shells_left", 0.0) for session in sessions)


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
