"""A way through an HTTP proxy: CONNECT (RFC 9110 9.3.6), joined to one connection on loopback.

The client of the broker knows no proxies, so it is given a port of this process. What it says goes through unread: its
TLS ends at the broker, whose name it still checks. For WebSocket the TLS is made here (`tls`), with the same checks.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote, urlsplit

from rmm.errors import BusError

MOST_HEADER = 16 << 10  # of the proxy's answer
CHUNK = 64 << 10

_HINT = (
    "Check `--proxy http://[USER@]HOST:PORT` of `rmm site enroll`, later `forward.proxy` in site.yaml; the proxy must "
    "allow CONNECT to the broker's port."
)
_ACCOUNT = (
    "It wants user and password: `rmm site enroll --proxy http://USER@HOST:PORT` asks for the password; later, `rmm "
    "credentials set NAME --username USER`, and `forward: {proxy_login: {vault: NAME}}` in site.yaml."
)


class Tunnel:
    """One connection through a proxy, waiting at `port` of loopback for the one who uses it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._server: asyncio.Server | None = None
        self._pump: asyncio.Task[None] | None = None
        self.port = 0

    @classmethod
    async def open(cls, proxy: str, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> Tunnel:
        """Through the proxy to the broker. Raises BusError (bus.proxy, bus.tls); the caller has the deadline."""
        reader, writer = await _connected(proxy, host, port)
        tunnel = cls(reader, writer)
        try:
            if tls is not None:
                await _secure(writer, tls, host)
            tunnel._server = await asyncio.start_server(tunnel._accept, "127.0.0.1", 0, limit=CHUNK)
        except BaseException:
            await tunnel.aclose()
            raise
        tunnel.port = tunnel._server.sockets[0].getsockname()[1]
        return tunnel

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The first who comes has the tunnel, and there is no second."""
        if self._pump is not None or self._server is None:
            writer.close()
            return
        self._server.close()
        self._pump = asyncio.create_task(self._join(reader, writer))

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_until_end(_copy(reader, self._writer)))
                group.create_task(_until_end(_copy(self._reader, writer)))
        except* _Ended:
            pass
        finally:
            for one in (writer, self._writer):
                one.transport.abort()

    async def aclose(self) -> None:
        """Close all of it. Idempotent."""
        if self._server is not None:
            self._server.close()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
        self._writer.transport.abort()
        await asyncio.sleep(0)  # it is closed then


class _Ended(Exception):
    """One side has closed: the other side's copying ends too."""


async def _until_end(copying: Coroutine[Any, Any, None]) -> None:
    with contextlib.suppress(OSError):
        await copying
    raise _Ended


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()


async def _connected(proxy: str, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        parts = urlsplit(proxy)
        where = (parts.hostname or "", parts.port or 8080)
    except ValueError:
        parts, where = urlsplit(""), ("", 0)
    if parts.scheme != "http" or not where[0]:
        raise BusError("the proxy is not http://host:port", code="bus.proxy", hint=_HINT)
    try:
        reader, writer = await asyncio.open_connection(*where, limit=MOST_HEADER)
    except OSError as error:
        raise BusError(f"the proxy {where[0]}:{where[1]}: {error}", code="bus.proxy", hint=_HINT) from error
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}")  # RFC 7617
    try:
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        _check(await reader.readuntil(b"\r\n\r\n"), authority)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        writer.transport.abort()
        raise BusError("the proxy gave no answer of HTTP", code="bus.proxy", hint=_HINT) from error
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


def _check(answer: bytes, authority: str) -> None:
    """BusError, unless the answer is 2xx."""
    status = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    if len(status) < 2 or not status[0].startswith("HTTP/1.") or not status[1].isdigit():
        raise BusError("the proxy gave no answer of HTTP", code="bus.proxy", hint=_HINT)
    if status[1].startswith("2"):
        return
    reason = "".join(c for c in " ".join(status[1:])[:80] if c.isprintable())
    hint = _ACCOUNT if status[1] == "407" else _HINT
    raise BusError(f"the proxy refuses {authority}: {reason}", code="bus.proxy", hint=hint)


async def _secure(writer: asyncio.StreamWriter, tls: ssl.SSLContext, host: str) -> None:
    try:
        await writer.start_tls(tls, server_hostname=host)
    except (OSError, ssl.CertificateError) as error:
        raise BusError(f"TLS to {host} through the proxy: {error}", code="bus.tls") from error
