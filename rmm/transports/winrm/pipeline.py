"""What arrives of one pipeline ([MS-PSRP] 3.1.4), whatever carries it: WSMan, or the line protocol of a process."""

from __future__ import annotations

from typing import Any, ClassVar

from rmm.errors import ProtocolError
from rmm.ports import ErrorRecord, ScriptResult
from rmm.transports.winrm import psrp
from rmm.transports.winrm.bounded import excerpt

HEADROOM_RECORDS = 1000  # error records and warnings that are kept of one pipeline
MOST_OUTPUTS = 20_000  # objects; a collector writes one
MOST_HELD = 256 << 20  # bytes of output that all pipelines of this process hold; beyond, those over FAIR_SHARE end
FAIR_SHARE = 1 << 20
_POOL_ITSELF = bytes(16)  # the pipeline id of messages that are about the pool

ENDED = "PowerShell ended on the endpoint while it worked for us: see its Windows PowerShell event log."
_NEEDS_ANSWER = "the script waits for input, which a poll never gives"


class Pace:
    """Until when the next output must have come: see `ports.Script.steps`."""

    def __init__(self, steps: tuple[float, ...], deadline: float) -> None:
        self._steps = steps
        self._deadline = deadline
        self._seen = -1
        self._since = 0.0
        self.stepped = False  # whether the last limit was that of a step

    def limit(self, outputs: int, now: float) -> float:
        """The time by which something must have come, after so many outputs."""
        if outputs != self._seen:
            self._seen, self._since = outputs, now
        due = self._since + self._steps[outputs] if outputs < len(self._steps) else self._deadline
        self.stepped = due < self._deadline
        return min(self._deadline, due)


class Pipeline:
    """What has arrived of one pipeline."""

    held: ClassVar[int] = 0  # bytes of all that run

    def __init__(self, max_bytes: int) -> None:
        self.id = b""  # as it is in the header of a message
        self.defragment = psrp.Defragmenter()
        self.output: list[Any] = []
        self.errors: list[ErrorRecord] = []
        self.warnings: list[str] = []
        self.size = 0  # of whole messages
        self.unknown = 0  # messages of types that nobody knows
        self.state = ""
        self.final = False  # the endpoint announced the end
        self.broken = False
        self.overdue = False
        self._max = max_bytes
        self._mine = 0  # of `held`

    @property
    def full(self) -> bool:
        """Whether the limits of its output are passed, what is not a whole message yet included."""
        mine = self.size + self.defragment.pending
        Pipeline.held += mine - self._mine
        self._mine = mine
        unfair = Pipeline.held > MOST_HELD and mine > FAIR_SHARE
        return mine > self._max or unfair or len(self.output) >= MOST_OUTPUTS

    def let_go(self) -> None:
        """It has ended: what it holds is its caller's."""
        Pipeline.held -= self._mine
        self._mine = 0

    @property
    def ended(self) -> bool:
        return bool(self.state)

    def take(self, message: psrp.Message) -> None:
        if message.pipeline not in (self.id, _POOL_ITSELF):
            raise ProtocolError("the endpoint sent a message of another pipeline", code="psrp.fragment")
        self.size += len(message.data)
        try:
            self._take(message)
        except ProtocolError as error:
            error.sample = error.sample or excerpt(message.data)
            raise

    def _take(self, message: psrp.Message) -> None:
        kind = message.kind
        if kind == psrp.PIPELINE_OUTPUT:
            if not self.full:
                self.output.append(psrp.output_of(message))
        elif kind == psrp.PIPELINE_STATE:
            self._take_state(message)
        elif kind == psrp.ERROR_RECORD and len(self.errors) < HEADROOM_RECORDS:
            record = psrp.error_record(message)
            if record is not None:
                self.errors.append(record)
        elif kind == psrp.WARNING_RECORD and len(self.warnings) < HEADROOM_RECORDS:
            self.warnings.append(psrp.warning_of(message))
        elif kind in (psrp.PIPELINE_HOST_CALL, psrp.RUNSPACEPOOL_HOST_CALL):
            self._take_host_call(message)
        elif kind == psrp.RUNSPACEPOOL_STATE and psrp.state_of(message) in (psrp.POOL_BROKEN, psrp.POOL_CLOSED):
            raise ProtocolError("the runspace broke while a pipeline ran", code="psrp.broken", retry="R1", hint=ENDED)
        # Progress, verbose, debug, information and user events are not for us; what nobody knows is counted.
        self.unknown += kind not in psrp.KNOWN

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
        if psrp.method_of(message) in _WITH_RESULT:
            self.errors.append(ErrorRecord("HostCallRefused", "NotImplemented", _NEEDS_ANSWER))
            self.state = "failed"

    @property
    def texts(self) -> tuple[str, ...]:
        """The outputs that are text: what a lost poll can still use."""
        return tuple(item for item in self.output if isinstance(item, str))

    def result(self, *, broken: bool) -> ScriptResult:
        return ScriptResult(
            output=tuple(self.output),
            state=self.state,
            errors=tuple(self.errors),
            warnings=tuple(self.warnings),
            bytes=self.size + self.defragment.pending,
            broken=broken,
            overdue=self.overdue,
            unknown=self.unknown,
        )


def note_unknown(telemetry: dict[str, float], result: ScriptResult) -> None:
    """Count the messages of unknown types among those of a poll, where there were any."""
    if result.unknown:
        telemetry["unknown_messages"] = telemetry.get("unknown_messages", 0.0) + result.unknown


# [MS-PSRP] 2.2.3.17: host methods that return something and so make the pipeline wait
_WITH_RESULT = frozenset(
    {1, 2, 3, 4, 5, 11, 12, *range(23, 28), 29, 31, 33, 35, 37, 39, 41, 43, 44, 45, 46, 50, 54, 55, 56}
)
