"""What a pipeline or an answer contains. Option `how`, one of the names below; `collector` limits it to one part.

In the envelope: xml (not well-formed), doctype, entities (a billion laughs), quadratic (one long entity, many times),
parameter (entities of entities), external and external_http (XXE), deep, charset (CP437), utf16 (with a document type),
utf7 (declared).
In the stream: huge (`size` bytes), progress, unknown (message types and a warning), host_call, clixml_cycle,
clixml_deep, clixml_bad, clixml_references (lists of lists of references), fragment_gap, fragment_repeat,
fragment_start, fragment_huge, fragment_short, other_pipeline.
In the part's JSON: nan, digits, nesting, duplicate, surrogate, control, types, keys, not_json, missing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine
from rmm.lab.wire.soap import Call

OUTPUT, STATE, PROGRESS, WARNING = 0x00041004, 0x00041006, 0x00041010, 0x00041009
HOST_CALL, POOL_HOST_CALL, USER_EVENT, POOL_WARNING = 0x00041100, 0x00021100, 0x00021008, 0x00021009
_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>'
)
_XXE = '<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/hostname">]>'


def _xml(envelope: bytes) -> bytes:
    return envelope[: len(envelope) * 2 // 3]


def _doctype(envelope: bytes) -> bytes:
    return b"<!DOCTYPE s:Envelope>" + envelope


def _laughs(envelope: bytes) -> bytes:
    return _LAUGHS.encode() + envelope.replace(b"<s:Body>", b"<s:Body>&d;", 1)


def _external(envelope: bytes) -> bytes:
    return _XXE.encode() + envelope.replace(b"<s:Body>", b"<s:Body>&x;", 1)


def _quadratic(envelope: bytes) -> bytes:
    entity = b'<!DOCTYPE s [<!ENTITY q "%b">]>' % (b"q" * 50_000)
    return entity + envelope.replace(b"<s:Body>", b"<s:Body>" + b"&q;" * 5000, 1)


def _parameter(envelope: bytes) -> bytes:
    return b"<!DOCTYPE s [<!ENTITY % a \"<!ENTITY b 'c'>\"> %a;]>" + envelope.replace(b"<s:Body>", b"<s:Body>&b;", 1)


def _external_http(envelope: bytes) -> bytes:
    return _XXE.replace("file:///etc/hostname", "http://127.0.0.1:9/canary").encode() + envelope


def _utf16(envelope: bytes) -> bytes:
    return ('<?xml version="1.0" encoding="utf-16"?>' + _LAUGHS + envelope.decode()).encode("utf-16")


def _utf7(envelope: bytes) -> bytes:
    return b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE s+AD4-' + envelope


def _deep(envelope: bytes) -> bytes:
    return envelope.replace(b"<s:Body>", b"<s:Body>" + b"<d>" * 20_000 + b"</d>" * 20_000, 1)


def _charset(envelope: bytes) -> bytes:
    return envelope.replace(b"<s:Body>", b"<s:Body><!--\x81\x84\x94\xe1-->", 1)


ENVELOPES: dict[str, Callable[[bytes], bytes]] = {
    "xml": _xml, "doctype": _doctype, "entities": _laughs, "external": _external, "deep": _deep, "charset": _charset,
    "quadratic": _quadratic, "parameter": _parameter, "external_http": _external_http, "utf16": _utf16, "utf7": _utf7,
}  # fmt: skip

_HOST = (
    b'<Obj RefId="0"><MS><I64 N="ci">1</I64><Obj N="mi" RefId="1"><TN RefId="0"><T>System.Enum</T></TN>'
    b'<ToString>ReadLine</ToString><I32>11</I32></Obj><Obj N="mp" RefId="2"><LST/></Obj></MS></Obj>'
)
# Each list holds ten references to the one before: the last stands for ten billion values.
_REFERENCES = b"<LST>%b</LST>" % b"".join(
    b'<Obj RefId="%d"><LST>%b</LST></Obj>' % (n, b'<Ref RefId="%d"/>' % (n - 1) * 10 if n else b"<I32>1</I32>")
    for n in range(11)
)
_WARNING = b'<Obj RefId="0"><MS><S N="InformationalRecord_Message">_x001B_[2J</S></MS></Obj>'
_CYCLE = b'<Obj RefId="0"><LST><Ref RefId="0"/></LST></Obj>'


def _progress(messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    record = (
        b'<Obj RefId="0"><MS><S N="Activity">Preparing modules for first use.</S><I32 N="ActivityId">0</I32>'
        b'<S N="StatusDescription">%d</S><I32 N="PercentComplete">-1</I32></MS></Obj>'
    )
    return [*((PROGRESS, record % number) for number in range(10_000)), *messages]


def _unknown(messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [(0x0004FFFF, b"<S>?</S>"), (WARNING, _WARNING), (USER_EVENT, b"<S>event</S>"), (0x00021FFF, b""), *messages]


MESSAGES: dict[str, Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]] = {
    "progress": _progress,
    "unknown": _unknown,
    "host_call": lambda messages: [(HOST_CALL, _HOST)],
    "clixml_cycle": lambda messages: [(OUTPUT, _CYCLE), *messages],
    "clixml_deep": lambda messages: [(OUTPUT, b'<Obj RefId="0"><LST>' * 5000), *messages],
    "clixml_references": lambda messages: [(OUTPUT, _REFERENCES), *messages],
    "clixml_bad": lambda messages: [(OUTPUT, b"<Obj RefId='0'><Q>what"), *messages],
}


def _changed(offset: int, form: str, value: int) -> Callable[[list[bytes]], list[bytes]]:
    def change(fragments: list[bytes]) -> list[bytes]:
        data = bytearray(fragments[0])
        struct.pack_into(form, data, offset, value)
        return [bytes(data), *fragments[1:]]

    return change


FRAGMENTS: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "fragment_gap": _changed(8, ">Q", 7),
    "fragment_repeat": lambda fragments: [_changed(16, "B", 1)(fragments)[0], *fragments],
    "fragment_start": _changed(16, "B", 2),
    "fragment_huge": _changed(17, ">I", 2**31),
    # 21 bytes of the fragment, then destination, type and pool of the message ([MS-PSRP] 2.2.1)
    "other_pipeline": _changed(21 + 24, "<Q", 0x0BAD),
    "fragment_short": lambda fragments: [fragments[0][:15]],
}


def _json(text: str, how: str) -> str:
    edits: dict[str, Callable[[], str]] = {
        "nan": lambda: text.replace('"ms":', '"ms":NaN,"was":', 1),
        "digits": lambda: text.replace('"ms":', f'"ms":{"9" * 5000},"was":', 1),
        "nesting": lambda: text.replace('"document":', f'"document":{"[" * 100_000}{"]" * 100_000},"was":', 1),
        "duplicate": lambda: text.replace('"document":', '"document":{},"document":', 1),
        "surrogate": lambda: text.replace('"Caption":"', '"Caption":"\\ud800', 1),
        "control": lambda: text.replace('"Caption":"', '"Caption":"\\u0000\\u001b[2J', 1),
        "not_json": lambda: text[: len(text) // 2],
        "types": lambda: _types(text),
        "keys": lambda: _keys(text),
        "missing": lambda: "",
    }
    return edits[how]()


def _types(text: str) -> str:
    part = json.loads(text)
    for rows in part.get("document", {}).values():
        for row in rows if isinstance(rows, list) else ():
            row.update(
                {name: {"what": ["not a number"]} for name, value in row.items() if isinstance(value, int | float)}
            )
    return json.dumps(part)


def _keys(text: str) -> str:
    part = json.loads(text)
    for rows in part.get("document", {}).values():
        for row in rows[:1] if isinstance(rows, list) else ():
            row.update({f"__class__{number}": number for number in range(20_000)})
    return json.dumps(part)


JSON = ("nan", "digits", "nesting", "duplicate", "surrogate", "control", "types", "keys", "not_json", "missing")


class InEnvelope(Fault):
    def __init__(self, change: Callable[[bytes], bytes]) -> None:
        self._change = change

    def answered(self, call: Call, envelope: bytes) -> bytes:
        return self._change(envelope)


class InMessages(Fault):
    def __init__(self, change: Callable[[list[tuple[int, bytes]]], list[tuple[int, bytes]]]) -> None:
        self._change = change

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        return self._change(messages)


class InFragments(Fault):
    def __init__(self, change: Callable[[list[bytes]], list[bytes]]) -> None:
        self._change = change

    def fragmented(self, fragments: list[bytes]) -> list[bytes]:
        return self._change(fragments)


class InParts(Fault):
    """The JSON text of one collector's part, or of all."""

    def __init__(self, change: Callable[[str], Any], collector: str) -> None:
        self._change = change
        self._mark = f'"collector":"{collector}"' if collector else ""

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        output = [
            self._change(item) if isinstance(item, str) and self._mark in item else item for item in execution.output
        ]
        return execution._replace(output=[item for item in output if item != ""])


def build(how: str, collector: str = "", size: int = 40 << 20) -> Fault:
    if how in ENVELOPES:
        return InEnvelope(ENVELOPES[how])
    if how in MESSAGES:
        return InMessages(MESSAGES[how])
    if how in FRAGMENTS:
        return InFragments(FRAGMENTS[how])
    if how == "huge":
        return InParts(
            lambda text: text.replace('"document":', f'"note":"{"x" * int(size)}","document":', 1), collector
        )
    if how not in JSON:
        raise ValueError(f"no `how: {how}`")
    return InParts(lambda text: _json(text, how), collector)
