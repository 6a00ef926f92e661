"""The URL of a database: what of it may be shown, and how it is connected to."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from rmm.errors import ConfigError
from rmm.model.endpoint import Secret

CONNECT_S = 10.0
STATEMENT_S = 60.0
IDLE_S = 60.0  # within a transaction: a process that stands still does not keep the others waiting for ever
STATEMENTS = 512  # prepared statements per connection; there are some 120
_URL = re.compile(r"postgres(ql)?://([^@/?#]*@)?[^@/?#]*(/[^@/?#]*)?(\?[^@#]*)?\Z")
_HINT = "It is postgresql://USER@HOST/DATABASE; what is special in a password is written as %40, %2F, %23 ..."


class Address:
    """One database. Its repr, like everything that is told of it, has no password."""

    def __init__(self, url: str, password: Secret | None = None) -> None:
        """Raises ConfigError where it is no URL of PostgreSQL."""
        if not _URL.match(url):
            raise ConfigError("rmm.yaml: hub.database: is no URL of PostgreSQL", hint=_HINT)
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        hosts = unquote(parts.netloc.rpartition("@")[2]) or options.get("host", [""])[0] or "this machine"
        self.name = f"{unquote(parts.path[1:]) or 'the database'} at {hosts}"
        self._url = url
        self._password = password
        self._options = options
        self._hosts = [host.rpartition(":")[0] or host for host in hosts.split(",")]

    def __repr__(self) -> str:
        return f"Address({self.name})"

    async def connect(self, wait_s: float = CONNECT_S, lock_s: float = 0.0) -> Any:
        """A connection. Raises what asyncpg, ssl and the system raise, and ConfigError for options that do not fit."""
        more: dict[str, Any] = {}
        if self._password is not None:
            more["password"] = self._password.reveal()
        if self._verified():
            more["ssl"] = ssl.create_default_context()
        if lock_s:
            more["server_settings"] = {"lock_timeout": _ms(lock_s)}
        settings = {
            "application_name": "rmm",
            "statement_timeout": _ms(STATEMENT_S),
            "idle_in_transaction_session_timeout": _ms(IDLE_S),
        }
        more["server_settings"] = settings | more.get("server_settings", {})
        try:
            return await asyncpg.connect(
                self._url, timeout=wait_s, command_timeout=STATEMENT_S + CONNECT_S, statement_cache_size=STATEMENTS,
                **more,
            )  # fmt: skip
        except (ValueError, asyncpg.exceptions.ClientConfigurationError):
            # What they say may quote a part of the URL, and so of the password.
            text = f"rmm.yaml: hub.database: {self.name}: its options do not fit"
            raise ConfigError(text, hint=_HINT) from None

    def _verified(self) -> bool:
        """Whether the certificate is verified though the URL does not say so: it is, on the way to another machine."""
        if "sslmode" in self._options or "PGSSLMODE" in os.environ:
            return False
        return not all(map(_is_here, self._hosts))


def _is_here(host: str) -> bool:
    if host.startswith("/") or host in ("localhost", "this machine"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _ms(seconds: float) -> str:
    return str(int(seconds * 1000))
