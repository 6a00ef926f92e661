"""`rmm metrics serve`: HTTP within bounds, whoever asks and however."""

from __future__ import annotations

import asyncio
import base64
import gzip
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boards import build

from rmm.errors import ConfigError
from rmm.metrics import server as module
from rmm.metrics.access import Password, Place, check_exposure, is_loopback, password_from, place_of, tls_of
from rmm.metrics.server import MetricsServer
from rmm.metrics.values import Samples
from rmm.model.endpoint import Secret


def few() -> Samples:
    samples = Samples()
    samples.add("rmm_refused_endpoints", 3)
    return samples


@asynccontextmanager
async def serving(server: MetricsServer) -> AsyncIterator[int]:
    """Its port."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(server.serve(Place("127.0.0.1", 0), ready.set_result))
    try:
        address = await asyncio.wait_for(ready, 5)
        yield int(address.split(":")[2].split("/")[0])
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.done()


async def ask(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """All that is answered until the server closes."""
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=tls, server_hostname="localhost" if tls else None
    )
    try:
        writer.write(data)
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def get(path: str = "/metrics", *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


async def test_answers() -> None:
    server = MetricsServer(few)
    async with serving(server) as port:
        head, _, body = (await ask(port, get())).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        assert b"rmm_refused_endpoints 3.0\n" in body
        if sys.platform == "linux":
            assert b"process_cpu_seconds_total" in body
        head, _, body = (await ask(port, get("/metrics?x=1", "Accept: application/openmetrics-text"))).partition(
            b"\r\n\r\n"
        )
        assert b"Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in head
        assert body.endswith(b"# EOF\n")
        head, _, body = (await ask(port, get("/metrics", "Accept-Encoding: gzip"))).partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert b"rmm_refused_endpoints" in gzip.decompress(body)
        head, _, body = (await ask(port, get(method="HEAD"))).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert body == b""
        assert b"/metrics" in await ask(port, get("/"))
        assert (await ask(port, get("/etc/passwd"))).startswith(b"HTTP/1.1 404")
        posted = await ask(port, get(method="POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 9999\r\n\r\n"))
        assert posted.startswith(b"HTTP/1.1 405")
    assert server.answers == {200: 5, 404: 1, 405: 1}
    assert server.dropped == 0


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00\r\n\r\n", b"400"),  # TLS where none is spoken
        (b"GET /metrics HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000, b"431"),
        (b"GET /" + b"a" * 40_000, b"431"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", b"400"),
        (b"", b""),
    ],
)
async def test_what_is_no_request(sent: bytes, status: bytes) -> None:
    server = MetricsServer(few)
    async with serving(server) as port:
        if not sent:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        else:
            assert (await ask(port, sent)).split(b" ")[1:2] == [status]
        assert (await ask(port, get())).startswith(b"HTTP/1.1 200")


async def test_slow_clients_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_S", 0.5)
    server = MetricsServer(few)
    async with serving(server) as port:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def trickle() -> None:
            for byte in get():
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert time.monotonic() - began < 3
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        writer.transport.abort()
    assert server.dropped == 1


async def test_a_client_that_takes_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.5)

    def many() -> Samples:
        samples = Samples()
        for n in range(60_000):
            samples.values.setdefault("rmm_endpoint_up", {})[f"{n:0100d}", "n", "s"] = 1
        return samples

    server = MetricsServer(many)
    async with serving(server) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(get())
        for _ in range(200):
            await asyncio.sleep(0.05)
            if server.dropped:
                break
        assert server.dropped == 1
        writer.transport.abort()


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 3)
    monkeypatch.setattr(module, "REQUEST_S", 1.0)
    server = MetricsServer(few)
    async with serving(server) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.1)
        assert await ask(port, get()) == b""
        for _, writer in held:
            writer.transport.abort()
        await asyncio.sleep(0.2)
        assert (await ask(port, get())).startswith(b"HTTP/1.1 200")
    assert server.dropped >= 1


async def test_many_who_ask_make_one_reading() -> None:
    calls = []

    def gather() -> Samples:
        calls.append(1)
        time.sleep(0.2)
        return few()

    async with serving(MetricsServer(gather)) as port:
        found = await asyncio.gather(*(ask(port, get()) for _ in range(10)))
        assert all(one.startswith(b"HTTP/1.1 200") for one in found)
    assert len(calls) == 1


async def test_a_folder_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0.3)
    stuck = threading.Event()

    def gather() -> Samples:
        stuck.wait(20)
        return few()

    async with serving(MetricsServer(gather)) as port:
        assert (await ask(port, get())).startswith(b"HTTP/1.1 503")
        assert threading.active_count() < 20
        stuck.set()


async def test_a_defect_is_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    def gather() -> Samples:
        raise ZeroDivisionError

    async with serving(MetricsServer(gather)) as port:
        assert (await ask(port, get())).startswith(b"HTTP/1.1 500")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    "given",
    [
        "", "Basic", "Basic !!!", "Bearer x", "Basic " + base64.b64encode(b"scraper").decode(),
        "Basic " + base64.b64encode(b"scraper:wrong").decode(), "Basic " + base64.b64encode(b"other:s3cret").decode(),
    ],
)  # fmt: skip
async def test_a_wrong_password(given: str) -> None:
    server = MetricsServer(few, password=Password("scraper", Secret("s3cret")))
    async with serving(server) as port:
        answer = await ask(port, get("/metrics", f"Authorization: {given}"))
        assert answer.startswith(b"HTTP/1.1 401")
        assert b'WWW-Authenticate: Basic realm="rmm metrics"' in answer
        assert b"rmm_refused" not in answer
        assert (await ask(port, get("/"))).startswith(b"HTTP/1.1 401")
        right = base64.b64encode(b"scraper:s3cret").decode()
        assert (await ask(port, get("/metrics", f"Authorization: basic {right}"))).startswith(b"HTTP/1.1 200")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("pem"))


def certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate of localhost, and its key."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


async def test_tls(pem: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANDSHAKE_S", 0.5)
    server = MetricsServer(few, tls_of(*pem))
    async with serving(server) as port:
        client = ssl.create_default_context(cafile=str(pem[0]))
        assert (await ask(port, get(), client)).startswith(b"HTTP/1.1 200")
        assert b"rmm_" not in await ask(port, get())  # in clear text
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # and never says a word
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert time.monotonic() - began < 3
        writer.transport.abort()
        assert (await ask(port, get(), client)).startswith(b"HTTP/1.1 200")
    assert server.dropped == 2


def test_places() -> None:
    assert place_of("127.0.0.1:9182") == ("127.0.0.1", 9182)
    assert place_of("[::1]:0") == ("::1", 0)
    assert place_of("metrics.example:80") == ("metrics.example", 80)
    for text in ("", "9182", ":9182", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "::1:9182", "a b:1", "x:1\n"):
        with pytest.raises(ConfigError):
            place_of(text)
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [True] * 4
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.1"))


def test_a_network_needs_tls_and_a_password() -> None:
    open_place, own = Place("0.0.0.0", 1), Place("127.0.0.1", 1)
    assert check_exposure(own, tls=False, authentication=False, insecure=False) == ""
    assert check_exposure(open_place, tls=True, authentication=True, insecure=False) == ""
    for tls, authentication in ((False, False), (True, False), (False, True)):
        with pytest.raises(ConfigError):
            check_exposure(open_place, tls=tls, authentication=authentication, insecure=False)
        assert "whoever reaches it" in check_exposure(open_place, tls=tls, authentication=authentication, insecure=True)


def test_files_that_are_none(tmp_path: Path, pem: tuple[Path, Path]) -> None:
    assert tls_of(None, None) is None
    nonsense = tmp_path / "x.pem"
    nonsense.write_text("nonsense")
    for given in ((None, pem[1]), (pem[0], nonsense), (nonsense, pem[1]), (tmp_path / "none", None), (pem[0], None)):
        with pytest.raises(ConfigError):
            tls_of(*given)
    for content in (b"", b"user", b":x", b"user:", b"\xff\xfe"):
        nonsense.write_bytes(content)
        with pytest.raises(ConfigError):
            password_from(nonsense)
    nonsense.write_bytes(b"\xef\xbb\xbfuser:a:b\r\nmore")
    assert password_from(nonsense).admits(b"Basic " + base64.b64encode(b"user:a:b"))
    with pytest.raises(ConfigError):
        password_from(tmp_path)


Served = Callable[..., tuple["subprocess.Popen[str]", str]]


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Served]:
    """Starts the command; gives its process and the address that it says."""
    made = build(tmp_path / "conf")
    running = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "rmm", "metrics", "serve", "--config", str(made), "--listen", "127.0.0.1:0"]
        one = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(one)
        assert one.stdout is not None
        return one, one.stdout.readline().strip()

    yield start
    for one in running:
        if one.poll() is None:
            one.kill()
        one.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_serves_and_ends_soon(started: Served, number: signal.Signals, code: int) -> None:
    process, address = started("--per-endpoint", "up")
    with urllib.request.urlopen(address, timeout=10) as answer:
        text = answer.read().decode()
    assert 'rmm_endpoint_up{endpoint="hq-web1",name="HQ-WEB1",site="hq"} 1.0' in text
    began = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=10)
    assert process.returncode == code
    assert "Traceback" not in told
    assert "Exception" not in told
    assert time.monotonic() - began < 2  # within a second, on a machine that does nothing else


def test_the_command_with_tls_and_password(started: Served, pem: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "auth").write_text("scraper:s3cret\n")
    words = ["--tls-cert", str(pem[0]), "--tls-key", str(pem[1]), "--basic-auth-file", str(tmp_path / "auth")]
    _, address = started(*words)
    address = address.replace("127.0.0.1", "localhost")
    context = ssl.create_default_context(cafile=str(pem[0]))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(address, timeout=10, context=context)
    assert refused.value.code == 401
    refused.value.close()
    request = urllib.request.Request(address)
    request.add_header("Authorization", "Basic " + base64.b64encode(b"scraper:s3cret").decode())
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        assert b"rmm_endpoints" in answer.read()


def test_the_command_with_a_credential_of_the_vault(started: Served, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("open sesame\n")
    common = ["--config", str(tmp_path / "conf"), "--passphrase-file", str(passphrase)]
    command = [sys.executable, "-m", "rmm", "credentials", "set", "scraper", "--username", "prom", *common]
    done = subprocess.run(command, input="s3cret\ns3cret\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    _, address = started("--basic-auth", "scraper", "--passphrase-file", str(passphrase))
    request = urllib.request.Request(address)
    request.add_header("Authorization", "Basic " + base64.b64encode(b"prom:s3cret").decode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert b"rmm_endpoints" in answer.read()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "0.0.0.0:0"], "no TLS and no password"),
        (["--listen", "nonsense"], "write ADDRESS:PORT"),
        (["--listen", "192.0.2.1:9182", "--insecure"], "--listen 192.0.2.1"),
        (["--basic-auth", "x", "--basic-auth-file", "y"], "do not go together"),
        (["--tls-key", "x"], "needs --tls-cert"),
    ],
)
def test_the_command_refuses(started: Served, arguments: list[str], said: str) -> None:
    process, _ = started(*arguments)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 2
    assert said in told
    assert "Traceback" not in told
