"""The rung HTTP, and what an endpoint says of itself before anybody is logged on: schemes, names, time."""

from __future__ import annotations

import base64
import binascii
import struct
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from rmm.errors import ProtocolError, TransportError
from rmm.model.endpoint import Target
from rmm.ports import Look
from rmm.transports.winrm.auth import target_names
from rmm.transports.winrm.http import Response
from rmm.transports.winrm.identify import ask, head_of
from rmm.transports.winrm.network import open_connection
from rmm.transports.winrm.rejection import status_error
from rmm.transports.winrm.wsman import RECORDER

CLOCK_S = 60.0  # a difference that is worth a word
KERBEROS_S = 300.0  # ... and the one that Kerberos does not take: RFC 4120 5.9.1, and Windows' default
_FILETIME_EPOCH = 11_644_473_600  # seconds from 1601 to 1970
_TIMESTAMP = 7  # MsvAvTimestamp, [MS-NLMP] 2.2.2.1
# NEGOTIATE_MESSAGE ([MS-NLMP] 2.2.1.1) without names: Unicode, OEM, request target, NTLM, always sign, extended
# session security, 128 and 56 bits. It holds nothing of any account.
_HELLO = b"NTLMSSP\x00" + struct.pack("<II16x8x", 1, 0xA0088207)
NEEDED = {
    "ntlm": ("negotiate",), "negotiate": ("negotiate",), "kerberos": ("negotiate", "kerberos"), "basic": ("basic",),
    "credssp": ("credssp",), "certificate": (),
}  # fmt: skip


async def http(target: Target, deadline: float) -> Look:
    """WS-Identify, then a request without a token: which schemes are offered."""
    recorder = RECORDER.get()
    seen, response = await ask(target, deadline)
    if recorder is not None:
        recorder.identified(response.status, response.headers, response.body)
    if not seen.winrm and response.status != 401:
        raise _not_winrm(response)
    bare = await _bare(target, deadline)
    schemes = offered(bare)
    if recorder is not None:
        recorder.offered(bare.status, bare.headers, schemes)
    skew = clock_of(seen.date)
    facts: dict[str, Any] = {"version": seen.version, "schemes": schemes, "clock_s": skew}
    told = f"WinRM, {seen.version}" if seen.version else "WinRM" if seen.winrm else "Identify asks for a logon"
    clock = f", its clock is {skew:+.0f} s from ours" if skew is not None and abs(skew) > CLOCK_S else ""
    detail = f"{told}; offers {', '.join(schemes) or 'no scheme'}{clock}"
    needed = NEEDED.get(target.auth, ())
    if needed and not {scheme.lower() for scheme in schemes} & set(needed):
        fix = (
            f"auth: {target.auth} needs {needed[0].capitalize()} among them: set `auth` of the site, or turn it on "
            "there (winrm get winrm/config/service/auth)."
        )
        return Look(detail, "warning", fix, "auth.scheme", facts)
    return Look(detail, facts=facts)


def _not_winrm(response: Response) -> TransportError:
    if response.status not in (200, 500):
        return status_error(response)
    kind = response.headers.get("content-type", "nothing")[:60]
    fix = "Something other than WinRM listens here: check port and scheme. Nothing secret was sent to it."
    return ProtocolError(f"not WinRM: HTTP {response.status} with {kind}", code="http.not_winrm", retry="R0", hint=fix)


async def _bare(target: Target, deadline: float, extra: bytes = b"") -> Response:
    connection = await open_connection(target, deadline)
    try:
        return await connection.request(head_of(target) + extra, b"", deadline)
    finally:
        connection.abort()


def _offers(response: Response) -> list[str]:
    return [line.strip() for line in response.headers.get("www-authenticate", "").split("\n") if line.strip()]


def offered(response: Response) -> list[str]:
    """The names of the schemes in a 401, at most ten."""
    return [offer.split(" ")[0][:40] for offer in _offers(response)[:10]]


def clock_of(date: str) -> float | None:
    """Seconds by which an HTTP Date is ahead of this computer; None where there is none. It counts whole seconds."""
    try:
        return round(parsedate_to_datetime(date).timestamp() - time.time(), 1) if date else None
    except (ValueError, TypeError, OverflowError):
        return None


async def challenge(target: Target, deadline: float) -> dict[str, Any]:
    """What an NTLM challenge says: netbios, dns, domain, clock_s. Empty where NTLM is not answered; nothing is spent.

    A logon's first leg carries no proof, so this cannot be a bad logon.
    """
    token = base64.b64encode(_HELLO)
    response = await _bare(target, deadline, b"Authorization: Negotiate %b\r\n" % token)
    for offer in _offers(response):
        scheme, _, text = offer.partition(" ")
        if scheme.lower() in ("negotiate", "ntlm") and text:
            try:
                data = base64.b64decode(text.strip(), validate=True)
            except binascii.Error:
                return {}
            return {**target_names(data), **_time_of(data)}
    return {}


def _time_of(challenge_message: bytes) -> dict[str, float]:
    """The timestamp of a CHALLENGE_MESSAGE ([MS-NLMP] 2.2.1.2): hostile input, so every length is checked."""
    if len(challenge_message) < 48:
        return {}
    size, _, start = struct.unpack_from("<HHI", challenge_message, 40)
    data = challenge_message[start : start + size]
    at = 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from("<HH", data, at)
        if kind == _TIMESTAMP and length == 8 and at + 12 <= len(data):
            ticks = int(struct.unpack_from("<Q", data, at + 4)[0])
            return {"clock_s": round(ticks / 10_000_000 - _FILETIME_EPOCH - datetime.now(UTC).timestamp(), 1)}
        at += 4 + length
    return {}
