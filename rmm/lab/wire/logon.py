"""How a connection to a lab machine authenticates: NTLM in Negotiate, raw and in SPNEGO, and Basic over TLS.

pyspnego's acceptor does the cryptography; each machine names itself in its challenge. Account: one per lab.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

import spnego
from spnego._ntlm import NTLMProxy
from spnego._ntlm_raw.crypto import ntowfv1
from spnego._ntlm_raw.messages import AvId, Challenge, TargetInfo

from rmm.lab.machine import Machine
from rmm.lab.wire.http import Reply, Request

_PROTOCOL = b"application/HTTP-SPNEGO-session-encrypted"
_MARK = b"Content-Type: application/octet-stream\r\n"
_BOUNDARY = b"--Encrypted Boundary"


class Accounts:
    """The lab's one account, and what became of the logons. pyspnego reads it from a file (`NTLM_USER_FILE`)."""

    def __init__(self, username: str, password: str, folder: Path) -> None:
        self.username = username
        self.password = password
        self.accepted = 0
        self.rejected = 0
        domain, _, user = username.rpartition("\\")
        nt_hash = ntowfv1(password).hex().upper()
        # One line per way in which clients write the account: each must match to the letter.
        names = {f"{domain}\\{user}", user, f"{user}@{domain}"}
        lines = [f"{name}:1000:{'0' * 32}:{nt_hash}:[U]:LCT-00000000" for name in sorted(names)]
        path = folder / "ntlm-accounts"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        path.chmod(0o600)
        self._file = str(path)

    def use(self) -> None:
        """Let pyspnego see this lab's accounts: several labs may run in one process."""
        os.environ["NTLM_USER_FILE"] = self._file

    def basic(self, user: str, password: str) -> bool:
        """Whether this is the account, by any of its names."""
        known = {self.username.lower(), self.username.rpartition("\\")[2].lower()}
        return user.lower() in known and password == self.password


class _NamedNtlm(NTLMProxy):
    """pyspnego's acceptor, with the machine's names in the challenge instead of this computer's."""

    machine: Machine

    def _step_accept_negotiate(self, token: bytes) -> bytes:
        super()._step_accept_negotiate(token)
        made: Any = self._temp_challenge
        names = TargetInfo()
        names[AvId.nb_computer_name] = self.machine.name
        names[AvId.nb_domain_name] = "LAB"
        names[AvId.dns_computer_name] = self.machine.dns_name
        names[AvId.timestamp] = made.target_info[AvId.timestamp]
        version = {"version": made.version} if made.version else {}
        challenge = Challenge(
            made.flags, made.server_challenge, target_name=self.machine.name, target_info=names, **version
        )
        self._temp_challenge = challenge
        return bytes(challenge.pack())


class Logon:
    """The authenticated state of one connection."""

    def __init__(self, accounts: Accounts, machine: Machine, *, secure: bool) -> None:
        self._accounts = accounts
        self._machine = machine
        self._secure = secure
        self._context: Any = None
        self._last_token: list[str] = []
        self.refuse_all = False
        self.done = False

    def offers(self) -> list[str]:
        """The header lines of a 401."""
        return ["WWW-Authenticate: Negotiate", *(['WWW-Authenticate: Basic realm="WSMAN"'] if self._secure else [])]

    def authenticate(self, request: Request) -> Reply | None:
        """None when the request is authenticated; else the reply that goes on with the logon, or ends it."""
        text = request.headers.get("authorization", "")
        scheme, _, data = text.partition(" ")
        if scheme.lower() == "basic" and self._secure:
            return self._basic(data)
        if scheme.lower() not in ("negotiate", "ntlm"):
            return None if self.done and not text else Reply(401, self.offers())
        try:
            token = base64.b64decode(data, validate=True)
        except binascii.Error:
            return Reply(400, close=True)
        return self._negotiate(token)

    def _basic(self, data: str) -> Reply | None:
        try:
            user, _, password = base64.b64decode(data, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Reply(400, close=True)
        if self.refuse_all or not self._accounts.basic(user, password):
            self._accounts.rejected += 1
            return Reply(401, self.offers())
        if not self.done:
            self._accounts.accepted += 1
        self.done = True
        return None

    def _negotiate(self, token: bytes) -> Reply | None:
        self._accounts.use()
        raw = token.startswith(b"NTLMSSP\x00")
        first = raw and token[8:12] == b"\x01\x00\x00\x00"
        if self._context is None or first or self.done:
            self._context, self.done = self._new_context(raw=raw), False
        proof = self._is_proof(token)
        try:
            if proof and self.refuse_all:
                raise spnego.exceptions.InvalidTokenError(context_msg="this machine refuses every logon")
            answer = self._context.step(token)
        except Exception:  # whatever a client sends, the answer to a bad token is a 401
            self._accounts.rejected += 1
            self._context = None
            return Reply(401, self.offers())
        header = f"WWW-Authenticate: Negotiate {base64.b64encode(answer).decode()}" if answer else ""
        if not self._context.complete:
            return Reply(401, [header] if header else self.offers())
        self._accounts.accepted += 1
        self.done = True
        self._last_token = [header] if header else []
        return None

    def last_token(self) -> list[str]:
        """The header with the token that ends the logon; a SPNEGO client needs it to verify what was negotiated."""
        header, self._last_token = self._last_token, []
        return header

    def _new_context(self, *, raw: bool) -> Any:
        if raw:
            context = _NamedNtlm(usage="accept", protocol="ntlm", options=spnego.NegotiateOptions.use_ntlm)
            context.machine = self._machine
            return context
        return spnego.server(protocol="negotiate", options=spnego.NegotiateOptions.use_negotiate)

    def _is_proof(self, token: bytes) -> bool:
        return b"NTLMSSP\x00\x03\x00\x00\x00" in token

    def unseal(self, request: Request) -> bytes | None:
        """The envelope of a request; None for a plain one where encryption is required."""
        if not request.headers.get("content-type", "").lower().startswith("multipart/encrypted"):
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
        body = (
            b"%b\r\n\tContent-Type: %b\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n"
            b"%b\r\n\tContent-Type: application/octet-stream\r\n%b%b%b%b--\r\n"
        ) % (
            *(_BOUNDARY, _PROTOCOL, len(envelope) + padding, _BOUNDARY),
            *(len(header).to_bytes(4, "little"), header, sealed, _BOUNDARY),
        )
        kind = 'multipart/encrypted;protocol="application/HTTP-SPNEGO-session-encrypted";boundary="Encrypted Boundary"'
        return Reply(status, [f"Content-Type: {kind}", *self.last_token()], body)
