"""The lab's own CA, and a certificate for each machine when it is first asked for."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import tempfile
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmm.durable import replace_file
from rmm.lab.machine import Machine

KEPT = 512
DAYS = 365
# ServerHello, RFC 2246 7.4.1.3, with the version left open: what Windows before TLS 1.3 answers to any newer client,
# because it does not know the extension in which that lists its versions.
OLD_HELLO = b"\x16%b\x00\x2a\x02\x00\x00\x26%b" + bytes(32) + b"\x00\x00\x2f\x00"


def answer_as_old(channel: socket.socket, context: ssl.SSLContext, error: ssl.SSLError) -> None:
    """After a handshake that failed for its version: say hello in the old one, which OpenSSL does not."""
    if error.reason == "UNSUPPORTED_PROTOCOL":
        version = bytes([3, 1 if context.maximum_version == ssl.TLSVersion.TLSv1 else 2])
        with contextlib.suppress(OSError):
            channel.send(OLD_HELLO % (version, version))


class Authority:
    """Issues server certificates that name a machine and its address. One key serves all machines of a lab."""

    def __init__(self, ca_file: Path) -> None:
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._other_key = ec.generate_private_key(ec.SECP256R1())  # of faulty certificates, one for all connections
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rmm lab CA")])
        self.asks_for_certificates = False  # of clients; those of this CA are trusted, none is demanded
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._bindings: dict[str, bytes] = {}  # address -> channel binding
        own = self._builder(self._name, self._ca_key, ca=True)
        certificate = own.sign(self._ca_key, hashes.SHA256())
        self._ca_pem = certificate.public_bytes(serialization.Encoding.PEM)
        ca_file.write_bytes(self._ca_pem)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool,
        days: tuple[datetime, datetime] | None = None,
        issuer: str = "",
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        begin, end = days or (now - timedelta(days=1), now + timedelta(days=DAYS))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]) if issuer else self._name
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=ca,
            crl_sign=ca,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca_key.public_key()), critical=False
            )
        )

    def context(self, machine: Machine) -> ssl.SSLContext:
        """The server context of one machine."""
        known = self._contexts.get(machine.address)
        if known is None:
            known = self._contexts[machine.address] = self._issue(machine)
            if len(self._contexts) > KEPT:
                self._contexts.popitem(last=False)
        return known

    def binding(self, machine: Machine) -> bytes:
        """The channel binding of a machine's own certificate, whatever is presented for it (RFC 5929 4)."""
        self.context(machine)
        return self._bindings[machine.address]

    def _issue(self, machine: Machine) -> ssl.SSLContext:
        certificate = self._certificate(machine, self._key).sign(self._ca_key, hashes.SHA256())
        self._bindings[machine.address] = b"tls-server-end-point:" + certificate.fingerprint(hashes.SHA256())
        return self._context(certificate, self._key)

    def client_certificate(self, name: str, folder: Path) -> tuple[Path, Path]:
        """Issue a certificate for a client with this common name; (certificate, key), PEM files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key, ca=False).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        certificate, key_file = folder / "lab-client.pem", folder / "lab-client.key"
        certificate.write_bytes(made.sign(self._ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        replace_file(key_file, key.private_bytes(*plain), private=True)
        return certificate, key_file

    def faulty(self, machine: Machine, how: str, *, days: float = 0.0) -> ssl.SSLContext:
        """A context that is wrong in one way: see `rmm.lab.faults.tls`."""
        other = self._other_key
        if how.startswith("tls1"):
            context = self._issue(machine)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1 if how == "tls1.0" else ssl.TLSVersion.TLSv1_1
            context.set_ciphers("ALL:@SECLEVEL=0")
            return context
        now = datetime.now(UTC)
        if how == "expired":
            made = self._certificate(machine, self._key, (now - timedelta(days=30), now - timedelta(days=1)))
        elif how == "ends":
            made = self._certificate(machine, self._key, (now - timedelta(days=30), now + timedelta(days=days)))
        elif how == "early":
            made = self._certificate(machine, self._key, (now + timedelta(days=1), now + timedelta(days=30)))
        elif how == "wrong_name":
            made = self._certificate(machine, self._key, names=[x509.DNSName("another.lab.example")])
        elif how == "changed_key":
            return self._context(self._certificate(machine, other).sign(self._ca_key, hashes.SHA256()), other)
        elif how == "self_signed":
            own = self._certificate(machine, other, issuer=machine.dns_name[:64])
            return self._context(own.sign(other, hashes.SHA256()), other)
        else:
            issuer = "Inspection Gateway CA" if how == "inspected" else "Another CA"
            made = self._certificate(machine, self._key, issuer=issuer)
            return self._context(made.sign(other, hashes.SHA256()), self._key)
        return self._context(made.sign(self._ca_key, hashes.SHA256()), self._key)

    def _certificate(
        self,
        machine: Machine,
        key: ec.EllipticCurvePrivateKey,
        days: tuple[datetime, datetime] | None = None,
        *,
        names: list[x509.GeneralName] | None = None,
        issuer: str = "",
    ) -> x509.CertificateBuilder:
        listed = names or [
            x509.DNSName(machine.dns_name),
            x509.DNSName(machine.name.lower()),
            x509.IPAddress(ipaddress.ip_address(machine.address)),
        ]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, machine.dns_name[:64])])
        return (
            self._builder(subject, key, ca=False, days=days, issuer=issuer)
            .add_extension(x509.SubjectAlternativeName(listed), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )

    def _context(self, certificate: x509.Certificate, key_of: ec.EllipticCurvePrivateKey) -> ssl.SSLContext:
        key = key_of.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.asks_for_certificates:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.load_verify_locations(cadata=self._ca_pem.decode())
        with tempfile.TemporaryDirectory() as folder:  # the ssl module loads certificates from files only
            path = Path(folder) / "machine.pem"
            path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + key)
            context.load_cert_chain(path)
        return context


def common_name(transport: asyncio.Transport) -> str | None:
    """Of the client's certificate; None where it showed none."""
    certificate = transport.get_extra_info("peercert") or {}
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return subject.get("commonName")
