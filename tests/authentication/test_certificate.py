"""Client certificates: the mapping on the endpoint, certificates that are refused, and our own that have ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kerberos_lab import KerberosLab, lab_with

from rmm.app import build
from rmm.errors import AuthError, RmmError, TlsError
from rmm.model.endpoint import Credential, Secret
from rmm.ports import Script
from rmm.transports.winrm.network import pin_of


class Open:
    def __init__(self) -> None:
        self.log: list[str] = []

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Open]:
        self.log.append("asked")
        yield self

    def accepted(self) -> None:
        self.log.append("accepted")

    def rejected(self) -> None:
        self.log.append("rejected")

    def unsent(self) -> None: ...


async def name(lab: KerberosLab, credential: Credential, transport: str, **changes: Any) -> tuple[Any, list[str]]:
    gate = Open()
    used: Any = build("transports", transport, gate=gate)
    values = {"scheme": "https", "auth": "certificate", "transport": transport, "credential": credential}
    target = lab.target(**(values | changes))
    if transport != "winrm":
        target = lab.target(**(values | {"name": lab.fleet[0].name} | changes))
    deadline = asyncio.get_running_loop().time() + 20
    try:
        async with used.session(target, deadline=deadline) as session:
            result = await session.run(Script("$env:COMPUTERNAME"), deadline=deadline)
            return result.output[0], gate.log
    except RmmError as error:
        return error, gate.log
    finally:
        await used.aclose()


def issued(folder: Path, key_file: str = "lab-client.key", secret: str = "") -> Credential:
    return Credential(
        name="c", username="rmm", secret=Secret(secret), kind="certificate",
        cert_file=str(folder / "lab-client.pem"), key_file=str(folder / key_file),
    )  # fmt: skip


@pytest.mark.parametrize("transport", ["winrm", "pypsrp", "pywinrm"])
async def test_a_certificate_that_is_mapped(tmp_path: Path, transport: str) -> None:
    async with lab_with(tmp_path, None, client_certificate="rmm@localhost") as lab:
        seen, log = await name(lab, issued(tmp_path), transport)
        assert seen == lab.fleet[0].name
        assert log == ["asked", "accepted"]
        assert (await lab.stats())["logons_rejected"] == 0


@pytest.mark.parametrize("transport", ["winrm", "pypsrp", "pywinrm"])
async def test_a_certificate_that_nobody_mapped(tmp_path: Path, transport: str) -> None:
    async with lab_with(tmp_path, None, client_certificate="rmm@localhost", unmapped=True) as lab:
        error, log = await name(lab, issued(tmp_path), transport)
        assert isinstance(error, AuthError)
        assert (error.code, error.status, error.retry) == ("auth.rejected", "AUTH_REJECTED", "RH")
        assert log == ["asked", "rejected"]
        if transport == "winrm":
            assert "certmapping" in error.hint


async def test_a_key_with_a_passphrase(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None, client_certificate="rmm@localhost") as lab:
        key = serialization.load_pem_private_key((tmp_path / "lab-client.key").read_bytes(), None)
        locked = serialization.BestAvailableEncryption(b"open sesame")
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
        (tmp_path / "locked.key").write_bytes(key.private_bytes(*form))
        for transport in ("winrm", "pypsrp"):
            seen, _ = await name(lab, issued(tmp_path, "locked.key", "open sesame"), transport)
            assert seen == lab.fleet[0].name
        error, log = await name(lab, issued(tmp_path, "locked.key", "wrong"), "winrm")
        assert (error.code, error.status) == ("tls.client_certificate", "CONFIG")
        assert log == []


def write_certificate(folder: Path, days: int) -> Credential:
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rmm@localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=100))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    (folder / "own.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    (folder / "own.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    return Credential(
        name="own", username="rmm", secret=Secret(""), kind="certificate", cert_file=str(folder / "own.pem"),
        key_file=str(folder / "own.key"),
    )  # fmt: skip


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_that_tls_refuses(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, version: ssl.TLSVersion
) -> None:
    """By a blocking server: asyncio's own sends no alert when it refuses a certificate."""
    own = write_certificate(tmp_path, 10)
    async with lab_with(tmp_path, None, client_certificate="rmm@localhost") as lab:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.cert_file, own.key_file)
        context.load_verify_locations(lab.info.ca_file)  # which did not issue the client's
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = version
        server = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.get_running_loop().run_in_executor(None, refuse_one, context, server)
        changes = {"host": "127.0.0.1", "port": server.getsockname()[1], "pin": pin_of_file(own.cert_file)}
        error, log = await name(lab, own, "winrm", **changes)
        assert isinstance(error, AuthError), error
        assert (error.code, error.status, error.retry) == ("auth.rejected", "AUTH_REJECTED", "RH")
        assert "trusted roots" in error.hint
        assert "accepted" not in log
        assert "expires on" in caplog.text
        await serving


def refuse_one(context: ssl.SSLContext, server: socket.socket) -> None:
    with server:
        one, _ = server.accept()
        secured = context.wrap_socket(one, server_side=True, do_handshake_on_connect=False)
        with secured:
            with contextlib.suppress(OSError):
                secured.do_handshake()
            time.sleep(0.5)  # closing at once would reset what the client has not read


def pin_of_file(path: str) -> str:
    certificate = x509.load_pem_x509_certificate(Path(path).read_bytes())
    return pin_of(certificate.public_bytes(serialization.Encoding.DER))


async def test_our_own_certificate_has_ended(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None, client_certificate="rmm@localhost") as lab:
        error, log = await name(lab, write_certificate(tmp_path, -1), "winrm")
        assert isinstance(error, TlsError)
        assert (error.code, error.status) == ("tls.client_certificate", "CONFIG")
        assert "expired on" in str(error)
        assert log == []


async def test_a_password_is_no_certificate(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None) as lab:
        password = Credential(name="p", username=lab.info.username, secret=Secret(lab.info.password))
        for transport in ("winrm", "pypsrp", "pywinrm"):
            for credential, auth in ((password, "certificate"), (issued(tmp_path), "ntlm")):
                error, log = await name(lab, credential, transport, auth=auth)
                assert (error.code, error.status) == ("auth.scheme", "CONFIG")
                assert log == []
        assert (await lab.stats())["connections"] == 0
