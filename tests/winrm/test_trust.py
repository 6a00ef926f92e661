"""A CA file, or a client's certificate, that changes while the process lives: no context of the old one is used."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rmm.errors import TlsError
from rmm.model.endpoint import Credential, Secret
from rmm.transports.winrm.network import pinned, trust


def authority(path: Path, name: str) -> None:
    """A self-signed certificate with its key, as PEM, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now).not_valid_after(now + timedelta(days=90))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))


def names(context: ssl.SSLContext) -> list[str]:
    return [dict(pair[0] for pair in one["subject"])["commonName"] for one in context.get_ca_certs()]  # type: ignore[misc]


def test_a_ca_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    authority(path, "first")
    first = trust(str(path))
    assert names(first) == ["first"]
    assert trust(str(path)) is first
    authority(path, "second")
    os.utime(path, ns=(1, 1))
    assert names(trust(str(path))) == ["second"]


def test_a_ca_file_that_was_taken_away_trusts_nobody(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    authority(path, "first")
    trust(str(path))
    path.unlink()
    with pytest.raises(TlsError) as caught:
        trust(str(path))
    assert caught.value.code == "tls.ca_file"


def test_a_client_certificate_that_was_renewed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "client.pem"
    authority(path, "client")
    credential = Credential(name="c", username="c", secret=Secret(""), kind="certificate", cert_file=str(path))
    first = pinned((), credential)
    assert pinned((), credential) is first
    authority(path, "client")
    os.utime(path, ns=(1, 1))
    assert pinned((), credential) is not first
