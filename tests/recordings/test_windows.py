"""Every recorded exchange with real Windows decodes with our modules to what pypsrp and psrpcore make of it.

The recordings are pypsrp's test data (MIT); see tests/data/README.md.
"""

from __future__ import annotations

import base64
import lzma
import tarfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from psrpcore.types import ErrorRecord, PSRPMessageType

from rmm.transports.winrm import psrp
from rmm.transports.winrm.envelope import RSP, Answer

ARCHIVE = Path(__file__).parent.parent / "data" / "windows-recordings.tar.xz"
S = "{http://www.w3.org/2003/05/soap-envelope}"
WSA = "{http://schemas.xmlsoap.org/ws/2004/08/addressing}"
FAULT = "{http://schemas.microsoft.com/wbem/wsman/1/wsmanfault}WSManFault"


def exchanges() -> dict[str, list[dict[str, Any]]]:
    found = {}
    with lzma.open(ARCHIVE) as packed, tarfile.open(fileobj=packed) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None:
                found[member.name] = yaml.safe_load(file.read())["messages"]
    return found


EXCHANGES = exchanges()


def responses(name: str) -> list[str]:
    return [message["response"] for message in EXCHANGES[name] if message.get("response")]


def test_all_of_them_are_here() -> None:
    assert len(EXCHANGES) == 24
    assert sum(len(responses(name)) for name in EXCHANGES) == 129


@pytest.mark.parametrize("name", sorted(EXCHANGES))
def test_envelopes_and_faults(name: str) -> None:
    for text in responses(name):
        if not text.lstrip().startswith("<"):
            continue
        answer, other = Answer(text.encode()), ElementTree.fromstring(text)
        assert answer.action == (other.findtext(f"{S}Header/{WSA}Action") or "").strip()
        assert answer.relates_to == (other.findtext(f"{S}Header/{WSA}RelatesTo") or "").upper().removeprefix("UUID:")
        fault = other.find(f".//{FAULT}")
        mine = answer.fault()
        assert (mine is not None) == (other.find(f".//{S}Fault") is not None)
        if fault is not None and mine is not None:
            assert mine.code == int(fault.get("Code") or 0)


def streams(text: str) -> list[bytes]:
    return [base64.b64decode(item.text or "") for item in ElementTree.fromstring(text).iter(f"{{{RSP}}}Stream")]


@pytest.mark.parametrize("name", sorted(name for name in EXCHANGES if "psrp" in name or "client_execute" in name))
def test_psrp_messages(name: str) -> None:
    """Each message has the type, ids and value that psrpcore reads out of the same bytes."""
    from psrpcore import ClientRunspacePool
    from psrpcore._payload import unpack_fragment, unpack_message

    defragment = psrp.Defragmenter()
    seen = 0
    for text in responses(name):
        if not text.lstrip().startswith("<"):
            continue
        whole = bytearray()
        for data in streams(text):
            try:
                mine = defragment.feed(data)
            except Exception:
                assert "stdout" not in text or "winrs" in name  # WinRS output is not PSRP
                raise
            buffer = bytearray(data)
            while buffer:
                fragment = unpack_fragment(buffer)
                buffer = buffer[21 + len(fragment.data) :]
                whole += fragment.data
                if not fragment.end:
                    continue
                theirs = unpack_message(whole)
                message = mine.pop(0)
                assert message.kind == int(theirs.message_type)
                assert message.pool == theirs.rpid.bytes_le
                assert message.data == bytes(theirs.data).removeprefix(b"\xef\xbb\xbf")
                same_value(message)
                seen += 1
                whole = bytearray()
            assert mine == []
    assert seen > 0 or "is_alive" in name or name.endswith("http_error.yml")
    assert ClientRunspacePool is not None


def plain_value(value: Any) -> Any:
    """What psrpcore read, as plain Python: what `clixml` must make of the same bytes by itself."""
    from psrpcore.types import PSObject

    if isinstance(value, dict):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_value(item) for item in value]
    properties = []
    if isinstance(value, PSObject):
        properties = [*value.PSObject.adapted_properties, *value.PSObject.extended_properties]
    for base in (bool, int, float, str, bytes):
        if isinstance(value, base):
            plain: Any = base
            return plain(value)
    return {item.name: plain_value(item.get_value(value)) for item in properties} if properties else value


def same_value(message: psrp.Message) -> None:
    from psrpcore.types import deserialize

    class NoCipher:
        def register_key(self, key: bytes) -> None: ...

        def decrypt(self, value: bytes) -> bytes:
            raise AssertionError

        def encrypt(self, value: bytes) -> bytes:
            raise AssertionError

    if not message.data:
        return
    cipher: Any = NoCipher()
    value: Any = deserialize(ElementTree.fromstring(message.data), cipher)
    if message.kind == PSRPMessageType.PipelineOutput and isinstance(value, ErrorRecord):
        # psrpcore makes an object of its own out of it; we keep what is on the wire.
        mine = psrp.output_of(message)
        assert mine["FullyQualifiedErrorId"] == str(value.FullyQualifiedErrorId)
        assert mine["Exception"]["Message"] == str(value.Exception.Message)
    elif message.kind == PSRPMessageType.PipelineOutput:
        assert psrp.output_of(message) == plain_value(value)
    elif message.kind in (PSRPMessageType.PipelineState, PSRPMessageType.RunspacePoolState):
        state = value.PipelineState if message.kind == PSRPMessageType.PipelineState else value.RunspaceState
        assert psrp.state_of(message) == int(state)
        if psrp.state_of(message) == psrp.FAILED and message.kind == PSRPMessageType.PipelineState:
            record = psrp.error_record(message)
            assert record is not None
            assert record.error_id
            assert record.message
    elif message.kind == PSRPMessageType.ErrorRecord:
        record = psrp.error_record(message)
        assert record is not None
        assert record.error_id == str(value.FullyQualifiedErrorId)
        assert record.message
        assert record.category
