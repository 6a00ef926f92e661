"""A runspace on an endpoint: a WSMan shell with the PSRP state machine in it ([MS-PSRP] 3.1, [MS-WSMV] 3.1.4.5)."""

from __future__ import annotations

import asyncio
import base64
import re
import uuid
from xml.sax.saxutils import escape, quoteattr

from rmm.core.sessions import SHORTEST_IDLE_S
from rmm.errors import AccessError, DeadlineError, ProtocolError, TransportError
from rmm.ports import Script, ScriptResult
from rmm.transports.winrm import envelope, psrp
from rmm.transports.winrm.envelope import RSP, Answer
from rmm.transports.winrm.faults import IDLE_OUT_OF_BOUNDS, error_of
from rmm.transports.winrm.pipeline import ENDED, Pace, Pipeline
from rmm.transports.winrm.wsman import ANSWER_S, OPERATION_S, SIZES, FaultError, Wsman

RESOURCE = "http://schemas.microsoft.com/powershell/"
IDLE_S = 180  # the endpoint reaps a shell that we lost after this long
RECYCLE = 200  # pipelines per runspace: Windows fails after 1,000 that were not terminated
ENVELOPE_REST = 8_000  # what an envelope holds beside the base64 of a fragment
SIGNAL_S = 5.0
LEAST_WAIT_S = 0.5
MOST_OPENING = 16  # messages of the opening that are kept; Windows sends three
_ID = re.compile("[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\\Z")


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
        self._unknown = 0  # messages of the opening that nobody knows; the first pipeline tells of them
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
        defragment = psrp.Defragmenter()
        while True:
            for message in _messages(await self._receive("", deadline), defragment):
                self._unknown += message.kind not in psrp.KNOWN
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
        except AccessError:  # it was not even looked at
            self._created = False
            raise
        given = answer.body.find(".//*[@Name='ShellId']") if answer.body is not None else None
        self.id = _identity(given.text if given is not None else None, self.id)

    async def _ask_create(self, content: str, headers: str, deadline: float) -> Answer:
        for last in (False, True):
            mine = f' ShellId="{self.id}"' if self.names_itself else ""
            body = (
                # [MS-WSMV] 2.2.4.37 has Name as an element; clients of Windows give it, as ShellId, as an attribute.
                f"<rsp:Shell{mine} Name={quoteattr(self.name)}><rsp:Name>{escape(self.name)}</rsp:Name>"
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
        run = Pipeline(max_bytes)
        run.unknown, self._unknown = self._unknown, 0
        self.pipelines += 1
        try:
            command = await self._start(run, script, deadline)
            pace = Pace(script.steps, deadline)
            while not run.ended:
                limit = pace.limit(len(run.output), asyncio.get_running_loop().time())
                if limit <= asyncio.get_running_loop().time():
                    run.state, run.overdue = "timed_out", pace.stepped
                elif run.full:
                    run.state = "truncated"
                else:
                    await self._pump(run, command, limit)
            if run.state == "stopped":  # not by us: a Signal of ours comes after the end only
                raise ProtocolError("somebody else stopped the pipeline", code="psrp.stopped", retry="R1")
            self.broken = run.broken
            await self._settle(run, command)
        except TransportError as error:
            self.broken = True
            error.partial = run.texts
            raise
        except BaseException:
            self.broken = True
            raise
        finally:
            run.let_go()
        return run.result(broken=self.broken)

    async def _start(self, run: Pipeline, script: Script, deadline: float) -> str:
        """Send the pipeline, in smaller pieces where the endpoint takes smaller envelopes than it promised."""
        while True:
            try:
                return await self._send(run, script, deadline)
            except ProtocolError as error:
                smaller = next((size for size in SIZES if size < self.wsman.size), 0)
                if error.code != "wsman.envelope" or not smaller:
                    raise
                self.wsman.size = self.wsman.most = smaller

    async def _send(self, run: Pipeline, script: Script, deadline: float) -> str:
        pipeline = uuid.uuid4()
        run.id = pipeline.bytes_le
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
        command = _identity(given, command)
        for fragment in rest:
            data = base64.b64encode(fragment).decode()
            body = f'<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}">{data}</rsp:Stream></rsp:Send>'
            await self.wsman.ask(envelope.SEND, self._resource, headers=selector, body=body, deadline=deadline)
        return command

    async def _pump(self, run: Pipeline, command: str, deadline: float) -> None:
        """One Receive; its end of time is only news when the deadline has come."""
        answer = await self._receive(command, deadline)
        if answer is None:
            return
        for message in _messages(answer, run.defragment):
            run.take(message)
        if not run.ended and answer.body.find(f"{{{RSP}}}CommandState[@State='{RSP}/CommandState/Done']") is not None:
            raise ProtocolError(
                "the command ended without its pipeline's state", code="psrp.state", retry="R1", hint=ENDED
            )

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

    async def _settle(self, run: Pipeline, command: str) -> None:
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


def _messages(answer: Answer | None, defragment: psrp.Defragmenter) -> list[psrp.Message]:
    """The messages that the streams of an answer to Receive complete."""
    if answer is None or answer.body is None:
        return []
    messages: list[psrp.Message] = []
    for stream in answer.body.iter(f"{{{RSP}}}Stream"):
        try:
            data = base64.b64decode(stream.text or "", validate=True)
        except ValueError as error:
            raise ProtocolError("a stream that is not base64", code="psrp.fragment") from error
        messages += defragment.feed(data)
    return messages


def _identity(given: str | None, ours: str) -> str:
    """The id that an endpoint gave what we made, which goes back to it in every further request; ours without one."""
    text = (given or "").strip()
    if not text:
        return ours
    if not _ID.match(text):
        raise ProtocolError("an id that is no GUID", code="wsman.id")
    return text
