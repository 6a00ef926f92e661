"""CredSSP on the machine's side ([MS-CSSP]): TLS inside HTTP headers, NTLM inside that, and then the password itself.

pyspnego's acceptor does it. A refusal tells why by an NTSTATUS, which NTLM alone never does.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from spnego._credssp import CredSSPProxy
from spnego._ntlm_raw.messages import Authenticate
from spnego.exceptions import SpnegoError

LOGON_FAILURE = 0xC000006D
STATUS = {
    "wrong": 0xC000006A,
    "locked": 0xC0000234,
    "expired": 0xC0000071,
    "must_change": 0xC0000224,
    "disabled": 0xC0000072,
    "hours": 0xC000006F,
    "workstation": 0xC0000070,
}
MULTIPLE = "multipart/x-multi-encrypted"  # of messages beyond 16 KB, a part for each 16 KB ([MS-WSMV] 2.2.9.1)
_PROOF = b"NTLMSSP\x00\x03\x00\x00\x00"
_MARK = b"Content-Type: application/octet-stream\r\n"
_BOUNDARY = b"--Encrypted Boundary"


class _RefusedError(SpnegoError):
    """A refusal with the NTSTATUS that goes into the TSRequest."""

    _BASE_MESSAGE = "refused"

    @property
    def nt_status(self) -> int:
        return int(self._error_code or LOGON_FAILURE)


class _Negotiate:
    """The context inside, whose every failure becomes a status."""

    def __init__(self, inner: Any, status_of: Callable[[str], int]) -> None:
        self._inner = inner
        self._status_of = status_of
        self.refused = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def step(self, token: bytes) -> bytes | None:
        try:
            answer: bytes | None = self._inner.step(token)
        except Exception as error:  # whatever a client sends
            self.refused = True
            raise _RefusedError(self._status_of(_account_in(token))) from error
        return answer


class CredSsp:
    """One logon; afterwards it seals and opens messages as pyspnego's own contexts do.

    Args:
        negotiate: an acceptor for what is inside.
        status_of: account as the client wrote it -> the NTSTATUS of its refusal.
    """

    mime_protocol = b"application/HTTP-CredSSP-session-encrypted"

    def __init__(self, negotiate: Any, status_of: Callable[[str], int]) -> None:
        self._inside = _Negotiate(negotiate, status_of)
        self._proxy = CredSSPProxy(usage="accept", credssp_negotiate_context=self._inside)

    @property
    def refused(self) -> bool:
        """Whether the last answer says no, and why."""
        return self._inside.refused

    @property
    def complete(self) -> bool:
        """Whether the client has proved itself and handed its password over."""
        return bool(self._proxy.complete)

    def step(self, token: bytes) -> bytes | None:
        """The answer to a token."""
        answer: bytes | None = self._proxy.step(token)
        return answer

    def wrap_winrm(self, data: bytes) -> Any:
        """(header, sealed, padding)."""
        return self._proxy.wrap_winrm(data)

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        """The message; raises where it was changed."""
        return bytes(self._proxy.unwrap_winrm(header, data))

    def unseal_all(self, body: bytes) -> bytes:
        """The message in several sealed parts."""
        message = b""
        at = body.find(_MARK)
        while at >= 0:
            begin = at + len(_MARK)
            again = body.find(_BOUNDARY + b"\r\n\tContent-Type: application/HTTP-CredSSP", begin)
            end = again if again >= 0 else body.rfind(_BOUNDARY + b"--")
            sealed = body[begin:end]
            size = int.from_bytes(sealed[:4], "little")
            message += self.unwrap_winrm(sealed[4 : 4 + size], sealed[4 + size :])
            at = body.find(_MARK, end)
        return message


def _account_in(token: bytes) -> str:
    r"""DOMAIN\user of an NTLM proof in a token, bare or in SPNEGO; empty where there is none."""
    begin = token.find(_PROOF)
    if begin < 0:
        return ""
    try:
        message = Authenticate.unpack(token[begin:])
    except Exception:  # whatever a client sends
        return ""
    return f"{message.domain_name}\\{message.user_name}" if message.domain_name else str(message.user_name or "")


def header(answer: bytes | None) -> list[str]:
    """The header line that carries an answer."""
    return [f"WWW-Authenticate: CredSSP {base64.b64encode(answer).decode()}"] if answer else []
