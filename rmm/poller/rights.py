"""Tries on an endpoint what collectors read there: by one script, or query by query where scripts are not allowed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import msgspec

from rmm.core import rights
from rmm.core.rights import Place, Seen, Survey
from rmm.errors import TransportError, UnsupportedError
from rmm.model.endpoint import Endpoint
from rmm.model.observation import ACCESS_DENIED, UNSUPPORTED
from rmm.poller.kit import SHELL_TRANSPORTS, Kit
from rmm.ports import ScriptResult, Session

MOST_BYTES = 1 << 20


class _Line(msgspec.Struct):
    """What the script writes for one place."""

    place: str
    instances: int = 0
    id: str = ""
    category: str = ""
    hresult: int = 0


_decoder = msgspec.json.Decoder(_Line)


async def survey(kit: Kit, endpoint: Endpoint, deadline: float) -> Survey:
    """Every place that a collector of this endpoint needs. Raises TransportError when there is no session."""
    target = kit.target(endpoint)
    needed = rights.places(one for one in kit.collectors.values() if one.windows and not one.session_free)
    tried = [place for place in needed if place.kind != "script"]
    seen: dict[Place, Seen] = {}
    way = "wql" if target.transport == "wql" else "script"
    async with kit.transport(target.transport).session(target, deadline=deadline) as session:
        if session.language != "powershell":
            raise _unsupported(f"{endpoint.name} is read by a POSIX shell")
        if way == "script":
            script = msgspec.structs.replace(
                kit.rights, arguments=(("Places", "\n".join(place.line for place in tried)),)
            )
            seen = _read(await session.run(script, deadline=deadline, max_bytes=MOST_BYTES), tried)
        if not seen and target.transport in SHELL_TRANSPORTS:
            raise _unsupported(f"PowerShell on {endpoint.name} runs no script, and over {target.transport} is no WQL")
        if not seen:
            way = "wql"
            seen = await _by_queries(session, tried, deadline)
    return rights.survey(needed, seen, way)


def _unsupported(why: str) -> UnsupportedError:
    hint = "What an account may read there shows in the collectors' own faults: run `rmm doctor` without --rights."
    return UnsupportedError(f"rights cannot be surveyed: {why}", code="unsupported.rights", hint=hint)


def _read(result: ScriptResult, tried: Iterable[Place]) -> dict[Place, Seen]:
    """What the script wrote; nothing where it was not allowed to run."""
    known = {place.line: place for place in tried}
    seen: dict[Place, Seen] = {}
    for output in result.output:
        try:
            line = _decoder.decode(output if isinstance(output, str) else "")
        except msgspec.DecodeError:
            continue
        if line.place in known:
            missing = line.id.startswith("CommandNotFoundException")  # the cmdlet, not the place
            seen[known[line.place]] = Seen(
                line.id[:200], line.category[:60], line.hresult, line.instances, tried=not missing
            )
    return seen


async def _by_queries(session: Session, tried: Iterable[Place], deadline: float) -> dict[Place, Seen]:
    """WMI alone: the registry is out of reach without a script."""
    seen: dict[Place, Seen] = {}
    for place in tried:
        if place.kind != "wmi" or asyncio.get_running_loop().time() > deadline:
            continue
        try:
            wql = f"SELECT * FROM {place.name}"  # noqa: S608 - a class name out of a checked manifest
            rows = await session.query(wql, namespace=place.place, deadline=deadline)
        except TransportError as error:
            if error.status not in (ACCESS_DENIED, UNSUPPORTED):
                raise
            denied = error.status == ACCESS_DENIED
            seen[place] = Seen(error.code, category="PermissionDenied" if denied else "ObjectNotFound")
        else:
            seen[place] = Seen(instances=len(rows))
    return seen
