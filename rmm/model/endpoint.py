"""What is polled, where it stands, and with which credential: `Endpoint`, `Site`, `Secret`, `Credential`."""

from __future__ import annotations

import msgspec


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One machine that is polled.

    `id` is ours and stable (`[a-z0-9-]{1,64}`, safe as a file name); `name` is the ComputerName that the machine
    gives itself. Empty strings and 0 mean "as the site says".
    """

    id: str
    name: str
    site: str
    address: str = ""  # IP address or DNS name to connect to; the name where empty
    group: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    transport: str = ""  # winrm | wql | pypsrp | pywinrm | ssh
    scheme: str = ""  # http | https
    port: int = 0
    credential: str = ""  # name in the vault
    enabled: bool = True


class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network place with its own collectors and credentials, and the defaults of its endpoints."""

    id: str
    name: str = ""
    location: str = ""
    timezone: str = "UTC"
    contact: str = ""
    credential: str = ""  # name in the vault
    transport: str = "winrm"
    scheme: str = "http"
    port: int = 0  # 0: 5985 for http, 5986 for https, 22 for ssh
    ca_file: str = ""  # PEM file; the system's store where empty
    known_hosts: str = ""  # OpenSSH known_hosts file for ssh
    auth: str = "ntlm"  # ntlm | kerberos | negotiate | basic (basic over https only)
    session: str = "new"  # new | connection | runspace: what is kept between polls
    source: str = "script"  # script | wql: how collectors that offer both are read
    shards: int = 1


class Secret:
    """A secret value that no log, repr, traceback or encoder can show."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself. Call it only where it leaves for a cryptographic operation."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a Secret is not pickled")


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """An account and its secret. `version` changes with every new secret, and resets lock-out protection."""

    name: str
    username: str  # DOMAIN\\user, user@REALM or a local account name
    secret: Secret
    version: str = "1"
    kind: str = "password"  # password | key (path of an SSH private key; the secret is its passphrase)
    key_file: str = ""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """All that a transport needs to reach one endpoint: the endpoint with its site's defaults resolved."""

    endpoint: str  # endpoint id
    name: str  # ComputerName, for messages and identity checks
    host: str  # address or name to connect to
    port: int
    scheme: str
    transport: str
    auth: str
    session: str
    credential: Credential
    ca_file: str = ""
    known_hosts: str = ""
    source: str = "script"  # script | wql, for collectors that offer both
    configuration: str = "Microsoft.PowerShell"
    connect_timeout: float = 5.0  # seconds for TCP alone
