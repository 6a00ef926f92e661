"""Servers on loopback that take what channels send, and parse it strictly."""

from __future__ import annotations

import asyncio
import datetime as dt
import email.policy
import ipaddress
import json
import re
import socket
import ssl
import threading
from email.message import EmailMessage
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rmm.model.rule import Alert, Notification

START = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)
HOSTILE = (
    "x\r\nBcc: all@example.org\r\n\r\n<script>alert(1)</script> <!channel> <@U1> <https://evil|click> "
    "[click](https://evil) **bold** {{7*7}} {% raw %} ${x} {{DATE(2026-01-01T00:00:00Z)}} \x1b[31mred\x1b[0m \x00 "
    '\u202egnp.exe\ud800 ]" \\ é' + "A" * 100_000
)


def alert(state: str = "firing", **given: Any) -> Alert:
    values = {
        "key": "cpu_high|srv01|_Total", "rule": "cpu_high", "endpoint": "srv01", "name": "SRV01", "site": "hq",
        "severity": "critical", "summary": "CPU 99 %", "value": 99.0, "first_at": START, "last_at": START,
        "row": "_Total",
    }  # fmt: skip
    return Alert(state=state, **{**values, **given})


def notification(*alerts: Alert, kind: str = "firing", identity: str = "", test: bool = False) -> Notification:
    listed = alerts or (alert(),)
    return Notification(id=identity or f"{listed[0].key}@1:{kind}", kind=kind, at=START, alerts=listed, test=test)


def hostile() -> Notification:
    one = alert(key=HOSTILE, name=HOSTILE, summary=HOSTILE, site=HOSTILE, rule=HOSTILE, row=HOSTILE, value=HOSTILE,
                endpoint=HOSTILE)  # fmt: skip
    return notification(one, identity=HOSTILE)


async def send(channel: Any, one: Notification, seconds: float = 10.0) -> str:
    deadline = asyncio.get_running_loop().time() + seconds
    async with asyncio.timeout_at(deadline):
        return str(await channel.send(one, deadline=deadline))


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A certificate that is its own CA, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName(name), *([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))] if name == "localhost" else [])]
    made = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False).sign(key, hashes.SHA256())
    )  # fmt: skip
    cert, secret = folder / f"{name}.pem", folder / f"{name}.key"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, secret


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class MailServer:
    """SMTP: STARTTLS and a logon where asked for; `mails` as parsed, `envelopes` as given."""

    def __init__(self, pair: tuple[Path, Path] | None = None, password: str = "", refuse: dict[str, str] | None = None):
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.refuse = refuse or {}
        self.arrived = threading.Event()
        server, context = self, None
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)

        class Handler:
            async def handle_RCPT(
                self, smtp: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
            ) -> str:
                if address in server.refuse:
                    return server.refuse[address]
                envelope.rcpt_tos.append(address)
                return "250 OK"

            async def handle_DATA(self, smtp: SMTP, session: Session, envelope: Envelope) -> str:
                if "DATA" in server.refuse:
                    return server.refuse["DATA"]
                content = envelope.original_content or b""
                mail = BytesParser(policy=email.policy.strict.clone(raise_on_defect=True)).parsebytes(content)
                server.mails.append(mail)
                server.recipients.append(list(envelope.rcpt_tos))
                server.arrived.set()
                return "250 taken as 4711"

        def authenticate(smtp: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
            right = isinstance(data, LoginPassword) and data.password == password.encode()
            return AuthResult(success=right, handled=right)

        self.controller = Controller(
            Handler(), hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=pair is not None,
            auth_required=bool(password), authenticator=authenticate if password else None, auth_require_tls=True,
        )  # fmt: skip
        self.controller.start()
        self.port = self.controller.port

    def close(self) -> None:
        if self.controller._thread is not None:
            self.controller.stop()


class WebServer:
    """HTTP: every request as (path, headers, JSON); `answers` are given in order, then 200."""

    def __init__(self, answer: int = 200, body: bytes = b"") -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.raw: list[bytes] = []
        self.answers: list[int] = []
        self.arrived = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                server.raw.append(data)
                parsed = json.loads(data.decode("utf-8"))
                server.check(parsed)
                server.requests.append((self.path, dict(self.headers.items()), parsed))
                server.arrived.set()
                self.send_response(server.answers.pop(0) if server.answers else answer)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def check(self, parsed: Any) -> None:
        """What this server insists on."""

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class PagerDuty(WebServer):
    """Events API v2, as its documentation has it; `incidents` is what is open."""

    def __init__(self) -> None:
        super().__init__(202, b'{"status":"success"}')
        self.incidents: dict[str, str] = {}
        self.keys: list[tuple[str, str]] = []

    def check(self, parsed: Any) -> None:
        assert set(parsed) <= {"routing_key", "event_action", "dedup_key", "client", "payload"}
        assert re.fullmatch("[0-9a-z]{32}", parsed["routing_key"])
        assert 0 < len(parsed["dedup_key"]) <= 255
        self.keys.append((parsed["event_action"], parsed["dedup_key"]))
        if parsed["event_action"] == "trigger":
            payload = parsed["payload"]
            assert payload["severity"] in ("critical", "error", "warning", "info")
            assert 0 < len(payload["summary"]) <= 1024 and payload["source"]
            dt.datetime.fromisoformat(payload["timestamp"])
            self.incidents[parsed["dedup_key"]] = "triggered"
        elif parsed["event_action"] == "acknowledge":
            self.incidents[parsed["dedup_key"]] = "acknowledged"
        else:
            assert parsed["event_action"] == "resolve"
            self.incidents.pop(parsed["dedup_key"], None)


_SYSLOG = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)) ([!-~]{1,255}) ([!-~]{1,48}) "
    rb'([!-~]{1,128}) ([!-~]{1,32}) (\[[!#-<>-\\^-~]{1,32}(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")*\]|-)'
    rb"(?: \xef\xbb\xbf(.*))?\Z",
    re.DOTALL,
)


def syslog(message: bytes) -> dict[str, Any]:
    """The parts of a message, strictly by RFC 5424, 6."""
    found = _SYSLOG.match(message)
    assert found is not None, message[:300]
    text = (found[8] or b"").decode("utf-8")
    data = found[7].decode("utf-8")
    assert text.isprintable() and all(c.isprintable() for c in data)
    values = dict(re.findall(r' ([^\s=]+)="((?:[^"\\\]]|\\["\\\]])*)"', data))
    return {"priority": int(found[1]), "host": found[3].decode(), "text": text, "data": values}
