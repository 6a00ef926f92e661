"""The part of a file of SSH host keys that is about some hosts (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Set
from fnmatch import fnmatchcase

Host = tuple[str, int]  # name or address in lower case, and port; 0 is 22


def hosts_of(data: bytes, hosts: Set[Host]) -> bytes:
    """The lines about these hosts, with no other host in them and no comment."""
    lines = []
    for line in data.decode("utf-8", "replace").splitlines():
        fields = line.split()
        marker = fields[:1] if line.startswith("@") else []
        if line.startswith("#") or len(fields) < len(marker) + 3:
            continue
        names, kind, key = fields[len(marker) : len(marker) + 3]
        own = [name for name in names.split(",") if _about(name, hosts)]
        if any(not name.startswith("!") for name in own):
            lines.append(" ".join([*marker, ",".join(own), kind, key]) + "\n")
    return "".join(lines).encode()


def _about(name: str, hosts: Set[Host]) -> bool:
    """Whether a pattern of the file, negated or hashed or with a port, is about one of the hosts."""
    if name.startswith("|1|"):
        return any(_hashed(name, *host) for host in hosts)
    bare = name.removeprefix("!").casefold()
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    return any(fnmatchcase(host, bare) for host, _ in hosts)


def _hashed(name: str, host: str, port: int) -> bool:
    """`|1|SALT|HASH`: HMAC-SHA1 of the host with the salt; a port other than 22 is part of what is hashed."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in name[3:].split("|"))
    except (ValueError, binascii.Error):
        return False
    shown = host if port in (0, 22) else f"[{host}]:{port}"
    return hmac.compare_digest(hmac.digest(salt, shown.encode(), hashlib.sha1), digest)
