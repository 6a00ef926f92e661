"""From a target to an open connection: TCP, then TLS; each failure with its own code and its own remedy."""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import ipaddress
import logging
import socket
import ssl as tls
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from rmm.errors import AuthError, ConnectError, DeadlineError, TlsError, TransportError
from rmm.model.endpoint import Credential, Target
from rmm.transports.winrm.http import RESET_HINT, Connection, connect
from rmm.transports.winrm.names import resolve

log = logging.getLogger(__name__)

HANDSHAKE_S = 10.0
CERTIFICATE_WARNING = timedelta(days=30)
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which the ssl module does not name
KEEPALIVE_S = 30
UNANSWERED_MS = 90_000  # how long sent data may stay unacknowledged: a NAT that forgot us, a machine without power


Stamp = tuple[int, ...]


def trust(ca_file: str, allow: tuple[str, ...] = (), client: Credential | None = None) -> tls.SSLContext:
    """One context per trust configuration, for as long as its files are what they were. TLS 1.2 or later, verified.

    `allow` are the weaknesses of an exception in force (see `model.endpoint.TlsException`); `client` is a credential
    with a client certificate. Raises TlsError when a file cannot be used.
    """
    return _trust(ca_file, allow, client, (_stamp(ca_file), *_stamps(client)))


def _stamp(path: str) -> Stamp:
    """What changes when a file does: a CA that was replaced, or withdrawn, must not be trusted from memory."""
    try:
        seen = Path(path).stat() if path else None
    except OSError:
        return (0,)
    return (seen.st_mtime_ns, seen.st_size, seen.st_ino) if seen is not None else ()


def _stamps(client: Credential | None) -> tuple[Stamp, ...]:
    return (_stamp(client.cert_file), _stamp(client.key_file)) if client is not None else ()


@lru_cache(maxsize=64)  # building one costs 23 ms
def _trust(
    ca_file: str, allow: tuple[str, ...], client: Credential | None, stamps: tuple[Stamp, ...]
) -> tls.SSLContext:
    try:
        context = tls.create_default_context(cafile=ca_file or None)
    except (OSError, tls.SSLError) as error:
        raise TlsError(
            f"the CA file {ca_file} cannot be used: {error}", code="tls.ca_file", hint="Name a readable PEM file."
        ) from error
    _weaken(context, allow)
    _identify(context, client)
    return context


def pinned(allow: tuple[str, ...] = (), client: Credential | None = None) -> tls.SSLContext:
    """For endpoints with a pin: the key itself is what is trusted, checked by `open_connection` before a byte is sent.

    The only context in the product that leaves verification to somebody else.
    """
    return _pinned(allow, client, _stamps(client))


@lru_cache(maxsize=64)
def _pinned(allow: tuple[str, ...], client: Credential | None, stamps: tuple[Stamp, ...]) -> tls.SSLContext:
    context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = tls.CERT_NONE
    _weaken(context, tuple(name for name in allow if name.startswith("tls")))
    _identify(context, client)
    return context


def _weaken(context: tls.SSLContext, allow: tuple[str, ...]) -> None:
    context.minimum_version = tls.TLSVersion.TLSv1_2
    old = {"tls1.0": tls.TLSVersion.TLSv1, "tls1.1": tls.TLSVersion.TLSv1_1}
    versions = [old[name] for name in allow if name in old]
    if versions:
        context.minimum_version = min(versions)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # what OpenSSL asks for before it speaks these versions
    if "expired" in allow:
        context.verify_flags |= _NO_CHECK_TIME
    if "name" in allow:
        context.check_hostname = False


def _identify(context: tls.SSLContext, client: Credential | None) -> None:
    if client is None:
        return
    try:
        context.load_cert_chain(client.cert_file, client.key_file or None, client.secret.reveal)
    except (OSError, tls.SSLError) as error:
        raise TlsError(
            f"the client certificate {client.cert_file} cannot be used: {error}",
            code="tls.client_certificate",
            status="CONFIG",
            hint="Name readable PEM files of the certificate and its key, and the passphrase of the key.",
        ) from error
    _check_dates(client.cert_file)
    # http.sys asks for the certificate when the request has come, in TLS 1.3 by this extension (RFC 8446 4.6.2).
    context.post_handshake_auth = True


def _check_dates(cert_file: str) -> None:
    """Our own certificate: told before it ends, and not shown afterwards, when a refusal would say nothing."""
    from cryptography import x509

    until = x509.load_pem_x509_certificate(Path(cert_file).read_bytes()).not_valid_after_utc
    left = until - datetime.now(UTC)
    if left < timedelta(0):
        raise TlsError(
            f"the client certificate {cert_file} has expired on {until:%Y-%m-%d}",
            code="tls.client_certificate",
            status="CONFIG",
            hint="Issue a new one, `rmm credentials set` it, and map it on the endpoints.",
        )
    if left < CERTIFICATE_WARNING:
        log.warning("the client certificate %s expires on %s", cert_file, f"{until:%Y-%m-%d}")


def verified_name(target: Target) -> str:
    """The name that the certificate must carry.

    What is connected to; or the machine's DNS name where that is an address and the name has a domain, since
    certificates of Windows machines name the machine and seldom its address.
    """
    try:
        ipaddress.ip_address(target.host)
    except ValueError:
        return target.host
    return target.name if "." in target.name else target.host


def pin_of(certificate: bytes) -> str:
    """`sha256//BASE64` of the public key of a DER certificate (RFC 7469 2.4)."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise TlsError("the certificate cannot be read", code="tls.certificate", hint=_UNREADABLE) from error
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return f"sha256//{base64.b64encode(digest).decode()}"


_UNREADABLE = "It is malformed, or its key is of a kind that is not supported: issue another one on the endpoint."


async def open_connection(target: Target, deadline: float) -> Connection:
    """A connection to the target, encrypted and verified where its scheme says so."""
    address = await resolve(target, deadline)
    if target.scheme != "https":
        connection = await _connected(target, address, deadline)
    else:
        connection = await _secured(target, address, deadline)
    _keep_alive(connection)
    return connection


async def _connected(target: Target, address: str, deadline: float) -> Connection:
    limit = min(deadline, asyncio.get_running_loop().time() + target.connect_timeout)
    try:
        return await connect(address, target.port, deadline=limit)
    except (OSError, TimeoutError) as error:
        raise connect_error(error, target) from error


async def _secured(target: Target, address: str, deadline: float) -> Connection:
    """TCP and handshake apart: a machine that is off and one that stalls have different remedies."""
    client = target.credential if target.auth == "certificate" else None
    context = pinned(target.tls_allow, client) if target.pin else trust(target.ca_file, target.tls_allow, client)
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    plain = socket.socket(family, socket.SOCK_STREAM)
    try:
        plain.setblocking(False)
        async with asyncio.timeout_at(min(deadline, loop.time() + target.connect_timeout)):
            await loop.sock_connect(plain, (address, target.port))
    except (OSError, TimeoutError) as error:
        plain.close()
        raise connect_error(error, target) from error
    except BaseException:
        plain.close()
        raise
    limit = min(deadline, loop.time() + HANDSHAKE_S)
    try:
        connection = await connect(
            address, target.port, context=context, server_hostname=verified_name(target), deadline=limit, sock=plain
        )
    except TimeoutError as error:
        hint = "It accepts connections but does not answer TLS: is it overloaded, or does something else listen there?"
        place = f"{target.host}:{target.port}"
        raise DeadlineError(f"{place} did not finish the TLS handshake", code="tls.timeout", hint=hint) from error
    except OSError as error:
        raise _handshake_error(error, target) from error
    try:
        _check_pin(connection, target)
    except TlsError:
        connection.abort()
        raise
    return connection


def _check_pin(connection: Connection, target: Target) -> None:
    if not target.pin or (seen := pin_of(connection.certificate)) == target.pin:
        return
    raise TlsError(
        f"the key of {target.host} is not the pinned one; it is {seen}",
        code="tls.pin",
        hint="Was its certificate renewed with a new key? Then change Pin in the endpoint list. If not, somebody "
        "else answers: nothing was sent to it.",
    )


def _keep_alive(connection: Connection) -> None:
    """Half-open connections are noticed by the system, also while nothing is sent."""
    channel = connection.transport.get_extra_info("socket") if connection.transport is not None else None
    if channel is None:
        return
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_S),
        ("TCP_KEEPINTVL", KEEPALIVE_S),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", UNANSWERED_MS),
    ):
        if hasattr(socket, name):
            channel.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _handshake_error(error: OSError, target: Target) -> TransportError:
    if isinstance(error, tls.SSLError) or error.errno not in (errno.ECONNRESET, errno.EPIPE, None):
        return connect_error(error, target)
    hint = "WinRM over TLS is 5986; a listener without a certificate resets every handshake (winrm enumerate listener)."
    return TlsError(f"{target.host}:{target.port} ended the TLS handshake", code="tls.reset", retry="R1", hint=hint)


def connect_error(error: Exception, target: Target) -> TransportError:
    """What a failed connect or handshake means."""
    place = f"{target.host}:{target.port}"
    if isinstance(error, tls.SSLCertVerificationError):
        return _certificate_error(error, target)
    if isinstance(error, tls.SSLError):
        shown = target.auth == "certificate" and (error.reason or "") in _OF_CERTIFICATES
        return _certificate_refused(place) if shown else _tls_error(error, place)
    if isinstance(error, TimeoutError):
        hint = "A firewall drops the packets, or the machine is off."
        return DeadlineError(
            f"{place} did not accept a connection in time", code="tcp.timeout", hint=hint, status="UNREACHABLE"
        )
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ECONNREFUSED:
        hint = "The machine is on, but nothing listens: is WinRM running (winrm quickconfig), is the port right?"
        return ConnectError(f"{place} refused the connection", code="tcp.refused", retry="R1", hint=hint)
    if number in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return ConnectError(f"there is no route to {place}", code="tcp.no_route")
    if number in (errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE):
        return ConnectError(f"{place} reset the connection", code="tcp.reset", retry="R1", hint=RESET_HINT)
    if number in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL):
        hint = "The site collector ran out of sockets: lower poll.concurrency or raise its limit of open files."
        return ConnectError(
            f"no socket for {place}: {error}", code="collector.sockets", status="COLLECTOR_FAULT", hint=hint
        )
    return ConnectError(f"{place}: {error}")


def _certificate_error(error: tls.SSLCertVerificationError, target: Target) -> TlsError:
    """By the numbers of X509_verify_cert: 9 not yet valid, 10 expired, 62-64 the names, the rest is trust."""
    number = error.verify_code
    reason = error.verify_message
    if number in (9, 10):
        word, remedy = ("has expired", "Renew it on the endpoint.") if number == 10 else ("is not valid yet", _CLOCKS)
        return TlsError(f"the certificate of {target.host} {word}", code="tls.expired", hint=remedy)
    if number in (62, 63, 64):
        hint = f"It must name {verified_name(target)}; is this the right machine?"
        return TlsError(f"the certificate of {target.host} is for another name: {reason}", code="tls.name", hint=hint)
    return TlsError(
        f"the certificate of {target.host} is not trusted: {reason}",
        code="tls.untrusted",
        hint="Name the CA that signed it with `ca_file` for the site, or pin its key (`rmm doctor` shows issuer and "
        "key); behind TLS inspection, name the inspecting CA. Verification cannot be turned off.",
    )


# Alerts of RFC 8446 6.2 that concern the certificate of this side, by OpenSSL's names.
_OF_CERTIFICATES = frozenset({
    "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED", "SSLV3_ALERT_CERTIFICATE_UNKNOWN", "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED", "TLSV13_ALERT_CERTIFICATE_REQUIRED",
})  # fmt: skip


def _certificate_refused(place: str) -> AuthError:
    return AuthError(
        f"{place} refuses this client certificate",
        hint="Is its issuer among the endpoint's trusted roots, is it for client authentication, and is it valid?",
    )


_CLOCKS = "Compare the clocks of the endpoint, of its CA and of this site collector."


def _tls_error(error: tls.SSLError, place: str) -> TlsError:
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"):
        hint = "Plain HTTP answers on this port: WinRM over TLS is 5986, without it 5985."
        return TlsError(f"{place} does not speak TLS", code="tls.not_tls", status="CONFIG", retry="R0", hint=hint)
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"):
        hint = (
            "Enable TLS 1.2 on the endpoint; for a while, an entry under `exceptions` in rmm.yaml allows the old one."
        )
        return TlsError(f"{place} offers no TLS 1.2", code="tls.protocol", hint=hint)
    return TlsError(f"the TLS handshake with {place} failed: {reason}", code="tls.handshake")


async def peer_certificate(target: Target, deadline: float) -> bytes:
    """The certificate that a target shows, DER, trusted or not, for a person to look at; nothing is sent to it."""
    address = await resolve(target, deadline)
    try:
        connection = await connect(
            address, target.port, context=pinned(target.tls_allow), server_hostname=verified_name(target),
            deadline=min(deadline, asyncio.get_running_loop().time() + HANDSHAKE_S),
        )  # fmt: skip
    except (OSError, TimeoutError) as error:
        raise connect_error(error, target) from error
    certificate = connection.certificate
    connection.abort()
    return certificate
