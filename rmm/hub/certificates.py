"""X.509 certificates (RFC 5280) of the hub's own authorities: for broker hosts, for the hub, for collectors.

P-256 and TLS 1.3 throughout, which every stack speaks. Everything goes in and out as PEM text.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmm.errors import EnvelopeError

BACKDATED = timedelta(hours=1)  # clocks of sites that are behind take a new certificate too
_AUTHORITY_DAYS = 20 * 365
_SERVER_DAYS = 825  # what browsers and Apple's stack take at most
_MOST_CSR = 4096  # bytes


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new key of P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as unencrypted PKCS#8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def new_authority(name: str, now: datetime) -> Pair:
    """A certificate authority that signs certificates of ends and nothing else."""
    key = new_key()
    subject = _name(name)
    public = key.public_key()
    made = (
        _builder(public, subject, subject, now, now + timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(made), key_pem(key))


def server_pair(authority: Pair, hosts: Sequence[str], now: datetime) -> Pair:
    """The certificate of a broker's host, with a new key; it may also call other brokers (routes of a cluster)."""
    key = new_key()
    names = x509.SubjectAlternativeName([_general(host) for host in hosts])
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    made = _end(authority, key.public_key(), _name(hosts[0]), usage, now, now + timedelta(days=_SERVER_DAYS), names)
    return Pair(made, key_pem(key))


def client_pair(authority: Pair, name: str, now: datetime, expires: datetime) -> Pair:
    """A client's certificate with a new key."""
    key = new_key()
    return Pair(client_certificate(authority, key.public_key(), _name(name), now, expires), key_pem(key))


def client_certificate(
    authority: Pair, public: ec.EllipticCurvePublicKey, subject: x509.Name, now: datetime, expires: datetime
) -> str:
    """A client's certificate for a key that is somewhere else."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _end(authority, public, subject, usage, now, expires, None)


def collector_name(site: str, collector: str) -> x509.Name:
    """The subject of a site collector's certificate."""
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, site), x509.NameAttribute(NameOID.COMMON_NAME, collector)]
    )


def requested_key(csr: bytes) -> ec.EllipticCurvePublicKey:
    """The key that a request (PKCS#10, DER) is for; nothing else that it wishes is granted.

    Raises EnvelopeError when it is damaged, not signed with that key, or for a key of another kind.
    """
    if len(csr) > _MOST_CSR:
        raise EnvelopeError(f"a certificate request of {len(csr)} bytes", code="envelope.size")
    try:
        request = x509.load_der_x509_csr(csr)
        public = request.public_key()
        good = request.is_signature_valid
    except Exception as error:  # the parser's errors are of many kinds
        raise EnvelopeError(f"the certificate request cannot be read: {error}") from error
    if not good or not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise EnvelopeError("the certificate request is not one for its own key of P-256", code="envelope.signature")
    return public


def der(certificate: str) -> bytes:
    """A PEM certificate as DER."""
    return x509.load_pem_x509_certificate(certificate.encode()).public_bytes(serialization.Encoding.DER)


def expires_at(certificate: str) -> datetime:
    """Until when a PEM certificate is good."""
    return x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc


def _end(
    authority: Pair,
    public: ec.EllipticCurvePublicKey,
    subject: x509.Name,
    usage: x509.ExtendedKeyUsage,
    now: datetime,
    expires: datetime,
    names: x509.SubjectAlternativeName | None,
) -> str:
    issuer = x509.load_pem_x509_certificate(authority.certificate.encode())
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise EnvelopeError("the key of the certificate authority is of another kind")
    known = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(public, subject, issuer.subject, now, expires)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _pem(builder.sign(key, hashes.SHA256()))


def _builder(
    public: ec.EllipticCurvePublicKey, subject: x509.Name, issuer: x509.Name, now: datetime, expires: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(expires)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
