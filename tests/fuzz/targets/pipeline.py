"""PSRP messages of every kind, as a pipeline takes them: CLIXML values, records, states, host calls.

The first byte chooses the kind of message, the rest is its data.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from rmm.core.records import judge
from rmm.transports.winrm import clixml, psrp
from rmm.transports.winrm.pipeline import Pipeline
from tests.fuzz import corpus

KINDS = (
    psrp.PIPELINE_OUTPUT, psrp.ERROR_RECORD, psrp.PIPELINE_STATE, psrp.WARNING_RECORD, psrp.PIPELINE_HOST_CALL,
    psrp.RUNSPACEPOOL_HOST_CALL, psrp.RUNSPACEPOOL_STATE, 0x00041010, 0,
)  # fmt: skip
PIPELINE = uuid.UUID(int=7)
SPECIAL = (
    b'<Obj RefId="0"><LST><Ref RefId="0"/></LST></Obj>',
    b'<Obj RefId="0"><MS><Obj N="a" RefId="1"><MS><Ref N="b" RefId="0"/></MS></Obj></MS></Obj>',
    # Ten lists of ten references each: what refers to what refers stands for ten billion values.
    b"<LST>" + b"".join(
        b'<Obj RefId="%d"><LST>%b</LST></Obj>' % (n, b'<Ref RefId="%d"/>' % (n - 1) * 10 if n else b"<I32>1</I32>")
        for n in range(11)
    ) + b"</LST>",
    b'<Obj RefId="0"><TN RefId="0"><T>System.Enum</T></TN><ToString>x</ToString><I32>8192</I32></Obj>',
    b'<Obj RefId="0"><DCT><En><S N="Key">k</S><Db N="Value">NaN</Db></En></DCT></Obj>',
    b"<BA>AAEC</BA>", b"<C>55296</C>", b"<SS>00</SS>", b"<S>_xD800__x0000_ &#x41;</S>", b"<D>1.5</D>", b"<TS>PT1S</TS>",
)  # fmt: skip
_NAMES = [
    "FullyQualifiedErrorId", "Exception", "Message", "ErrorCategory_Category", "ExceptionAsErrorRecord",
    "InformationalRecord_Message", "mi", "",
]  # fmt: skip


def seeds() -> Iterator[bytes]:
    for data in SPECIAL:
        yield b"\0" + data
    kinds = {kind: bytes([number]) for number, kind in enumerate(KINDS)}
    for message in corpus.messages():
        yield kinds.get(message.kind, b"\0") + message.data


def inputs() -> st.SearchStrategy[bytes]:
    """CLIXML trees, right ones and wrong ones, with references to and fro."""
    number = st.integers(0, 5).map(str)
    scalar = st.builds(
        lambda tag, text: f"<{tag}>{text}</{tag}>",
        st.sampled_from(["S", "I32", "B", "C", "Db", "BA", "DT", "U64", "D", "Nil", "By", "G", "SS", "XD", "Q"]),
        st.sampled_from(["", "1", "-1", "true", "NaN", "1e999", "AAEC", "9" * 30, "_xD800_", "\u202e", "65", "&#xD;"]),
    )
    reference = number.map(lambda n: f'<Ref RefId="{n}"/>')
    named = st.sampled_from(_NAMES)

    def grown(inner: Any) -> Any:
        listed = st.lists(inner, max_size=4).map("".join)
        holder = st.sampled_from(["LST", "IE", "STK", "DCT", "En", "MS", "Props", "TN", "ToString"])
        held = st.builds(lambda tag, text: f"<{tag}>{text}</{tag}>", holder, listed)
        property_ = st.builds(lambda name, text: text.replace(">", f' N="{name}">', 1), named, inner)
        properties = st.lists(property_, max_size=4).map(lambda found: f"<MS>{''.join(found)}</MS>")
        return st.builds(lambda n, a, b: f'<Obj RefId="{n}">{a}{b}</Obj>', number, held, st.one_of(properties, held))

    tree = st.recursive(st.one_of(scalar, reference), grown, max_leaves=25)
    return st.builds(lambda kind, text: bytes([kind]) + text.encode(), st.integers(0, len(KINDS) - 1), tree)


def run(data: bytes) -> Any:
    kind = KINDS[data[0] % len(KINDS)] if data else 0
    message = psrp.Message(kind, bytes(16), PIPELINE.bytes_le, data[1:])
    pipeline = Pipeline(16 << 20)
    pipeline.id = PIPELINE.bytes_le
    try:
        pipeline.take(message)
    finally:
        pipeline.let_go()
    result = pipeline.result(broken=False)
    for record in result.errors:
        judge(record.error_id, record.category, exception=record.exception)
    return [result, clixml.decode(data[1:]) if kind == psrp.PIPELINE_OUTPUT and data[1:] else None]
