"""Ways to the broker: TLS with both certificates, an HTTP proxy, WebSocket; each against a real server."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats_servers
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from rmm.bus import nkeys, tunnel
from rmm.bus.jetstream import Login, open_bus
from rmm.bus.provision import make_streams
from rmm.errors import BusError

HOST = "localhost"


class Authority:
    """A certificate authority, and what it has signed, as PEM files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, folder.name)])
        self.file = self._write("ca", self._sign(self._name, self._key.public_key(), ca=True))

    def _sign(self, name: x509.Name, key: Any, *, ca: bool = False, hosts: tuple[str, ...] = ()) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )
        if ca:
            unused = "digital_signature content_commitment key_encipherment data_encipherment key_agreement"
            usage = dict.fromkeys(f"{unused} encipher_only decipher_only".split(), False)
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        if hosts:
            names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts if not host[0].isdigit()]
            names += [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts if host[0].isdigit()]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, data: bytes) -> str:
        path = self._folder / f"{name}.pem"
        path.write_bytes(data)
        return str(path)

    def issue(self, name: str, *hosts: str) -> tuple[str, str]:
        """(certificate, key) files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(name, self._sign(subject, key.public_key(), hosts=hosts)), self._write(f"{name}-key", pem)


class Secured:
    """A broker that wants mutual TLS 1.3 and a user's key, also on its WebSocket."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder / "ours")
        certificate, key = self.authority.issue("broker", HOST)
        self.seed = nkeys.new_seed("U")
        self.auth = f'accounts {{ RMM {{ jetstream: enabled, users: [{{ nkey: "{nkeys.public_key(self.seed)}" }}] }} }}'
        tls = (
            f'tls {{ cert_file: "{certificate}", key_file: "{key}", ca_file: "{self.authority.file}", verify: true,'
            ' min_version: "1.3" }'
        )
        self.extra = f"{tls}\nwebsocket {{ listen: '127.0.0.1:{{ws_port}}', {tls} }}"
        self.certificate, self.key = self.authority.issue("site")

    def login(self, url: str, **changed: Any) -> Login:
        known: dict[str, Any] = {
            "seed": self.seed,
            "ca_file": self.authority.file,
            "cert_file": self.certificate,
            "key_file": self.key,
        }
        return Login(urls=(url,), **(known | changed))


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[Secured, nats_servers.Server]]:
    one = Secured(tmp_path)
    with nats_servers.server(tmp_path / "broker", auth=one.auth, extra=one.extra) as broker:
        yield one, broker


class Proxy:
    """A small HTTP proxy that knows CONNECT, and counts."""

    def __init__(self) -> None:
        self.port = 0
        self.wanted = ""
        self.answer = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
        self.requests: list[bytes] = []
        self.cut = asyncio.Event()
        self.tasks: set[asyncio.Task[Any] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.requests.append(request)
            if self.wanted and f"Proxy-Authorization: Basic {self.wanted}".encode() not in request:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            writer.write(self.answer)
            if b" 200 " not in self.answer:
                return
            host, _, port = request.split(b" ")[1].decode().rpartition(":")
            there, there_writer = await asyncio.open_connection(host, int(port))
            copies = [asyncio.create_task(self.copy(*pair)) for pair in ((reader, there_writer), (there, writer))]
            cut = asyncio.create_task(self.cut.wait())
            await asyncio.wait([*copies, cut], return_when=asyncio.FIRST_COMPLETED)
            for task in (*copies, cut):
                task.cancel()
            there_writer.transport.abort()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def proxy() -> AsyncIterator[Proxy]:
    one = Proxy()
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        one.cut.set()
        server.close()
        await asyncio.gather(*(task for task in one.tasks if task), return_exceptions=True)
        await asyncio.sleep(0)


async def use(login: Login) -> None:
    """All that goes over a connection, with messages larger than one read."""
    async with open_bus(login, wait_s=10) as bus:
        await make_streams(bus.link, sites=("a",))
        large = os.urandom(300_000)
        async with bus.subscribe("rmm.up.*") as messages, bus.hear("rmm.down.a") as told, asyncio.timeout(15):
            for n in range(5):
                await bus.publish("rmm.up.a", b"%d" % n + large)
            for n in range(5):
                delivery = await anext(messages)
                assert delivery.data == b"%d" % n + large
                await delivery.ack()
            await bus.tell("rmm.down.a", large)
            assert (await anext(told)).data == large


async def refusal(login: Login) -> BusError:
    with pytest.raises(BusError) as error:
        async with open_bus(login, wait_s=2.0):
            pass
    assert error.value.code in ("bus.down", "bus.refused", "bus.tls", "bus.version")
    return error.value


async def test_mutual_tls(secured: Any) -> None:
    one, broker = secured
    await use(one.login(f"tls://{HOST}:{broker.port}"))


async def test_certificates_as_text(secured: Any) -> None:
    one, broker = secured
    texts = {
        key: Path(file).read_text()
        for key, file in (("ca_file", one.authority.file), ("cert_file", one.certificate), ("key_file", one.key))
    }
    await use(one.login(f"tls://{HOST}:{broker.port}", **texts))


async def test_websocket(secured: Any) -> None:
    one, broker = secured
    await use(one.login(f"wss://{HOST}:{broker.ws_port}/"))


async def test_websocket_without_tls() -> None:
    with nats_servers.server(websocket=True) as broker:
        await use(Login(urls=(broker.ws_url,)))


async def test_through_a_proxy(secured: Any) -> None:
    one, broker = secured
    async with proxy() as between:
        between.wanted = base64.b64encode(b"m\xc3\xa4x:p@ss").decode()
        url = f"http://m%C3%A4x:p%40ss@127.0.0.1:{between.port}"
        await use(one.login(f"tls://{HOST}:{broker.port}", proxy=url))
        await use(one.login(f"wss://{HOST}:{broker.ws_port}/", proxy=url))
        first = {request.split(b"\r\n")[0] for request in between.requests}
        assert first == {f"CONNECT {HOST}:{port} HTTP/1.1".encode() for port in (broker.port, broker.ws_port)}


async def test_plain_websocket_through_a_proxy() -> None:
    with nats_servers.server(websocket=True) as broker:
        async with proxy() as between:
            await use(Login(urls=(broker.ws_url,), proxy=f"http://127.0.0.1:{between.port}"))
            assert len(between.requests) == 1


async def test_a_proxy_that_cuts_the_connection_is_gone_through_again() -> None:
    with nats_servers.server() as broker:
        async with proxy() as between:
            login = Login(urls=(broker.url,), proxy=f"http://127.0.0.1:{between.port}")
            async with open_bus(login) as bus, bus.hear("x.y") as told:
                between.cut.set()
                async with asyncio.timeout(10):
                    while len(between.requests) < 2:
                        between.cut.clear()
                        await asyncio.sleep(0.05)
                    while not bus.connected:
                        await asyncio.sleep(0.02)
                    await bus.tell("x.y", b"1")
                    assert (await anext(told)).data == b"1"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"SSH-2.0-x\r\n\r\n", "no answer of HTTP"),
        (b"HTTP/1.1 200 " + b"x" * 40_000, "no answer of HTTP"),
        (b"", "no answer of HTTP"),
    ],
)
async def test_a_proxy_that_refuses_says_so(answer: bytes, said: str) -> None:
    async with proxy() as between:
        between.answer = answer
        error = await refusal(Login(urls=("nats://127.0.0.1:1",), proxy=f"http://127.0.0.1:{between.port}"))
        assert said in str(error)


async def test_a_proxy_that_wants_a_password_says_so() -> None:
    async with proxy() as between:
        between.wanted = "x"
        error = await refusal(Login(urls=("nats://127.0.0.1:1",), proxy=f"http://127.0.0.1:{between.port}"))
        assert "407" in str(error)
        assert "http://USER@HOST:PORT" in error.hint
        assert "proxy_login" in error.hint


@pytest.mark.parametrize("url", ["socks5://127.0.0.1:1", "127.0.0.1:1", "http://", "http://[::1", "http://127.0.0.1:x"])
async def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(BusError) as error:
        await tunnel.Tunnel.open(url, HOST, 4222)
    assert error.value.code == "bus.proxy"


async def test_the_tunnel_is_for_one_connection() -> None:
    """Whoever else finds its port gets nothing."""
    with nats_servers.server() as broker:
        async with proxy() as between:
            one = await tunnel.Tunnel.open(f"http://127.0.0.1:{between.port}", "127.0.0.1", broker.port)
            reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
            assert (await reader.readline()).startswith(b"INFO ")
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", one.port)
            writer.close()
            await one.aclose()


@pytest.mark.parametrize("scheme", ["tls", "wss"])
@pytest.mark.parametrize("proxied", [False, True])
async def test_a_server_of_another_authority_or_name_is_refused(secured: Any, scheme: str, proxied: bool) -> None:
    one, broker = secured
    port = broker.port if scheme == "tls" else broker.ws_port
    other = Authority(Path(one.authority.file).parent.parent / "theirs")
    async with proxy() as between:
        way = {"proxy": f"http://127.0.0.1:{between.port}"} if proxied else {}
        wrong = await refusal(one.login(f"{scheme}://{HOST}:{port}/", ca_file=other.file, **way))
        named = await refusal(one.login(f"{scheme}://127.0.0.1:{port}/", **way))
    assert "certificate verify failed" in str(wrong)
    assert "certificate" in str(named)


async def test_a_client_of_another_authority_is_refused(secured: Any) -> None:
    one, broker = secured
    other = Authority(Path(one.authority.file).parent.parent / "theirs")
    certificate, key = other.issue("site")
    for login in (
        one.login(f"tls://{HOST}:{broker.port}", cert_file=certificate, key_file=key),
        one.login(f"tls://{HOST}:{broker.port}", cert_file="", key_file=""),
    ):
        assert "certificate" in str(await refusal(login)).lower()


async def test_another_key_is_refused_and_says_what_to_do(secured: Any) -> None:
    one, broker = secured
    error = await refusal(one.login(f"tls://{HOST}:{broker.port}", seed=nkeys.new_seed("U")))
    assert "refuses the login" in str(error)
    assert "enrol" in error.hint


async def test_tls_that_was_taken_away_is_refused_before_anything_is_said() -> None:
    """Somebody between who says that no TLS is wanted gets neither the user's name nor a signature."""
    heard: list[bytes] = []

    async def between(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"2.15.1","nonce":"abc","auth_required":true,"max_payload":1048576}\r\n')
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(between, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    error = await refusal(Login(urls=(f"tls://127.0.0.1:{port}",), seed=nkeys.new_seed("U"), jwt="x.y.z"))
    server.close()
    assert "offers no TLS" in str(error)
    assert set(heard) == {b""}


@pytest.mark.parametrize("version", ["2.9.25", "2.10.23", "1.4.1", "", "x"])
async def test_an_old_server_is_refused_with_the_reason(version: str) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"version":"%s","headers":true,"max_payload":1048576}\r\n' % version.encode())
        while line := await reader.readline():
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(old, "127.0.0.1", 0)
    error = await refusal(Login(urls=(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}",)))
    server.close()
    assert "may lose what it has confirmed" in str(error)
    assert "2.11" in error.hint


@pytest.mark.parametrize("said", [b"", b"garbage\r\n", b"INFO {\r\n", b"INFO []\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"])
async def test_what_is_no_broker_is_refused(said: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    await refusal(Login(urls=(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}",)))
    server.close()


@pytest.mark.parametrize("url", ["http://x:1", "x:1", "tls://", "tls://h:x", "tls://h:99999", ""])
async def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(BusError) as error:
        async with open_bus(Login(urls=(url,))):
            pass
    assert error.value.code == "bus.url"


async def test_files_that_are_no_certificates_are_refused_at_once(tmp_path: Path) -> None:
    bad = tmp_path / "bad.pem"
    bad.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    for changed in (
        {"ca_file": str(bad)},
        {"cert_file": str(bad)},
        {"ca_file": str(tmp_path / "none")},
        {"cert_file": "x"},
    ):
        with pytest.raises(BusError) as error:
            async with open_bus(Login(urls=("tls://localhost",), **changed)):
                pass
        assert error.value.code == "bus.tls"


def test_a_login_shows_no_secret() -> None:
    seed = nkeys.new_seed("U")
    login = Login(urls=("tls://u:secret@h:1",), seed=seed, jwt="jwt", key_file="-----BEGIN key", proxy="http://a:pw@h")
    for shown in (repr(login), str(login), f"{login}", repr([login])):
        assert not any(secret in shown for secret in (seed, "jwt", "BEGIN", "pw", "secret"))


async def test_a_port_that_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(BusError) as error:
            async with open_bus(Login(urls=(f"nats://127.0.0.1:{silent.getsockname()[1]}",)), wait_s=0.5):
                pass
    assert error.value.code == "bus.down"
