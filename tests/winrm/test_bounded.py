"""The bounded parser and CLIXML: what is refused and why, and values as psrpcore reads them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from rmm.errors import ProtocolError
from rmm.transports.winrm import bounded, clixml, pipeline
from rmm.transports.winrm.bounded import MOST_MARKUP, parse

DOCTYPE = '<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'


def refused(data: bytes, depth: int = 64) -> str:
    with pytest.raises(ProtocolError) as caught:
        parse(data, depth=depth)
    return caught.value.code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (DOCTYPE.encode(), "xml.doctype"),
        (b"\xef\xbb\xbf" + DOCTYPE.encode(), "xml.doctype"),
        (b"<a><!ENTITY x 'y'></a>", "xml.malformed"),
        *((DOCTYPE.encode(name), "xml.malformed") for name in ("utf-16", "utf-16-le", "utf-16-be", "utf-32")),
        *(
            (f'<?xml version="1.0" encoding="{name}"?>{DOCTYPE}'.encode(name), "xml.malformed")
            for name in ("utf-16", "utf-32", "cp037")
        ),
        (b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>', "xml.malformed"),
        (b"<a>\x81</a>", "xml.malformed"),
        (b'<?xml version="1.0" encoding="iso-8859-1"?><a>\xe9</a>', "xml.malformed"),
        (b"<a>\x01</a>", "xml.malformed"),
        (b"<a>&#xD800;</a>", "xml.malformed"),
        (b"<a>&unknown;</a>", "xml.malformed"),
        (b"", "xml.malformed"),
        (b"<a/>" * 3, "xml.malformed"),
        (b"<r>" + b"<a/>" * MOST_MARKUP + b"</r>", "xml.too_large"),
        (b"<r " + b" ".join(b'a%d="1"' % n for n in range(MOST_MARKUP)) + b"/>", "xml.too_large"),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, code: str) -> None:
    assert refused(data) == code


@pytest.mark.parametrize("depth", [48, 64])
def test_depth_is_counted_exactly(depth: int) -> None:
    assert parse(b"<a>" * depth + b"</a>" * depth, depth=depth).tag == "a"
    assert refused(b"<a>" * (depth + 1) + b"</a>" * (depth + 1), depth) == "xml.depth"
    assert refused(b"<a>" * 20_000 + b"</a>" * 20_000, depth) in ("xml.depth", "xml.malformed")


def test_comments_and_instructions_are_not_in_the_tree() -> None:
    assert [child.tag for child in parse(b"<a><!--x--><b/><?y z?></a>", depth=64)] == ["b"]


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Recorder(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None: ...

    one = HTTPServer(("127.0.0.1", 0), Recorder)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{one.server_address[1]}/canary", asked
    one.shutdown()
    thread.join()
    one.server_close()


def test_nothing_outside_is_read(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    """Neither through `parse`, nor by its parser if the search for a document type were not there."""
    canary = tmp_path / "canary.txt"
    canary.write_text("a canary in a file")
    url, asked = server
    for place in (canary.as_uri(), str(canary), url):
        for document in (
            f'<!DOCTYPE a [<!ENTITY x SYSTEM "{place}">]><a>&x;</a>',
            f'<!DOCTYPE a SYSTEM "{place}"><a/>',
            f'<!DOCTYPE a [<!ENTITY % p SYSTEM "{place}"> %p;]><a/>',
            f'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="{place}" parse="text"/></a>',
        ):
            for whole in (document, f"\ufeff{document}"):
                try:
                    tree: Any = parse(whole.encode(), depth=64)
                except ProtocolError:
                    tree = None
                assert tree is None or b"canary in" not in etree.tostring(tree)
                try:
                    tree = etree.fromstring(whole.encode(), bounded._PARSER)
                except etree.XMLSyntaxError:
                    continue
                assert b"canary in" not in etree.tostring(tree)
    assert asked == []


def test_a_billion_laughs_are_not_even_expanded_by_the_parser_itself() -> None:
    entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghij"))
    text = f'<!DOCTYPE r [<!ENTITY a "lol">{entities}]><r>&j;</r>'
    with pytest.raises(etree.XMLSyntaxError, match="amplification"):
        etree.fromstring(text.encode(), bounded._PARSER)


@given(st.binary(max_size=300))
def test_no_bytes_give_anything_but_a_tree_or_an_error_of_ours(data: bytes) -> None:
    for text in (data, b"<a>" + data + b"</a>"):
        try:
            tree = parse(text, depth=64)
        except ProtocolError as error:
            str(error).encode()
            continue
        for part in tree.itertext():
            str(part).encode()


SCALARS: list[tuple[bytes, Any]] = [
    (b"<S>a_x000A_b_xD83D__xDE00__xD800_</S>", "a\nb\U0001f600\ufffd"),
    (b"<I32>-5</I32>", -5),
    (b"<U64>18446744073709551615</U64>", 2**64 - 1),
    (b"<B>true</B>", True),
    (b"<C>65</C>", "A"),
    (b"<C>55296</C>", "\ufffd"),
    (b"<Db>1.5</Db>", 1.5),
    (b"<BA>AAEC</BA>", b"\0\1\2"),
    (b"<Nil/>", None),
    (b"<DT>2024-01-02T03:04:05Z</DT>", "2024-01-02T03:04:05Z"),
    (b"<D>1.10</D>", "1.10"),
    (b"<G>c</G>", "c"),
    (b'<Obj RefId="0"><ToString>Cmdlet</ToString><I32>8</I32></Obj>', 8),
    (b'<Obj RefId="0"><ToString>only text</ToString></Obj>', "only text"),
    (b'<Obj RefId="0"><LST><S>a</S><I32>1</I32></LST></Obj>', ["a", 1]),
    (b'<Obj RefId="0"><STK><S>a</S></STK></Obj>', ["a"]),
    (b'<Obj RefId="0"><DCT><En><S N="Key">k</S><I32 N="Value">1</I32></En></DCT></Obj>', {"k": 1}),
    (b'<Obj RefId="0"><DCT><En><I32 N="Key">7</I32><Nil N="Value"/></En></DCT></Obj>', {"7": None}),
    (b'<Obj RefId="0"><MS><S N="a">1</S></MS><Props><S N="b">2</S></Props></Obj>', {"a": "1", "b": "2"}),
    # The same object twice, and one that holds itself.
    (b'<LST><Obj RefId="1"><LST><S>x</S></LST></Obj><Ref RefId="1"/></LST>', [["x"], ["x"]]),
    (b'<Obj RefId="0"><LST><Ref RefId="0"/></LST></Obj>', [None]),
    (b'<Ref RefId="7"/>', None),
]  # fmt: skip


@pytest.mark.parametrize(("data", "value"), SCALARS)
def test_values(data: bytes, value: Any) -> None:
    seen = clixml.decode(data)
    assert seen == value
    assert type(seen) is type(value) or isinstance(seen, clixml.Properties)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"<Q>1</Q>", "clixml.malformed"),
        (b"<I32>1e5</I32>", "clixml.malformed"),
        (b"<I32>" + b"9" * 5000 + b"</I32>", "clixml.malformed"),
        (b"<I32>1_000</I32>", "clixml.malformed"),
        ("<I32>\u0663</I32>".encode(), "clixml.malformed"),
        (b"<Db>" + b"9" * 5000 + b"</Db>", "clixml.malformed"),
        (b"<BA>!</BA>", "clixml.malformed"),
        (b"<C>70000</C>", "clixml.malformed"),
        (b"<SS>00</SS>", "clixml.secure_string"),
        (b"<LST>" * 49 + b"</LST>" * 49, "xml.depth"),
    ],
)
def test_values_that_are_refused(data: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        clixml.decode(data)
    assert caught.value.code == code


def test_types_and_text_of_an_object() -> None:
    data = (
        b'<LST><Obj RefId="0"><TN RefId="0"><T>A.B</T><T>System.Object</T></TN><ToString>t</ToString><MS>'
        b'<S N="x">1</S></MS></Obj><Obj RefId="1"><TNRef RefId="0"/><MS><S N="x">2</S></MS></Obj></LST>'
    )
    first, second = clixml.decode(data)
    assert (first.types, first.text, second.types) == (("A.B", "System.Object"), "t", ("A.B", "System.Object"))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text(max_size=20) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_a_pipeline_holds_what_it_may_and_all_together_what_they_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "MOST_HELD", 5000)
    monkeypatch.setattr(pipeline.Pipeline, "held", 0)
    monkeypatch.setattr(pipeline, "FAIR_SHARE", 1000)

    def receive(run: pipeline.Pipeline, size: int, *, last: bool) -> bool:
        data = struct.pack(">QQBI", 9, 0, 1 | last << 1, size + 40) + bytes(40) + b"x" * size
        for message in run.defragment.feed(data):
            run.take(message)
        return run.full

    alone = pipeline.Pipeline(2000)
    assert not receive(alone, 1900, last=False)
    alone.let_go()
    assert receive(pipeline.Pipeline(2000), 2100, last=False)  # also what is not a whole message yet
    pipeline.Pipeline.held = 0
    large, small = pipeline.Pipeline(9000), pipeline.Pipeline(9000)
    assert not receive(large, 4500, last=False)
    assert not receive(small, 600, last=False)
    assert large.full  # together they are over the limit, and this one has more than its share
    large.let_go()
    small.let_go()
    assert pipeline.Pipeline.held == 0


@given(plain)
def test_what_psrpcore_writes_is_read(value: Any) -> None:
    from psrpcore.types import serialize

    cipher: Any = None
    data = ElementTree.tostring(serialize(value, cipher), encoding="utf-8")
    assert clixml.decode(data) == value
