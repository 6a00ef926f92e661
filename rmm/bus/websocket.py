"""WebSocket for nats-py, by aiohttp: with a bound for what one message may be, and TLS as the login wants it."""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import ParseResult

import aiohttp
from nats.aio.transport import WebSocketTransport

MOST_FRAME = 16 << 20  # bytes of one message; the server joins several of NATS
CLOSE_S = 1.0


class WebSocket(WebSocketTransport):
    """To `uri`; where `host` is given, that is the name it is asked for (it goes through a tunnel)."""

    def __init__(self, host: str = "") -> None:
        super().__init__()
        self._host = host

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        await self._open(uri, None)

    async def connect_tls(
        self, uri: str | ParseResult, ssl_context: ssl.SSLContext, buffer_size: int, connect_timeout: int
    ) -> None:
        if self._ws is None:  # else it is asked again when the server says that it wants TLS
            await self._open(uri, ssl_context)

    async def _open(self, uri: str | ParseResult, tls: ssl.SSLContext | None) -> None:
        options: dict[str, Any] = {"ssl": tls} if tls is not None else {}
        self._ws = await self._client.ws_connect(
            uri if isinstance(uri, str) else uri.geturl(),
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_S),
            headers={"Host": self._host} if self._host else None,
            max_msg_size=MOST_FRAME,
            **options,
        )
        self._using_tls = tls is not None
