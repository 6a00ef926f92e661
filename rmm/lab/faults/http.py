"""HTTP instead of WinRM's answer.

Options: `status` with `headers` and `body`; or `how`: short (Content-Length is larger than the body), gzip (a bomb),
empty (200 without a body), swapped (RelatesTo of another request), chunks (garbage instead of a chunk's size),
page (a web server's page), proxy (407), unasked (bytes after the answer).
"""

from __future__ import annotations

import gzip

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, Request, ServerConnection
from rmm.lab.wire.soap import Call

BOMB = gzip.compress(b" " * (32 << 20), 9)
HOW = ("short", "gzip", "empty", "chunks", "page", "unasked")
PROXY = "<html><body><h1>Proxy Authentication Required</h1></body></html>"


class Status(Fault):
    def __init__(self, status: int, headers: list[str], body: str) -> None:
        self._reply = Reply(status, headers, body.encode())

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        connection.send(self._reply)
        return True


class Swapped(Fault):
    def answered(self, call: Call, envelope: bytes) -> bytes:
        return envelope.replace(call.message.encode(), b"uuid:00000000-0000-0000-0000-000000000000")


class Odd(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        body, head = reply.body, reply.encoded()[: -len(reply.body)] if reply.body else reply.encoded()
        if self._how == "short":
            connection.write(head + body[: len(body) // 2])
            connection.close()
        elif self._how == "gzip":
            connection.send(Reply(200, ["Content-Type: application/soap+xml", "Content-Encoding: gzip"], BOMB))
        elif self._how == "empty":
            connection.send(Reply(200, ["Content-Type: application/soap+xml;charset=UTF-8"]))
        elif self._how == "chunks":
            lines = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/soap+xml\r\n\r\n"
            connection.write(lines + b"zz\r\nwhat\r\n")
            connection.close()
        elif self._how == "page":
            connection.send(Reply(200, ["Content-Type: text/html"], b"<html><body>It works!</body></html>"))
        else:
            connection.write(head + body + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True


def build(how: str = "", status: int = 0, headers: list[str] | None = None, body: str = "") -> Fault:
    if status:
        return Status(int(status), list(headers or ()), body)
    if how == "proxy":
        return Status(407, ["Proxy-Authenticate: Basic realm=proxy", "Content-Type: text/html"], PROXY)
    if how == "swapped":
        return Swapped()
    if how not in HOW:
        raise ValueError(f"name a `status`, or `how`: {', '.join((*HOW, 'swapped', 'proxy'))}")
    return Odd(how)
