"""The rung TLS: version, certificate, trust; an untrusted certificate is shown too, with the pin to copy."""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime
from typing import Any

from rmm.errors import TlsError, TransportError
from rmm.model.endpoint import Target
from rmm.ports import Look
from rmm.transports.winrm.network import open_connection, peer_certificate, pin_of, verified_name

WARN_DAYS = 30
_OLD = ("TLSv1", "TLSv1.1")


def facts_of(der: bytes) -> dict[str, Any]:
    """Subject, issuer, names, validity, key and pin of a certificate; hostile input gives what can be read."""
    from cryptography import x509

    try:
        read = x509.load_der_x509_certificate(der)
        until, since = read.not_valid_after_utc, read.not_valid_before_utc
        facts: dict[str, Any] = {
            "subject": read.subject.rfc4514_string()[:200],
            "issuer": read.issuer.rfc4514_string()[:200],
            "names": _names(read),
            "not_before": since.isoformat(),
            "not_after": until.isoformat(),
            "days_left": int((until.timestamp() - time.time()) // 86_400),
            "signature": read.signature_hash_algorithm.name if read.signature_hash_algorithm else "",
            "pin": pin_of(der),
        }
    except (ValueError, TypeError) as error:  # cryptography refuses what is not DER, and keys that it does not know
        return {"unreadable": str(error)[:200]}
    return facts


def _names(read: Any) -> list[str]:
    from cryptography import x509

    try:
        found = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    names = [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]
    return [name[:255] for name in names[:20]]


def described(facts: dict[str, Any]) -> str:
    """The same in words."""
    if "pin" not in facts:
        return f"a certificate that cannot be read ({facts.get('unreadable', '')})"
    names = ", ".join(facts["names"]) or "no names"
    days = facts["days_left"]
    left = f"{days} days left" if days >= 0 else "over"
    return (
        f"{facts['subject']}, issued by {facts['issuer']}, for {names}, {facts['not_before'][:10]} to "
        f"{facts['not_after'][:10]} ({left}), pin {facts['pin']}"
    )


async def tls(target: Target, deadline: float) -> Look:
    """The handshake of a poll. Where it fails for the certificate, look at that without trusting it."""
    if target.scheme != "https":
        return Look("scheme http: no TLS; messages are encrypted with the keys of the logon", "skipped")
    try:
        connection = await open_connection(target, deadline)
    except TlsError as error:
        return await _refused(error, target, deadline)
    assert connection.transport is not None
    channel = connection.transport.get_extra_info("ssl_object")
    version, cipher = channel.version() or "?", (channel.cipher() or ("?",))[0]
    facts = facts_of(connection.certificate) | {"version": version, "cipher": cipher}
    connection.abort()
    trusted = "its key is the pinned one" if target.pin else f"trusted by {target.ca_file or 'the system store'}"
    detail = f"{version} {cipher}, {trusted}: {described(facts)}"
    return judged(detail, facts, target)


def judged(detail: str, facts: dict[str, Any], target: Target) -> Look:
    days = facts.get("days_left", WARN_DAYS)
    if facts["version"] in _OLD or target.tls_allow:
        allowed = ", ".join(target.tls_allow)
        fix = f"An exception in rmm.yaml allows {allowed}; mend the endpoint before it ends."
        return Look(detail, "warning", fix, "tls.exception", facts)
    if not target.pin and days < WARN_DAYS:
        fix = f"The certificate ends in {days} days: renew it."
        return Look(detail, "warning", fix, "tls.expires", facts)
    return Look(detail, facts=facts)


async def _refused(error: TlsError, target: Target, deadline: float) -> Look:
    """What the endpoint shows, for a person to judge."""
    try:
        facts = facts_of(await peer_certificate(target, deadline))
    except (TransportError, ssl.SSLError):  # no handshake at all: the first error says it
        raise error from None
    fix = error.hint
    if facts.get("pin") and error.code == "tls.untrusted":
        fix += f" To trust this very key, if it is the right machine, set Pin to {facts['pin']}."
    if error.code == "tls.name":
        fix += f" It names {', '.join(facts.get('names', ())) or 'nothing'}; {verified_name(target)} was expected."
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Look(f"{error}; it shows {described(facts)}; the clock here says {now}", "failed", fix, error.code, facts)
