"""The line protocol as a state machine: recorded exchanges of Microsoft's client and server, and hostile ones."""

from __future__ import annotations

import base64
import lzma
import re
import tarfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from rmm.core import outofprocess as module
from rmm.core.outofprocess import SESSION, Event, Exchange
from rmm.errors import ProtocolError
from rmm.transports.winrm import psrp

ARCHIVE = Path(__file__).parent.parent / "data" / "powershell-recordings.tar.xz"
PIPELINE = uuid.UUID("072263cd-ee75-4c22-bf00-377a41c57bca")
ZERO = str(SESSION)


def recorded() -> dict[str, list[str]]:
    found = {}
    with lzma.open(ARCHIVE) as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and member.name.endswith(".txt"):
                found[Path(member.name).stem] = file.read().decode().splitlines()
    return found


RECORDINGS = recorded()


def ack(kind: str, guid: object = ZERO) -> bytes:
    return f"<{kind}Ack PSGuid='{guid}' />\n".encode()


def data_line(data: bytes, guid: object = ZERO) -> bytes:
    return b"<Data Stream='Default' PSGuid='%b'>%b</Data>\n" % (str(guid).encode(), base64.b64encode(data))


def say(exchange: Exchange, line: str) -> None:
    """Send what a recorded line of the client sends."""
    found = re.match(r"> <(\w+) (?:Stream='\w+' )?PSGuid='([^']+)'(?: />|>([^<]*)</Data>)", line)
    assert found is not None, line[:100]
    kind, guid = found[1], uuid.UUID(found[2])
    if kind == "Data":
        exchange.data(guid, base64.b64decode(found[3]))
    else:
        getattr(exchange, kind.lower())(guid)


@pytest.mark.parametrize("name", sorted(RECORDINGS))
def test_a_recorded_exchange_is_what_we_would_say_and_understand(name: str) -> None:
    exchange = Exchange()
    events: list[Event] = []
    for line in RECORDINGS[name]:
        if line.startswith("> "):
            say(exchange, line)
            sent = exchange.outgoing().decode()
            # We answer no host calls; and this client closed the session before it was acknowledged, as we do not.
            assert sent == line[2:].replace("PromptResponse", "Default") + "\n" or name == "stop"
        elif line.startswith("< ") and not (name == "stop" and "CloseAck" in line):
            events += exchange.feed(line[2:].encode() + b"\r\n")
    assert exchange.pipelines() == 0
    if name != "stop":
        assert [event.kind for event in events if event.kind != "data"][-1] == "close_ack"
    defragment = {event.guid: psrp.Defragmenter() for event in events}
    messages = [message for event in events for message in defragment[event.guid].feed(event.data)]
    if name != "stop":
        assert psrp.PIPELINE_STATE in [message.kind for message in messages]


@given(some.integers(1, 997))
def test_it_does_not_matter_how_the_bytes_are_cut(size: int) -> None:
    lines = RECORDINGS["arguments"]
    lines = lines[: lines.index(f"> <Close PSGuid='{ZERO}' />")]
    answers = "".join(f"{line[2:]}\n" for line in lines if line.startswith("< ")).encode()

    def heard(pieces: list[bytes]) -> list[Event]:
        exchange = Exchange()
        for line in lines:
            if line.startswith("> "):
                say(exchange, line)  # each waits for its turn, so all may be said at once
        return [event for piece in pieces for event in exchange.feed(piece)]

    events = heard([answers])
    assert heard([answers[at : at + size] for at in range(0, len(answers), size)]) == events
    assert len(events) == answers.count(b"\n")


def test_the_next_line_waits_for_the_acknowledgement_of_the_one_before() -> None:
    exchange = Exchange()
    exchange.command(PIPELINE)
    exchange.data(PIPELINE, b"one")
    exchange.data(PIPELINE, b"two")
    exchange.data(SESSION, b"another GUID does not wait")
    out = exchange.outgoing()
    assert out.count(b"\n") == 2
    assert b"<Command" in out
    assert exchange.outgoing() == b""
    for acknowledged, expected in (("Command", b"one"), ("Data", b"two")):
        exchange.feed(ack(acknowledged, PIPELINE))
        assert exchange.outgoing() == data_line(expected, PIPELINE)
    exchange.signal(PIPELINE)
    exchange.close(PIPELINE)
    assert exchange.outgoing() == b""
    exchange.feed(ack("Data", PIPELINE))
    assert exchange.outgoing() == f"<Signal PSGuid='{PIPELINE}' />\n".encode()
    exchange.feed(ack("Signal", PIPELINE))
    assert exchange.outgoing() == f"<Close PSGuid='{PIPELINE}' />\n".encode()
    assert exchange.pipelines() == 1
    exchange.feed(ack("Close", PIPELINE))
    assert exchange.pipelines() == 0


def test_the_session_is_closed_after_its_pipelines() -> None:
    exchange = Exchange()
    exchange.command(PIPELINE)
    with pytest.raises(ValueError, match="after its pipelines"):
        exchange.close(SESSION)
    with pytest.raises(ValueError, match="of its own"):
        exchange.command(PIPELINE)


def test_late_data_of_a_closed_pipeline_is_dropped() -> None:
    exchange = Exchange()
    exchange.command(PIPELINE)
    exchange.feed(ack("Command", PIPELINE))
    exchange.close(PIPELINE)
    assert exchange.feed(ack("Close", PIPELINE) + data_line(b"late", PIPELINE)) == [Event("close_ack", PIPELINE)]
    with pytest.raises(ProtocolError):
        exchange.feed(ack("Close", PIPELINE))


def test_text_before_the_first_element_is_a_banner() -> None:
    exchange = Exchange()
    assert exchange.feed(b"\xef\xbb\xbfWelcome\r\n\r\n<<< all is logged >>>\r\n<Data>no\x1b[31m\r\n") == []
    assert not exchange.started
    assert exchange.banner == "Welcome <<< all is logged >>> <Data>no [31m"
    assert exchange.feed(data_line(b"x")) == [Event("data", SESSION, b"x")]
    with pytest.raises(ProtocolError, match="says: out of memory") as caught:
        exchange.feed(b"out of \x1b memory\n")
    assert caught.value.code == "psrp.server"


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ProtocolError) as caught:
        Exchange().feed(b"x" * (module.BANNER_LIMIT + 1))
    assert caught.value.code == "psrp.line"
    exchange = Exchange()
    with pytest.raises(ProtocolError) as caught:
        for _ in range(module.BANNER_LIMIT):
            exchange.feed(b"xx\n")
    assert caught.value.code == "psrp.banner"
    monkeypatch.setattr(module, "LINE_LIMIT", 1000)
    exchange = Exchange()
    exchange.feed(data_line(b""))
    for size in (999, 1):
        exchange.feed(b"y" * size)
    with pytest.raises(ProtocolError):
        exchange.feed(b"y")
    exchange = Exchange()
    exchange.feed(data_line(b""))
    with pytest.raises(ProtocolError):
        exchange.feed(data_line(b"z" * 1000))


HOSTILE = {
    "a document type": b"<!DOCTYPE x>\n",
    "an entity": b"<!ENTITY x 'y'>\n",
    "an unknown element": b"<Reboot PSGuid='00000000-0000-0000-0000-000000000000' />\n",
    "an unknown stream": data_line(b"x").replace(b"Default", b"Elsewhere"),
    "an acknowledgement of nothing": ack("Data"),
    "a wrong GUID": data_line(b"x", "not-a-guid"),
    "an unknown pipeline": data_line(b"x", PIPELINE),
    "what is not base64": b"<Data Stream='Default' PSGuid='%b'>a$b=</Data>\n" % ZERO.encode(),
    "base64 without its padding": b"<Data Stream='Default' PSGuid='%b'>YWI</Data>\n" % ZERO.encode(),
    "an element inside": b"<Data Stream='Default' PSGuid='%b'><a/></Data>\n" % ZERO.encode(),
    "two elements in a line": data_line(b"x").strip() + data_line(b"x"),
    "half an element": b"<Data Stream='Default' PSGuid='%b'>YWI=\n" % ZERO.encode(),
    "a command of ours": b"<Close PSGuid='00000000-0000-0000-0000-000000000000' />\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_it_refuses(kind: str) -> None:
    exchange = Exchange()
    exchange.feed(data_line(b"first"))
    with pytest.raises(ProtocolError) as caught:
        exchange.feed(HOSTILE[kind])
    assert caught.value.code in ("psrp.line", "xml.doctype")


def test_the_wrong_acknowledgement_is_refused() -> None:
    exchange = Exchange()
    exchange.command(PIPELINE)
    with pytest.raises(ProtocolError, match="what was not sent"):
        exchange.feed(ack("Data", PIPELINE))


@given(some.lists(some.binary(max_size=200), max_size=20))
def test_any_bytes_give_events_or_one_kind_of_error(pieces: list[bytes]) -> None:
    exchange = Exchange()
    exchange.data(SESSION, b"hello")
    try:
        exchange.feed(ack("Data"))
        for piece in pieces:
            for event in exchange.feed(piece):
                assert event.guid == SESSION
    except ProtocolError as error:
        assert len(str(error)) < 1000


_pieces = some.sampled_from(
    [b"<Data Stream='Default' PSGuid='", ZERO.encode(), b"'>", b"</Data>", b"\n", b"\r", b"AAAA", b"'", b'"', b"<",
     b">", b"<DataAck PSGuid='", b"' />", b" ", b"\x00", b"<CloseAck PSGuid='", str(PIPELINE).encode(), b"="]
)  # fmt: skip


@given(some.lists(_pieces, max_size=60))
def test_pieces_of_the_grammar_in_any_order(pieces: list[bytes]) -> None:
    exchange = Exchange()
    exchange.command(PIPELINE)
    try:
        events = exchange.feed(b"".join(pieces))
    except ProtocolError:
        return
    assert all(event.kind == "data" for event in events), "nothing but data could come: the command was never answered"


@given(some.lists(some.binary(min_size=0, max_size=3000), max_size=10))
def test_data_arrives_as_it_was_sent(chunks: list[bytes]) -> None:
    ours = Exchange()
    events = ours.feed(b"".join(data_line(chunk) for chunk in chunks))
    assert [event.data for event in events] == chunks
