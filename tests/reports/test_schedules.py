"""Reports by schedule: made when they are due, kept, and taken to a mail server; in a virtual clock."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import yaml
from sampled import PAYLOADS

from rmm.app import open_app
from rmm.channels.email import Attachment, compose
from rmm.errors import ConfigError
from rmm.report_run import folder_of, run_due

MONDAY = datetime(2026, 3, 2, 7, 5, tzinfo=UTC)


class Smtp(socketserver.ThreadingTCPServer):
    """Takes mail as RFC 5321 says, as far as a client needs it; `refuses` answers each recipient with 550."""

    daemon_threads = True

    def __init__(self) -> None:
        self.got: list[tuple[list[str], EmailMessage]] = []
        self.refuses = False
        super().__init__(("127.0.0.1", 0), Session)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Session(socketserver.StreamRequestHandler):
    server: Smtp

    def handle(self) -> None:
        to: list[str] = []
        self.say("220 here")
        while line := self.rfile.readline().decode().strip():
            verb = line[:4].upper()
            if verb == "RCPT":
                to.append(line.partition(":")[2].strip(" <>"))
                self.say("550 no" if self.server.refuses else "250 ok")
            elif verb == "DATA":
                self.say("354 go")
                data = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    data += part.removeprefix(b".") if part.startswith(b"..") else part
                self.server.got.append((to, email.message_from_bytes(data, policy=email.policy.default)))
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def say(self, text: str) -> None:
        self.wfile.write(text.encode() + b"\r\n")


@pytest.fixture
def smtp() -> Iterator[Smtp]:
    with Smtp() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def settings(folder: Path, port: int, **more: Any) -> Any:
    schedule = {"id": "weekly", "report": "executive", "formats": ["html", "csv"], "to": ["boss@example.org"], **more}
    reports = {
        "mail": {"host": "127.0.0.1", "port": port, "security": "none", "sender": "rmm@example.org"},
        "schedules": [schedule],
    }  # fmt: skip
    (folder / "rmm.yaml").write_text(yaml.safe_dump({"sites": [{"id": "hq", "credential": "c"}], "reports": reports}))
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\nPC-1,hq\n")
    return open_app(folder, lambda: "")


def test_weeks(tmp_path: Path, smtp: Smtp) -> None:
    app = settings(tmp_path, smtp.port)
    for hours in range(0, 24 * 21, 6):
        run_due(app, MONDAY + timedelta(hours=hours))
    assert len(smtp.got) == 2  # the first Monday is where it begins
    to, first = smtp.got[0]
    assert to == ["boss@example.org"] and first["From"] == "rmm@example.org"
    assert first["Subject"] == "Executive summary, whole fleet, 2026-03-02 to 2026-03-09"
    assert first["X-Idempotency"] == "report:weekly:20260309T0700"
    files = {part.get_filename(): part.get_content_type() for part in first.iter_attachments()}
    assert files == {"weekly-2026-03-09.html": "text/html", "weekly-2026-03-09.csv": "text/csv"}
    kept = sorted(path.name for path in (folder_of(app) / "weekly").iterdir())
    assert len(kept) == 4 and "weekly-2026-03-16.html" in kept


def test_a_failure_is_tried_again_and_keeps_nobody_waiting(tmp_path: Path, smtp: Smtp) -> None:
    app = settings(tmp_path, smtp.port)
    run_due(app, MONDAY)
    smtp.refuses = True
    later = MONDAY + timedelta(days=7)
    assert "failed" in run_due(app, later)[0]
    assert run_due(app, later + timedelta(minutes=5)) == []  # not at once
    smtp.refuses = False
    assert "took" in run_due(app, later + timedelta(minutes=16))[0]
    assert run_due(app, later + timedelta(minutes=32)) == []
    assert len(smtp.got) == 1


def test_without_recipients_it_is_kept(tmp_path: Path, smtp: Smtp) -> None:
    app = settings(tmp_path, smtp.port, to=[], every="day", formats=["json"])
    run_due(app, MONDAY)
    assert "kept in" in run_due(app, MONDAY + timedelta(days=1))[0]
    assert smtp.got == []


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_becomes_a_header(payload: str) -> None:
    file = Attachment(f"{payload}.html", b"x", "text/html")
    made = compose("rmm@example.org", ["a@example.org"], payload, payload, key="k", at=MONDAY, attachments=[file])
    again = email.message_from_bytes(made.as_bytes(), policy=email.policy.default)
    assert [name.lower() for name in again] == [
        "from", "to", "subject", "date", "message-id", "x-idempotency", "auto-submitted", "mime-version", "content-type"
    ]  # fmt: skip
    assert again["Bcc"] is None and len(list(again.iter_attachments())) == 1


def test_nobody_there(tmp_path: Path) -> None:
    app = settings(tmp_path, 9)
    run_due(app, MONDAY)
    (line,) = run_due(app, MONDAY + timedelta(days=7))
    assert line.startswith("weekly: failed: 127.0.0.1:9: ")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"report": "nothing"}, "reports.schedules[0].report: 'nothing' is not one of"),
        ({"every": "year"}, "reports.schedules[0].every"),
        ({"at": "25:00"}, "reports.schedules[0].at"),
        ({"timezone": "Mars"}, "reports.schedules[0].timezone"),
        ({"formats": ["doc"]}, "reports.schedules[0].formats"),
        ({"to": ["x@y.z\r\nBcc: e@v.il"]}, "reports.schedules[0].to"),
        ({"id": "../x"}, "reports.schedules[0].id"),
        ({"dayz": 3}, "dayz: unknown key; did you mean"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings(tmp_path, 25, **wrong)
    assert told in str(error.value) and "rmm.yaml:" in str(error.value)
