"""SOAP envelopes: requests from templates with escaped values, answers through the bounded parser.

Actions, headers and faults: DSP0226 (WS-Management) and [MS-WSMV]; shell messages [MS-WSMV] 2.2.4 and 3.1.4.
"""

from __future__ import annotations

import uuid
from itertools import islice
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from rmm.core.coerce import shown
from rmm.errors import ProtocolError
from rmm.transports.winrm.bounded import parse
from rmm.transports.winrm.faults import Fault

S = "http://www.w3.org/2003/05/soap-envelope"
A = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
W = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
P = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
RSP = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
N = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
F = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
XSI = "http://www.w3.org/2001/XMLSchema-instance"

CREATE = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Create"
DELETE = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Delete"
GET = "http://schemas.xmlsoap.org/ws/2004/09/transfer/Get"
COMMAND = f"{RSP}/Command"
SEND = f"{RSP}/Send"
RECEIVE = f"{RSP}/Receive"
SIGNAL = f"{RSP}/Signal"
ENUMERATE = f"{N}/Enumerate"
PULL = f"{N}/Pull"
TERMINATE = f"{RSP}/signal/terminate"
WQL_DIALECT = "http://schemas.microsoft.com/wbem/wsman/1/WQL"

DEPTH_LIMIT = 64
MOST_TEXTS = 64  # pieces of a fault's message

_ENVELOPE = (
    f'<s:Envelope xmlns:s="{S}" xmlns:a="{A}" xmlns:w="{W}" xmlns:p="{P}" xmlns:rsp="{RSP}"><s:Header>'
    '<a:Action s:mustUnderstand="true">%s</a:Action>'
    '<p:DataLocale s:mustUnderstand="false" xml:lang="en-US"/><w:Locale s:mustUnderstand="false" xml:lang="en-US"/>'
    '<w:MaxEnvelopeSize s:mustUnderstand="true">%d</w:MaxEnvelopeSize><a:MessageID>uuid:%s</a:MessageID>'
    "<w:OperationTimeout>PT%.3fS</w:OperationTimeout>"
    f'<a:ReplyTo><a:Address s:mustUnderstand="true">{A}/role/anonymous</a:Address></a:ReplyTo>'
    '<w:ResourceURI s:mustUnderstand="true">%s</w:ResourceURI>'
    '<p:SessionId s:mustUnderstand="false">uuid:%s</p:SessionId><a:To>%s</a:To>%s'
    "</s:Header><s:Body>%s</s:Body></s:Envelope>"
)


def new_id() -> str:
    """A GUID in the form in which Windows writes them."""
    return str(uuid.uuid4()).upper()


def request(
    action: str, *, to: str, resource: str, session: str, size: int, timeout_s: float, headers: str, body: str
) -> tuple[str, bytes]:
    """(message id, envelope). `headers` and `body` are XML already; everything else is escaped here or is ours."""
    message = new_id()
    text = _ENVELOPE % (action, size, message, timeout_s, escape(resource), session, escape(to), headers, body)
    return message, text.encode()


def options(**values: str) -> str:
    """An OptionSet header."""
    inner = "".join(
        f'<w:Option Name={quoteattr(name)} MustComply="true">{escape(value)}</w:Option>'
        for name, value in values.items()
    )
    return f'<w:OptionSet s:mustUnderstand="true">{inner}</w:OptionSet>'


def selector(shell: str) -> str:
    """The SelectorSet header that names a shell."""
    return f'<w:SelectorSet><w:Selector Name="ShellId">{escape(shell)}</w:Selector></w:SelectorSet>'


class Answer:
    """A parsed envelope: `body` is the first element inside s:Body, or None."""

    __slots__ = ("body", "root")

    def __init__(self, data: bytes) -> None:
        self.root = parse(data, depth=DEPTH_LIMIT)
        if self.root.tag != f"{{{S}}}Envelope":
            raise ProtocolError("the answer is not a SOAP envelope", code="soap.envelope")
        body = self.root.find(f"{{{S}}}Body")
        if body is None:
            raise ProtocolError("the envelope has no body", code="soap.envelope")
        self.body: Any = body[0] if len(body) else None

    @property
    def relates_to(self) -> str:
        """The message id that this answers, upper case, without `uuid:`."""
        text = self.root.findtext(f"{{{S}}}Header/{{{A}}}RelatesTo") or ""
        return text.strip().upper().removeprefix("UUID:")

    @property
    def action(self) -> str:
        """The action header."""
        return (self.root.findtext(f"{{{S}}}Header/{{{A}}}Action") or "").strip()

    def fault(self) -> Fault | None:
        """The SOAP fault, if this is one; every part of it may be missing."""
        body = self.body
        return _fault(body) if body is not None and body.tag == f"{{{S}}}Fault" else None


def _fault(body: Any) -> Fault:
    sub = body.findtext(f"{{{S}}}Code/{{{S}}}Subcode/{{{S}}}Value") or ""
    uri = body.findtext(f"{{{S}}}Detail/{{{W}}}FaultDetail") or ""
    codes: list[int] = []
    text = body.findtext(f"{{{S}}}Reason/{{{S}}}Text") or ""
    provider = 0
    for element in body.iter():
        if element.tag == f"{{{F}}}WSManFault":
            codes.append(_number(element.get("Code")))
            text = " ".join(islice(element.itertext(), MOST_TEXTS)) or text
        elif isinstance(element.tag, str) and element.tag.endswith(("}error_Code", "}HRESULT", "}error_code")):
            provider = provider or _number(element.text)
    return Fault(
        code=codes[0] if codes else 0,
        subcode=_word(sub.strip().rpartition(":")[2]),
        detail=_word(uri.strip().rpartition("/")[2]),
        message=shown(text, 2000),
        provider_code=provider or (codes[1] if len(codes) > 1 else 0),
    )


def _word(text: str) -> str:
    """A local name, such as TimedOut; what is none may not become part of a fault's code."""
    return text if text.isascii() and text.isalnum() and len(text) <= 64 else ""


def _number(text: str | None) -> int:
    """Decimal, hexadecimal or signed, as an unsigned number of 32 bits; 0 for what is none."""
    text = (text or "").strip()
    try:
        return int(text, 0) & 0xFFFFFFFF if len(text) < 24 else 0
    except ValueError:
        return 0


def items(answer: Answer) -> tuple[list[dict[str, Any]], str]:
    """(instances, enumeration context) of an EnumerateResponse or PullResponse; the context is empty at the end.

    Property values are text, None for xsi:nil, a list where a property occurs more than once.
    """
    body = answer.body
    if body is None:
        raise ProtocolError("the enumeration has no answer", code="soap.envelope")
    found: list[dict[str, Any]] = []
    for holder in body.iter(f"{{{W}}}Items", f"{{{N}}}Items"):
        found += [_instance(item) for item in holder]
    ended = any(True for _ in body.iter(f"{{{W}}}EndOfSequence", f"{{{N}}}EndOfSequence"))
    context = body.findtext(f"{{{N}}}EnumerationContext") or ""
    return found, "" if ended else context.strip()


def _instance(item: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for element in item:
        name = element.tag.rpartition("}")[2]
        if element.get(f"{{{XSI}}}nil") in ("true", "1"):
            value: Any = None
        elif len(element):
            value = (element[0].text or "").strip()  # cim:Datetime and its like
        else:
            value = element.text or ""
        if name not in row:
            row[name] = value
        elif isinstance(known := row[name], list):
            known.append(value)
        else:
            row[name] = [known, value]
    return row
