"""The webhook channel: each notification as a JSON body by POST, with an idempotency key."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from rmm.errors import ConfigError, RmmError
from rmm.model.rule import Notification

_OPTIONS = {"url", "headers", "ca_file"}
_PLAIN = "!#$&'()*+,/:;=?@[]|"


class ChannelError(RmmError):
    """A channel did not take a notification."""

    code = "channel.failed"
    hint = "It is tried again in the next round; check the channel's address."


class WebhookChannel:
    """`ports.Channel`. TLS is verified; redirects are not followed; proxies of the environment are not used."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], ca_file: str) -> None:
        self.name = name
        self._parts = urlsplit(url)
        self._headers = dict(headers)
        self._ca_file = ca_file

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """POST it; any 2xx is a receipt."""
        left = max(0.5, deadline - asyncio.get_running_loop().time())
        connection = self._connection(left)
        try:
            return await asyncio.to_thread(self._post, connection, notification)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, but the socket it reads from can be shut: a trickling answer ends here.
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_file or None)
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _post(self, connection: http.client.HTTPConnection, notification: Notification) -> str:
        body = msgspec.json.encode({"version": 1, **msgspec.to_builtins(notification)})
        headers = {
            **self._headers,
            "Content-Type": "application/json",
            "Idempotency-Key": quote(notification.id, safe=_PLAIN),  # it may hold what an endpoint wrote
            "User-Agent": "rmm",
        }
        host = connection.host
        try:
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ChannelError(f"{host}: {error}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise ChannelError(f"{host} answered HTTP {status}")
        return f"HTTP {status}"


def build(*, name: str, options: Mapping[str, Any]) -> WebhookChannel:
    """Options: `url` (http or https), `headers`, `ca_file`."""
    unknown = set(options) - _OPTIONS
    if unknown:
        raise ConfigError(
            f"channel {name}: unknown option {', '.join(sorted(unknown))}; there are {', '.join(sorted(_OPTIONS))}"
        )
    url = options.get("url")
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"channel {name}: url must be an http or https address")
    headers = options.get("headers") or {}
    if not isinstance(headers, dict) or any("\n" in f"{k}{v}" or "\r" in f"{k}{v}" for k, v in headers.items()):
        raise ConfigError(f"channel {name}: headers must be a mapping of names to one-line values")
    return WebhookChannel(
        name, str(url), {str(k): str(v) for k, v in headers.items()}, str(options.get("ca_file") or "")
    )
