"""The lab's envelopes: reading requests, writing answers and faults as Windows words them."""

from __future__ import annotations

import re
import uuid
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

S = "http://www.w3.org/2003/05/soap-envelope"
A = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
X = "http://schemas.xmlsoap.org/ws/2004/09/transfer"
W = "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
P = "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd"
N = "http://schemas.xmlsoap.org/ws/2004/09/enumeration"
RSP = "http://schemas.microsoft.com/wbem/wsman/1/windows/shell"
F = "http://schemas.microsoft.com/wbem/wsman/1/wsmanfault"
FAULT = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
PSRP = "http://schemas.microsoft.com/powershell"

_PARSER_OPTIONS: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": True}
_HEAD = (
    f'<s:Envelope xml:lang="en-US" xmlns:s="{S}" xmlns:a="{A}" xmlns:x="{X}" xmlns:w="{W}" xmlns:n="{N}" '
    f'xmlns:rsp="{RSP}" xmlns:p="{P}"><s:Header><a:Action>%s</a:Action><a:MessageID>uuid:%s</a:MessageID>'
    f"<a:To>{A}/role/anonymous</a:To><a:RelatesTo>%s</a:RelatesTo></s:Header><s:Body>%s</s:Body></s:Envelope>"
)


class WsmanFault(Exception):
    """A request that is answered with a fault."""

    def __init__(
        self,
        code: int,
        subcode: str,
        message: str,
        *,
        detail: str = "",
        sender: bool = True,
        provider: int = 0,
        raw: str = "",
    ) -> None:
        super().__init__(message)
        self.code, self.subcode, self.message, self.detail, self.sender = code, subcode, message, detail, sender
        self.provider = provider  # code of the fault that a plugin's ProviderFault holds
        self.raw = raw  # the whole s:Fault, where it was recorded


class Call:
    """A parsed request."""

    def __init__(self, data: bytes) -> None:
        root = etree.fromstring(data, etree.XMLParser(**_PARSER_OPTIONS))
        self.length = len(data)
        header, body = root.find(f"{{{S}}}Header"), root.find(f"{{{S}}}Body")
        if header is None or body is None:
            raise ValueError("not an envelope")
        self.header: Any = header
        self.body: Any = body[0] if len(body) else None
        self.action = self._text(f"{{{A}}}Action")
        self.message = self._text(f"{{{A}}}MessageID")
        self.resource = self._text(f"{{{W}}}ResourceURI")
        self.config: dict[str, Any] = {}  # values of winrm/config that a fault sets for this Get

    def _text(self, tag: str) -> str:
        return (self.header.findtext(tag) or "").strip()

    @property
    def size(self) -> int:
        """MaxEnvelopeSize that the client takes."""
        text = self._text(f"{{{W}}}MaxEnvelopeSize")
        return int(text) if text.isdigit() else 153_600

    @property
    def timeout_s(self) -> float:
        """OperationTimeout; 60 s where there is none."""
        text = self._text(f"{{{W}}}OperationTimeout").removeprefix("PT").removesuffix("S")
        try:
            return min(60.0, float(text))
        except ValueError:
            return 60.0

    @property
    def session(self) -> str:
        """SessionId of the client, upper case; empty where there is none."""
        return self._text(f"{{{P}}}SessionId").upper()

    @property
    def options(self) -> dict[str, str]:
        """The OptionSet."""
        return {element.get("Name", ""): element.text or "" for element in self.header.iter(f"{{{W}}}Option")}

    @property
    def codepage(self) -> int:
        """WINRS_CODEPAGE; 437 where there is none."""
        text = self.options.get("WINRS_CODEPAGE", "").strip()
        return int(text) if text.isdigit() and len(text) <= 5 else 437

    def selector(self, name: str) -> str:
        """The value of a selector, upper case; empty where absent."""
        for element in self.header.iter(f"{{{W}}}Selector"):
            if element.get("Name") == name:
                return (element.text or "").strip().upper()
        return ""

    def answer(self, action: str, body: str) -> bytes:
        """The envelope that answers this."""
        return (_HEAD % (action, str(uuid.uuid4()).upper(), escape(self.message), body)).encode()

    def fault(self, fault: WsmanFault) -> bytes:
        """The fault that answers this."""
        if fault.raw:
            return self.answer(FAULT, fault.raw)
        text = escape(fault.message)
        detail = (
            f"<w:FaultDetail>{W.rsplit('/', 1)[0]}/faultDetail/{fault.detail}</w:FaultDetail>" if fault.detail else ""
        )
        body = (
            f"<s:Fault><s:Code><s:Value>s:{'Sender' if fault.sender else 'Receiver'}</s:Value><s:Subcode><s:Value>"
            f"{fault.subcode}</s:Value></s:Subcode></s:Code><s:Reason>"
            f'<s:Text xml:lang="en-US">{text}</s:Text></s:Reason>'
            f"<s:Detail>{detail}{_wsman_fault(fault, text)}</s:Detail></s:Fault>"
        )
        return self.answer(FAULT, body)


def _wsman_fault(fault: WsmanFault, text: str) -> str:
    """WSManFault, where the fault has a code: some quota faults of Windows have none."""
    if fault.provider:
        inner = f'<f:WSManFault xmlns:f="{F}" Code="{fault.provider}" Machine="localhost"><f:Message>{text}</f:Message>'
        text = (
            '<f:ProviderFault provider="PowerShellplugin" path="%windir%\\system32\\pwrshplugin.dll">'
            f"{inner}</f:WSManFault></f:ProviderFault>"
        )
    elif not fault.code:
        return ""
    code = f'Code="{fault.code}" Machine="localhost"'
    return f'<f:WSManFault xmlns:f="{F}" {code}><f:Message>{text}</f:Message></f:WSManFault>'


def duration_s(text: str | None, default: float) -> float:
    """Seconds of a duration as clients write it (PT60S, PT0.500S); `default` for anything else."""
    found = re.fullmatch(r"PT([0-9]{1,9}(?:\.[0-9]{1,6})?)S", (text or "").strip())
    return float(found[1]) if found else default


def shell_gone() -> WsmanFault:
    """What Windows says of a shell or command that it does not have."""
    return WsmanFault(
        2150858843,
        "w:InvalidSelectors",
        "The request for the Windows Remote Shell with ShellId failed because the shell was not found on the server.",
        detail="UnexpectedSelectors",
    )


def timed_out() -> WsmanFault:
    """Nothing to receive within the operation timeout."""
    return WsmanFault(
        2150858793,
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  ",
        sender=False,
    )


__all__ = ["FAULT", "PSRP", "RSP", "Call", "WsmanFault", "duration_s", "escape", "quoteattr", "shell_gone", "timed_out"]
