"""A runspace behind a byte stream, with PowerShell in server mode at its other end. One pipeline at a time."""

from __future__ import annotations

import asyncio
import uuid
from typing import Protocol

from rmm.core.outofprocess import SESSION, Event, Exchange
from rmm.errors import ConnectError, DeadlineError, ProtocolError, TransportError, UnsupportedError
from rmm.ports import Script, ScriptResult
from rmm.transports.winrm import clixml, psrp
from rmm.transports.winrm.pipeline import Pace, Pipeline

FRAGMENT = 32 << 10  # bytes with header, as Microsoft's client sends them
FRAGMENTS = 16  # in one line: each line is a round trip
RECYCLE = 200  # pipelines per process
STOP_S = 5.0  # for stopping and closing a pipeline, and for closing the session
UNIX, WINDOWS = "Unix", "Win32NT"


class Stream(Protocol):
    """Both directions of the process: an SSH channel, or the pipes of a child."""

    async def read(self) -> bytes:
        """What has arrived; empty at the end. Raises TransportError when the connection is lost."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, and wait while the other side does not read. Raises nothing: `read` tells that there is none."""
        ...


class Runspace:
    """An open runspace pool with one runspace, in a process of its own."""

    def __init__(self, stream: Stream) -> None:
        self.pipelines = 0
        self.broken = False
        self.bytes_in = self.bytes_out = self.sent = 0  # `sent`: lines of ours, each a round trip
        self.platform = ""  # of $PSVersionTable, as the server says at the opening: Unix, Win32NT, or nothing (5.1)
        self._stream = stream
        self._exchange = Exchange()
        self._pool = uuid.uuid4()
        self._objects = 2  # PSRP objects sent: the two of the opening
        self._unknown = 0  # messages of the opening that nobody knows; the first pipeline tells of them
        self._defragment = psrp.Defragmenter()  # of the pool's own messages

    @property
    def fresh(self) -> bool:
        """Whether another pipeline may run in it."""
        return not self.broken and self.pipelines < RECYCLE

    async def open(self, deadline: float) -> None:
        """Open the pool.

        Raises:
            UnsupportedError: what answers is no PowerShell; the message has what it said.
        """
        self._exchange.data(SESSION, psrp.open_pool(self._pool))
        opened = acknowledged = False
        while not (opened and acknowledged):
            for event in await self._next(deadline, "open"):
                if event.kind == "data_ack":
                    acknowledged = True
                for message in self._messages(event):
                    opened = self._opening(message) or opened

    def _opening(self, message: psrp.Message) -> bool:
        self._unknown += message.kind not in psrp.KNOWN
        if message.kind == psrp.APPLICATION_PRIVATE_DATA:
            self.platform = _platform(message.data)
        if message.kind != psrp.RUNSPACEPOOL_STATE:
            return False
        state = psrp.state_of(message)
        if state in (psrp.POOL_BROKEN, psrp.POOL_CLOSED):
            self.broken = True
            raise ProtocolError("the runspace pool did not open", code="psrp.broken", retry="R1")
        return state == psrp.POOL_OPENED

    async def run(self, script: Script, deadline: float, max_bytes: int) -> ScriptResult:
        """Run one pipeline to its end, to the deadline or to the limit of its output.

        Raises:
            TransportError: the process or the connection is lost; `partial` has the text that had arrived.
        """
        run, pipeline = Pipeline(max_bytes), uuid.uuid4()
        run.unknown, self._unknown = self._unknown, 0
        self.pipelines += 1
        whole = False
        try:
            self._start(run, script, pipeline)
            await self._pump(run, pipeline, Pace(script.steps, deadline))
            await self._finish(run, pipeline)
            whole = True
        except TransportError as error:
            error.partial = run.texts
            raise
        finally:
            self.broken = self.broken or not whole
            run.let_go()
        return run.result(broken=self.broken)

    def _start(self, run: Pipeline, script: Script, pipeline: uuid.UUID) -> None:
        self._objects += 1
        run.id = pipeline.bytes_le
        self._exchange.command(pipeline)
        message = psrp.create_pipeline(script, self._pool, pipeline)
        fragments = psrp.fragments(self._objects, message, FRAGMENT)
        for begin in range(0, len(fragments), FRAGMENTS):
            self._exchange.data(pipeline, b"".join(fragments[begin : begin + FRAGMENTS]))

    async def _pump(self, run: Pipeline, pipeline: uuid.UUID, pace: Pace) -> None:
        while not run.ended:
            try:
                events = await self._next(pace.limit(len(run.output), asyncio.get_running_loop().time()), "run")
            except DeadlineError:
                run.state, run.overdue = "timed_out", pace.stepped
                return
            for event in events:
                if event.kind == "data" and event.guid == pipeline:
                    messages = run.defragment.feed(event.data)
                else:
                    messages = self._messages(event)
                for message in messages:
                    if not run.ended:
                        run.take(message)
            if run.full and not run.final:
                run.state = "truncated"

    async def _finish(self, run: Pipeline, pipeline: uuid.UUID) -> None:
        """Stop a pipeline that did not end by itself, and close it: an open one would keep the session from closing.

        What it still says is read and dropped. If it does not stop in time, the process is given up.
        """
        if not run.final:
            self._exchange.signal(pipeline)
        self._exchange.close(pipeline)
        try:
            await self._until(Event("close_ack", pipeline))
        except TransportError:
            self.broken = True

    async def _until(self, awaited: Event) -> None:
        limit = asyncio.get_running_loop().time() + STOP_S
        while awaited not in await self._next(limit, "close"):
            pass

    async def close(self) -> None:
        """Close the session in order; whoever owns the process ends it afterwards. Raises TransportError."""
        if self.broken:
            return
        self.broken = True
        self._exchange.close(SESSION)
        await self._until(Event("close_ack", SESSION))

    async def _next(self, deadline: float, stage: str) -> list[Event]:
        """Send what may be sent, and wait for what comes next. Raises DeadlineError at the deadline."""
        try:
            async with asyncio.timeout_at(deadline):
                out = self._exchange.outgoing()
                if out:
                    self.bytes_out += len(out)
                    self.sent += out.count(b"\n")
                    await self._stream.write(out)
                data = await self._stream.read()
        except TimeoutError as error:
            raise DeadlineError("PowerShell on the endpoint did not answer in time") from error
        if not data:
            raise self._ended(stage)
        self.bytes_in += len(data)
        return self._exchange.feed(data)

    def _ended(self, stage: str) -> TransportError:
        self.broken = True
        if not self._exchange.started:
            said = self._exchange.banner
            return UnsupportedError(
                "no PowerShell answers on the endpoint" + (f"; it says: {said}" if said else ""), code="psrp.absent"
            )
        what = "while a script ran" if stage == "run" else "at once" if stage == "open" else "too early"
        hint = "Was it killed, or did it crash? See the endpoint's event log or journal."
        return ConnectError(f"PowerShell on the endpoint ended {what}", code="psrp.ended", retry="R1", hint=hint)

    def _messages(self, event: Event) -> list[psrp.Message]:
        """The pool's own messages that an event completes."""
        return self._defragment.feed(event.data) if event.kind == "data" and event.guid == SESSION else []


def _platform(private_data: bytes) -> str:
    """`Platform` of the $PSVersionTable in APPLICATION_PRIVATE_DATA; empty for Windows PowerShell, which has none."""
    value = clixml.decode(private_data)
    for key in ("ApplicationPrivateData", "PSVersionTable"):
        value = value.get(key) if isinstance(value, dict) else None
    platform = value.get("Platform") if isinstance(value, dict) else None
    return platform if isinstance(platform, str) and len(platform) <= 32 else ""
