"""XML, faults, fragments, sealing and challenges: right for the right ones, bounded and named for the others."""

from __future__ import annotations

import contextlib
import struct
import uuid
from typing import Any

import pytest
import spnego
from hypothesis import given
from hypothesis import strategies as st

from rmm.errors import ProtocolError, QuotaError, UnsupportedError
from rmm.ports import Script
from rmm.transports.winrm import envelope, psrp
from rmm.transports.winrm.auth import target_names
from rmm.transports.winrm.envelope import Answer
from rmm.transports.winrm.faults import Fault, error_of
from rmm.transports.winrm.seal import NtlmSeal

SOAP = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>%s</s:Body></s:Envelope>'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + (SOAP % "&a;").encode(), "xml.doctype"),
        (b"<a>" * 300 + b"</a>" * 300, "xml.malformed"),
        (b"\x00\x01", "xml.malformed"),
        (b"", "xml.malformed"),
        ((SOAP % "x").encode("utf-16"), "xml.malformed"),
        (b"<a/>", "soap.envelope"),
        (b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"/>', "soap.envelope"),
    ],
)
def test_xml_that_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        Answer(data)
    assert caught.value.code == code


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_xml_parser(data: bytes) -> None:
    for text in (data, (SOAP % "").encode().replace(b"</s:Body>", data + b"</s:Body>")):
        with contextlib.suppress(ProtocolError):
            Answer(text).fault()


def test_a_fault_survives_any_part_missing() -> None:
    inside = (
        "<s:Fault><s:Code><s:Value>s:Receiver</s:Value><s:Subcode><s:Value>w:QuotaLimit</s:Value></s:Subcode></s:Code>"
        "<s:Reason><s:Text>words</s:Text></s:Reason><s:Detail>"
        '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="2150859173"><f:Message>'
        '<f:ProviderFault><f:WSManFault Code="5"/></f:ProviderFault></f:Message></f:WSManFault></s:Detail></s:Fault>'
    )
    fault = Answer((SOAP % inside).encode()).fault()
    assert fault is not None
    assert (fault.code, fault.subcode, fault.provider_code) == (2150859173, "QuotaLimit", 5)
    assert isinstance(error_of(fault), QuotaError)
    for start, end in (("<s:Code>", "</s:Code>"), ("<s:Reason>", "</s:Reason>"), ("<s:Detail>", "</s:Detail>")):
        cut = inside[: inside.index(start)] + inside[inside.index(end) + len(end) :]
        other = Answer((SOAP % cut).encode()).fault()
        assert other is not None
        assert error_of(other).code
    assert Answer((SOAP % "<s:Fault/>").encode()).fault() == Fault()


@pytest.mark.parametrize(
    ("fault", "code", "retry"),
    [
        (Fault(code=2150858843), "shell.gone", "R1"),
        (Fault(detail="UnexpectedSelectors"), "shell.gone", "R1"),
        (Fault(code=2150859173), "quota.shells", "RB"),
        (Fault(code=2150859240), "quota.plugin", "RB"),
        (Fault(code=2150859174), "quota.operations", "R1"),
        (Fault(code=2150859179), "quota.users", "RB"),
        (Fault(code=2150858767), "wsman.header", "R0"),
        (Fault(subcode="InternalError"), "wsman.internal", "R1"),
        (Fault(code=2147943418), "shell.aborted", "R1"),
        (Fault(subcode="InternalError", code=2152992672), "access.denied", "RH"),
        (Fault(code=5), "access.denied", "RH"),
        (Fault(subcode="AccessDenied"), "access.denied", "RH"),
        (Fault(code=2150859180), "access.disabled", "RH"),
        (Fault(code=2150858811), "unsupported.configuration", "R0"),
        (Fault(code=995), "shell.aborted", "R1"),
        (Fault(code=0x80041010), "wmi.class", "R0"),
        (Fault(subcode="InternalError", provider_code=0x80041003), "access.wmi", "RH"),
        (Fault(code=123), "wsman.123", "RB"),
        (Fault(), "wsman.fault", "RB"),
    ],
)
def test_faults_are_named_by_number(fault: Fault, code: str, retry: str) -> None:
    error = error_of(fault)
    assert (error.code, error.retry) == (code, retry)
    assert error.hint


def test_only_a_missing_class_is_unsupported() -> None:
    assert isinstance(error_of(Fault(code=0x80041010)), UnsupportedError)


def test_instances_of_an_enumeration() -> None:
    body = (
        '<n:EnumerateResponse xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" '
        'xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:p="urn:p" '
        'xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><w:Items>'
        '<p:X><p:A>1</p:A><p:B i:nil="true"/><p:C>x</p:C><p:C>y</p:C>'
        "<p:D><p:Datetime>2024-01-02T03:04:05Z</p:Datetime></p:D></p:X>"
        "</w:Items><n:EnumerationContext>more</n:EnumerationContext></n:EnumerateResponse>"
    )
    rows, context = envelope.items(Answer((SOAP % body).encode()))
    assert rows == [{"A": "1", "B": None, "C": ["x", "y"], "D": "2024-01-02T03:04:05Z"}]
    assert context == "more"


@given(st.binary(max_size=5000), st.integers(30, 700))
def test_fragments_come_together_again(data: bytes, size: int) -> None:
    message = struct.pack("<II", 1, psrp.PIPELINE_OUTPUT) + bytes(32) + data
    parts = psrp.fragments(7, message, size)
    assert all(len(part) <= size for part in parts)
    defragment = psrp.Defragmenter()
    found = [one for part in parts for one in defragment.feed(part)]
    assert [one.data for one in found] == [data.removeprefix(b"\xef\xbb\xbf")]
    assert [one.data for one in psrp.Defragmenter().feed(b"".join(parts))] == [found[0].data]


def _part(number: int, index: int, flags: int, data: bytes = b"x" * 40, size: int | None = None) -> bytes:
    return struct.pack(">QQBI", number, index, flags, len(data) if size is None else size) + data


@pytest.mark.parametrize(
    "parts",
    [
        [b"short"],
        [_part(1, 0, 3, size=2**31)],
        [_part(1, 1, 3)],
        [_part(1, 0, 0)],
        [_part(1, 0, 1), _part(1, 2, 2)],
        [_part(1, 0, 1), _part(2, 1, 2)],
        [_part(1, 0, 1), _part(2, 0, 3)],
        [_part(1, 0, 1), _part(1, 1, 0), _part(1, 1, 2)],
        [_part(1, 0, 3, b"tiny")],
    ],
)
def test_fragments_that_are_refused(parts: list[bytes]) -> None:
    defragment = psrp.Defragmenter()
    with pytest.raises(ProtocolError):
        for part in parts:
            defragment.feed(part)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_defragmenter(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        psrp.Defragmenter().feed(data)


@given(st.text())
def test_strings_are_read_as_psrpcore_writes_them(text: str) -> None:
    from psrpcore.types import serialize

    cipher: Any = None
    from xml.etree import ElementTree

    data = ElementTree.tostring(serialize(text, cipher), encoding="utf-8")
    message = psrp.Message(
        psrp.PIPELINE_OUTPUT, bytes(16), bytes(16), data.removeprefix(b"<?xml version='1.0' encoding='utf-8'?>\n")
    )
    assert psrp.output_of(message) == text


def test_one_script_is_serialised_once_and_patched() -> None:
    script = Script("'once'", (("A", 1),))
    first, second = (psrp.create_pipeline(script, uuid.uuid4(), uuid.uuid4()) for _ in range(2))
    assert first[8:40] != second[8:40]
    assert first[:8] + first[40:] == second[:8] + second[40:]
    assert first.count(b"once") == 1  # not again as the command's text for display


@pytest.mark.parametrize("size", [0, 1, 100, 70_000])
def test_sealing_is_what_pyspnego_expects(size: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "users").write_text("DOM:user:Secret1\n")
    monkeypatch.setenv("NTLM_USER_FILE", str(tmp_path / "users"))
    options = spnego.NegotiateOptions.use_ntlm
    client = spnego.client("DOM\\user", "Secret1", hostname="h", service="http", protocol="ntlm", options=options)
    server = spnego.server(protocol="ntlm", options=options)
    server.step(client.step(server.step(client.step())))
    ours = NtlmSeal(client.session_key)
    for turn in range(3):
        text = bytes([turn]) * size
        header, sealed = ours.wrap(text)
        assert server.unwrap_winrm(header, sealed) == text
        answer = server.wrap_winrm(text)
        assert ours.unwrap(answer.header, answer.data) == text
    answer = server.wrap_winrm(b"message")
    with pytest.raises(ValueError, match="signature"):
        ours.unwrap(answer.header, answer.data[:-1] + bytes([answer.data[-1] ^ 1]))


@given(st.binary(max_size=200))
def test_a_hostile_challenge_is_read_without_harm(data: bytes) -> None:
    for challenge in (data, b"NTLMSSP\x00\x02\x00\x00\x00" + data):
        assert all(isinstance(value, str) for value in target_names(challenge).values())
