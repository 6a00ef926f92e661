"""Syslog over UDP, TCP and TLS, read strictly by RFC 5424 and RFC 6587."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from servers import alert, certificate, hostile, notification, send
from servers import syslog as parsed

from rmm.channels import syslog
from rmm.errors import ChannelError, ConfigError


def framed(data: bytes) -> list[bytes]:
    """Messages by octet counting; nothing may be left."""
    found = []
    while data:
        length, _, data = data.partition(b" ")
        assert length.isdigit() and not length.startswith(b"0")
        found.append(data[: int(length)])
        data = data[int(length) :]
    return found


class Stream:
    """Takes TCP, or TLS with a context, and keeps what came."""

    def __init__(self) -> None:
        self.data = b""
        self.done = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.data += await reader.read()
        writer.close()
        self.done.set()


async def test_udp() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        options = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        channel = syslog.build(name="s", options=options)
        await send(channel, notification(alert(), alert("resolved", key="b")))
        first, second = (parsed(server.recv(65_536)) for _ in range(2))
        assert first["priority"] == 16 * 8 + 2 and second["priority"] == 16 * 8 + 5
        assert first["text"] == "firing: SRV01: CPU 99 %"
        assert first["data"]["rule"] == "cpu_high" and first["data"]["key"] == "cpu_high|srv01|_Total@1:firing"
        await send(channel, hostile())
        raw = server.recv(65_536)
        assert len(raw) <= 2048 and parsed(raw)["data"]["state"] == "firing"


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
async def test_streams(tmp_path: Path, protocol: str) -> None:
    context, pair, stream = None, certificate(tmp_path), Stream()
    if protocol == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
    server = await asyncio.start_server(stream, "127.0.0.1", 0, ssl=context)
    options: dict[str, Any] = {"host": "127.0.0.1", "port": server.sockets[0].getsockname()[1], "protocol": protocol}
    async with server:
        one = hostile()
        both = notification(alert(), *one.alerts, identity=one.id)
        await send(syslog.build(name="s", options={**options, "ca_file": str(pair[0])}), both)
        await asyncio.wait_for(stream.done.wait(), 5)
        first, second = map(parsed, framed(stream.data))
        assert first["text"] == "firing: SRV01: CPU 99 %" and second["data"]["severity"] == "critical"
        if protocol == "tls":
            with pytest.raises(ChannelError) as error:
                await send(syslog.build(name="s", options=options), notification())
            assert error.value.code == "channel.tls"
    with pytest.raises(ChannelError) as error:
        await send(syslog.build(name="s", options={**options, "ca_file": str(pair[0])}), notification())
    assert error.value.code == "channel.unreachable"


@pytest.mark.parametrize(
    "wrong",
    [{}, {"host": "a", "protocol": "sctp"}, {"host": "a", "facility": 24}, {"host": "a\nb"}, {"host": "a", "x": 1}],
)
def test_wrong_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        syslog.build(name="s", options=wrong)
