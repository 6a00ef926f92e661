"""Certificates: what the handshake hands on before anything is trusted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from rmm.transports.winrm.auth import _certificate_hash
from rmm.transports.winrm.network import pin_of


@cache
def _certificates() -> tuple[bytes, ...]:
    keys: list[tuple[Any, Any]] = [
        (ec.derive_private_key(7, ec.SECP256R1()), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), None),
        (rsa.generate_private_key(65537, 1024), hashes.SHA384()),
    ]
    found = []
    for key, algorithm in keys:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "srv01")])
        made = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
            .not_valid_before(datetime(2024, 1, 1, tzinfo=UTC)).not_valid_after(datetime(2034, 1, 1, tzinfo=UTC))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("srv01.lab.example")]), critical=False)
        )  # fmt: skip
        found.append(made.sign(key, algorithm).public_bytes(serialization.Encoding.DER))
    return tuple(found)


def seeds() -> Iterator[bytes]:
    yield from _certificates()


def run(data: bytes) -> Any:
    return [pin_of(data), _certificate_hash(data)]
