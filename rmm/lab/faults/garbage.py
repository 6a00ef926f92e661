"""Something that is not WinRM answers. Option `text`: what it says; by default a web server's page."""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.http import Reply, Request, ServerConnection


class Garbage(Fault):
    def __init__(self, text: str) -> None:
        self._text = text

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        if self._text:
            connection.write(self._text.encode("utf-8", "surrogateescape"))
            connection.close()
        else:
            connection.send(Reply(200, ["Content-Type: text/html"], b"<html><body>It works!</body></html>"))
        return True


def build(text: str = "") -> Garbage:
    return Garbage(text)
