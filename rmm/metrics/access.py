"""Where the metrics may be served, and to whom: decisions before anything listens."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import ssl
from pathlib import Path
from typing import NamedTuple

from rmm.errors import ConfigError
from rmm.model.endpoint import Secret

_LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>\d{1,5})")


class Place(NamedTuple):
    """Where to listen. Port 0: a free one."""

    host: str
    port: int


def place_of(text: str) -> Place:
    """`HOST:PORT` or `[IPv6]:PORT`. Raises ConfigError."""
    found = _LISTEN.fullmatch(text)
    if found is None or int(found["port"]) > 65_535:
        raise ConfigError(f"--listen {text}: write ADDRESS:PORT, such as 127.0.0.1:9182 or [::1]:9182")
    return Place(found["six"] or found["host"], int(found["port"]))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(place: Place, *, tls: bool, authentication: bool, insecure: bool) -> str:
    """A warning, or empty; raises ConfigError where the fleet would lie open to a network."""
    missing = [word for word, there in (("TLS", tls), ("password", authentication)) if not there]
    if is_loopback(place.host) or not missing:
        return ""
    said = f"{place.host} is reached from other machines, and there is no {' and no '.join(missing)}"
    if insecure:
        return f"{said}: whoever reaches it reads what is wrong with which site"
    raise ConfigError(
        f"--listen {place.host}: {said}",
        hint="Add --tls-cert, --tls-key and --basic-auth, or listen on 127.0.0.1; --insecure does it all the same.",
    )


def tls_of(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """A server's context, TLS 1.2 at least; None without a certificate. Raises ConfigError."""
    if certificate is None and key is None:
        return None
    if certificate is None:
        raise ConfigError("--tls-key needs --tls-cert", hint="Name the PEM file with the certificate as well.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"--tls-cert {certificate}: cannot be used: {error}",
            hint="PEM files: the certificate with its chain, and its key without a passphrase.",
        ) from error
    return context


def _no_passphrase() -> str:
    return ""  # a service has nobody to ask


class Password:
    """The one account that may read. Nothing of it is kept but a digest."""

    def __init__(self, username: str, secret: Secret) -> None:
        self._digest = _digest(f"{username}:{secret.reveal()}".encode())

    def admits(self, header: bytes) -> bool:
        """Whether an Authorization header is right; takes as long for a wrong one."""
        scheme, _, given = header.strip().partition(b" ")
        if scheme.lower() != b"basic":
            return False
        try:
            plain = base64.b64decode(given.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(_digest(plain), self._digest)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def password_from(file: Path) -> Password:
    """From a file whose first line is USER:PASSWORD. Raises ConfigError."""
    try:
        first = file.read_text(encoding="utf-8-sig").partition("\n")[0].strip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--basic-auth-file {file}: cannot be read: {error}") from error
    username, colon, secret = first.partition(":")
    if not (username and colon and secret):
        raise ConfigError(f"--basic-auth-file {file}: its first line is not USER:PASSWORD")
    return Password(username, Secret(secret))
