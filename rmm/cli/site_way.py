"""How a site reaches the broker, as `rmm site enroll` is told it: a proxy's account goes into the vault."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rmm.cli.options import passphrase_from
from rmm.errors import ConfigError

ACCOUNT = "rmm-proxy"  # the credential of the proxy


class Way(NamedTuple):
    """`proxy`: http://HOST:PORT. `passphrase`: of the vault, where there is a `user` of the proxy."""

    proxy: str = ""
    user: str = ""
    password: str = ""
    passphrase: str = ""
    urls: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Way({self.proxy!r})"  # without anything that is secret

    @property
    def address(self) -> str:
        """The proxy as a connection takes it."""
        from rmm.settings.proxies import with_account

        return with_account(self.proxy, self.user, self.password) if self.user else self.proxy


def way_of(folder: Path, proxy: str, urls: list[str], passphrase_file: Path | None) -> Way:
    """All that is needed, before a token is used. Raises ConfigError, and VaultError for a wrong passphrase."""
    from rmm.settings.places import VAULT
    from rmm.settings.proxies import taken_apart

    if not proxy:
        return Way(urls=tuple(urls))
    given = taken_apart(proxy)
    if not given.user:
        return Way(given.address, urls=tuple(urls))
    from rmm.vault import Vault

    password = _asked(given.user) if given.password is None else given.password
    vault = folder / VAULT
    passphrase = passphrase_from(folder, passphrase_file, new=not vault.exists())
    if vault.exists():
        Vault.open(vault, passphrase)
    return Way(given.address, given.user, password, passphrase, tuple(urls))


def _asked(user: str) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"--proxy: the password of {user} is needed, and there is no terminal to ask on",
            hint="Write http://USER:PASSWORD@HOST:PORT where nobody else is on this machine, or use a terminal.",
        )
    return getpass.getpass(f"Password of {user} at the proxy: ")


def keep(folder: Path, way: Way) -> str:
    """How the broker was reached is how it will be: into site.yaml, where there is none yet. Returns what to tell."""
    import yaml

    from rmm.durable import replace_file
    from rmm.settings.places import LOCAL

    if not way.proxy and not way.urls:
        return ""
    forward: dict[str, Any] = {}
    if way.proxy:
        forward["proxy"] = way.proxy
    if way.user:
        _keep_account(folder, way)
        forward["proxy_login"] = {"vault": ACCOUNT}
    if way.urls:
        forward["urls"] = list(way.urls)
    file, text = folder / LOCAL, yaml.safe_dump({"forward": forward})
    if file.exists():
        return f"put this into {file}:\n{text.rstrip()}"
    replace_file(file, text.encode())
    return f"{file} says how the broker is reached" + (f"; {ACCOUNT} is in the vault" if way.user else "")


def _keep_account(folder: Path, way: Way) -> None:
    from rmm.model.endpoint import Secret
    from rmm.settings.places import VAULT
    from rmm.vault import Vault

    Vault.open_or_create(folder / VAULT, way.passphrase).set(ACCOUNT, way.user, Secret(way.password))
