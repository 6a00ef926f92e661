"""PSRP as the lab's machines speak it: psrpcore's server classes make every message once, then ids are patched in.

A lab carries 10,000 endpoints on one core, and an opening, a state or a script that was seen before is the same bytes
but for two GUIDs and a counter.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections import OrderedDict
from functools import lru_cache
from typing import Any

from psrpcore import ClientRunspacePool, ServerPipeline, ServerRunspacePool
from psrpcore._payload import PSRPPayload, StreamType
from psrpcore.types import ErrorCategoryInfo, ErrorRecord, NETException, PSRPMessageType

from rmm.lab.machine import ErrorInfo

FRAGMENT = 32 << 10
HEADER = 21
ZERO = uuid.UUID(int=0)
KEPT = 256
STOPPED = b'<Obj RefId="0"><MS><I32 N="PipelineState">3</I32></MS></Obj>'

_ESCAPE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)|[\U00010000-\U0010ffff]")
_PLACE = uuid.UUID("abababab-abab-abab-abab-abababababab")


class Command:
    """What a CREATE_PIPELINE asks for: a script, or the name of a command, and its arguments."""

    __slots__ = ("arguments", "script", "text")

    def __init__(self, text: str, arguments: list[tuple[str | None, Any]], *, script: bool = True) -> None:
        self.text = text
        self.script = script
        self.arguments = arguments


def message(kind: int, pool: uuid.UUID, pipeline: uuid.UUID, data: bytes) -> bytes:
    """One PSRP message to a client; Windows begins the data with a byte order mark."""
    return struct.pack("<II", 1, kind) + pool.bytes_le + pipeline.bytes_le + b"\xef\xbb\xbf" + data


def fragments(number: int, data: bytes) -> list[bytes]:
    """A message in fragments."""
    count = max(1, -(-len(data) // FRAGMENT))
    return [
        struct.pack(">QQBI", number, n, (n == 0) | (n == count - 1) << 1, len(data[n * FRAGMENT : (n + 1) * FRAGMENT]))
        + data[n * FRAGMENT : (n + 1) * FRAGMENT]
        for n in range(count)
    ]


def unfragment(data: bytes) -> list[tuple[int, bool, bytes]]:
    """(object id, last, data) of each fragment in a payload. Raises ValueError for what is none."""
    found = []
    while data:
        if len(data) < HEADER:
            raise ValueError("a fragment without its header")
        number, _, flags, size = struct.unpack_from(">QQBI", data)
        if len(data) < HEADER + size:
            raise ValueError("a fragment shorter than its length")
        found.append((number, bool(flags & 2), data[HEADER : HEADER + size]))
        data = data[HEADER + size :]
    return found


@lru_cache(maxsize=64)
def private_data(os_version: str) -> bytes:
    """APPLICATION_PRIVATE_DATA of Windows PowerShell 5.1, in the form that a recorded Server 2016 sent."""
    engine = f"5.1.{os_version.split('.')[-1]}.2248"
    pairs = (
        ("PSVersion", f'<Version N="Value">{engine}</Version>'), ("PSEdition", '<S N="Value">Desktop</S>'),
        ("CLRVersion", '<Version N="Value">4.0.30319.42000</Version>'),
        ("BuildVersion", f'<Version N="Value">{os_version}.2248</Version>'),
        ("WSManStackVersion", '<Version N="Value">3.0</Version>'),
        ("PSRemotingProtocolVersion", '<Version N="Value">2.3</Version>'),
        ("SerializationVersion", '<Version N="Value">1.1.0.1</Version>'),
    )  # fmt: skip
    entries = "".join(f'<En><S N="Key">{key}</S>{value}</En>' for key, value in pairs)
    return (
        '<Obj RefId="0"><MS><Obj N="ApplicationPrivateData" RefId="1"><TN RefId="0">'
        "<T>System.Management.Automation.PSPrimitiveDictionary</T><T>System.Collections.Hashtable</T>"
        '<T>System.Object</T></TN><DCT><En><S N="Key">PSVersionTable</S><Obj N="Value" RefId="2"><TNRef RefId="0" />'
        f"<DCT>{entries}</DCT></Obj></En></DCT></Obj></MS></Obj>"
    ).encode()


class _Opened:
    """A psrpcore client and server pair, opened in memory: the source of all templates."""

    def __init__(self) -> None:
        self.client = ClientRunspacePool(runspace_pool_id=_PLACE)
        self.server = ServerRunspacePool()
        self.client.open()
        hello = self.client.data_to_send()
        assert hello is not None
        self.server.receive_data(hello)
        while self.server.next_event() is not None:
            pass
        answer = self.server.data_to_send()
        assert answer is not None
        self.opening = [part for _, _, part in unfragment(answer.data)]


class Templates:
    """Messages by content. `opening()` are the data of SESSION_CAPABILITY, APPLICATION_PRIVATE_DATA and the state."""

    def __init__(self) -> None:
        self._pair = _Opened()
        self._commands: OrderedDict[bytes, Command] = OrderedDict()
        kinds = {int.from_bytes(part[4:8], "little"): part[40:] for part in self._pair.opening}
        self.capability = kinds[PSRPMessageType.SessionCapability]
        self.private_data = kinds[PSRPMessageType.ApplicationPrivateData]
        self.opened = kinds[PSRPMessageType.RunspacePoolState]
        self._pipeline = self._new_pipeline()
        self._pipeline.start()
        self._drain()
        self.completed = b'<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>'
        self.stopped = STOPPED

    def _new_pipeline(self) -> ServerPipeline:
        return ServerPipeline(self._pair.server, uuid.uuid4())

    def _drain(self) -> list[tuple[int, bytes]]:
        """(type, data) of every message that psrpcore's server wants to send."""
        found = []
        while (payload := self._pair.server.data_to_send()) is not None:
            for _, _, part in unfragment(payload.data):
                found.append((int.from_bytes(part[4:8], "little"), part[40:]))
        return found

    def command(self, data: bytes) -> Command:
        """Read a CREATE_PIPELINE message's data; the same data is read once."""
        known = self._commands.get(data)
        if known is None:
            known = self._commands[data] = self._read(data)
            if len(self._commands) > KEPT:
                self._commands.popitem(last=False)
        return known

    def _read(self, data: bytes) -> Command:
        pipeline = self._new_pipeline()
        raw = (
            struct.pack("<II", 2, int(PSRPMessageType.CreatePipeline))
            + _PLACE.bytes_le
            + pipeline.pipeline_id.bytes_le
            + data
        )
        for part in fragments(10_000, raw):
            self._pair.server.receive_data(PSRPPayload(part, StreamType.default, pipeline.pipeline_id))
        event: Any = self._pair.server.next_event()
        self._pair.server.pipeline_table.pop(pipeline.pipeline_id, None)
        for step in event.pipeline.commands:
            arguments = list(step.parameters)
            if step.is_script:
                return Command(step.command_text, arguments)
            if step.command_text.lower() == "invoke-expression":
                return Command(str(dict(arguments).get("Command", "")), [])
        first = event.pipeline.commands[0]
        return Command(first.command_text, list(first.parameters), script=False)

    def output(self, value: Any) -> bytes:
        """The data of a PIPELINE_OUTPUT."""
        if isinstance(value, str):
            return b"<S>" + escaped(value).encode() + b"</S>"
        self._pipeline.write_output(value)
        return self._drain()[0][1]

    def error(self, info: ErrorInfo) -> bytes:
        """The data of an ERROR_RECORD."""
        self._pipeline.write_error(
            exception=NETException(Message=info.message),
            category_info=ErrorCategoryInfo(Category=_category(info.category)),
            fully_qualified_error_id=info.error_id,
        )
        return self._drain()[0][1]

    def failed(self, info: ErrorInfo) -> bytes:
        """The data of a PIPELINE_STATE Failed that carries its error record."""
        pipeline = self._new_pipeline()
        pipeline.start()
        self._drain()
        pipeline._change_state(  # psrpcore has no public way to fail a pipeline with a given record
            _failed_state(),
            ErrorRecord(
                Exception=NETException(Message=info.message),
                CategoryInfo=ErrorCategoryInfo(Category=_category(info.category)),
                FullyQualifiedErrorId=info.error_id,
            ),
        )
        data = self._drain()[-1][1]
        self._pair.server.pipeline_table.pop(pipeline.pipeline_id, None)
        return data


def _failed_state() -> Any:
    from psrpcore.types import PSInvocationState

    return PSInvocationState.Failed


def _category(name: str) -> Any:
    from psrpcore.types import ErrorCategory

    return getattr(ErrorCategory, name, ErrorCategory.NotSpecified)


def escaped(text: str) -> str:
    if "&" in text or "<" in text or ">" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ESCAPE.sub(_code_units, text)


def _code_units(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"_x{units[n]:02X}{units[n + 1]:02X}_" for n in range(0, len(units), 2))
