"""The days that a certificate has left, from its own bytes: also of one that is trusted by its pinned key."""

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rmm.transports.winrm.wsman import days_left


def certificate(days: float) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "srv01")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - timedelta(days=99))
    made = builder.not_valid_after(now + timedelta(days=days)).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def test_days_before_and_after_the_end() -> None:
    for days in (0.5, 29.0, 365.0, -3.0):
        seen = days_left(certificate(days))
        assert seen is not None
        assert abs(seen - days) < 0.02


def test_a_certificate_that_cannot_be_read_has_no_days_rather_than_none_left() -> None:
    assert days_left(ssl.PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")) is None
