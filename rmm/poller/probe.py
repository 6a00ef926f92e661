"""WS-Identify (DSP0226 11): whether WinRM answers at all. No session, no logon, nothing secret."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time

from rmm.model.endpoint import Target

IDENTIFY = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    b'xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    b"<s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>"
)
MOST = 65_536


def context_of(target: Target) -> ssl.SSLContext | None:
    """The verifying TLS context of a target; None without TLS."""
    return ssl.create_default_context(cafile=target.ca_file or None) if target.scheme == "https" else None


def server_name(target: Target) -> str | None:
    """The name that the certificate must carry; None without TLS."""
    if target.scheme != "https":
        return None
    return target.name if "." in target.name else target.host


async def identify(target: Target, seconds: float) -> tuple[float, float, bytes]:
    """(ms to connect, TLS included; ms to the answer; the answer, whatever it is).

    Raises:
        OSError, TimeoutError: no connection, or no whole answer within `seconds`.
    """
    head = (
        f"POST /wsman HTTP/1.1\r\nHost: {target.host}:{target.port}\r\nWSMANIDENTIFY: unauthenticated\r\n"
        f"Content-Type: application/soap+xml;charset=UTF-8\r\nContent-Length: {len(IDENTIFY)}\r\n"
        "Connection: close\r\n\r\n"
    )
    began = time.perf_counter()
    async with asyncio.timeout(seconds):
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=context_of(target), server_hostname=server_name(target)
        )
        connected = time.perf_counter()
        try:
            writer.write(head.encode() + IDENTIFY)
            data = await reader.read(MOST)
            while b"</s:Envelope>" not in data and len(data) < MOST and (more := await reader.read(MOST)):
                data += more
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    return (connected - began) * 1000, (time.perf_counter() - connected) * 1000, data


def is_winrm(answer: bytes) -> bool:
    """Whether this is what WinRM says to Identify."""
    return b"IdentifyResponse" in answer
