"""E-mail against a server that insists on RFC 5322, on STARTTLS and on a logon."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from servers import HOSTILE, MailServer, alert, certificate, hostile, notification, send

from rmm.channels import email as channel
from rmm.channels.email import Attachment
from rmm.errors import ChannelError, ConfigError
from rmm.model.endpoint import Credential, Secret

PASSWORD = "s3cret-of-mail"
OPTIONS = {"host": "127.0.0.1", "tls": "none", "from": "rmm@example.org", "to": ["ops@example.org"]}


@pytest.fixture
def plain() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


def built(server: MailServer, **options: Any) -> channel.EmailChannel:
    return channel.build(name="mail", options={**OPTIONS, "port": server.port, **options})


def parts(mail: EmailMessage) -> tuple[str, str]:
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None and html is not None
    return str(text.get_content()), str(html.get_content())


async def test_a_mail(plain: MailServer) -> None:
    assert "250" not in (receipt := await send(built(plain), notification())) and "4711" in receipt
    (mail,) = plain.mails
    assert plain.recipients == [["ops@example.org"]]
    assert mail["Subject"] == "[rmm] CRITICAL: SRV01: CPU 99 %"
    assert mail["X-Idempotency"] == "cpu_high|srv01|_Total@1:firing"
    text, html = parts(mail)
    assert "CPU 99 %" in text and "<td>CPU 99 %</td>" in html
    await send(built(plain), notification())
    await send(built(plain), notification(alert("resolved"), kind="resolved"))
    first, again, ended = plain.mails
    assert first["Message-ID"] == again["Message-ID"] != ended["Message-ID"]  # a mail that is sent twice is one
    assert first["References"] == ended["References"]  # and those of one alert are a conversation


async def test_hostile_texts_are_text(plain: MailServer) -> None:
    await send(built(plain), hostile())
    (mail,) = plain.mails
    assert plain.recipients == [["ops@example.org"]]
    assert mail["Bcc"] is None and mail["To"] == "ops@example.org"
    assert sorted(set(mail.keys())) == sorted(mail.keys())  # no header twice
    text, html = parts(mail)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "{{7*7}}" in text and "49" not in text
    assert "\x1b" not in text + html and "\u202e" not in text + html
    assert len(text) < 10_000 and len(html) < 20_000


async def test_a_mail_of_ones_own_with_an_attachment(plain: MailServer) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    content = bytes(range(256)) * 10
    file = Attachment("report\r\nX: y.pdf", content, "application/pdf")
    await built(plain).send_mail(
        subject="Report\r\nBcc: x@example.org", text="see there", html="<p>see there</p>", attachments=[file],
        key="report:1", deadline=deadline, to=["boss@example.org"],
    )  # fmt: skip
    (mail,) = plain.mails
    assert plain.recipients == [["boss@example.org"]] and mail["Bcc"] is None
    (attached,) = mail.iter_attachments()
    assert attached.get_content() == content and attached.get_filename() == "report X: y.pdf"
    with pytest.raises(ConfigError):
        await built(plain).send_mail(subject="", text="", key="", deadline=deadline, to=["a@b\r\nRCPT TO:<x@y>"])
    with pytest.raises(ChannelError, match="20 MB"):
        big = Attachment("x", bytes(21 << 20))
        await built(plain).send_mail(subject="", text="", key="", deadline=deadline, attachments=[big])


async def test_starttls_and_logon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pair = certificate(tmp_path)
    server = MailServer(pair, PASSWORD)
    try:
        login = Credential(name="mail", username="rmm", secret=Secret(PASSWORD))
        good = built(server, tls="starttls", ca_file=str(pair[0]), login=login)
        assert "4711" in await send(good, notification())
        with pytest.raises(ChannelError) as refused:
            await send(built(server, tls="starttls", login=login), notification())
        assert refused.value.code == "channel.tls"
        other = certificate(tmp_path, "elsewhere")
        with pytest.raises(ChannelError) as refused:
            await send(built(server, tls="starttls", ca_file=str(other[0]), login=login), notification())
        assert refused.value.code == "channel.tls"
        wrong = Credential(name="mail", username="rmm", secret=Secret("wrong-password"))
        with pytest.raises(ChannelError) as refused:
            await send(built(server, tls="starttls", ca_file=str(pair[0]), login=wrong), notification())
        assert refused.value.code == "channel.auth"
    finally:
        server.close()
    assert len(server.mails) == 1
    assert PASSWORD not in caplog.text and "wrong-password" not in caplog.text + str(refused.value)


async def test_what_servers_refuse(plain: MailServer) -> None:
    cases = {"550 no": "channel.refused", "451 later": "channel.busy"}
    for answer, code in cases.items():
        plain.refuse = {"DATA": answer}
        with pytest.raises(ChannelError) as error:
            await send(built(plain), notification())
        assert error.value.code == code
    plain.refuse = {"ops@example.org": "550 no such user"}
    with pytest.raises(ChannelError) as error:
        await send(built(plain), notification())
    assert error.value.code == "channel.recipients" and "no such user" in str(error.value)
    receipt = await send(built(plain, to=["ops@example.org", "b@example.org"]), notification())
    assert "refused for ops@example.org" in receipt
    plain.close()
    with pytest.raises(ChannelError) as error:
        await send(built(plain), notification())
    assert error.value.code == "channel.unreachable"


@pytest.mark.parametrize(
    "wrong",
    [
        {"to": []}, {"to": ["a"]}, {"from": "a@b\r\nBcc: c@d"}, {"to": ["a@b>,<c@d"]}, {"tls": "maybe"}, {"port": 0},
        {"host": ""}, {"login": "password"}, {"x": 1},
        {"login": Credential(name="a", username="a", secret=Secret("a"))},
    ],
)  # fmt: skip
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="channel mail"):
        channel.build(name="mail", options={**OPTIONS, **wrong})


async def test_own_templates(plain: MailServer, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "subject.txt").write_text("{{ alerts[0].name }} {{ alerts[0].summary }}\r\nBcc: x@example.org")
    (tmp_path / "message.html").write_text("{{ nothing.there }}")
    await send(built(plain, templates=str(tmp_path)), notification(alert(summary="{{ 7*7 }}")))
    (mail,) = plain.mails
    assert mail["Subject"] == "SRV01 {{ 7*7 }} Bcc: x@example.org" and mail["Bcc"] is None
    assert "<table" in parts(mail)[1]  # the shipped one instead of the one that fails
    assert "templates/message.html" in caplog.text
    assert HOSTILE not in caplog.text
