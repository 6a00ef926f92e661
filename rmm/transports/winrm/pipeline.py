"""What arrives of one pipeline ([MS-PSRP] 3.1.4), whatever carries it: WSMan, or the line protocol of a process."""

from __future__ import annotations

from typing import Any

from rmm.errors import ProtocolError
from rmm.ports import ErrorRecord, ScriptResult
from rmm.transports.winrm import psrp

HEADROOM_RECORDS = 1000  # error records and warnings that are kept of one pipeline

_NEEDS_ANSWER = "the script waits for input, which a poll never gives"


class Pace:
    """Until when the next output must have come: see `ports.Script.steps`."""

    def __init__(self, steps: tuple[float, ...], deadline: float) -> None:
        self._steps = steps
        self._deadline = deadline
        self._seen = -1
        self._since = 0.0

    def limit(self, outputs: int, now: float) -> float:
        """The time by which something must have come, after so many outputs."""
        if outputs != self._seen:
            self._seen, self._since = outputs, now
        if outputs >= len(self._steps):
            return self._deadline
        return min(self._deadline, self._since + self._steps[outputs])


class Pipeline:
    """What has arrived of one pipeline."""

    def __init__(self, max_bytes: int) -> None:
        self.output: list[Any] = []
        self.errors: list[ErrorRecord] = []
        self.warnings: list[str] = []
        self.size = 0  # of whole messages
        self.received = 0  # of these, and of the one that is arriving
        self.state = ""
        self.final = False  # the endpoint announced the end
        self.broken = False
        self._max = max_bytes

    @property
    def ended(self) -> bool:
        """Whether it came to an end, or was given up."""
        return bool(self.state)

    def take(self, message: psrp.Message) -> None:
        """One message of this pipeline or of its pool."""
        self.size += len(message.data)
        kind = message.kind
        if kind == psrp.PIPELINE_OUTPUT:
            if self.size <= self._max:
                self.output.append(psrp.output_of(message))
        elif kind == psrp.PIPELINE_STATE:
            self._take_state(message)
        elif kind == psrp.ERROR_RECORD:
            record = psrp.error_record(message)
            if record is not None and len(self.errors) < HEADROOM_RECORDS:
                self.errors.append(record)
        elif kind == psrp.WARNING_RECORD:
            if len(self.warnings) < HEADROOM_RECORDS:
                self.warnings.append(str(getattr(psrp.deserialize(message.data), "Message", ""))[:2000])
        elif kind in (psrp.PIPELINE_HOST_CALL, psrp.RUNSPACEPOOL_HOST_CALL):
            self._take_host_call(message)
        elif kind == psrp.RUNSPACEPOOL_STATE and psrp.state_of(message) in (psrp.POOL_BROKEN, psrp.POOL_CLOSED):
            raise ProtocolError("the runspace broke while a pipeline ran", code="psrp.broken", retry="R1")
        # Progress, verbose, debug, information, user events and whatever comes with newer versions are not for us.

    def _take_state(self, message: psrp.Message) -> None:
        state = psrp.state_of(message)
        name = {psrp.STOPPED: "stopped", psrp.COMPLETED: "completed", psrp.FAILED: "failed"}.get(state)
        if name is None:
            return  # Not started, Running and Stopping are announced by some servers only
        record = psrp.error_record(message)
        if record is not None:
            self.errors.append(record)
        self.state, self.final = "truncated" if self.size > self._max else name, True

    def _take_host_call(self, message: psrp.Message) -> None:
        """Methods without a result (Write*, notifications) are noise; the others would wait for ever."""
        method = _method_number(message.data)
        if method in _WITH_RESULT:
            self.errors.append(ErrorRecord("HostCallRefused", "NotImplemented", _NEEDS_ANSWER))
            self.state = "failed"

    @property
    def texts(self) -> tuple[str, ...]:
        """The outputs that are text: what a lost poll can still use."""
        return tuple(item for item in self.output if isinstance(item, str))

    def result(self, *, broken: bool) -> ScriptResult:
        """What came of it, for `ports.Session.run`."""
        return ScriptResult(
            output=tuple(self.output),
            state=self.state,
            errors=tuple(self.errors),
            warnings=tuple(self.warnings),
            bytes=self.size,
            broken=broken,
        )


# [MS-PSRP] 2.2.3.17: host methods that return something and so make the pipeline wait
_WITH_RESULT = frozenset(
    {1, 2, 3, 4, 5, 11, 12, *range(23, 28), 29, 31, 33, 35, 37, 39, 41, 43, 44, 45, 46, 50, 54, 55, 56}
)


def _method_number(data: bytes) -> int:
    marker = data.find(b'N="mi"')
    begin = data.find(b"<I32>", marker)
    end = data.find(b"</I32>", begin)
    text = data[begin + 5 : end] if 0 <= marker < begin < end else b""
    return int(text) if text.isdigit() and len(text) < 6 else 1
