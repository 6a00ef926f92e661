"""E-mail through an SMTP server, with the standard library: a message is made so that no text becomes a header."""

from __future__ import annotations

import re
import smtplib
import ssl
from collections.abc import Sequence
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import NamedTuple

from rmm.errors import RmmError
from rmm.model.endpoint import Credential
from rmm.model.settings import MailServer

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
PORTS = {"starttls": 587, "tls": 465, "none": 25}


class Attachment(NamedTuple):
    """A file of a message."""

    name: str
    kind: str  # such as application/pdf
    data: bytes


class MailError(RmmError):
    """The mail server did not take a message."""

    code = "mail.failed"
    hint = "Check `reports.mail` in rmm.yaml, and that the server takes mail from here."


def message(
    server: MailServer, to: Sequence[str], subject: str, text: str, attachments: Sequence[Attachment], now: datetime,
    *, identity: str = "",
) -> EmailMessage:  # fmt: skip
    """A message with files; controls and line ends of the subject become blanks, and headers that still hold one fail.

    `identity`: the same for the same message, so that one that is sent twice can be told. Raises MailError for an
    address that is none.
    """
    made = EmailMessage()
    try:
        made["From"] = server.sender
        made["To"] = ", ".join(to)
        made["Subject"] = one_line(subject)[:200]
        made["Date"] = format_datetime(now)
        domain = server.sender.rpartition("@")[2] or "rmm.invalid"
        made["Message-ID"] = f"<{identity}@{domain}>" if identity else make_msgid(domain=domain)
        made["Auto-Submitted"] = "auto-generated"
        made.set_content(text)
        for one in attachments:
            kind, _, subtype = one.kind.partition("/")
            made.add_attachment(one.data, maintype=kind, subtype=subtype, filename=one_line(one.name))
    except (ValueError, IndexError, UnicodeError) as error:
        raise MailError(f"the message cannot be made: {error}") from error
    return made


def send_mail(server: MailServer, made: EmailMessage, *, credential: Credential | None, timeout_s: float = 60.0) -> str:
    """Hand a message over; returns a receipt. TLS is verified. Raises MailError; then nobody got it for certain.

    Recipients that the server refuses are told in the receipt where it takes others.
    """
    port = server.port or PORTS[server.security]
    try:
        context = ssl.create_default_context(cafile=server.ca_file or None)
        with _connected(server, port, context, timeout_s) as client:
            if server.security == "starttls":
                client.starttls(context=context)
            if credential is not None:
                client.login(credential.username, credential.secret.reveal())
            refused = client.send_message(made)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        raise MailError(f"{server.host}:{port}: {_said(error)}") from error
    but = f", but refused {', '.join(sorted(refused))}" if refused else ""
    return f"{server.host}:{port} took {made['Message-ID']}{but}"


def one_line(text: str) -> str:
    """Without what ends a line or steers a terminal."""
    return _CONTROLS.sub(" ", text).strip()


def _connected(server: MailServer, port: int, context: ssl.SSLContext, timeout_s: float) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, port, timeout=timeout_s, context=context)
    return smtplib.SMTP(server.host, port, timeout=timeout_s)


def _said(error: Exception) -> str:
    """What went wrong, without anything of the logon."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"the logon was rejected ({error.smtp_code})"
    return one_line(str(error))[:300] or type(error).__name__
