"""Who this site collector is: three keys that were made here and never leave, and what the hub gave for them.

In the folder `site` of the configuration, one file that its owner alone may read and that is replaced as a whole.
Keys are not sealed: a collector has to start unattended. Whoever steals the disk has this collector's identity until
the hub revokes it, and nobody else's.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rmm.bus import nkeys, subjects
from rmm.bus.login import Login
from rmm.durable import replace_file
from rmm.errors import BusError, ConfigError, EnvelopeError
from rmm.model.enrolment import Grant

FORMAT = 1
FOLDER = "site"
IDENTITY = "identity.json"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """`identity.json`. `key`, `hub`: hexadecimal, Ed25519, 32 bytes each, private and public."""

    site: str
    collector: str
    urls: tuple[str, ...]
    hub: str
    key: str
    user: str  # the seed of the broker's user
    jwt: str
    tls: str  # PEM, the private key
    certificate: str  # PEM
    authority: str  # PEM: who signs the broker's certificate
    given_at: datetime
    expires_at: datetime
    format: int = FORMAT


class Keys(msgspec.Struct, frozen=True):
    """The private keys of a collector: what signs envelopes, the broker's user (seed), TLS."""

    envelope: Ed25519PrivateKey
    user: str
    tls: ec.EllipticCurvePrivateKey

    @classmethod
    def new(cls) -> Keys:
        """Three new keys, different ones: what one of them signs is worth nothing for another."""
        return cls(Ed25519PrivateKey.generate(), nkeys.new_seed(nkeys.USER), ec.generate_private_key(ec.SECP256R1()))

    def request(self) -> bytes:
        """The request for a certificate (PKCS#10, DER). The hub chooses what stands in it."""
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        return builder.sign(self.tls, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


class Identity:
    """This collector, as the hub knows it. Immutable: a renewal gives another one."""

    def __init__(self, folder: Path, content: _File, keys: Keys) -> None:
        self.folder = folder  # `site` in the configuration folder
        self.keys = keys
        self._content = content
        self._hub = Ed25519PublicKey.from_public_bytes(bytes.fromhex(content.hub))

    @classmethod
    def load(cls, config: Path) -> Identity:
        """The identity in a configuration folder. Raises ConfigError where there is none, or it is damaged."""
        folder = config / FOLDER
        path = folder / IDENTITY
        try:
            content = msgspec.json.decode(path.read_bytes(), type=_File)
            envelope = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content.key))
            nkeys.private_key(content.user)
            tls = serialization.load_pem_private_key(content.tls.encode(), None)
        except FileNotFoundError as error:
            raise ConfigError(
                f"{config}: this is no site collector",
                hint="Run `rmm site enroll TOKEN` with a token of `rmm hub invite SITE`.",
            ) from error
        except Exception as error:  # of four parsers; the text of one may hold what it read
            raise _damaged(folder, type(error).__name__) from error
        if content.format != FORMAT:
            raise ConfigError(f"{path}: written by another version of rmm (format {content.format})")
        if not isinstance(tls, ec.EllipticCurvePrivateKey):
            raise _damaged(folder, "the key for TLS is of another kind")
        return cls(folder, content, Keys(envelope, content.user, tls))

    @property
    def site(self) -> str:
        """The site's id."""
        return self._content.site

    @property
    def collector(self) -> str:
        """The id of this collector within its site."""
        return self._content.collector

    @property
    def urls(self) -> tuple[str, ...]:
        """How to reach the broker."""
        return self._content.urls

    @property
    def expires_at(self) -> datetime:
        """Until when certificate and login are good."""
        return self._content.expires_at

    @property
    def renews_at(self) -> datetime:
        """From when on they are to be renewed: two thirds of their life."""
        life = self._content.expires_at - self._content.given_at
        return self._content.given_at + life * 2 / 3

    def ended(self, now: datetime) -> BusError | None:
        """That certificate and login have ended, and what to do; None while they are good."""
        if now < self.expires_at:
            return None
        return BusError(
            f"certificate and login of this collector ended {self.expires_at:%Y-%m-%d %H:%M} UTC: enrol it again",
            code="bus.refused",
            hint=f"At the hub `rmm hub revoke {self.site} --collector {self.collector}`, `rmm hub invite {self.site}`; "
            "here move the folder `site` away, and `rmm site enroll TOKEN`. Polling goes on, and nothing is lost.",
        )

    def sign(self, data: bytes) -> bytes:
        """The collector's signature. Whoever calls puts a context in front that says what is signed."""
        return self.keys.envelope.sign(data)

    def verify_hub(self, data: bytes, signature: bytes) -> bool:
        """Whether the hub has signed this."""
        try:
            self._hub.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    def login(self, proxy: str = "") -> Login:
        """How to log on at the broker."""
        return Login(
            urls=self.urls,
            jwt=self._content.jwt,
            seed=self._content.user,
            ca_file=self._content.authority,
            cert_file=self._content.certificate,
            key_file=self._content.tls,
            name=f"{self.site}/{self.collector}",
            proxy=proxy,
            inbox=subjects.site_inbox(self.site),
        )

    def renewed(self, grant: Grant) -> Identity:
        """With what the hub gave anew, on disk. Raises EnvelopeError for a grant that is not for this, TierError."""
        if (grant.site, grant.collector) != (self.site, self.collector):
            raise EnvelopeError("the hub's answer is for another collector", code="envelope.site")
        write(self.folder, self.keys, grant, bytes.fromhex(self._content.hub))
        return Identity.load(self.folder.parent)


def write(folder: Path, keys: Keys, grant: Grant, hub: bytes) -> None:
    """The file of an identity; `folder` may be a new one. Raises EnvelopeError for a grant of other keys."""
    public = keys.tls.public_key()
    try:
        given = x509.load_pem_x509_certificate(grant.certificate.encode())
        x509.load_pem_x509_certificate(grant.authority.encode())
    except ValueError as error:
        raise EnvelopeError("the hub's answer has no readable certificate") from error
    if given.public_key() != public or grant.expires_at is None or not grant.urls:
        raise EnvelopeError("the hub's answer is not for these keys")
    pem = keys.tls.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    content = _File(
        site=grant.site,
        collector=grant.collector,
        urls=grant.urls,
        hub=hub.hex(),
        key=keys.envelope.private_bytes_raw().hex(),
        user=keys.user,
        jwt=grant.jwt,
        tls=pem.decode(),
        certificate=grant.certificate,
        authority=grant.authority,
        given_at=grant.at,
        expires_at=grant.expires_at,
    )
    replace_file(folder / IDENTITY, msgspec.json.format(msgspec.json.encode(content)) + b"\n", private=True)


def _damaged(folder: Path, why: str) -> ConfigError:
    return ConfigError(
        f"{folder}: damaged ({why})",
        hint="Restore it from a backup, or move it away and enrol again; then `rmm hub revoke` the old collector.",
    )
