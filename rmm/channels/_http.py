"""One POST over HTTP or HTTPS with a deadline, for the channels that need it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from rmm.errors import ChannelError

PLAIN = "!#$&'()*+,/:;=?@[]|"
MOST_HEADER = 500  # characters
MOST_ANSWER = 4096  # bytes that are read of an answer; the rest says nothing either
_RETRY = frozenset({408, 425, 429})
_WHOLE = frozenset({401, 403, 404, 405, 407, 410})  # the address or the secret is wrong, for every message


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: bytes


class Poster:
    """Posts to one address. TLS is verified; redirects are not followed; proxies of the environment are not used.

    Where the address itself is a secret, errors name the host alone: they never have more of it.
    """

    def __init__(self, url: str, ca_file: str = "") -> None:
        self._parts = urlsplit(url)
        self._ca_file = ca_file

    @property
    def host(self) -> str:
        """For messages."""
        return self._parts.hostname or ""

    async def post(self, body: bytes, headers: Mapping[str, str], *, deadline: float) -> Answer:
        """POST it; any 2xx is a receipt. Raises ChannelError."""
        left = max(0.5, deadline - asyncio.get_running_loop().time())
        connection = self._connection(left)
        try:
            return await asyncio.to_thread(self._post, connection, body, headers)
        except asyncio.CancelledError:
            # A thread cannot be cancelled, but the socket it reads from can be shut: a trickling answer ends here.
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
            raise

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme != "https":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        try:
            context = ssl.create_default_context(cafile=self._ca_file or None)
        except OSError as error:
            raise ChannelError(f"{self._ca_file}: {error}", code="channel.tls", hint=_TLS) from error
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)

    def _post(self, connection: http.client.HTTPConnection, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            path = (self._parts.path or "/") + (f"?{self._parts.query}" if self._parts.query else "")
            connection.request("POST", path, body, {"User-Agent": "rmm", **headers})
            response = connection.getresponse()
            answer = Answer(response.status, response.read(MOST_ANSWER))
            asked = response.getheader("Retry-After") or ""
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "TLS"
            raise ChannelError(f"{self.host}: {reason}", code="channel.tls", hint=_TLS) from error
        except OSError as error:
            raise ChannelError(
                f"{self.host}: {error.strerror or error}", code="channel.unreachable",
                hint="Is the address right, and does the firewall let this machine out? It is tried again.",
            ) from error  # fmt: skip
        except (http.client.HTTPException, ValueError) as error:
            raise ChannelError(f"{self.host}: {type(error).__name__} instead of an answer") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise _refusal(self.host, answer, asked)
        return answer


_TLS = "Name the CA of the server with `ca_file`, or correct the server's certificate; it is never left unverified."


def _refusal(host: str, answer: Answer, asked: str) -> ChannelError:
    said = "".join(c if c.isprintable() else " " for c in answer.body[:200].decode("utf-8", "replace")).strip()
    text = f"{host} answered HTTP {answer.status}" + (f": {said}" if said else "")
    if answer.status in _RETRY:
        error = ChannelError(text, code="channel.busy", hint="It asks for fewer notifications: group them by a route.")
        error.retry_after_s = float(asked) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0.0
        return error
    if answer.status in _WHOLE:
        return ChannelError(text, code="channel.address", hint="Check the channel's url and its secret.")
    if 300 <= answer.status < 400:
        return ChannelError(text, code="channel.address", hint="Redirects are not followed: name the address itself.")
    if answer.status < 500:
        return ChannelError(text, code="channel.refused", hint="It takes others; `rmm notify log` shows this one.")
    return ChannelError(text)


def header(text: str) -> str:
    """A text as the value of a header: what is not plain is percent-encoded; what is too long is known by its hash."""
    quoted = quote(text, safe=PLAIN, errors="replace")
    if len(quoted) <= MOST_HEADER:
        return quoted
    return "sha256:" + hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
