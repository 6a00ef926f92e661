"""The ladder of one endpoint, climbed: each rung with its time, verdict and remedy; then rights and collectors.

A rung that fails stops what needs it; what does not need it goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from rmm.core.rights import ABSENT, DENIED, EMPTY, NOT_TRIED, READABLE, Survey
from rmm.errors import RmmError
from rmm.model.endpoint import Credential, Endpoint
from rmm.poller.kit import SHELL_TRANSPORTS, Kit
from rmm.poller.rights import survey
from rmm.poller.visit import Visitor
from rmm.ports import Look, Rung

LEAST_S = 20.0  # for a rung, where polls have less
WORDS = (READABLE, DENIED, EMPTY, ABSENT, NOT_TRIED)


class Step(msgspec.Struct, frozen=True):
    """One rung: `verdict` is ok, warning, failed or skipped; `detail` what was seen; `fix` what to do."""

    name: str
    verdict: str
    ms: float = 0.0
    detail: str = ""
    fix: str = ""
    code: str = ""
    facts: Mapping[str, Any] = {}
    collector: bool = False  # a collector's; one may have the name of a rung


async def climb(kit: Kit, endpoint: Endpoint) -> AsyncIterator[Step]:
    """Climb as far as it goes."""
    target = kit.target(endpoint)
    ladder = kit.ladder(target)
    verdicts: dict[str, Step] = {}
    try:
        for rung in ladder.rungs:
            step = _missing(rung, verdicts) or await _tried(rung, max(LEAST_S, kit.poll.timeout))
            verdicts[rung.name] = step
            yield step
    finally:
        await ladder.aclose()
    async for step in _behind(kit, endpoint, verdicts):
        yield step


async def _behind(kit: Kit, endpoint: Endpoint, verdicts: Mapping[str, Step]) -> AsyncIterator[Step]:
    """Rights and collectors, each in sessions of their own, so that their times are their own."""
    target = kit.target(endpoint)
    names = [name for name in _collectors(kit, endpoint) if not kit.collectors[name].session_free]
    # What is read by WQL needs no shell, and some of it may be.
    needs = ("authentication",) if target.source == "wql" else ("authentication", "shell")
    missing = _missing(Rung("", _nothing, needs), verdicts)
    if missing is not None and missing.code == "needs":
        shown = ("rights", *names) if target.transport not in SHELL_TRANSPORTS else names
        for name in shown:
            yield msgspec.structs.replace(missing, name=name, collector=name != "rights")
        return
    if target.transport not in SHELL_TRANSPORTS:

        async def look(deadline: float) -> Look:
            return _told(await survey(kit, endpoint, deadline))

        yield await _tried(Rung("rights", look), max(LEAST_S, kit.poll.timeout))
    visitor = Visitor(kit)
    for name in names:
        yield msgspec.structs.replace(await _collector(visitor, endpoint, name), collector=True)


async def _nothing(deadline: float) -> Look:
    return Look("")


def _collectors(kit: Kit, endpoint: Endpoint) -> list[str]:
    return list(Visitor(kit).intervals(endpoint, kit.target(endpoint).transport))


def _missing(rung: Rung, verdicts: Mapping[str, Step]) -> Step | None:
    """The rung that this one needs and that was not climbed. A rung that does not apply here is no obstacle."""
    for name in rung.needs:
        below = verdicts[name]
        if below.verdict == "failed":
            return Step(rung.name, "skipped", detail=f"needs {name}", code="needs")
        if below.code == "needs":  # the rung that broke is what people want to hear of
            return Step(rung.name, "skipped", detail=below.detail, code="needs")
        if below.verdict == "skipped" and name == "shell":
            return Step(rung.name, "skipped", detail=below.detail)
    return None


async def _tried(rung: Rung, seconds: float) -> Step:
    began = time.perf_counter()
    try:
        look = await rung.look(asyncio.get_running_loop().time() + seconds)
    except RmmError as error:
        look = Look(str(error), "failed", error.hint, error.code)
    return Step(rung.name, look.verdict, _since(began), look.detail, look.fix, look.code, look.facts)


def _told(found: Survey) -> Look:
    """The survey of rights in one line."""
    counts = {verdict: len(found.having(verdict)) for verdict in WORDS}
    detail = ", ".join(f"{count} sources {verdict}" for verdict, count in counts.items() if count)
    denied = [*found.having(DENIED), *found.having(EMPTY)]
    if not denied:
        return Look(detail or "no source to try", facts=counts)
    names = ", ".join(row.source for row in denied[:5])
    fix = f"Not to be read: {names}. `rmm doctor ENDPOINT --rights` says which group or permission grants each."
    return Look(detail, "warning", fix, "access.denied", counts)


async def _collector(visitor: Visitor, endpoint: Endpoint, name: str) -> Step:
    began = time.perf_counter()
    observation = await visitor.visit(endpoint, 0, 0, [name], None)
    result = observation.collectors.get(name)
    lacking = result is not None and result.outcome == "unsupported"
    fault = observation.fault or (result.fault if result and not lacking else None)
    if fault is not None:
        beside = {"sample": fault.sample} if fault.sample else {}
        return Step(name, "failed", _since(began), fault.message or fault.code, fault.hint, fault.code, beside)
    if result is None:
        return Step(name, "skipped", _since(began))
    facts: dict[str, Any] = {
        "outcome": result.outcome,
        "rows": len(result.readings),
        "bytes": result.bytes,
        "gather_ms": result.gather_ms,
        "requests": observation.telemetry.get("requests"),
    }
    unknown = int(observation.telemetry.get("unknown_messages", 0))
    notes = ", ".join(sorted(set(result.notes.values()) - {"no_data_yet"}))
    detail = f"{result.outcome}, {len(result.readings)} rows, {result.bytes} bytes, {result.gather_ms:.0f} ms there"
    if unknown:
        facts["unknown_messages"] = unknown
        detail += f"; {unknown} PowerShell messages of unknown types were skipped"
    if result.outcome == "unsupported":
        return Step(name, "skipped", _since(began), "this transport or endpoint cannot give it", facts=facts)
    return Step(name, "ok", _since(began), detail + (f"; {notes}" if notes else ""), facts=facts)


async def logon(kit: Kit, endpoint: Endpoint, credential: Credential) -> RmmError | None:
    """One logon with this credential; the error that it met, or None."""
    target = msgspec.structs.replace(kit.target(endpoint), credential=credential, session="new")
    try:
        transport = kit.transport(target.transport)
        async with transport.session(target, deadline=asyncio.get_running_loop().time() + kit.poll.timeout):
            return None
    except RmmError as error:
        return error


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
