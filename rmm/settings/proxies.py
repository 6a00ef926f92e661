"""The address of an HTTP proxy, and whose account it is used with: the password is in the vault and in no file."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from rmm.errors import ConfigError
from rmm.model.endpoint import Credential

HOST = r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]{0,252}))"
_ADDRESS = re.compile(rf"http://{HOST}:(\d{{1,5}})/?\Z")
_GIVEN = re.compile(rf"http://([!-.0-?A-~]+@)?{HOST}:(\d{{1,5}})/?\Z")


class Given(NamedTuple):
    """What `--proxy` says. `password`: None where there is none."""

    address: str  # http://HOST:PORT
    user: str
    password: str | None


def is_address(text: str) -> bool:
    """Whether it is http://HOST:PORT, without an account."""
    return _ADDRESS.match(text) is not None


def taken_apart(text: str) -> Given:
    """http://[USER[:PASSWORD]@]HOST:PORT, taken apart. Raises ConfigError, which does not show it."""
    if not _GIVEN.match(text):
        hint = "It is http://HOST:PORT or http://USER@HOST:PORT; what is special in a name is written as %40, %2F ..."
        raise ConfigError("--proxy: this is no address of a proxy", hint=hint)
    parts = urlsplit(text)
    address = f"http://{parts.netloc.rpartition('@')[2]}"
    return Given(address, unquote(parts.username or ""), None if parts.password is None else unquote(parts.password))


def with_account(address: str, user: str, password: str) -> str:
    """The address with an account in it, as a connection takes it; it is not to be kept or shown."""
    return address.replace("http://", f"http://{quote(user, safe='')}:{quote(password, safe='')}@", 1)


def with_credential(address: str, credential: Credential) -> str:
    """`with_account`, of the vault."""
    return with_account(address, credential.username, credential.secret.reveal())
