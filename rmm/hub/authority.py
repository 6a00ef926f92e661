"""The hub's authority: the keys from which everybody's rights come, in the folder `hub` of the configuration.

Made once by `rmm hub init`. Files are readable by their owner alone; nothing of it is in the data folder, in a bundle,
or in a backup of the store. They are not sealed: the hub and its broker have to start unattended, and a passphrase
that lies beside what it opens protects nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rmm.bus import nkeys
from rmm.bus.login import Login
from rmm.bus.nats_jwt import UserLimits, account_jwt, operator_jwt, user_jwt
from rmm.bus.subjects import HUB_INBOX, Permissions, hub_permissions
from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.hub.certificates import Pair, client_pair, new_authority
from rmm.hub.registry import Registry, RegistryFile
from rmm.model.enrolment import Verify

FORMAT = 1
FOLDER = "hub"
AUTHORITY = "authority.json"
ACCOUNT_NAME, SYSTEM_NAME = "RMM", "SYS"
LOGIN_REFUSED, TLS_REFUSED = "$SYS.SERVER.*.CLIENT.AUTH.ERR", "$SYS.ACCOUNT.$G.DISCONNECT"  # `rmm.hub.logins`
_SYSTEM_LASTS = timedelta(days=1)
_HUB_DAYS = 20 * 365  # its key lies beside that of the authority which made it


class _Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """`authority.json`. Seeds are nkeys; `signer` is hexadecimal, the 32 bytes of an Ed25519 key."""

    made_at: datetime
    operator: str
    system: str  # the account in which servers are told of new claims
    account: str  # the account RMM: used once, to name it
    account_signer: str  # signs its users
    hub: str  # the hub's own user
    certificate: Pair  # of the hub
    signer: str  # receipts, bundles, grants
    clients: Pair  # who signs the certificates of brokers towards clients, and of clients
    routes: Pair  # who signs those of brokers among each other: a client's must be worth nothing there
    format: int = FORMAT


class Authority:
    """Signs, and knows who may. Opened by every process of the hub; the registry may be written by another one."""

    def __init__(self, folder: Path, secrets: _Secrets) -> None:
        self.folder = folder  # `hub` in the configuration folder
        self.registry = RegistryFile(folder)
        self._secrets = secrets
        self._signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secrets.signer))
        self._keys: tuple[Registry, dict[tuple[str, str], Verify]] = (Registry(), {})

    @classmethod
    def create(cls, config: Path, now: datetime) -> Authority:
        """Make it in a configuration folder. Raises ConfigError where there is one already."""
        folder = config / FOLDER
        if (folder / AUTHORITY).exists():
            raise ConfigError(
                f"{folder / AUTHORITY} exists already",
                hint="Sites trust these keys: a new authority would need every site to be enrolled again.",
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.chmod(0o700)
        clients = new_authority("rmm sites", now)
        secrets = _Secrets(
            made_at=now,
            operator=nkeys.new_seed(nkeys.OPERATOR),
            system=nkeys.new_seed(nkeys.ACCOUNT),
            account=nkeys.new_seed(nkeys.ACCOUNT),
            account_signer=nkeys.new_seed(nkeys.ACCOUNT),
            hub=nkeys.new_seed(nkeys.USER),
            signer=Ed25519PrivateKey.generate().private_bytes_raw().hex(),
            clients=clients,
            certificate=client_pair(clients, "hub", now, now + timedelta(days=_HUB_DAYS)),
            routes=new_authority("rmm brokers", now),
        )
        RegistryFile(folder).write(Registry())
        # The last one: without it there is no authority yet, and `init` may be run again.
        encoded = msgspec.json.format(msgspec.json.encode(secrets))
        replace_file(folder / AUTHORITY, encoded + b"\n", private=True)
        return cls(folder, secrets)

    @classmethod
    def open(cls, config: Path) -> Authority:
        """The authority of a configuration folder. Raises ConfigError where there is none, or it is damaged."""
        path = config / FOLDER / AUTHORITY
        try:
            secrets = msgspec.json.decode(path.read_bytes(), type=_Secrets)
        except FileNotFoundError as error:
            raise ConfigError(f"{config}: this is no hub", hint="Run `rmm hub init` first.") from error
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not readable: {error}", hint="Restore it from a backup.") from error
        if secrets.format != FORMAT:
            raise ConfigError(f"{path}: written by another version of rmm (format {secrets.format})")
        return cls(path.parent, secrets)

    # What the hub signs, and whom it believes

    @property
    def public(self) -> bytes:
        """The Ed25519 key by which sites know what the hub has signed."""
        return self._signer.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """The hub's signature. Whoever calls puts a context in front that says what is signed."""
        return self._signer.sign(data)

    sign_receipt = sign

    def public_key_of(self, site: str, collector: str) -> Verify | None:
        """Checks what this collector has signed: (data, signature); None for one that is unknown or revoked."""
        registry = self.registry.read()
        if registry is not self._keys[0]:
            self._keys = (
                registry,
                {
                    (one.site, one.id): verifier(bytes.fromhex(one.key))
                    for one in registry.collectors.values()
                    if one.revoked_at is None
                },
            )
        return self._keys[1].get((site, collector))

    # NATS

    @property
    def account(self) -> str:
        """The public key of the account RMM."""
        return nkeys.public_key(self._secrets.account)

    @property
    def system_account(self) -> str:
        """The public key of the account in which servers talk."""
        return nkeys.public_key(self._secrets.system)

    @property
    def user_signer(self) -> str:
        """The public key of whoever signs the users of the account RMM."""
        return nkeys.public_key(self._secrets.account_signer)

    @property
    def operator(self) -> str:
        """The operator's public key."""
        return nkeys.public_key(self._secrets.operator)

    @property
    def clients(self) -> Pair:
        """Who signs certificates of clients, and what brokers show to clients."""
        return self._secrets.clients

    @property
    def routes(self) -> Pair:
        """Who signs what brokers show each other."""
        return self._secrets.routes

    def operator_claims(self) -> str:
        """The operator as a server's configuration has it."""
        return operator_jwt(
            self._secrets.operator, name="rmm", system_account=self.system_account, now=self._secrets.made_at
        )

    def system_claims(self) -> str:
        """The system account."""
        return account_jwt(self._secrets.operator, self.system_account, name=SYSTEM_NAME, now=self._secrets.made_at)

    def account_claims(self, now: datetime, revoked: dict[str, int] | None = None) -> str:
        """The account RMM with the users that it refuses; `revoked`: others than those of the registry as well."""
        return account_jwt(
            self._secrets.operator,
            self.account,
            name=ACCOUNT_NAME,
            now=now,
            signing_keys=[self.user_signer],
            jetstream_bytes=-1,
            revoked={**(revoked or {}), **self.registry.read().revoked(now)},
        )

    def user_claims(
        self,
        user: str,
        *,
        name: str,
        now: datetime,
        expires: datetime | None,
        permissions: Permissions | None,
        limits: UserLimits | None = None,
    ) -> str:
        """A user of the account RMM, by public key."""
        return user_jwt(
            self._secrets.account_signer,
            user,
            account=self.account,
            name=name,
            now=now,
            expires=expires,
            permissions=permissions,
            limits=limits,
        )

    def login(self, urls: Sequence[str], now: datetime, proxy: str = "") -> Login:
        """How the hub logs on at the broker, as a user of the account RMM."""
        jwt = self.user_claims(
            nkeys.public_key(self._secrets.hub), name="hub", now=now, expires=None, permissions=hub_permissions()
        )
        return self._login(urls, jwt, self._secrets.hub, HUB_INBOX, proxy)

    def system_login(self, urls: Sequence[str], now: datetime, lasts: timedelta = _SYSTEM_LASTS) -> Login:
        """How the hub logs on in the system account: to tell servers of claims, to ask and to hear them."""
        seed = nkeys.new_seed(nkeys.USER)
        jwt = user_jwt(
            self._secrets.system,
            nkeys.public_key(seed),
            account=self.system_account,
            name="hub (system)",
            now=now,
            expires=now + lasts,
            permissions=Permissions(("$SYS.REQ.>",), (f"{HUB_INBOX}.>", LOGIN_REFUSED, TLS_REFUSED)),
        )
        return self._login(urls, jwt, seed, HUB_INBOX, proxy="")

    def _login(self, urls: Sequence[str], jwt: str, seed: str, inbox: str, proxy: str) -> Login:
        return Login(
            urls=tuple(urls),
            jwt=jwt,
            seed=seed,
            ca_file=self._secrets.clients.certificate,
            cert_file=self._secrets.certificate.certificate,
            key_file=self._secrets.certificate.key,
            inbox=inbox,
            name="hub",
            proxy=proxy,
        )


def verifier(key: bytes) -> Verify:
    """Checks signatures of an Ed25519 key of 32 bytes."""
    public = Ed25519PublicKey.from_public_bytes(key)

    def verify(data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify
