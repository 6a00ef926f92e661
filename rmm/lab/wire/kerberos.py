"""How a lab machine accepts Kerberos: raw in the schemes Kerberos and Negotiate, and in SPNEGO; by a keytab.

GSSAPI does the cryptography through pyspnego. A machine opens only tickets for its own names, with its own keys out of
the lab's keytab, so a ticket for another machine fails as it does in a domain.
"""

from __future__ import annotations

import base64
import binascii
import time
from pathlib import Path
from typing import Any

from rmm.errors import ConfigError
from rmm.lab.machine import Machine

SCHEMES = ("kerberos", "negotiate")
_RAW = bytes.fromhex("06092a864886f712010202")  # the OID 1.2.840.113554.1.2.2, DER
_CHANNEL_BOUND = 0x800  # GSS_C_CHANNEL_BOUND_FLAG: the client sent the bindings that this side knows


class Acceptor:
    """The keytab of a lab. Raises ConfigError where it, or the libraries, cannot be used."""

    def __init__(self, keytab: Path) -> None:
        try:
            import gssapi  # noqa: F401
            import krb5
        except ImportError as error:
            raise ConfigError(
                "Kerberos is not installed", hint="Install the extra: pip install 'mytech-rmm[kerberos]'."
            ) from error
        self._keytab = f"FILE:{keytab}".encode()
        self._own: dict[str, Any] = {}  # machine's name -> GSSAPI credential
        try:
            found = len(list(krb5.kt_resolve(krb5.init_context(), self._keytab)))
        except krb5.Krb5Error as error:
            raise ConfigError(f"{keytab}: not a keytab that can be read: {error}") from None
        if not found:
            raise ConfigError(f"{keytab}: holds no key")

    def credential(self, machine: Machine) -> Any:
        """What this machine opens tickets with: a keytab in memory, which GSSAPI's credential keeps."""
        if machine.name not in self._own:
            import gssapi
            import krb5

            names = {machine.name.lower(), machine.dns_name.lower(), machine.address}
            memory = f"MEMORY:rmm-lab-{id(self):x}-{machine.name}"
            context = krb5.init_context()
            own = krb5.kt_resolve(context, memory.encode())
            for entry in krb5.kt_resolve(context, self._keytab):
                if _host_of(entry) in names:
                    krb5.kt_add_entry(context, own, entry.principal, entry.kvno, entry.timestamp, entry.key)
            self._own[machine.name] = gssapi.Credentials(
                usage="accept", mechs=[gssapi.MechType.kerberos], store={"keytab": memory}
            )
        return self._own[machine.name]


class Acceptance:
    """One logon by a ticket; afterwards it seals and opens messages as pyspnego's own contexts do."""

    def __init__(
        self, acceptor: Acceptor, machine: Machine, scheme: str, binding: bytes | None, *, strict: bool
    ) -> None:
        from spnego._gss import GSSAPIProxy
        from spnego.channel_bindings import GssChannelBindings

        self._scheme = scheme.title()
        self._strict = strict and binding is not None
        known = GssChannelBindings(application_data=binding) if binding is not None else None
        self._gss = GSSAPIProxy(usage="accept", channel_bindings=known, _gssapi_credential=acceptor.credential(machine))
        self.mime_protocol = b"application/HTTP-%b-session-encrypted" % (
            b"Kerberos" if scheme == "kerberos" else b"SPNEGO"
        )

    def accept(self, token: bytes) -> tuple[str, list[str]]:
        """(principal, or empty where it is refused; the header lines that answer)."""
        inner, mech = _unwrapped(token)
        try:
            answer = self._gss.step(inner)
        except Exception as error:  # whatever a client sends; a KRB-ERROR says why, as Windows does
            # The package gssapi returns the token of a failed step and keeps the error for the next one.
            kept = getattr(self._gss._context, "_last_err", None)
            return "", self._lines(_told(kept or getattr(error, "base_error", None)), mech, good=False)
        bound = int(context.actual_flags) & _CHANNEL_BOUND if (context := self._gss._context) else 0
        if not self._gss.complete or (self._strict and not bound):
            return "", []
        return str(self._gss.client_principal), self._lines(answer or b"", mech, good=True)

    def _lines(self, answer: bytes, mech: str, *, good: bool) -> list[str]:
        if mech:
            from spnego._spnego import NegState, NegTokenResp

            state = NegState.accept_complete if good else NegState.reject
            answer = NegTokenResp(neg_state=state, supported_mech=mech, response_token=answer or None).pack()
        if not answer:
            return []
        return [f"WWW-Authenticate: {self._scheme} {base64.b64encode(answer).decode()}"]

    def wrap_winrm(self, data: bytes) -> Any:
        """(header, sealed, padding)."""
        return self._gss.wrap_winrm(data)

    def unwrap_winrm(self, header: bytes, data: bytes) -> bytes:
        """The message; raises where it was changed."""
        return bytes(self._gss.unwrap_winrm(header, data))


def ticket_in(scheme: str, data: str) -> bytes | None:
    """The token of an Authorization header where it is Kerberos; None where it is anything else."""
    if scheme.lower() not in SCHEMES:
        return None
    try:
        token = base64.b64decode(data, validate=True)
    except binascii.Error:
        return None
    return token if scheme.lower() == "kerberos" or _RAW in token[:20] or _unwrapped(token)[1] else None


def _unwrapped(token: bytes) -> tuple[bytes, str]:
    """(the Kerberos token, the mechanism that SPNEGO names first; empty where there is no SPNEGO or it is another)."""
    from spnego._context import GSSMech
    from spnego._spnego import NegTokenInit, unpack_token

    if token.startswith(b"NTLMSSP\x00") or _RAW in token[:20]:
        return token, ""
    try:
        found = unpack_token(token)
    except Exception:  # no token at all: whoever takes it for one will say so
        return token, ""
    aliases = (GSSMech.kerberos.value, "1.2.840.48018.1.2.2")
    if isinstance(found, NegTokenInit) and found.mech_types and found.mech_types[0] in aliases and found.mech_token:
        return found.mech_token, found.mech_types[0]
    return token, ""


def _host_of(entry: Any) -> str:
    """The host of service/host@REALM."""
    name = (entry.principal.name or b"").decode("utf-8", "replace")
    return str(name.partition("@")[0].partition("/")[2]).lower()


def _told(error: BaseException | None) -> bytes:
    """The error token that goes back: GSSAPI's own, but for a ticket that it cannot open the one that Windows sends."""
    number = (int(getattr(error, "min_code", 0)) - _KDC) & 0xFFFFFFFF
    if number not in _UNOPENED:
        token: bytes = getattr(error, "token", None) or b""
        return token
    content = _RAW + b"\x03\x00" + krb_error(41)
    return _tlv(0x60, content)


_KDC = -1765328384  # libkrb5's number of KRB-ERROR 0
# BAD_INTEGRITY, NOT_US, MODIFIED, BADKEYVER, NOKEY of RFC 4120 7.5.9, and libkrb5's own KRB5KRB_AP_WRONG_PRINC.
_UNOPENED = (31, 35, 41, 44, 45, 144)


def krb_error(number: int, *, realm: str = "LAB", ahead_s: float = 0.0) -> bytes:
    """A KRB-ERROR (RFC 4120 5.9.1) of a server whose clock is ahead by so much."""
    when = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + ahead_s))
    words = b"".join(_tlv(0x1B, word.encode()) for word in ("krbtgt", realm))
    fields = (
        (0, _tlv(2, b"\x05")),
        (1, _tlv(2, b"\x1e")),
        (4, _tlv(0x18, when.encode())),
        (5, _tlv(2, b"\x00")),
        (6, _tlv(2, bytes([number]))),
        (9, _tlv(0x1B, realm.encode())),
        (10, _tlv(0x30, _tlv(0xA0, _tlv(2, b"\x02")) + _tlv(0xA1, _tlv(0x30, words)))),
    )
    return _tlv(0x7E, _tlv(0x30, b"".join(_tlv(0xA0 + tag, content) for tag, content in fields)))


def _tlv(tag: int, content: bytes) -> bytes:
    """DER of less than 256 bytes."""
    size = bytes([len(content)]) if len(content) < 128 else bytes([0x81, len(content)])
    return bytes([tag]) + size + content
