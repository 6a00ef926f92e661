"""How a connection to a lab machine authenticates: NTLM in Negotiate, raw and in SPNEGO, and Basic over TLS.

`rmm.lab.wire.ntlm` proves, `rmm.lab.wire.accounts` judges, `rmm.lab.wire.policy` says what is unusual about a machine.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Mapping
from typing import Any

import msgspec
import spnego

from rmm.lab.machine import Machine
from rmm.lab.wire.accounts import Accounts
from rmm.lab.wire.credssp import LOGON_FAILURE, MULTIPLE, STATUS, CredSsp
from rmm.lab.wire.credssp import header as credssp_header
from rmm.lab.wire.http import Reply, Request
from rmm.lab.wire.kerberos import Acceptance, Acceptor, ticket_in
from rmm.lab.wire.ntlm import NtlmAcceptor, spnego_acceptor
from rmm.lab.wire.policy import HEALTHY, Policy

_PROTOCOL = b"application/HTTP-SPNEGO-session-encrypted"
CERTIFICATE = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"  # DSP0226 C.3.4
_MARK = b"Content-Type: application/octet-stream\r\n"
_BOUNDARY = b"--Encrypted Boundary"
_FIRST = b"NTLMSSP\x00\x01\x00\x00\x00\x05\x82\x88\xa2" + bytes(16)  # a NEGOTIATE_MESSAGE with the usual flags


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """What the machines of a lab accept beside NTLM, and Basic over TLS."""

    kerberos: Acceptor | None = None
    credssp: bool = False
    mapped: Mapping[str, str] = {}  # common name of a client certificate -> account


class Logon:
    """The authenticated state of one connection."""

    def __init__(self, accounts: Accounts, machine: Machine, *, secure: bool, ways: Ways | None = None) -> None:
        self._accounts = accounts
        self._machine = machine
        self._secure = secure
        self._context: Any = None
        self._last_token: list[str] = []
        self.refuse_all = False
        self.policy: Policy = HEALTHY
        self.binding: bytes | None = None  # the channel binding of this machine's own certificate
        self.done = False
        self._since = 0.0  # when the logon ended
        self._left = 0  # requests that the context is still good for, where the policy counts them
        self._ways = ways or Ways()
        self.client_name: str | None = None  # of a trusted client certificate

    def offers(self) -> list[str]:
        """The header lines of a 401."""
        if self.policy.offers is not None:
            return [f"WWW-Authenticate: {offer}" for offer in self.policy.offers]
        further = {"Kerberos": self._ways.kerberos, "CredSSP": self._ways.credssp, 'Basic realm="WSMAN"': self._secure}
        return ["WWW-Authenticate: Negotiate", *(f"WWW-Authenticate: {name}" for name, on in further.items() if on)]

    def authenticate(self, request: Request) -> Reply | None:
        """None when the request is authenticated; else the reply that goes on with the logon, or ends it."""
        text = request.headers.get("authorization", "")
        scheme, _, data = text.partition(" ")
        if self.done and not text:
            return self._go_on()
        if scheme.lower() == "basic":
            self._accounts.proofs += 1
        if self.policy.offers is not None:
            return Reply(401, self.offers())
        if scheme.lower() == "basic" and self._secure:
            return self._basic(data)
        if text == CERTIFICATE:
            return self._by_certificate()
        acceptor = self._ways.kerberos
        if acceptor is not None and (ticket := ticket_in(scheme, data)) is not None:
            return self._by_ticket(acceptor, scheme.lower(), ticket)
        if scheme.lower() == "credssp" and self._ways.credssp:
            return self._by_credssp(data)
        if scheme.lower() not in ("negotiate", "ntlm"):
            return Reply(401, self.offers())
        try:
            token = base64.b64decode(data, validate=True)
        except binascii.Error:
            return Reply(400, close=True)
        return self._negotiate(token)

    def _by_ticket(self, acceptor: Acceptor, scheme: str, ticket: bytes) -> Reply | None:
        one = Acceptance(acceptor, self._machine, scheme, self.binding, strict=self.policy.cbt == "strict")
        principal, lines = one.accept(ticket)
        if self.refuse_all or not self._admitted(principal):
            self._context, self.done = None, False
            return Reply(401, lines if not principal and lines else self.offers())
        self._context, self._last_token = one, lines
        return None

    def _by_credssp(self, data: str) -> Reply | None:
        if self.done or not isinstance(self._context, CredSsp):
            self._context, self.done = CredSsp(self._new_context(raw=False), self._status_of), False
        try:
            answer = self._context.step(base64.b64decode(data, validate=True))
        except Exception:  # whatever a client sends
            self._accounts.rejected += 1
            self._context = None
            return Reply(401, self.offers())
        if self._context.refused:
            self._accounts.rejected += 1
            self._context = None
            return Reply(401, credssp_header(answer))
        if not self._context.complete:
            return Reply(401, credssp_header(answer) or self.offers())
        self._last_token = credssp_header(answer)
        self._accepted()
        return None

    def _status_of(self, name: str) -> int:
        """The NTSTATUS of why an account is refused, as far as the database knows."""
        account = self._accounts.find(name, self._machine.name)
        if account is None:
            return LOGON_FAILURE
        return STATUS["locked"] if self._accounts.locked(account) else STATUS.get(account.state, LOGON_FAILURE)

    def _by_certificate(self) -> Reply | None:
        if self.done:
            return self._go_on()
        account = self._ways.mapped.get(self.client_name or "", "")
        return None if not self.refuse_all and self._admitted(account) else Reply(401, self.offers())

    def _admitted(self, name: str) -> bool:
        """Whether an account is let in that has proved itself without its password here."""
        account = self._accounts.find(name, self._machine.name) if name else None
        good = self.policy.denied != "logon" and self._accounts.judge(account, proved=True)
        if good:
            self._accepted()
        else:
            self.done = False
            self._accounts.rejected += 1
        return good

    def _go_on(self) -> Reply | None:
        """A request on a connection that is logged on: None, unless RootSDDL refuses it or the context is gone."""
        policy = self.policy
        if policy.denied == "request":
            return Reply(401, self.offers())
        self._left -= 1
        late = policy.seconds and time.monotonic() - self._since >= policy.seconds
        if late or (policy.requests and self._left < 0):
            self._context, self.done = None, False
            return Reply(401, self.offers())
        return None

    def _accepted(self) -> None:
        self._accounts.accepted += 1
        self.done, self._since, self._left = True, time.monotonic(), self.policy.requests

    def _basic(self, data: str) -> Reply | None:
        try:
            user, _, password = base64.b64decode(data, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Reply(400, close=True)
        if self.refuse_all or not self._accounts.basic(user, password, self._machine.name):
            self._accounts.rejected += 1
            return Reply(401, self.offers())
        if not self.done:
            self._accepted()
        return None

    def _negotiate(self, token: bytes) -> Reply | None:
        raw = token.startswith(b"NTLMSSP\x00")
        first = raw and token[8:12] == b"\x01\x00\x00\x00"
        if self._context is None or first or self.done:
            self._context, self.done = self._new_context(raw=raw), False
        proof = self._is_proof(token)
        if proof and self.policy.endless:
            return self._once_more()
        try:
            if proof and self.refuse_all:
                raise spnego.exceptions.InvalidTokenError(context_msg="this machine refuses every logon")
            answer = self._context.step(token)
            if self._context.complete and self.policy.denied == "logon":
                raise spnego.exceptions.InvalidTokenError(context_msg="RootSDDL")
        except Exception:  # whatever a client sends, the answer to a bad token is a 401
            self._accounts.rejected += 1
            self._context = None
            return Reply(401, ["WWW-Authenticate: Kerberos"] if self.policy.ntlm == "off" else self.offers())
        header = f"WWW-Authenticate: Negotiate {base64.b64encode(answer).decode()}" if answer else ""
        if not self._context.complete:
            return Reply(401, [header] if header else self.offers())
        self._accepted()
        self._last_token = [header] if header else []
        return None

    def _once_more(self) -> Reply:
        """Another challenge in answer to a proof, which nobody looks at."""
        self._accounts.proofs += 1
        self._accounts.rejected += 1
        context = NtlmAcceptor(self._accounts, self._machine, self.policy, self.binding)
        answer = context.step(_FIRST) or b""
        self._context = context
        return Reply(401, [f"WWW-Authenticate: Negotiate {base64.b64encode(answer).decode()}"])

    def last_token(self) -> list[str]:
        """The header with the token that ends the logon; a SPNEGO client needs it to verify what was negotiated."""
        header, self._last_token = self._last_token, []
        return header

    def _new_context(self, *, raw: bool) -> Any:
        ntlm = NtlmAcceptor(self._accounts, self._machine, self.policy, self.binding)
        return ntlm if raw else spnego_acceptor(ntlm)

    def _is_proof(self, token: bytes) -> bool:
        return b"NTLMSSP\x00\x03\x00\x00\x00" in token

    def unseal(self, request: Request) -> bytes | None:
        """The envelope of a request; None for a plain one where encryption is required."""
        kind = request.headers.get("content-type", "").lower()
        if kind.startswith(MULTIPLE) and isinstance(self._context, CredSsp):
            return self._context.unseal_all(request.body)
        if not kind.startswith("multipart/encrypted"):
            return request.body if self._secure else None
        begin = request.body.find(_MARK)
        end = request.body.rfind(_BOUNDARY + b"--")
        if begin < 0 or end < 0 or self._context is None:
            return None
        sealed = request.body[begin + len(_MARK) : end]
        size = int.from_bytes(sealed[:4], "little")
        try:
            return bytes(self._context.unwrap_winrm(sealed[4 : 4 + size], sealed[4 + size :]))
        except Exception:  # a wrong signature: Windows answers as it does to a plain request
            return None

    def seal(self, status: int, envelope: bytes, *, plain: bool) -> Reply:
        """The reply that carries an envelope, encrypted as its request was."""
        if plain:
            kind = "Content-Type: application/soap+xml;charset=UTF-8"
            return Reply(status, [kind, *self.last_token()], envelope)
        header, sealed, padding = self._context.wrap_winrm(envelope)
        protocol = getattr(self._context, "mime_protocol", _PROTOCOL)
        body = (
            b"%b\r\n\tContent-Type: %b\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n"
            b"%b\r\n\tContent-Type: application/octet-stream\r\n%b%b%b%b--\r\n"
        ) % (
            *(_BOUNDARY, protocol, len(envelope) + padding, _BOUNDARY),
            *(len(header).to_bytes(4, "little"), header, sealed, _BOUNDARY),
        )
        kind = f'multipart/encrypted;protocol="{protocol.decode()}";boundary="Encrypted Boundary"'
        return Reply(status, [f"Content-Type: {kind}", *self.last_token()], body)
