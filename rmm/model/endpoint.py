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
    configuration: str = ""  # session configuration, such as Microsoft.PowerShell or PowerShell.7
    pin: str = ""  # sha256//BASE64 of the public key that its certificate must have (RFC 7469 2.4)
    shell: str = ""  # auto | powershell | sh: what runs there over ssh
    uuid: str = ""  # SMBIOS UUID that the machine must have; where empty, the one that was read first
    enabled: bool = True


class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A network place with its own collectors and credentials, and the defaults of its endpoints."""

    id: str
    name: str = ""
    location: str = ""
    timezone: str = "UTC"
    holidays: tuple[str, ...] = ()  # COUNTRY or COUNTRY-SUBDIVISION: days on which its business hours are closed
    contact: str = ""
    credential: str = ""  # name in the vault
    transport: str = "winrm"
    scheme: str = "http"
    port: int = 0  # 0: 5985 for http, 5986 for https, 22 for ssh
    ca_file: str = ""  # PEM file; the system's store where empty
    known_hosts: str = ""  # OpenSSH known_hosts file for ssh
    shell: str = "auto"  # auto | powershell | sh: what runs over ssh; auto finds out and remembers
    dns: tuple[str, ...] = ()  # name servers, ADDRESS or ADDRESS:PORT; the system's resolver where empty
    auth: str = "ntlm"  # ntlm | kerberos | negotiate | certificate | basic (over https only) | credssp (pypsrp only)
    negotiate: tuple[str, ...] = ("kerberos", "ntlm")  # the order that `auth: negotiate` tries, and nothing else
    spn: str = "HTTP"  # service class of the Kerberos name SPN/host
    session: str = "new"  # new | connection | runspace: what is kept between polls
    source: str = "script"  # script | wql | auto | jea: how collectors that offer both are read
    configuration: str = "Microsoft.PowerShell"  # session configuration
    fallback: tuple[str, ...] = ()  # tried in order where `configuration` does not exist; `winrs` is the command shell
    shards: int = 1


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What the endpoints of a group (column GroupId of the endpoint list) have instead of their site's, if anything."""

    source: str = ""  # script | wql | auto | jea


class TlsException(msgspec.Struct, frozen=True, kw_only=True):
    """A weakness of TLS that somebody answers for, on named endpoints, until a day; afterwards it is as if absent.

    `allow`: tls1.0, tls1.1 (that version is spoken), expired (the certificate's dates), name (its names).
    """

    endpoints: tuple[str, ...]  # ids or names
    allow: tuple[str, ...]
    owner: str
    until: str  # YYYY-MM-DD, the last day, UTC
    reason: str = ""


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
    # password | key (SSH private key) | agent (a key of the SSH agent: `key_file` may name its public key)
    # | keytab | ccache (Kerberos) | certificate (client certificate and its key);
    # the secret is the password, or the passphrase of `key_file`, or empty
    kind: str = "password"
    key_file: str = ""
    cert_file: str = ""


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
    shell: str = "auto"  # auto | powershell | sh
    language: str = ""  # powershell | sh: what the endpoint spoke at its last poll, which saves `auto` a try
    source: str = "script"  # script | wql | auto | jea
    configuration: str = "Microsoft.PowerShell"
    fallback: tuple[str, ...] = ()
    chosen: str = ""  # the one of these that an earlier poll found to be there
    idle_s: int = 180  # the endpoint ends a shell that was lost after so long
    orphans: bool = False  # an earlier process left it in the middle of a visit: its shells there are ended first
    connect_timeout: float = 5.0  # seconds for TCP alone
    dns: tuple[str, ...] = ()
    pin: str = ""
    tls_allow: tuple[str, ...] = ()  # weaknesses that an exception in force allows: see TlsException
    negotiate: tuple[str, ...] = ("kerberos", "ntlm")
    spn: str = "HTTP"
