"""WS-Identify (DSP0226 11): whether WinRM answers at all. No session, no logon, nothing secret."""

from __future__ import annotations

import time

from rmm.model.endpoint import Target
from rmm.ports import Identified
from rmm.transports.winrm.http import Response
from rmm.transports.winrm.network import open_connection

_BODY = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    b'xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    b"<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)
_KIND = b"Content-Type: application/soap+xml;charset=UTF-8\r\n"


def head_of(target: Target) -> bytes:
    """Request line and constant headers of a request that nobody is logged on for."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return (
        f"POST /wsman HTTP/1.1\r\nHost: {host}:{target.port}\r\nConnection: Keep-Alive\r\nUser-Agent: rmm\r\n"
        "Accept-Encoding: identity\r\n"
    ).encode("ascii", "replace")


async def ask(target: Target, deadline: float) -> tuple[Identified, Response]:
    """Ask on a connection of its own, resolved and verified as a poll's. Raises TransportError."""
    began = time.perf_counter()
    connection = await open_connection(target, deadline)
    connected = time.perf_counter()
    try:
        head = head_of(target) + b"WSMANIDENTIFY: unauthenticated\r\n" + _KIND
        response = await connection.request(head, _BODY, deadline)
    finally:
        connection.abort()
    ended = time.perf_counter()
    version = response.body.partition(b"ProductVersion>")[2].partition(b"<")[0][:80].decode("utf-8", "replace")
    return (
        Identified(
            connect_ms=round((connected - began) * 1000, 3),
            answer_ms=round((ended - connected) * 1000, 3),
            winrm=b"IdentifyResponse" in response.body,
            version=version,
            status=response.status,
            date=response.headers.get("date", "")[:64],
        ),
        response,
    )


async def identify(target: Target, deadline: float) -> Identified:
    """As `ask`, without the answer itself."""
    return (await ask(target, deadline))[0]
