"""Settings that are right by themselves and have no effect, or none that was meant, together with others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rmm.model.endpoint import Endpoint, Site

_FILES = {
    "ca_file": "name the PEM file of the CA that signed the endpoints' certificates, or leave it out for the system's",
    "known_hosts": "name a file in OpenSSH's form (ssh-keyscan writes it), or leave it out for ~/.ssh/known_hosts",
}
_PEM = b"-----BEGIN "
MOST_CA = 16 << 20


def file_problems(site: Site, folder: Path) -> Iterable[tuple[str, str]]:
    """(key, problem) of the files that a site names: every endpoint would fail without them."""
    for key, fix in _FILES.items():
        value = getattr(site, key)
        if not value:
            continue
        path = folder / value
        try:
            with path.open("rb") as file:
                right = key != "ca_file" or _PEM in file.read(MOST_CA)
        except OSError as error:
            yield key, f"{path}: {error.strerror}: {fix}"
            continue
        if not right:
            yield key, f"{path}: holds no certificate: {fix}"


def idle_problems(site: Site, endpoints: Sequence[Endpoint]) -> Iterable[tuple[str, str]]:
    """(key, problem) of what a site says and none of its endpoints heeds."""
    transports = {one.transport or site.transport for one in endpoints} or {site.transport}
    if site.shell == "sh" and "ssh" not in transports:
        yield "shell", "WinRM speaks PowerShell: sh needs transport: ssh"
    if site.auth != "ntlm" and transports == {"ssh"}:
        yield "auth", f"ssh logs on by its credential (key, agent, password), not by {site.auth}: leave it out"


def endpoint_idle_problems(endpoints: Iterable[Endpoint], sites: Mapping[str, Site], path: Path) -> Iterable[str]:
    """Endpoints that ask for a shell which their transport does not have."""
    for one in endpoints:
        site = sites.get(one.site)
        if site is not None and one.shell == "sh" and (one.transport or site.transport) != "ssh":
            yield f"{path}: {one.name}: Shell sh needs Transport ssh: WinRM speaks PowerShell"
