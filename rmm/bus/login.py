"""How a user of the broker logs on: where it is, who the user is, and whom to trust. Needs no client."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from rmm.errors import BusError

SCHEMES = ("tls", "wss", "nats", "ws")
PORTS = {"tls": 4222, "nats": 4222, "wss": 443, "ws": 80}

_KEY_HINT = "Enrol this collector again; on the hub, see `rmm hub init`."


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What is needed to connect. Certificates and keys are paths of PEM files, or PEM text itself.

    Attributes:
        urls: tls://host:4222 or wss://host/path of each server; nats:// and ws:// have no encryption of their own.
        jwt: of the user, signed by the account; empty where the server knows the user's public key itself.
        seed: of the user's key (`SU...`), which signs the server's nonce; empty: without a name.
        ca_file: who may have signed the server's certificate; empty: whom the system trusts.
        cert_file: the certificate of mutual TLS. key_file: its private key.
        inbox: where answers come, which the user's permissions must allow: `subjects.HUB_INBOX`, `site_inbox`,
            `enroll_inbox`.
        name: shown by the server's monitoring.
        proxy: http://[user:password@]host:port, an HTTP proxy that allows CONNECT; empty: none.
    """

    urls: tuple[str, ...]
    jwt: str = ""
    seed: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    inbox: str = "_INBOX"
    name: str = "rmm"
    proxy: str = ""

    def __repr__(self) -> str:
        # Without anything that is secret: this ends up in tracebacks.
        return f"Login(urls={[place(url)[1:] for url in self.urls]!r}, name={self.name!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("name", self.name)]


def place(url: str) -> tuple[SplitResult, str, int]:
    """A broker's URL with its host and port. Raises BusError (bus.url)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:
        host, port = "", 0
    if not host or not port or parts.scheme not in SCHEMES:
        raise BusError(
            "the address of the broker is not one",
            code="bus.url",
            hint="It is tls://HOST:4222 or wss://HOST/, as `hub: urls:` in rmm.yaml has it.",
        )
    return parts, host, port


def shown(url: str) -> str:
    """A broker's URL without whoever logs on. Raises BusError (bus.url)."""
    parts, host, port = place(url)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def tls_context(login: Login) -> ssl.SSLContext:
    """TLS 1.3 that checks the server's certificate and name. Raises BusError (bus.tls) for files that are no good."""
    try:
        pem = _is_pem(login.ca_file)
        context = ssl.create_default_context(
            cafile=None if pem or not login.ca_file else login.ca_file, cadata=login.ca_file if pem else None
        )
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if login.cert_file:
            _load(context, login.cert_file, login.key_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise BusError(f"the certificates for the broker: {error}", code="bus.tls", hint=_KEY_HINT) from error
    return context


def _is_pem(text: str) -> bool:
    return text.lstrip().startswith("-----BEGIN")


def _load(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Python's ssl reads these from files alone: text is in one, readable by its owner, for as long as that takes."""
    with tempfile.TemporaryDirectory(prefix="rmm-") as folder:  # mode 0700

        def file(name: str, text: str) -> str:
            if not _is_pem(text):
                return text
            path = Path(folder) / name
            path.touch(0o600)
            path.write_text(text, encoding="ascii")
            return str(path)

        # An encrypted key would be asked for on the terminal; an empty password is wrong for every such key.
        context.load_cert_chain(file("certificate", certificate), file("key", key) if key else None, password="")
