"""PSRP messages ([MS-PSRP]): serialised once and patched per poll; decoded on a fast path where that is enough.

A message that never changes but for two GUIDs and an object id is not worth serialising for every poll; an output that
is one string, and a pipeline's state, are not worth a parser. Everything else goes through `clixml`.
"""

from __future__ import annotations

import re
import struct
import uuid
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from rmm.core.coerce import shown
from rmm.errors import ProtocolError
from rmm.ports import ErrorRecord, Script
from rmm.transports.winrm import clixml
from rmm.transports.winrm.tables import table

FRAGMENT_HEADER = 21  # object id, fragment id, flags, length: [MS-PSRP] 2.2.4
MESSAGE_HEADER = 40  # destination, type, runspace pool id, pipeline id: [MS-PSRP] 2.2.1
MESSAGE_LIMIT = 32 << 20
KEPT_SCRIPTS = 64

SESSION_CAPABILITY, RUNSPACEPOOL_STATE, PUBLIC_KEY_REQUEST = 0x00010002, 0x00021005, 0x00010007
APPLICATION_PRIVATE_DATA, RUNSPACEPOOL_HOST_CALL = 0x00021009, 0x00021100
PIPELINE_OUTPUT, ERROR_RECORD, PIPELINE_STATE = 0x00041004, 0x00041005, 0x00041006
WARNING_RECORD, PIPELINE_HOST_CALL = 0x00041009, 0x00041100
# [MS-PSRP] 2.2.1: all that a server may send. What is not among them comes with a newer version, or is no PSRP.
KNOWN = frozenset(
    {
        SESSION_CAPABILITY, PUBLIC_KEY_REQUEST, 0x00010006, 0x00021004, RUNSPACEPOOL_STATE, 0x00021008,
        APPLICATION_PRIVATE_DATA, 0x0002100B, RUNSPACEPOOL_HOST_CALL, PIPELINE_OUTPUT, ERROR_RECORD, PIPELINE_STATE,
        0x00041007, 0x00041008, WARNING_RECORD, 0x00041010, 0x00041011, PIPELINE_HOST_CALL,
    }
)  # fmt: skip

POOL_OPENED, POOL_CLOSED, POOL_BROKEN = 2, 3, 5
STOPPED, COMPLETED, FAILED = 3, 4, 5  # the final states of a pipeline; 1 and 2 may or may not be announced

_POOL = uuid.UUID("11111111-2222-3333-4444-555555555555")
_PIPELINE = uuid.UUID("66666666-7777-8888-9999-aaaaaaaaaaaa")


_MARK = "rmm:a table stands here:b7e5a1c0"  # ours alone: a script is static text, and arguments are not marked twice
_MARKED = f'<S N="V">{_MARK}</S>'.encode()


class Message(msgspec.Struct, frozen=True):
    """One whole PSRP message; `pipeline` is the zero GUID's bytes for messages of the pool."""

    kind: int
    pool: bytes
    pipeline: bytes
    data: bytes


def fragments(object_id: int, message: bytes, size: int) -> list[bytes]:
    """`message` in fragments of at most `size` bytes, headers included."""
    room = size - FRAGMENT_HEADER
    count = max(1, -(-len(message) // room))
    return [
        struct.pack(">QQBI", object_id, n, (n == 0) | (n == count - 1) << 1, min(room, len(message) - n * room))
        + message[n * room : (n + 1) * room]
        for n in range(count)
    ]


@lru_cache(maxsize=1)
def _opening() -> tuple[tuple[bytes, ...], Any]:
    """(SESSION_CAPABILITY and INIT_RUNSPACEPOOL with a placeholder id, the psrpcore pool that made them)."""
    from psrpcore import ClientRunspacePool

    pool = ClientRunspacePool(runspace_pool_id=_POOL)
    pool.open()
    payload = pool.data_to_send()
    assert payload is not None
    return tuple(_split(payload.data)), _opened(pool, payload)


def _opened(pool: Any, payload: Any) -> Any:
    """Bring psrpcore's client to Opened by pairing it with psrpcore's server in memory."""
    from psrpcore import ServerRunspacePool

    server = ServerRunspacePool()
    server.receive_data(payload)
    while server.next_event() is not None:
        pass
    while (answer := server.data_to_send()) is not None:
        pool.receive_data(answer)
        while pool.next_event() is not None:
            pass
    return pool


def _split(data: bytes) -> list[bytes]:
    """The messages in a payload whose messages are one fragment each."""
    found = []
    while data:
        size = int.from_bytes(data[17:21], "big")
        found.append(data[FRAGMENT_HEADER : FRAGMENT_HEADER + size])
        data = data[FRAGMENT_HEADER + size :]
    return found


def open_pool(pool: uuid.UUID) -> bytes:
    """The payload of a shell's creationXml: two messages, objects 1 and 2."""
    messages, _ = _opening()
    data = b"".join(fragments(number, message, 1 << 20)[0] for number, message in enumerate(messages, start=1))
    return data.replace(_POOL.bytes_le, pool.bytes_le)


_scripts: OrderedDict[tuple[str, str], bytes] = OrderedDict()


def create_pipeline(script: Script, pool: uuid.UUID, pipeline: uuid.UUID) -> bytes:
    """The CREATE_PIPELINE message for a script; serialised once per script, then patched."""
    tables = [value for _, value in script.arguments if isinstance(value, Mapping)]
    if tables:
        marked = [(name, _MARK if isinstance(value, Mapping) else value) for name, value in script.arguments]
        whole = create_pipeline(msgspec.structs.replace(script, arguments=tuple(marked)), pool, pipeline)
        for value in tables:
            whole = whole.replace(_MARKED, table(value, "V"), 1)
        return whole
    key = (script.text, f"{script.language}{script.arguments!r}" if script.arguments else script.language)
    message = _scripts.get(key)
    if message is None:
        message = _scripts[key] = _serialise(script)
        if len(_scripts) > KEPT_SCRIPTS:
            _scripts.popitem(last=False)
    else:
        _scripts.move_to_end(key)
    return message[:8] + pool.bytes_le + pipeline.bytes_le + message[MESSAGE_HEADER:]


def _serialise(script: Script) -> bytes:
    from psrpcore import ClientPowerShell

    _, pool = _opening()
    shell = ClientPowerShell(pool, pipeline_id=_PIPELINE)
    if script.language == "command":
        shell.add_command(script.text)
    else:
        shell.add_script(script.text)
    for name, value in script.arguments:
        shell.add_parameter(name or None, value)
    # The library says each command's text twice: the second time as its text for display, which no server reads.
    for command in shell.metadata.commands:
        command.PSObject.to_string = ""
    shell.start()
    data = pool.data_to_send().data
    pool.pipeline_table.pop(_PIPELINE, None)
    return _split(data)[0]


class Defragmenter:
    """Fragments in, messages out ([MS-PSRP] 3.1.5.1.1); strict and bounded, because the sender may be hostile.

    One per stream: fragments of different streams may come between each other.
    """

    __slots__ = ("_buffer", "_next", "_object")

    def __init__(self) -> None:
        self._object = -1
        self._next = 0
        self._buffer = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a message that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data`, one or more whole fragments, completes."""
        messages: list[Message] = []
        at = 0
        while at < len(data):
            if len(data) - at < FRAGMENT_HEADER:
                raise _bad("a fragment without its header")
            object_id, number, flags, size = struct.unpack_from(">QQBI", data, at)
            at += FRAGMENT_HEADER
            if size > len(data) - at:
                raise _bad("a fragment shorter than its length")
            self._take(object_id, number, flags, data[at : at + size])
            at += size
            if flags & 2:
                messages.append(_message(bytes(self._buffer)))
                self._object = -1
                self._buffer = bytearray()
        return messages

    def _take(self, object_id: int, number: int, flags: int, data: bytes) -> None:
        if flags & 1:
            if number != 0 or self._object >= 0:
                raise _bad("a message that begins in the middle of another")
            self._object, self._next = object_id, 0
        if object_id != self._object or number != self._next:
            raise _bad("a fragment out of order")
        if len(self._buffer) + len(data) > MESSAGE_LIMIT:
            raise _bad("a message over the limit")
        self._buffer += data
        self._next += 1


def _message(data: bytes) -> Message:
    if len(data) < MESSAGE_HEADER:
        raise _bad("a message without its header")
    kind = int.from_bytes(data[4:8], "little")
    body = data[MESSAGE_HEADER:]
    return Message(kind, data[8:24], data[24:40], body.removeprefix(b"\xef\xbb\xbf"))


def _bad(what: str) -> ProtocolError:
    return ProtocolError(f"the endpoint sent {what}", code="psrp.fragment")


_STRING = re.compile(rb"<S(?: [^<>]*)?>([^<]*)</S>\Z")
_STATE = re.compile(rb'<I32 N="(?:PipelineState|RunspaceState)">([0-9]{1,3})</I32>')
_METHOD = re.compile(rb"<I32>([0-9]{1,5})</I32>")
_REFERENCE = re.compile("&(?:#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6})|(lt|gt|amp|quot|apos));")
_NAMED = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


def state_of(message: Message) -> int:
    """The state that a PIPELINE_STATE or RUNSPACEPOOL_STATE message announces."""
    found = _STATE.search(message.data)
    if found is None:
        raise _bad("a state message without a state")
    return int(found[1])


def output_of(message: Message) -> Any:
    """The object of a PIPELINE_OUTPUT message as plain Python: text on the fast path, the rest through `clixml`."""
    data = message.data
    plain = _STRING.match(data)
    if plain is not None:
        return _text(plain[1])
    return clixml.decode(data) if data else None


def _text(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    if "&" in text:
        text = _REFERENCE.sub(_dereference, text)
    return clixml.unescape(text)


def _dereference(found: re.Match[str]) -> str:
    if found[3]:
        return _NAMED[found[3]]
    number = int(found[1]) if found[1] else int(found[2], 16)
    return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"


def error_record(message: Message) -> ErrorRecord | None:
    """The error record of an ERROR_RECORD message, or inside a final PIPELINE_STATE; None when there is none.

    [MS-PSRP] 2.2.3.15; its texts are cleaned of what could harm a log or a terminal.
    """
    if message.kind == PIPELINE_STATE and b"FullyQualifiedErrorId" not in message.data:
        return None
    value = clixml.decode(message.data)
    if message.kind == PIPELINE_STATE:
        value = _property(value, "ExceptionAsErrorRecord")
        if value is None:
            return None
    exception = _property(value, "Exception")
    types = exception.types if isinstance(exception, clixml.Properties) else ()
    text = _property(exception, "Message")
    if text is None:
        text = value.text if isinstance(value, clixml.Properties) else value
    return ErrorRecord(
        error_id=shown(_property(value, "FullyQualifiedErrorId"), 500),
        category=_category(_property(value, "ErrorCategory_Category")),
        message=shown(text, 2000),
        exception=shown(types[0] if types else "", 200).removeprefix("Deserialized."),
    )


def warning_of(message: Message) -> str:
    """The text of a WARNING_RECORD message ([MS-PSRP] 2.2.3.16)."""
    return shown(_property(clixml.decode(message.data), "InformationalRecord_Message"), 2000)


def method_of(message: Message) -> int:
    """The number of the method that a host call asks for ([MS-PSRP] 2.2.3.17); 1, which wants an answer, if none."""
    found = _METHOD.search(message.data, max(0, message.data.find(b'N="mi"')))
    return int(found[1]) if found else 1


def _property(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _category(number: Any) -> str:
    if type(number) is not int:
        return ""
    from psrpcore.types import ErrorCategory

    try:
        return str(ErrorCategory(number).name)
    except ValueError:
        return str(number)
