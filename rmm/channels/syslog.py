"""The syslog channel: RFC 5424 over UDP (RFC 5426), TCP with octet counting (RFC 6587) or TLS (RFC 5425)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from rmm.channels._http import header
from rmm.channels._options import check_names, choice_of, port_of, text_of
from rmm.channels._text import tidy
from rmm.errors import ChannelError, ConfigError
from rmm.model.rule import Alert, Notification

_OPTIONS = {"host", "port", "protocol", "ca_file", "facility", "enterprise", "hostname"}
PROTOCOLS = ("udp", "tcp", "tls")
MOST_BYTES = 2048  # of one message: what every receiver must take (RFC 5425, 4.3.1)
SEVERITIES = {"critical": 2, "warning": 4}
NOTICE = 5  # the end of an alert
_BOM = b"\xef\xbb\xbf"
EXAMPLES = 32473  # the enterprise number that is reserved for examples (RFC 5612)


class SyslogChannel:
    """`ports.Channel`. Syslog acknowledges nothing: over UDP a message may be lost, over TCP with its connection."""

    def __init__(
        self, name: str, host: str, port: int, protocol: str, ca_file: str, facility: int, enterprise: int, sender: str
    ) -> None:
        self.name = name
        self._host, self._port, self._protocol, self._ca_file = host, port, protocol, ca_file
        self._facility, self._enterprise, self._sender = facility, enterprise, sender

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """One message for each alert."""
        messages = [
            message(alert, notification, self._facility, self._enterprise, self._sender)
            for alert in notification.alerts
        ]
        try:
            async with asyncio.timeout_at(deadline):
                await (self._datagrams(messages) if self._protocol == "udp" else self._stream(messages))
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "TLS"
            hint = "Name the CA of the server with `ca_file`, or correct the server's certificate."
            raise ChannelError(f"{self._host}:{self._port}: {reason}", code="channel.tls", hint=hint) from error
        except OSError as error:
            hint = "Are host, port and protocol right, and does the firewall let this machine out?"
            text = f"{self._host}:{self._port}: {error.strerror or str(error) or 'no answer in time'}"
            raise ChannelError(text, code="channel.unreachable", hint=hint) from error
        count = len(messages)
        return f"{count} message{'s' * (count != 1)} written to {self._host}:{self._port} ({self._protocol})"

    async def _datagrams(self, messages: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        family, _, _, _, address = found[0]
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for one in messages:
                await loop.sock_sendto(sender, one, address)

    async def _stream(self, messages: list[bytes]) -> None:
        context = ssl.create_default_context(cafile=self._ca_file or None) if self._protocol == "tls" else None
        _, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
        try:
            writer.write(b"".join(b"%d %b" % (len(one), one) for one in messages))
            await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def message(alert: Alert, notification: Notification, facility: int, enterprise: int, sender: str) -> bytes:
    """One message of RFC 5424, 6: no control character, no end of an element that an endpoint wrote."""
    ended = alert.state == "resolved"
    severity = NOTICE if ended or notification.test else SEVERITIES.get(alert.severity, 4)
    at = notification.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    values = {
        "key": header(notification.id), "state": alert.state, "severity": alert.severity, "rule": alert.rule,
        "endpoint": alert.endpoint, "name": alert.name, "site": alert.site, "test": str(notification.test).lower(),
    }  # fmt: skip
    data = " ".join(f'{key}="{_quoted(tidy(value, 600 if key == "key" else 80))}"' for key, value in values.items())
    head = f"<{facility * 8 + severity}>1 {at} {sender} rmm {os.getpid()} alert [rmm@{enterprise} {data}] "
    mark = "TEST " if notification.test else ""
    text = tidy(f"{mark}{alert.state}: {tidy(alert.name, 200)}: {alert.summary}")
    room = MOST_BYTES - len(head.encode()) - len(_BOM)
    return head.encode() + _BOM + text.encode()[: max(0, room)].decode("utf-8", "ignore").encode()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def build(*, name: str, options: Mapping[str, Any]) -> SyslogChannel:
    """Options: host, port, protocol (udp, tcp, tls), ca_file, facility (0 to 23), enterprise, hostname."""
    check_names(name, options, _OPTIONS)
    host = text_of(name, options, "host")
    if not host:
        raise ConfigError(f"channel {name}: host: name the syslog server")
    protocol = choice_of(name, options, "protocol", PROTOCOLS, "udp")
    facility, enterprise = options.get("facility", 16), options.get("enterprise", EXAMPLES)
    if not isinstance(facility, int) or not 0 <= facility <= 23:
        raise ConfigError(f"channel {name}: facility: 0 to 23 are allowed; 16 is local0")
    if not isinstance(enterprise, int) or not 0 < enterprise < 1 << 32:
        raise ConfigError(f"channel {name}: enterprise: your number at IANA is expected")
    own = text_of(name, options, "hostname") or socket.gethostname()
    sender = "".join(c if c.isascii() and "!" <= c <= "~" else "-" for c in own)[:255] or "-"
    port = port_of(name, options, 6514 if protocol == "tls" else 514)
    return SyslogChannel(name, host, port, protocol, text_of(name, options, "ca_file"), facility, enterprise, sender)
