"""From a target to an open connection: name, TCP, TLS; each failure with its own code and its own remedy."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl as tls
from functools import lru_cache

from rmm.errors import ConnectError, DeadlineError, TlsError, TransportError
from rmm.model.endpoint import Target
from rmm.transports.winrm.http import Connection, connect

RESOLVE_S = 5.0
HANDSHAKE_S = 10.0


@lru_cache(maxsize=64)
def trust(ca_file: str) -> tls.SSLContext:
    """One context per trust configuration: building one costs 23 ms. TLS 1.2 or later, verified, no exceptions."""
    try:
        context = tls.create_default_context(cafile=ca_file or None)
    except (OSError, tls.SSLError) as error:
        raise TlsError(
            f"the CA file {ca_file} cannot be used: {error}", code="tls.ca_file", hint="Name a readable PEM file."
        ) from error
    context.minimum_version = tls.TLSVersion.TLSv1_2
    return context


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


async def open_connection(target: Target, deadline: float) -> Connection:
    """A connection to the target, encrypted and verified where its scheme says so."""
    loop = asyncio.get_running_loop()
    address = await _resolve(target, min(deadline, loop.time() + RESOLVE_S))
    secure = target.scheme == "https"
    context = trust(target.ca_file) if secure else None
    limit = min(deadline, loop.time() + target.connect_timeout + (HANDSHAKE_S if secure else 0))
    try:
        return await connect(
            address, target.port, context=context, server_hostname=verified_name(target), deadline=limit
        )
    except (OSError, TimeoutError, tls.SSLError) as error:
        raise connect_error(error, target) from error


async def _resolve(target: Target, deadline: float) -> str:
    try:
        return str(ipaddress.ip_address(target.host))
    except ValueError:
        pass
    try:
        async with asyncio.timeout_at(deadline):
            found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise ConnectError(
            f"the name {target.host} was not resolved in time", code="dns.failure", retry="R1"
        ) from error
    except (socket.gaierror, UnicodeError) as error:
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
            hint = "The DNS server did not answer; if this concerns many endpoints, look at the site collector."
            raise ConnectError(
                f"the name {target.host} could not be looked up", code="dns.failure", hint=hint
            ) from error
        hint = "Is the name right, and is the machine still in DNS? Set IPAddress in the endpoint list otherwise."
        raise ConnectError(f"the name {target.host} is not in DNS", code="dns.unknown", hint=hint) from error
    return str(found[0][4][0])


def connect_error(error: Exception, target: Target) -> TransportError:
    """What a failed connect or handshake means."""
    place = f"{target.host}:{target.port}"
    if isinstance(error, tls.SSLCertVerificationError):
        return _certificate_error(error, target)
    if isinstance(error, tls.SSLError):
        return _tls_error(error, place)
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
        return ConnectError(f"{place} reset the connection", code="tcp.reset", retry="R1")
    if number in (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL):
        hint = "The site collector ran out of sockets: lower poll.concurrency or raise its limit of open files."
        return ConnectError(
            f"no socket for {place}: {error}", code="collector.sockets", status="COLLECTOR_FAULT", hint=hint
        )
    return ConnectError(f"{place}: {error}")


def _certificate_error(error: tls.SSLCertVerificationError, target: Target) -> TlsError:
    number = error.verify_code
    reason = error.verify_message
    if number == 10:
        return TlsError(
            f"the certificate of {target.host} has expired", code="tls.expired", hint="Renew it on the endpoint."
        )
    if number in (62, 63, 64):
        hint = f"It must name {verified_name(target)}; is this the right machine?"
        return TlsError(f"the certificate of {target.host} is for another name: {reason}", code="tls.name", hint=hint)
    hint = "Name the CA that signed it with `ca_file` for the site; verification cannot be turned off."
    return TlsError(f"the certificate of {target.host} is not trusted: {reason}", code="tls.untrusted", hint=hint)


def _tls_error(error: tls.SSLError, place: str) -> TlsError:
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        hint = "Plain HTTP answers on this port: WinRM over TLS is 5986, without it 5985."
        return TlsError(f"{place} does not speak TLS", code="tls.not_tls", status="CONFIG", hint=hint)
    if reason in ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"):
        return TlsError(f"{place} offers no TLS 1.2", code="tls.protocol", hint="Enable TLS 1.2 on the endpoint.")
    return TlsError(f"the TLS handshake with {place} failed: {reason}", code="tls.handshake")
