"""Authentication of one connection, and the message encryption that comes with it.

NTLM ([MS-NLMP]) and Kerberos tokens inside HTTP Negotiate (RFC 4559) through pyspnego, client certificates, and Basic
only over TLS and only where the site asks for it. What follows where Kerberos is not possible is what the site lists
under `negotiate`, and nothing follows a rejection: see `core.authentication`.
Message encryption: [MS-WSMV] 2.2.9.1.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
import math
import ssl
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rmm.core.authentication import schemes_of, unfit
from rmm.core.coerce import shown
from rmm.errors import AuthError, ConnectError, DeadlineError, ProtocolError, TlsError, TransportError, UnsupportedError
from rmm.model.endpoint import Credential, Target
from rmm.ports import AuthAttempt, AuthGate
from rmm.transports.winrm import kerberos
from rmm.transports.winrm.http import Connection, Response
from rmm.transports.winrm.kdc import TicketError, may_fall_back
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.network import connect_error
from rmm.transports.winrm.rejection import UNMAPPED, ntlm_hint, rejection, status_error, ticket_refused

log = logging.getLogger(__name__)
LEG_S = 10.0  # WinRM answers a leg of the logon at once, or something is wrong with it
SOAP = b"Content-Type: application/soap+xml;charset=UTF-8\r\n"
CERTIFICATE = b"http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"  # DSP0226 C.3.4
_BOUNDARY = b"--Encrypted Boundary"


@lru_cache(maxsize=256)
def _nt_hash(credential: Credential) -> str:
    """MD4 of the password in UTF-16LE ([MS-NLMP] 3.3.1): 0.2 ms once instead of 1.8 ms for every logon."""
    from spnego._ntlm_raw.crypto import ntowfv1

    return str(binascii.hexlify(ntowfv1(credential.secret.reveal())).decode())


def target_names(challenge: bytes) -> dict[str, str]:
    """What the server says of itself in an NTLM CHALLENGE_MESSAGE: netbios, dns, domain ([MS-NLMP] 2.2.1.2, 2.2.2.1).

    Hostile input: anything malformed gives what was read until then.
    """
    names: dict[str, str] = {}
    if not challenge.startswith(b"NTLMSSP\x00\x02\x00\x00\x00") or len(challenge) < 48:
        return names
    size = int.from_bytes(challenge[40:42], "little")
    start = int.from_bytes(challenge[44:48], "little")
    data = challenge[start : start + size]
    kinds = {1: "netbios", 2: "domain", 3: "dns"}
    at = 0
    while at + 4 <= len(data):
        kind = int.from_bytes(data[at : at + 2], "little")
        length = int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == 0:
            break
        if kind in kinds:
            names[kinds[kind]] = shown(data[at + 4 : at + 4 + length].decode("utf-16-le", "replace"), 255)
        at += 4 + length
    return names


class Authentication:
    """The authenticated state of one connection: seals requests, opens answers."""

    def __init__(self, head: bytes) -> None:
        self._head = head  # request line and constant headers
        self._wrap: Callable[[bytes], tuple[bytes, bytes]] | None = None  # where messages are encrypted
        self._unwrap: Callable[[bytes, bytes], bytes] | None = None
        self._protocol = b"SPNEGO"
        self._constant = b""  # header of every request where nothing is negotiated
        self._scheme = b"Negotiate"
        self._begun = False  # a ticket was sent: no other scheme is tried any more
        self._until = math.inf
        self.peer: dict[str, str] = {}

    def request(self, envelope: bytes) -> tuple[bytes, bytes]:
        """(head, body) of the HTTP request that carries an envelope."""
        if self._wrap is None:
            return self._head + self._constant + SOAP, envelope
        header, sealed = self._wrap(envelope)
        protocol = b"application/HTTP-%b-session-encrypted" % self._protocol
        body = (
            b"%b\r\n\tContent-Type: %b\r\n"
            b"\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n"
            b"%b\r\n\tContent-Type: application/octet-stream\r\n%b%b%b%b--\r\n"
        ) % (
            *(_BOUNDARY, protocol, len(sealed), _BOUNDARY),  # RC4 pads
            *(len(header).to_bytes(4, "little"), header, sealed, _BOUNDARY),
        )
        kind = b'Content-Type: multipart/encrypted;protocol="%b";boundary="Encrypted Boundary"\r\n' % protocol
        return self._head + kind, body

    def answer(self, response: Response) -> bytes:
        """The envelope in an answer; refuses a plain one where messages are encrypted."""
        kind = response.headers.get("content-type", "").lower()
        if self._unwrap is None:
            if not kind.startswith("application/soap+xml"):
                raise ProtocolError(f"the answer is {kind[:60] or 'nothing'}, not SOAP", code="http.garbage")
            return response.body
        if not kind.startswith("multipart/encrypted"):
            raise ProtocolError("the answer is not encrypted", code="http.unencrypted")
        return self._unseal(response.body)

    def _unseal(self, body: bytes) -> bytes:
        marker = b"Content-Type: application/octet-stream\r\n"
        begin = body.find(marker)
        end = body.rfind(b"--Encrypted Boundary--")
        if begin < 0 or end < begin:
            raise ProtocolError("the encrypted answer has no sealed part", code="http.mime")
        sealed = body[begin + len(marker) : end]
        if sealed.endswith(b"-- "):
            sealed = sealed[:-3]
        size = int.from_bytes(sealed[:4], "little")
        if not 0 < size <= 256 or len(sealed) < 4 + size:
            raise ProtocolError("the sealed part has no signature", code="http.mime")
        try:
            assert self._unwrap is not None
            return self._unwrap(sealed[4 : 4 + size], sealed[4 + size :])
        except Exception as error:  # pyspnego raises many kinds; each means that the stream is out of step
            hint = "Something changes messages on the way, or the connection lost one; it was closed."
            raise ProtocolError(
                "the signature of an answer is wrong", code="auth.integrity", retry="R1", hint=hint
            ) from error

    async def logon(self, connection: Connection, target: Target, gate: Logons, deadline: float) -> None:
        """Authenticate the connection. Raises AuthError, AuthHeld, or what the network raises."""
        if target.auth in ("basic", "certificate"):
            await self._logon_openly(connection, target, gate, deadline)
            return
        schemes = schemes_of(target)
        if schemes[0] == "kerberos":
            try:
                await self._logon_kerberos(connection, target, gate, deadline)
            except TicketError as error:
                if "ntlm" not in schemes or self._begun or not may_fall_back(error):
                    raise
                log.warning("%s: NTLM, since Kerberos is not possible: %s (%s)", target.name, error, error.code)
            else:
                return
        await self._logon_ntlm(connection, target, gate, deadline)

    async def _logon_kerberos(self, connection: Connection, target: Target, gate: Logons, deadline: float) -> None:
        """One leg: the ticket goes, the endpoint's own proof comes back (RFC 4559 5, RFC 4178 4.2 for Negotiate)."""
        context, token = await gate.context(target, _binding(connection), deadline)
        negotiate = target.auth == "negotiate"
        self._scheme, self._protocol = (b"Negotiate", b"SPNEGO") if negotiate else (b"Kerberos", b"Kerberos")
        self._begun = True
        response = await self._leg(connection, kerberos.offer(token) if negotiate else token, deadline)
        reply = _token(response)
        if negotiate and reply:
            reply = kerberos.accepted(reply)
        if response.status == 401:
            raise ticket_refused(_offers(response), kerberos.refusal(context, reply, target.spn, target.host), target)
        if response.status not in (200, 500):
            raise status_error(response)
        if reply and not context.complete:
            kerberos.conclude(context, reply)
        if not context.complete:
            raise ProtocolError("the endpoint did not prove itself", code="auth.loop")
        self._until = kerberos.until(context)
        if target.scheme != "https":
            self._encrypt_with(context)

    async def _logon_ntlm(self, connection: Connection, target: Target, gate: AuthGate, deadline: float) -> None:
        context, token = self._begin(connection, target)
        challenge = _token(await self._leg(connection, token, deadline), offered=True)
        self.peer = target_names(challenge)
        token = _step(context, challenge)
        async with gate.attempt(target.credential, target.host) as attempt:
            _check_still_there(connection, attempt, deadline)
            response = await self._leg(connection, token, deadline)
            _finish(response, attempt, ntlm_hint(target))
        if not context.complete:
            raise ProtocolError("the logon did not come to an end", code="auth.loop")
        if target.scheme != "https":
            self._encrypt_with(context)

    @property
    def expired(self) -> bool:
        """Whether the ticket of this connection has run out: what is sealed with it is refused from then on."""
        return time.monotonic() >= self._until

    def _encrypt_with(self, context: Any) -> None:
        if _strong(context):
            from rmm.transports.winrm.seal import NtlmSeal

            seal = NtlmSeal(context.session_key)
            self._wrap, self._unwrap = seal.wrap, seal.unwrap
            return

        def wrap(message: bytes) -> tuple[bytes, bytes]:
            header, sealed, _ = context.wrap_winrm(message)
            return header, sealed

        def unwrap(header: bytes, sealed: bytes) -> bytes:
            return bytes(context.unwrap_winrm(header, sealed))

        self._wrap, self._unwrap = wrap, unwrap

    def _begin(self, connection: Connection, target: Target) -> tuple[Any, bytes]:
        import spnego
        from spnego.channel_bindings import GssChannelBindings

        data = _binding(connection)
        try:
            account = spnego.NTLMHash(username=target.credential.username, nt_hash=_nt_hash(target.credential))
            context = spnego.client(
                account,
                hostname=target.host,
                service="http",
                protocol="ntlm",
                context_req=kerberos.flags(),
                channel_bindings=GssChannelBindings(application_data=data) if data else None,
                options=spnego.NegotiateOptions.use_ntlm,
            )
            _version_2_only(context)
            return context, context.step() or b""
        except spnego.exceptions.SpnegoError as error:
            raise AuthError(f"no NTLM token: {error}", code="auth.local", status="CONFIG") from error

    async def _leg(self, connection: Connection, token: bytes, deadline: float) -> Response:
        head = b"%bAuthorization: %b %b\r\n" % (self._head, self._scheme, base64.b64encode(token))
        limit = min(deadline, asyncio.get_running_loop().time() + LEG_S)
        return await connection.request(head, b"", limit)

    async def _logon_openly(self, connection: Connection, target: Target, gate: AuthGate, deadline: float) -> None:
        """Basic, or the certificate that the handshake has shown already; every request says so."""
        if target.auth == "certificate":
            self._constant = b"Authorization: %b\r\n" % CERTIFICATE
        else:
            pair = f"{target.credential.username}:{target.credential.secret.reveal()}".encode()
            self._constant = b"Authorization: Basic %b\r\n" % base64.b64encode(pair)
        async with gate.attempt(target.credential, target.host) as attempt:
            _check_still_there(connection, attempt, deadline)
            try:
                response = await connection.request(self._head + self._constant + SOAP, b"", deadline)
            except ConnectError as error:
                if not isinstance(error.__cause__, ssl.SSLError):
                    raise
                raise connect_error(error.__cause__, target) from error  # TLS 1.3 looks at our certificate this late
            _finish(response, attempt, UNMAPPED if target.auth == "certificate" else "")


def check_fit(target: Target) -> None:
    """Raise UnsupportedError where this target cannot be logged on to; before anything is sent, or even connected."""
    if why := unfit(target.auth, target.transport, target.scheme, target.credential.kind):
        hint = "Change `auth` or `scheme` of the site, or the credential."
        raise UnsupportedError(why, code="auth.scheme", status="CONFIG", hint=hint)


def _strong(context: Any) -> bool:
    """Whether extended session security, 128-bit keys and key exchange were agreed on: every supported Windows does."""
    from spnego._ntlm_raw.messages import NegotiateFlags

    flags = getattr(context, "_context_attr", 0)
    wanted = NegotiateFlags.extended_session_security | NegotiateFlags.key_128 | NegotiateFlags.key_exch
    return flags & wanted == wanted and type(context).__name__ == "NTLMProxy"


def _version_2_only(context: Any) -> None:
    """NTLMv2 whatever LM_COMPAT_LEVEL in the environment says: pyspnego would send NTLMv1 to who asks for it."""
    from spnego._ntlm_raw.messages import NegotiateFlags

    context._lm = context._nt_v1 = False
    context._nt_v2 = True
    context._context_req |= NegotiateFlags.extended_session_security
    context._context_req &= ~NegotiateFlags.lm_key


def _step(context: Any, token: bytes) -> bytes:
    try:
        return context.step(token) or b""
    except Exception as error:  # the token is the endpoint's: pyspnego's parsers raise whatever they meet
        raise ProtocolError(
            f"the endpoint's logon token is not valid: {type(error).__name__}", code="auth.token"
        ) from error


def _offers(response: Response) -> list[str]:
    return [line.strip() for line in response.headers.get("www-authenticate", "").split("\n") if line.strip()]


def _token(response: Response, *, offered: bool = False) -> bytes:
    """The token of a Negotiate header. With `offered`, its absence is the reason why this logon cannot go on."""
    offers = _offers(response)
    for offer in offers:
        scheme, _, text = offer.partition(" ")
        if scheme.lower() in ("negotiate", "kerberos") and text.strip():
            try:
                return base64.b64decode(text.strip(), validate=True)
            except ValueError as error:  # not base64, or not even ASCII
                raise ProtocolError("the endpoint's logon token is not base64", code="auth.token") from error
    if not offered:
        return b""
    raise _no_token(response, offers)


def _no_token(response: Response, offers: list[str]) -> TransportError:
    if response.status == 401:
        names = ", ".join(offer.split(" ")[0][:20] for offer in offers) or "nothing"
        if names.lower() == "basic":
            hint = (
                "Basic would send the password itself: refused, and nothing was sent. Turn Negotiate on there; if it "
                "was on before, something between has taken it away."
            )
            return AuthError("the endpoint offers Basic alone", code="auth.downgrade", status="CONFIG", hint=hint)
        hint = "Negotiate is turned off there (winrm get winrm/config/service/auth), or this is not WinRM."
        return AuthError(
            f"the endpoint offers {names}, not Negotiate", code="auth.scheme", status="CONFIG", retry="R0", hint=hint
        )
    if response.status == 200:
        hint = "Something other than WinRM listens on this port: nothing secret was sent to it."
        return ProtocolError("the endpoint does not ask for a logon", code="http.not_winrm", retry="R0", hint=hint)
    return status_error(response)


def _check_still_there(connection: Connection, attempt: AuthAttempt, deadline: float) -> None:
    """After the wait for permission: what is not sent for want of a connection or of time is no logon."""
    if asyncio.get_running_loop().time() >= deadline:
        attempt.unsent()
        raise DeadlineError("no time was left for the logon: others of the same account went first")
    if not connection.usable:
        attempt.unsent()
        hint = "It waited for other logons of the same account, and the endpoint, or a firewall, did not wait."
        raise ConnectError("the endpoint closed the connection", code="tcp.reset", retry="R1", hint=hint)


def _finish(response: Response, attempt: AuthAttempt, hint: str = "") -> None:
    """The answer to the leg that carried the proof."""
    if response.status == 401:
        attempt.rejected()
        raise rejection(_offers(response), hint)
    if response.status in (200, 500):
        attempt.accepted()
        return
    raise status_error(response)


def _binding(connection: Connection) -> bytes:
    """RFC 5929 4: what ties a logon to this TLS connection; empty without TLS."""
    if not connection.certificate:
        return b""
    return b"tls-server-end-point:" + _certificate_hash(connection.certificate)


@lru_cache(maxsize=4096)
def _certificate_hash(der: bytes) -> bytes:
    """RFC 5929 4.1: the hash of the certificate's signature, SHA-256 where that is MD5 or SHA-1."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = x509.load_der_x509_certificate(der).signature_hash_algorithm
        name = algorithm.name if algorithm is not None and algorithm.name not in ("md5", "sha1") else "sha256"
        return hashlib.new(name, der).digest()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        hint = "It is malformed, or signed in a way that is not supported: issue another one on the endpoint."
        raise TlsError("the certificate cannot be read", code="tls.certificate", hint=hint) from error
