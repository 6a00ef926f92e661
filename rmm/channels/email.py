"""The e-mail channel: text and HTML by SMTP, over verified TLS, with attachments for reports."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from collections.abc import Mapping, Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NamedTuple

import aiosmtplib

from rmm.channels._http import header
from rmm.channels._options import check_names, choice_of, port_of, text_of
from rmm.channels._text import Templates, tidy, view
from rmm.errors import ChannelError, ConfigError
from rmm.model.endpoint import Credential
from rmm.model.rule import Notification

_OPTIONS = {"host", "port", "tls", "ca_file", "login", "from", "to", "templates"}
TLS = ("starttls", "tls", "none")
PORTS = {"starttls": 587, "tls": 465, "none": 25}
_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[^\s@<>,;:\"()\[\]\\]{1,255}\Z")
MOST_ATTACHED = 20 << 20  # bytes of all attachments; many servers take no more than 25 MB, encoded


class Attachment(NamedTuple):
    """A file that goes with a mail."""

    name: str
    content: bytes
    type: str = "application/octet-stream"


class Server(NamedTuple):
    """Where mail is handed over."""

    host: str
    port: int
    tls: str = "starttls"  # starttls | tls | none
    ca_file: str = ""
    login: Credential | None = None


class EmailChannel:
    """`ports.Channel`; `send_mail` is for reports."""

    def __init__(self, name: str, server: Server, sender: str, to: Sequence[str], templates: Templates) -> None:
        self.name = name
        self._server = server
        self._from = sender
        self._to = tuple(to)
        self._templates = templates

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """One mail to all recipients; the receipt is the server's last word."""
        values = view(notification)
        render = self._templates.render
        subject, text, html = [render(name, values) for name in ("subject.txt", "message.txt", "message.html")]
        key = notification.id
        message = compose(self._from, self._to, subject, text, html, key=key, at=notification.at)
        if len(notification.alerts) == 1 and not notification.test:
            # The mails of one alert are one conversation.
            thread = _identity(notification.alerts[0].key, self._from)
            message["In-Reply-To"] = message["References"] = thread
        return await transmit(self._server, message, deadline=deadline)

    async def send_mail(
        self, *, subject: str, text: str, html: str = "", attachments: Sequence[Attachment] = (), key: str,
        deadline: float, to: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Send a mail of one's own.

        Args:
            subject: one line; control characters are taken out.
            text: the plain part.
            html: the other one, already escaped; none where empty.
            attachments: files, 20 MB at most.
            key: the same for the same mail, however often it is sent; recipients recognize it by its Message-ID.
            deadline: of the event loop's clock.
            to: addresses; the channel's own where empty.

        Returns:
            The server's last word.

        Raises:
            ChannelError: it was not taken.
        """
        for one in to:
            _address(self.name, "to", one)
        message = compose(self._from, to or self._to, subject, text, html, key=key, attachments=attachments)
        return await transmit(self._server, message, deadline=deadline)


def compose(
    sender: str, to: Sequence[str], subject: str, text: str, html: str = "", *, key: str, at: Any = None,
    attachments: Sequence[Attachment] = (),
) -> EmailMessage:  # fmt: skip
    """The message; nothing in its headers can begin another one."""
    if sum(len(one.content) for one in attachments) > MOST_ATTACHED:
        raise ChannelError(
            f"the attachments have more than {MOST_ATTACHED >> 20} MB", code="channel.refused",
            hint="Send a smaller range, or put the file where people can fetch it.",
        )  # fmt: skip
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = tidy(subject, 200)
    if at is not None:
        message["Date"] = format_datetime(at)
    message["Message-ID"] = _identity(key, sender)
    message["X-Idempotency"] = header(key)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    if html:
        message.add_alternative(html, subtype="html")
    for one in attachments:
        main, _, sub = one.type.partition("/")
        message.add_attachment(one.content, maintype=main, subtype=sub, filename=tidy(one.name, 100))
    return message


def _identity(key: str, sender: str) -> str:
    digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:40]
    return f"<{digest}@{sender.rpartition('@')[2]}>"


async def transmit(server: Server, message: EmailMessage, *, deadline: float) -> str:
    """Hand the message over. Raises ChannelError."""
    left = max(0.5, deadline - asyncio.get_running_loop().time())
    client = aiosmtplib.SMTP(
        hostname=server.host, port=server.port, timeout=left, use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls", tls_context=_context(server),
    )  # fmt: skip
    try:
        await client.connect()
        if server.login is not None:
            await client.login(server.login.username, server.login.secret.reveal())
        refused, said = await client.send_message(message)
        receipt = tidy(said, 200) + (f"; refused for {', '.join(map(tidy, refused))}" if refused else "")
    except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
        raise _translated(server, error) from (None if server.login else error)
    finally:
        client.close()
    return receipt


def _context(server: Server) -> ssl.SSLContext | None:
    if server.tls == "none":
        return None
    try:
        return ssl.create_default_context(cafile=server.ca_file or None)
    except OSError as error:
        raise ChannelError(f"{server.ca_file}: {error}", code="channel.tls", hint=_TLS) from error


_TLS = "Name the CA of the server with `ca_file`, or correct the server's certificate; it is never left unverified."


def _translated(server: Server, error: Exception) -> ChannelError:
    place = f"{server.host}:{server.port}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            reason = getattr(cause, "verify_message", "") or cause.reason or "TLS"
            return ChannelError(f"{place}: {reason}", code="channel.tls", hint=_TLS)
        cause = cause.__cause__ or cause.__context__
    said = tidy(error, 300)
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        hint = "Check user name and password: `rmm credentials set` them anew."
        return ChannelError(f"{place}: the logon was refused: {said}", code="channel.auth", hint=hint)
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        # Its text is a list of objects; the first of them says why.
        first = error.recipients[0] if error.recipients else error
        return ChannelError(f"{place}: no recipient was accepted: {tidy(first, 300)}", code="channel.recipients",
                            hint="Check `to` and `from`, and whether this server relays for this machine.")  # fmt: skip
    if isinstance(error, aiosmtplib.SMTPResponseException) and 500 <= error.code < 600:
        return ChannelError(f"{place}: {error.code} {tidy(error.message, 300)}", code="channel.refused",
                            hint="It takes others; `rmm notify log` shows this one.")  # fmt: skip
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return ChannelError(f"{place}: {error.code} {tidy(error.message, 300)}", code="channel.busy",
                            hint="The server asks to come back later; that is done.")  # fmt: skip
    return ChannelError(f"{place}: {said}", code="channel.unreachable",
                        hint="Are host, port and `tls` right, and does the firewall let this machine out?")  # fmt: skip


def build(*, name: str, options: Mapping[str, Any]) -> EmailChannel:
    """Options: host, port, tls (starttls, tls, none), ca_file, login ({vault: NAME}), from, to (one or a list)."""
    check_names(name, options, _OPTIONS)
    host = text_of(name, options, "host")
    if not host:
        raise ConfigError(f"channel {name}: host: name the mail server")
    tls = choice_of(name, options, "tls", TLS, "starttls")
    login = options.get("login")
    if login is not None and not isinstance(login, Credential):
        raise ConfigError(f"channel {name}: login: write {{vault: NAME}}")
    if login is not None and tls == "none":
        raise ConfigError(f"channel {name}: tls: none would show the password to everybody on the way")
    to = options.get("to")
    addresses = [to] if isinstance(to, str) else to
    if not isinstance(addresses, list) or not addresses or len(addresses) > 100:
        raise ConfigError(f"channel {name}: to: one address or a list of up to 100")
    for one in addresses:
        _address(name, "to", one)
    sender = _address(name, "from", options.get("from"))
    server = Server(host, port_of(name, options, PORTS[tls]), tls, text_of(name, options, "ca_file"), login)
    folder = text_of(name, options, "templates")
    templates = Templates(Path(folder) if folder else None)
    return EmailChannel(name, server, sender, [str(one) for one in addresses], templates)


def _address(name: str, key: str, value: Any) -> str:
    if isinstance(value, str) and _ADDRESS.match(value) and value.isprintable():
        try:
            Address(addr_spec=value)
        except (ValueError, IndexError):
            pass
        else:
            return value
    raise ConfigError(f"channel {name}: {key}: an address such as rmm@example.org is expected")
