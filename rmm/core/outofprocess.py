"""The line protocol of out-of-process PSRP as a state machine: bytes in, events out; no I/O, no clock.

It is not in [MS-PSRP]; the facts are those of the public engine (OutOfProcTransportManager) and of recorded exchanges.
One XML element a line; the zero GUID means the session, any other one a pipeline:

    we send                        the server answers
    <Data Stream PSGuid>BASE64     <DataAck PSGuid />      fragments of PSRP messages
    <Command PSGuid />             <CommandAck PSGuid />   a pipeline begins
    <Signal PSGuid />              <SignalAck PSGuid />    stop that pipeline
    <Close PSGuid />               <CloseAck PSGuid />     of a pipeline; of the session when none is left

Both who runs scripts over SSH and who serves them in a lab are clients of this protocol.

The server handles each line in a thread of its own, so the next line of a GUID waits here for the acknowledgement of
the one before. Its own Data is not acknowledged: an Ack sent to the server ends it.

Text before the first element is what a login shell prints. Afterwards it is the server's complaint, and the end.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections import deque
from collections.abc import Iterable

import msgspec

from rmm.errors import ProtocolError

SESSION = uuid.UUID(int=0)
LINE_LIMIT = 4 << 20  # Microsoft's server sends fragments of 32 KiB: 44,000 characters
BANNER_LIMIT = 64 << 10  # text before the first element
SHOWN = 300  # characters of the server's text in a message
WHITE = b" \t\r"

_GUID = rb"([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})"
_DATA = re.compile(rb"""<Data Stream=(['"])(?:Default|PromptResponse)\1 PSGuid=(['"])""" + _GUID + rb"\2>")
_ACK = re.compile(rb"""<(Data|Command|Signal|Close)Ack PSGuid=(['"])""" + _GUID + rb"\2 ?/>\Z")
_END = b"</Data>"


class Event(msgspec.Struct, frozen=True):
    """What a line of the server says: data, data_ack, command_ack, signal_ack or close_ack."""

    kind: str
    guid: uuid.UUID
    data: bytes = b""


class _Way:
    """What is under way for one GUID: the acknowledgement that it waits for, and the lines that wait for that."""

    __slots__ = ("closing", "expected", "waiting")

    def __init__(self) -> None:
        self.closing = False
        self.expected = ""
        self.waiting: deque[tuple[str, bytes]] = deque()


class Exchange:
    """The client's side of one session. Strict and bounded, because the sender may be hostile."""

    def __init__(self) -> None:
        self.started = False  # an element has arrived: it is PowerShell that answers
        self._ways: dict[uuid.UUID, _Way] = {SESSION: _Way()}
        self._closed: set[uuid.UUID] = set()
        self._out = bytearray()
        self._in = bytearray()
        self._searched = 0  # so much of `_in` holds no end of line
        self._banner = bytearray()

    @property
    def banner(self) -> str:
        """The end of the text that came before the first element, printable, for people."""
        return _printable(bytes(self._banner))

    @property
    def incomplete(self) -> bytes:
        """What has arrived of a line that has not ended."""
        return bytes(self._in)

    def pipelines(self) -> int:
        """How many pipelines are not closed; the session may be closed when there is none."""
        return len(self._ways) - (SESSION in self._ways)

    @property
    def awaiting(self) -> bool:
        """Whether an acknowledgement is owed."""
        return any(way.expected for way in self._ways.values())

    # What we send. Each goes out at once or after the acknowledgements of what was sent before for the same GUID.

    def command(self, pipeline: uuid.UUID) -> None:
        """Begin a pipeline."""
        if pipeline == SESSION or pipeline in self._ways or pipeline in self._closed:
            raise ValueError("a pipeline needs a GUID of its own")
        self._ways[pipeline] = _Way()
        self._send(pipeline, "command", _element("Command", pipeline))

    def data(self, guid: uuid.UUID, fragments: bytes, stream: str = "Default") -> None:
        """Send whole fragments, to the session or to a pipeline; `stream` PromptResponse: the answer to a host call."""
        text = base64.b64encode(fragments)
        line = b"<Data Stream='%b' PSGuid='%b'>%b</Data>\n" % (stream.encode(), str(guid).encode(), text)
        self._send(guid, "data", line)

    def signal(self, pipeline: uuid.UUID) -> None:
        """Stop a pipeline."""
        self._send(pipeline, "signal", _element("Signal", pipeline))

    def close(self, guid: uuid.UUID) -> None:
        """Close a pipeline, or the session, whose Close would wait for ever for a pipeline that is open."""
        if guid == SESSION and self.pipelines():
            raise ValueError("the session is closed after its pipelines")
        self._ways[guid].closing = True
        self._send(guid, "close", _element("Close", guid))

    def abandon(self) -> None:
        """Stop and close every pipeline that is not being closed."""
        for guid in [guid for guid, way in self._ways.items() if guid != SESSION and not way.closing]:
            self.signal(guid)
            self.close(guid)

    def _send(self, guid: uuid.UUID, kind: str, line: bytes) -> None:
        way = self._ways[guid]
        if way.expected:
            way.waiting.append((kind, line))
        else:
            way.expected = kind
            self._out += line

    def outgoing(self) -> bytes:
        """What may be sent now; empty when everything waits for the server."""
        out, self._out = bytes(self._out), bytearray()
        return out

    # What we hear.

    def feed(self, data: bytes) -> list[Event]:
        """The events of the lines that `data` completes, in order. Raises ProtocolError; then the stream is lost."""
        self._in += data
        events = []
        begin = 0
        while (end := self._in.find(b"\n", max(begin, self._searched))) >= 0:
            line = bytes(self._in[begin:end])
            begin = end + 1
            event = self._line(line)
            if event is not None:
                events.append(event)
        del self._in[:begin]
        self._searched = len(self._in)
        if len(self._in) > (LINE_LIMIT if self.started else BANNER_LIMIT):
            raise _bad("a line over the limit")
        return events

    def _line(self, line: bytes) -> Event | None:
        if len(line) > LINE_LIMIT:
            raise _bad("a line over the limit")
        line = line.strip(WHITE)
        if not self.started:
            line = line.removeprefix(b"\xef\xbb\xbf")
        event = _parsed(line)
        if event is None:
            self._text(line)
            return None
        self.started = True
        self._account(event)
        return None if event.kind == "data" and event.guid in self._closed else event

    def _text(self, line: bytes) -> None:
        """A line that is no element: part of a banner, or what the server has to complain of."""
        if b"<!DOCTYPE" in line or b"<!ENTITY" in line:
            raise ProtocolError("the endpoint sent a document type", code="xml.doctype", retry="R0")
        if self.started:
            if not line:
                return
            if line.startswith(b"<"):
                raise _bad("an element that the protocol does not have")
            hint = "PowerShell on the endpoint reports a failure of its own: see its event log or journal."
            raise ProtocolError(
                f"PowerShell on the endpoint says: {_printable(line)}", code="psrp.server", retry="R1", hint=hint
            )
        if len(self._banner) + len(line) > BANNER_LIMIT:
            raise ProtocolError(
                "the endpoint sends text without end instead of PSRP", code="psrp.banner", retry="R0", hint=_QUIET
            )
        self._banner += line + b"\n"

    def _account(self, event: Event) -> None:
        """Hold an event against what may come: data of what is open, and the one acknowledgement that is due."""
        way = self._ways.get(event.guid)
        if event.kind == "data":
            if way is None and event.guid not in self._closed:
                raise _bad("data of a pipeline that was never begun")
            return
        if way is None or event.kind != f"{way.expected}_ack":
            raise _bad("an acknowledgement of what was not sent")
        closed = way.expected == "close"
        way.expected = ""
        if closed:
            del self._ways[event.guid]
            self._closed.add(event.guid)
        elif way.waiting:
            way.expected, line = way.waiting.popleft()
            self._out += line


_QUIET = "A login script prints on the endpoint (profile, motd, ForceCommand): it must stay quiet for subsystems."


def _element(name: str, guid: uuid.UUID) -> bytes:
    return f"<{name} PSGuid='{guid}' />\n".encode()


def _parsed(line: bytes) -> Event | None:
    """The event of an element; None for a line that is none."""
    found = _DATA.match(line)
    if found is not None and line.endswith(_END):
        try:
            data = base64.b64decode(memoryview(line)[found.end() : -len(_END)], validate=True)
        except (binascii.Error, ValueError) as error:
            raise _bad("data that is not base64") from error
        return Event("data", uuid.UUID(found[3].decode()), data)
    found = _ACK.match(line)
    if found is not None:
        return Event(f"{found[1].decode().lower()}_ack", uuid.UUID(found[3].decode()))
    return None


def _bad(what: str) -> ProtocolError:
    return ProtocolError(f"the endpoint sent {what}", code="psrp.line", retry="R0")


def _printable(text: bytes) -> str:
    shown = text[-4 * SHOWN :].decode("utf-8", "replace")
    return _squeezed(character if character.isprintable() else " " for character in shown)[-SHOWN:]


def _squeezed(characters: Iterable[str]) -> str:
    return " ".join("".join(characters).split())
