"""A runspace on an endpoint: a WSMan shell with the PSRP state machine in it ([MS-PSRP] 3.1, [MS-WSMV] 3.1.4.5)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from typing import Any
from xml.sax.saxutils import quoteattr

from rmm.core.sessions import SHORTEST_IDLE_S
from rmm.errors import DeadlineError, ProtocolError, TransportError
from rmm.ports import ErrorRecord, Script, ScriptResult
from rmm.transports.winrm import envelope, psrp
from rmm.transports.winrm.envelope import RSP, Answer
from rmm.transports.winrm.faults import IDLE_OUT_OF_BOUNDS, error_of
from rmm.transports.winrm.wsman import ANSWER_S, OPERATION_S, SIZES, FaultError, Wsman

RESOURCE = "http://schemas.microsoft.com/powershell/"
IDLE_S = 180  # the endpoint reaps a shell that we lost after this long
RECYCLE = 200  # pipelines per runspace: Windows fails after 1,000 that were not terminated
ENVELOPE_REST = 8_000  # what an envelope holds beside the base64 of a fragment
SIGNAL_S = 5.0
LEAST_WAIT_S = 0.5
MOST_OPENING = 16  # messages of the opening that are kept; Windows sends three
HEADROOM_RECORDS = 1000  # error records and warnings that are kept of one pipeline

_NEEDS_ANSWER = "the script waits for input, which a poll never gives"


class Shell:
    """An open runspace pool with one runspace. One pipeline at a time."""

    names_itself = True  # its id is ours to choose; the endpoint may choose another one

    def __init__(
        self, wsman: Wsman, configuration: str, *, kept: bool, name: str = "rmm", idle_s: int = IDLE_S
    ) -> None:
        self.wsman = wsman
        self.kept = kept  # for further polls: then every pipeline is terminated, or Windows keeps it for ever
        self.name = name
        self.idle_s = idle_s
        self.pipelines = 0
        self.broken = False
        self.id = envelope.new_id()
        self._pool = uuid.UUID(self.id)
        self._resource = RESOURCE + configuration
        self._created = False
        self._objects = 2  # PSRP objects sent: the two of the opening
        self._defragment = psrp.Defragmenter()
        self.opening: list[psrp.Message] = []  # what the pool said of itself while it opened

    @property
    def exists(self) -> bool:
        """Whether the endpoint may hold a shell of ours."""
        return self._created

    @property
    def fresh(self) -> bool:
        """Whether another pipeline may run in it."""
        return self._created and not self.broken and self.pipelines < RECYCLE

    async def open(self, deadline: float) -> None:
        """Create the shell and wait for its pool to be opened: three requests."""
        opening = base64.b64encode(psrp.open_pool(self._pool)).decode()
        content = (
            "<rsp:InputStreams>stdin pr</rsp:InputStreams><rsp:OutputStreams>stdout</rsp:OutputStreams>"
            f'<creationXml xmlns="http://schemas.microsoft.com/powershell">{opening}</creationXml>'
        )
        await self._create(content, envelope.options(protocolversion="2.3", WINRS_NOPROFILE="TRUE"), deadline)
        while True:
            for message in self._messages(await self._receive("", deadline)):
                if len(self.opening) < MOST_OPENING:
                    self.opening.append(message)
                if message.kind == psrp.SESSION_CAPABILITY:
                    self.wsman.size = self.wsman.most
                if message.kind == psrp.RUNSPACEPOOL_STATE and self._pool_opened(psrp.state_of(message)):
                    return

    async def _create(self, content: str, headers: str, deadline: float) -> None:
        """Create the shell; where the endpoint's bounds forbid the idle timeout, with the shortest that Windows has."""
        self._created = True  # from here on the endpoint may hold it, whatever we get to hear
        try:
            answer = await self._ask_create(content, headers, deadline)
        except FaultError as error:
            self._created = False
            raise error_of(error.fault) from error
        given = answer.body.find(".//*[@Name='ShellId']") if answer.body is not None else None
        if given is not None and given.text:
            self.id = given.text.strip()

    async def _ask_create(self, content: str, headers: str, deadline: float) -> Answer:
        for last in (False, True):
            mine = f' ShellId="{self.id}"' if self.names_itself else ""
            body = (
                f"<rsp:Shell{mine} Name={quoteattr(self.name)}>"
                f"<rsp:IdleTimeOut>PT{self.idle_s}.000S</rsp:IdleTimeOut>{content}</rsp:Shell>"
            )
            try:
                return await self.wsman.call(
                    envelope.CREATE, self._resource, headers=headers, body=body, deadline=deadline
                )
            except FaultError as error:
                if last or error.fault.code != IDLE_OUT_OF_BOUNDS or self.idle_s <= SHORTEST_IDLE_S:
                    raise
                self.idle_s = SHORTEST_IDLE_S
        raise AssertionError("the second try returns or raises")

    def _pool_opened(self, state: int) -> bool:
        if state in (psrp.POOL_BROKEN, psrp.POOL_CLOSED):
            self.broken = True
            hint = "The session configuration could not start PowerShell: see its event log on the endpoint."
            raise ProtocolError("the runspace pool did not open", code="psrp.broken", retry="R1", hint=hint)
        return state == psrp.POOL_OPENED

    async def run(self, script: Script, deadline: float, max_bytes: int) -> ScriptResult:
        """Run one pipeline to its end, to the deadline or to the limit of its output.

        Raises:
            TransportError: the shell or the connection is lost; `partial` has the text that had arrived.
        """
        run = _Pipeline(max_bytes)
        self.pipelines += 1
        try:
            command = await self._start(script, deadline)
            pace = _Pace(script.steps, deadline)
            while not run.ended:
                limit = pace.limit(len(run.output), asyncio.get_running_loop().time())
                if limit <= asyncio.get_running_loop().time():
                    run.state = "timed_out"
                elif run.received > max_bytes:
                    # What is left of the object that was being received makes the runspace unusable.
                    run.state, run.broken = "truncated", True
                else:
                    await self._pump(run, command, limit)
            if run.state == "stopped":  # not by us: a Signal of ours comes after the end only
                raise ProtocolError("somebody else stopped the pipeline", code="psrp.stopped", retry="R1")
            self.broken = run.broken
            await self._settle(run, command)
        except TransportError as error:
            self.broken = True
            error.partial = tuple(item for item in run.output if isinstance(item, str))
            raise
        except BaseException:
            self.broken = True
            raise
        return run.result(broken=self.broken)

    async def _start(self, script: Script, deadline: float) -> str:
        """Send the pipeline, in smaller pieces where the endpoint takes smaller envelopes than it promised."""
        while True:
            try:
                return await self._send(script, deadline)
            except ProtocolError as error:
                smaller = next((size for size in SIZES if size < self.wsman.size), 0)
                if error.code != "wsman.envelope" or not smaller:
                    raise
                self.wsman.size = self.wsman.most = smaller

    async def _send(self, script: Script, deadline: float) -> str:
        pipeline = uuid.uuid4()
        command = str(pipeline).upper()
        self._objects += 1
        room = (self.wsman.size - ENVELOPE_REST) // 4 * 3
        message = psrp.create_pipeline(script, self._pool, pipeline)
        first, *rest = psrp.fragments(self._objects, message, room)
        body = (
            f'<rsp:CommandLine CommandId="{command}"><rsp:Command/>'
            f"<rsp:Arguments>{base64.b64encode(first).decode()}</rsp:Arguments></rsp:CommandLine>"
        )
        selector = envelope.selector(self.id)
        headers = envelope.options(WINRS_SKIP_CMD_SHELL="FALSE") + selector
        answer = await self.wsman.ask(envelope.COMMAND, self._resource, headers=headers, body=body, deadline=deadline)
        given = answer.body.findtext(f"{{{RSP}}}CommandId") if answer.body is not None else None
        command = (given or command).strip()
        for fragment in rest:
            data = base64.b64encode(fragment).decode()
            body = f'<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}">{data}</rsp:Stream></rsp:Send>'
            await self.wsman.ask(envelope.SEND, self._resource, headers=selector, body=body, deadline=deadline)
        return command

    async def _pump(self, run: _Pipeline, command: str, deadline: float) -> None:
        """One Receive; its end of time is only news when the deadline has come."""
        answer = await self._receive(command, deadline)
        if answer is None:
            return
        for message in self._messages(answer, run):
            run.take(message)
        if not run.ended and answer.body.find(f"{{{RSP}}}CommandState[@State='{RSP}/CommandState/Done']") is not None:
            raise ProtocolError("the command ended without the state of its pipeline", code="psrp.state", retry="R1")

    async def _receive(self, command: str, deadline: float, streams: str = "stdout") -> Answer | None:
        """The answer to one Receive; None when there was nothing to receive."""
        left = deadline - asyncio.get_running_loop().time()
        attribute = f' CommandId="{command}"' if command else ""
        body = f"<rsp:Receive><rsp:DesiredStream{attribute}>{streams}</rsp:DesiredStream></rsp:Receive>"
        headers = envelope.options(WSMAN_CMDSHELL_OPTION_KEEPALIVE="TRUE") + envelope.selector(self.id)
        try:
            return await self.wsman.call(
                envelope.RECEIVE,
                self._resource,
                headers=headers,
                body=body,
                deadline=deadline,
                wait=min(OPERATION_S, max(LEAST_WAIT_S, left)),
            )
        except FaultError as error:
            if not error.fault.timed_out:
                raise error_of(error.fault) from error
            if left <= 0:
                raise DeadlineError("the runspace did not answer in time") from error
            return None

    def _messages(self, answer: Answer | None, run: _Pipeline | None = None) -> list[psrp.Message]:
        if answer is None or answer.body is None:
            return []
        messages: list[psrp.Message] = []
        for stream in answer.body.iter(f"{{{RSP}}}Stream"):
            try:
                data = base64.b64decode(stream.text or "", validate=True)
            except (binascii.Error, ValueError) as error:
                raise ProtocolError("a stream that is not base64", code="psrp.fragment") from error
            if run is not None:
                run.received += len(data)
            messages += self._defragment.feed(data)
        return messages

    async def _settle(self, run: _Pipeline, command: str) -> None:
        """Terminate a pipeline that did not end by itself; the runspace is usable afterwards or is given up."""
        if run.broken:
            return
        if self.kept or not run.final:
            try:
                await self.signal(command)
            except TransportError:
                run.broken = self.broken = True

    async def signal(self, command: str) -> None:
        """Terminate a pipeline; bounded, and a fault is as good as success: the pipeline is gone then."""
        body = f'<rsp:Signal CommandId="{command}"><rsp:Code>{envelope.TERMINATE}</rsp:Code></rsp:Signal>'
        deadline = asyncio.get_running_loop().time() + SIGNAL_S - ANSWER_S
        try:
            await self.wsman.call(
                envelope.SIGNAL,
                self._resource,
                headers=envelope.selector(self.id),
                body=body,
                deadline=deadline,
                wait=SIGNAL_S - ANSWER_S,
            )
        except FaultError:
            return

    async def delete(self, wsman: Wsman | None = None, *, seconds: float = 5.0) -> None:
        """Delete the shell, over another connection where its own is lost. Raises TransportError if that fails."""
        if not self._created:
            return
        deadline = asyncio.get_running_loop().time() + seconds - min(ANSWER_S, seconds / 2)
        try:
            await (wsman or self.wsman).call(
                envelope.DELETE,
                self._resource,
                headers=envelope.selector(self.id),
                deadline=deadline,
                wait=max(LEAST_WAIT_S, seconds - ANSWER_S),
            )
        except FaultError as error:
            if not error.fault.shell_gone and not error.fault.timed_out:
                raise error_of(error.fault) from error
        self._created = False


class _Pace:
    """Until when the next output must have come: see `ports.Script.steps`."""

    def __init__(self, steps: tuple[float, ...], deadline: float) -> None:
        self._steps = steps
        self._deadline = deadline
        self._seen = -1
        self._since = 0.0

    def limit(self, outputs: int, now: float) -> float:
        if outputs != self._seen:
            self._seen, self._since = outputs, now
        if outputs >= len(self._steps):
            return self._deadline
        return min(self._deadline, self._since + self._steps[outputs])


class _Pipeline:
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
        return bool(self.state)

    def take(self, message: psrp.Message) -> None:
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

    def result(self, *, broken: bool) -> ScriptResult:
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
