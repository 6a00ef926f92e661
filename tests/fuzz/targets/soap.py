"""SOAP: envelopes, faults, enumerations, and what streams hold: PSRP fragments, or the output of a command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from rmm.transports.winrm import psrp
from rmm.transports.winrm.command import _Process
from rmm.transports.winrm.envelope import RSP, Answer, F, N, S, W, items
from rmm.transports.winrm.faults import error_of
from rmm.transports.winrm.shell import _identity, _messages
from tests.fuzz import corpus

_ENVELOPE = (
    f'<s:Envelope xmlns:s="{S}" xmlns:w="{W}" xmlns:f="{F}" xmlns:n="{N}" xmlns:rsp="{RSP}">'
    "<s:Header/><s:Body>%s</s:Body></s:Envelope>"
)
_FAULT = (
    "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:QuotaLimit</s:Value></s:Subcode></s:Code><s:Reason>"
    '<s:Text>Das Kontingent</s:Text></s:Reason><s:Detail><f:WSManFault Code="2150859173"><f:Message><f:ProviderFault>'
    '<f:WSManFault Code="0x80041003"/></f:ProviderFault></f:Message></f:WSManFault></s:Detail></s:Fault>'
)
_ROWS = (
    "<n:EnumerateResponse><w:Items><x><A>1</A><A>2</A></x></w:Items>"
    "<n:EnumerationContext>c</n:EnumerationContext></n:EnumerateResponse>"
)
_WORDS = [
    "s:Fault", "s:Code", "s:Subcode", "s:Value", "s:Reason", "s:Text", "s:Detail", "w:FaultDetail", "f:WSManFault",
    "f:error_Code", "w:Items", "n:Items", "w:EndOfSequence", "n:EnumerationContext", "rsp:Stream", "rsp:CommandId",
    "rsp:CommandState", "x",
]  # fmt: skip
_TEXTS = ["", "1", "-1", "0x80041010", "w:TimedOut", "w:" + "A" * 100, "\u202e\u0085", "AAAA", "&#x9;"]
_ATTRIBUTES = ["", ' Code="5"', ' Code="99999999999999999999999"', ' Name="ShellId"', ' Code="0xg"']


def seeds() -> Iterator[bytes]:
    yield (_ENVELOPE % _FAULT).encode()
    yield (_ENVELOPE % _ROWS).encode()
    yield from corpus.envelopes()


def inputs() -> st.SearchStrategy[bytes]:
    """Trees of the elements that mean something."""
    element, attribute = st.sampled_from(_WORDS), st.sampled_from(_ATTRIBUTES)

    def grown(inner: Any) -> Any:
        return st.builds(
            lambda name, told, held: f"<{name}{told}>{''.join(held)}</{name}>",
            *(element, attribute, st.lists(inner, max_size=4)),
        )

    tree = st.recursive(st.sampled_from(_TEXTS), grown, max_leaves=20)
    whole = st.one_of(tree, tree.map(lambda inside: f"<s:Fault>{inside}</s:Fault>"))
    return whole.map(lambda body: (_ENVELOPE % body).encode())


def run(data: bytes) -> Any:
    answer = Answer(data)
    found: list[Any] = [answer.relates_to, answer.action]
    fault = answer.fault()
    if fault is not None:
        raise error_of(fault)
    if answer.body is None:
        return found
    found.append(items(answer))
    if len(data) % 2:
        process = _Process()
        process.take(answer)
        found.append(process.result())
    else:
        found.append(_messages(answer, psrp.Defragmenter()))
    for place in (".//*[@Name='ShellId']", f"{{{RSP}}}CommandId"):
        found.append(_identity(answer.body.findtext(place), "ours"))
    return found
