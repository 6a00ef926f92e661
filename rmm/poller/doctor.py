"""The ladder of one endpoint: name, TCP, TLS, HTTP, logon, shell, each collector; each with its time and its remedy."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator

import msgspec

from rmm.errors import RmmError
from rmm.model.endpoint import Credential, Endpoint, Target
from rmm.poller.probe import context_of, identify, is_winrm, server_name
from rmm.poller.visit import SHELL_TRANSPORTS, Kit, Visitor
from rmm.ports import Script

STEP_S = 10.0


class Step(msgspec.Struct, frozen=True):
    """One rung: `verdict` is ok, failed or skipped; `detail` what was seen; `fix` what to do."""

    name: str
    verdict: str
    ms: float = 0.0
    detail: str = ""
    fix: str = ""
    code: str = ""


async def ladder(kit: Kit, endpoint: Endpoint) -> AsyncIterator[Step]:
    """Climb until a rung breaks; what is above it is not tried."""
    target = kit.target(endpoint)
    began = time.perf_counter()
    try:
        found = await asyncio.wait_for(
            asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM), STEP_S
        )
    except (OSError, TimeoutError, UnicodeError) as error:
        yield _failed(
            "name",
            began,
            f"{target.host}: {error}",
            "Is it in DNS? Set IPAddress in the endpoint list otherwise.",
            "dns.unknown",
        )
        return
    address = str(found[0][4][0])
    yield _ok("name", began, f"{target.host} is {address}")
    async for step in _connect(target, address):
        yield step
        if step.verdict == "failed":
            return
    async for step in _session(kit, endpoint, target):
        yield step


async def _connect(target: Target, address: str) -> AsyncIterator[Step]:
    began = time.perf_counter()
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, target.port), STEP_S)
    except (OSError, TimeoutError) as error:
        reason = (
            "no answer: a firewall drops the packets, or the machine is off"
            if isinstance(error, TimeoutError)
            else str(error)
        )
        yield _failed(
            "tcp",
            began,
            reason,
            "Is the machine on, WinRM running (winrm quickconfig), the port open?",
            "tcp.unreachable",
        )
        return
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    yield _ok("tcp", began, f"port {target.port} accepts connections")
    if target.scheme == "https" and target.transport not in SHELL_TRANSPORTS:
        yield await _tls(target, address)
    if target.transport not in SHELL_TRANSPORTS:
        yield await _identify(target)


async def _tls(target: Target, address: str) -> Step:
    began = time.perf_counter()
    fix = "Check the endpoint's certificate; name a private CA with `ca_file` for the site."
    try:
        context = context_of(target)
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(address, target.port, ssl=context, server_hostname=server_name(target)), STEP_S
        )
    except (OSError, TimeoutError) as error:
        return _failed("tls", began, str(error) or "no handshake in time", fix, "tls")
    channel = writer.get_extra_info("ssl_object")
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return _ok("tls", began, f"{channel.version()}, certificate valid until {certificate.get('notAfter', '?')}")


async def _identify(target: Target) -> Step:
    """Says that it is WinRM, and needs no logon."""
    began = time.perf_counter()
    fix = "Something other than WinRM listens here: check port and scheme."
    try:
        data = (await identify(target, STEP_S))[2]
    except (OSError, TimeoutError) as error:
        return _failed("http", began, str(error) or "no answer in time", fix, "http.garbage")
    if not is_winrm(data):
        line = data.split(b"\r\n", 1)[0][:80].decode("latin-1")
        return _failed("http", began, f"not WinRM: {line}", fix, "http.not_winrm")
    version = data.partition(b"ProductVersion>")[2].partition(b"<")[0][:80].decode("utf-8", "replace")
    return _ok("http", began, f"WinRM, {version}" if version else "WinRM")


async def _session(kit: Kit, endpoint: Endpoint, target: Target) -> AsyncIterator[Step]:
    loop = asyncio.get_running_loop()
    transport = kit.transport(target.transport)
    began = time.perf_counter()
    deadline = loop.time() + kit.poll.timeout
    stage = "logon"
    try:
        async with transport.session(target, deadline=deadline) as session:
            way = "ssh" if target.transport in SHELL_TRANSPORTS else target.auth
            yield _ok("logon", began, f"{target.credential.username} by {way}")
            language = session.language
            stage, began = "shell", time.perf_counter()
            if target.transport != "wql":
                result = await session.run(Script(_HELLO[language], language=language), deadline=deadline)
                seen = " ".join(str(item) for item in result.output)[:200]
                if result.state != "completed":
                    error = result.errors[-1] if result.errors else None
                    yield _failed(
                        "shell",
                        began,
                        f"{result.state}: {error.message if error else ''}",
                        "See the error record.",
                        "script.failed",
                    )
                    return
                yield _ok("shell", began, seen)
            stage = "collectors"
    except RmmError as error:
        yield _failed(stage, began, str(error), error.hint, error.code)
        return
    async for step in _collectors(kit, endpoint, target):
        yield step


_HELLO = {
    "powershell": "$env:COMPUTERNAME",
    "sh": "uname -sr",
}


async def _collectors(kit: Kit, endpoint: Endpoint, target: Target) -> AsyncIterator[Step]:
    """Each collector in a poll of its own, so that its time is its own."""
    visitor = Visitor(kit)
    for name in visitor.intervals(endpoint, target.transport):
        if kit.collectors[name].session_free:
            continue
        began = time.perf_counter()
        observation = await visitor.visit(endpoint, 0, 0, [name], None)
        result = observation.collectors.get(name)
        fault = observation.fault or (result.fault if result else None)
        if fault is not None:
            yield _failed(name, began, fault.message or fault.code, fault.hint, fault.code)
        elif result is None:
            yield Step(name, "skipped")
        else:
            notes = ", ".join(sorted(set(result.notes.values()) - {"no_data_yet"}))
            detail = f"{result.outcome}, {len(result.readings)} rows, {result.bytes} bytes" + (
                f"; {notes}" if notes else ""
            )
            yield _ok(name, began, detail)


async def logon(kit: Kit, endpoint: Endpoint, credential: Credential) -> RmmError | None:
    """One logon with this credential; the error that it met, or None."""
    target = msgspec.structs.replace(kit.target(endpoint), credential=credential, session="new")
    try:
        transport = kit.transport(target.transport)
        async with transport.session(target, deadline=asyncio.get_running_loop().time() + kit.poll.timeout):
            return None
    except RmmError as error:
        return error


def _ok(name: str, began: float, detail: str) -> Step:
    return Step(name, "ok", _since(began), detail)


def _failed(name: str, began: float, detail: str, fix: str, code: str) -> Step:
    return Step(name, "failed", _since(began), detail, fix, code)


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 1)
