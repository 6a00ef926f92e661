"""Faults in what a pipeline says, for pipelines that real PowerShell runs: all of it is kept until it has ended.

Faults that change a script's output (`executed`) see text as text; other objects pass through them as they are.
"""

from __future__ import annotations

import re
import uuid
from functools import lru_cache
from typing import Any, NamedTuple
from xml.sax.saxutils import unescape

from psrpcore.types import PSRPMessageType

from rmm.lab.machine import Execution, Machine
from rmm.lab.pwsh.messages import HEADER, MESSAGE, Fragment
from rmm.lab.pwsh.process import LostError
from rmm.lab.wire import psrp

MOST = 64 << 20  # bytes of one pipeline that are kept
HOOKS = ("executed", "said", "fragmented")
_BOM = b"\xef\xbb\xbf"
_OUTPUT, _ERROR, _STATE = (
    int(kind) for kind in (PSRPMessageType.PipelineOutput, PSRPMessageType.ErrorRecord, PSRPMessageType.PipelineState)
)
_TEXT = re.compile(rb"<S>([^<]*)</S>\Z")
_UNIT = re.compile("_x([0-9A-Fa-f]{4})_")


class Kept(NamedTuple):
    """An output that is no text: its CLIXML."""

    data: bytes


class Rewriter:
    """Of one pipeline."""

    def __init__(self, faults: Any, machine: Machine, pipeline: uuid.UUID) -> None:
        self.hangs = False  # the pipeline shall not end
        self._faults = faults
        self._machine = machine
        self._pipeline = pipeline
        self._pool = psrp.ZERO
        self._part = bytearray()
        self._size = 0
        self._said: list[tuple[int, bytes]] = []

    def feed(self, fragment: Fragment) -> None:
        """Take what the process says. Raises LostError for more than is kept."""
        self._size += len(fragment.data)
        if self._size > MOST:
            raise LostError("a fault that changes output takes no more than 64 MB of it")
        self._part += fragment.data[HEADER:]
        if fragment.ends:
            self._pool = uuid.UUID(bytes_le=bytes(self._part[8:24]))
            self._said.append((fragment.ends, bytes(self._part[MESSAGE:]).removeprefix(_BOM)))
            self._part = bytearray()

    def finish(self) -> tuple[float, list[bytes]]:
        """(seconds that the answer is late, fragments) of what is said instead; the pipeline has ended."""
        delay, said = self._executed()
        for fault in self._faults.strike("said", "command"):
            said = fault.said(said)
            self.hangs = self.hangs or fault.hangs
        found: list[bytes] = []
        for number, (kind, data) in enumerate(said, start=1):
            parts = psrp.fragments(number, psrp.message(kind, self._pool, self._pipeline, data))
            for fault in self._faults.strike("fragmented", "receive"):
                parts = fault.fragmented(parts)
            found += parts
        return delay, found

    def _executed(self) -> tuple[float, list[tuple[int, bytes]]]:
        before = Execution([_value(data) for kind, data in self._said if kind == _OUTPUT], [])
        execution = before
        for fault in self._faults.strike("executed", "command"):
            execution = fault.executed(self._machine, execution)
        if execution == before:
            return 0.0, self._said
        *rest, state = [message for message in self._said if message[0] != _OUTPUT]
        if execution.failed and not execution.output:
            rest = []
        said = [(_OUTPUT, _data(value)) for value in execution.output] + rest
        for error in execution.errors:
            if error.terminating:
                state = (_STATE, _templates().failed(error))
            else:
                said.append((_ERROR, _templates().error(error)))
        return execution.delay_s, [*said, state]


@lru_cache(maxsize=1)
def _templates() -> psrp.Templates:
    return psrp.Templates()


def _value(data: bytes) -> str | Kept:
    found = _TEXT.match(data)
    if found is None:
        return Kept(data)
    units = _UNIT.sub(lambda unit: chr(int(unit[1], 16)), unescape(found[1].decode()))
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _data(value: Any) -> bytes:
    return value.data if isinstance(value, Kept) else _templates().output(value)
