"""A WSMan shell whose PSRP server is Microsoft's: what a client sends goes to the process, what it says comes back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
import uuid
from collections.abc import Callable
from typing import Any

from rmm.core.outofprocess import SESSION, Event
from rmm.lab.machine import Machine
from rmm.lab.pwsh import messages
from rmm.lab.pwsh.messages import PIPELINE_STATE, Fragment, Watch
from rmm.lab.pwsh.pool import Pool
from rmm.lab.pwsh.preparation import REFRESH, open_session, pipeline
from rmm.lab.pwsh.preparation import Machine as Prepared
from rmm.lab.pwsh.process import LostError, Process
from rmm.lab.pwsh.rewrite import HOOKS, Rewriter
from rmm.lab.wire import psrp
from rmm.lab.wire.connect import PoolFacts
from rmm.lab.wire.shells import BUFFERED, Command, Shell
from rmm.lab.wire.soap import RSP, Call, WsmanFault, shell_gone

OPEN_S = 60.0  # until the pool is opened and prepared; the machine may be busy with many others
MOST_HELD = BUFFERED  # bytes that wait for a Receive; then the process waits as well
MOST_EARLY = 4 << 20  # bytes that a client may send before its pool is open
MOST_COMMANDS = 1000  # of one shell that are not terminated, as Windows has it
MOST_RUNNING = 15
# How long output waits for more. Recorded answers of Windows hold what was written piece by piece; for how long WinRM
# gathers it, while PowerShell does not flush, is not written anywhere: this is an assumption.
GATHER_S = 0.5
GATHER_BYTES = 500_000
FRESH_S = 1.0  # so old may a machine's state be

_log = logging.getLogger(__name__)


class Relayed(Command):
    """A command whose streams are counted, so that the process can be held back."""

    def __init__(self, identity: str, now: float, taken: asyncio.Event) -> None:
        super().__init__(identity, now)
        self.held = 0
        self.watch = Watch()
        self.final = False  # its state was said, or it is being stopped
        self.rewriter: Rewriter | None = None
        self._taken = taken

    def say(self, data: bytes, name: str = "stdout") -> None:
        """Put output, which waits a moment for more, so that one Receive may have it all."""
        now = asyncio.get_running_loop().time()
        if not self.streams and self.id:
            self.ready_at = now + GATHER_S
        self.held += len(data)
        if self.held >= GATHER_BYTES:
            self.ready_at = 0.0
        self.put(name, data)

    def end(self) -> None:
        """No more comes: what waits is ready."""
        self.ready_at = 0.0
        super().end()

    def lose(self) -> None:
        """Neither output nor end will come."""
        self.lost = not self.ended
        self.ready_at = 0.0
        self.changed.set()

    def take(self, limit: int) -> str:
        """As any command; then there is room again."""
        text = super().take(limit)
        self._count()
        return text

    def shed(self, limit: int) -> None:
        """As any command; then there is room again."""
        if self.held > limit:
            super().shed(limit)
            self._count()

    def drop(self) -> None:
        """Nobody will take what waits."""
        self.streams.clear()
        self._count()

    def _count(self) -> None:
        self.held = sum(len(data) for _, data in self.streams)
        self._taken.set()


class RunspaceShell(Shell):
    """A runspace pool in a process of its own. Raises `FullError` when there are too many, WsmanFault for bad input."""

    def __init__(
        self, machine: Machine, identity: str, idle_s: float, *, opening: bytes, pool: Pool,
        become: Callable[[Process], Prepared], began: Callable[[], None], faults: Any = None, language: str = "full",
    ) -> None:  # fmt: skip
        super().__init__(machine, identity, idle_s)
        self.language = language
        try:
            self._pool_id = messages.pool_of(opening)
            self.facts: PoolFacts | None = PoolFacts(opening)
        except ValueError as error:
            raise _invalid(f"the creation data is not valid: {error}") from error
        self._taken = asyncio.Event()
        self.own: Relayed = Relayed("", self.last_used, self._taken)
        self.own.batches.extend((2, 1))  # as Windows does: capability and private data first, then the state
        self._pool = pool
        self._become = become
        self._began = began
        self._faults = faults
        self._process: Process | None = None  # once it is prepared
        self._early: list[tuple[uuid.UUID, bytes, str]] = []  # what waits for that; no stream: a command begins
        self._refreshing: uuid.UUID | None = None  # the pipeline of ours for which the client's wait
        self._own_watch = Watch()
        self._fresh_at = 0.0
        self._gone = self._ending = False
        self._running: dict[uuid.UUID, Relayed] = {}
        pool.reserve()
        self.life = asyncio.ensure_future(self._live(opening))

    # What the client asks.

    def start(self, call: Call) -> str:
        """A CommandLine whose argument is the first fragment of a CREATE_PIPELINE."""
        name = (call.body.get("CommandId") or str(uuid.uuid4())).upper()
        guid = _guid(name)
        if self._gone:
            raise shell_gone()
        if len(self.commands) >= MOST_COMMANDS or len(self._running) >= MOST_RUNNING:
            raise WsmanFault(2150859174, "w:QuotaLimit", "The shell has as many commands as it may have.")
        if guid in self._running or name in self.commands:
            raise _invalid("the shell has a command with this id")
        data = _decoded(call.body.findtext(f"{{{RSP}}}Arguments") or "")
        command = Relayed(name, self.last_used, self._taken)
        self.commands[name] = self._running[guid] = command
        if self._faults is not None and self._faults.concerns(HOOKS):
            command.rewriter = Rewriter(self._faults, self.machine, guid)
        self._began()
        self._refresh()
        self._forward(guid, b"", "")
        self._forward(guid, data, "Default")
        return name

    def send(self, call: Call) -> None:
        """Further fragments, input, and answers to host calls (stream `pr`)."""
        for stream in call.body.iter(f"{{{RSP}}}Stream"):
            name = (stream.get("CommandId") or "").upper()
            command = self.command_of(name)
            if self._gone:
                raise shell_gone()
            if not command.ended:
                kind = "PromptResponse" if stream.get("Name") == "pr" else "Default"
                data = _decoded(stream.text or "")
                if not name and self.facts is not None:
                    with contextlib.suppress(ValueError):  # what is no message the server complains of
                        self.facts.asked(data)
                self._forward(_guid(name) if name else SESSION, data, kind)

    def stop(self, command: Command) -> None:
        """A Signal: what was not received yet is dropped; PowerShell says itself that the pipeline is stopped."""
        if not isinstance(command, Relayed) or not command.id or self._gone:
            return
        command.drop()
        if command.final or command.ended:
            return
        command.final = True
        guid = _guid(command.id)
        if self._process is None or any(early[0] == guid for early in self._early):
            self._early = [early for early in self._early if early[0] != guid]
            self._running.pop(guid, None)
            pool = uuid.UUID(bytes_le=self._pool_id)
            (stopped,) = psrp.fragments(1, psrp.message(PIPELINE_STATE, pool, guid, psrp.STOPPED))
            command.say(stopped)
            command.end()
            return
        self._process.exchange.signal(guid)
        self._flush()

    def end(self) -> None:
        """The process ends, and with it all that it runs."""
        self._gone = True
        for command in (self.own, *self._running.values()):
            command.lose()
        if not self._ending:
            self._ending = True
            self.life.cancel()

    def _refresh(self) -> None:
        """In a session that is kept, the machine is at each pipeline as it is at that time."""
        now = asyncio.get_running_loop().time()
        if self._process is None or self._refreshing is not None or now - self._fresh_at < FRESH_S:
            return
        if self.language == "none":
            return  # not even we may run a script there
        self._become(self._process)
        self._fresh_at = now
        ours = self._refreshing = uuid.uuid4()
        self._process.exchange.command(ours)
        self._process.exchange.data(ours, pipeline(self._pool_id, ours, REFRESH))
        self._own_watch = Watch()
        self._flush()

    def _release(self) -> None:
        """What waited may go."""
        self._refreshing = None
        early, self._early = self._early, []
        for one in early:
            self._forward(*one)

    def _forward(self, guid: uuid.UUID, data: bytes, stream: str) -> None:
        if self._process is None or self._refreshing is not None:
            if sum(len(early) for _, early, _ in self._early) > MOST_EARLY:
                raise WsmanFault(2150859174, "w:QuotaLimit", "The shell is not open yet.")
            self._early.append((guid, data, stream))
            return
        with contextlib.suppress(KeyError):  # what has ended takes nothing any more
            if stream:
                self._process.exchange.data(guid, data, stream)
            else:
                self._process.exchange.command(guid)
        self._flush()

    def _flush(self) -> None:
        assert self._process is not None
        try:
            self._process.flush()
        except LostError as error:
            self._lose(error)
            self.end()
            raise shell_gone() from error

    # What the process says.

    async def _live(self, opening: bytes) -> None:
        process = None
        try:
            process = await self._pool.take()
            if not await self._opened(process, opening):  # it died while it waited
                await process.end()
                process = await self._pool.take()
                await self._opened(process, opening, again=True)
            self._process, self._fresh_at = process, asyncio.get_running_loop().time()
            self._release()
            while True:
                for event in await process.events():
                    self._heard(event, process)
                await self._room()
        except (LostError, TimeoutError, ValueError, OSError) as error:
            self._lose(error)
        except WsmanFault:
            pass  # the process does not take what came early: it is lost, and that is said
        finally:
            try:
                if process is not None:
                    await process.end()
            finally:
                self._pool.release()

    async def _opened(self, process: Process, opening: bytes, *, again: bool = False) -> bool:
        """Open and prepare the session; False: the process says nothing at all. Raises LostError."""
        try:
            async with asyncio.timeout(OPEN_S):
                await open_session(process, opening, self._become(process), self._say)
        except LostError:
            if again or process.exchange.started:
                raise
            return False
        return True

    def _say(self, fragment: Fragment) -> None:
        self.own.say(fragment.data)
        if self.facts is not None:
            self.facts.said(fragment.data)
        # As on Windows the first Receive has the capability together with what the pool says next.
        alone = fragment.ends == messages.CAPABILITY
        self.own.ready_at = asyncio.get_running_loop().time() + OPEN_S if alone else 0.0

    def _heard(self, event: Event, process: Process) -> None:
        command = self._running.get(event.guid)
        if event.kind == "close_ack":
            self._running.pop(event.guid, None)
            if event.guid == self._refreshing:
                self._release()
        elif event.kind != "data":
            return
        elif event.guid == SESSION:
            self._pool_said(event.data)
        elif event.guid == self._refreshing:
            if any(_final(fragment) for fragment in self._own_watch.feed(event.data)):
                process.exchange.close(event.guid)
                process.flush()
        elif command is not None:
            for fragment in command.watch.feed(event.data):
                self._spoken(command, fragment, event.guid, process)

    def _pool_said(self, data: bytes) -> None:
        for fragment in self.own.watch.feed(data):
            self._say(fragment)
            if fragment.ends == messages.POOL_STATE and fragment.state in (messages.BROKEN, messages.CLOSED):
                raise LostError("the runspace pool is broken")

    def _spoken(self, command: Relayed, fragment: Fragment, guid: uuid.UUID, process: Process) -> None:
        """Pass a pipeline's output on, unless it was stopped: then its state alone, if anybody still asks for that."""
        final = _final(fragment)
        wanted = command.id in self.commands and (final or not command.final)
        if command.rewriter is not None and not command.final:
            command.rewriter.feed(fragment)
            if final:
                self._rewritten(command)
        elif wanted:
            command.say(fragment.data)
        if final:
            command.final = True
            if command.rewriter is None or not command.rewriter.hangs:
                command.end()
            process.exchange.close(guid)
            process.flush()

    def _rewritten(self, command: Relayed) -> None:
        """What the faults of this machine make of all that the pipeline said."""
        assert command.rewriter is not None
        delay, fragments = command.rewriter.finish()
        for data in fragments:
            command.say(data)
        if delay:
            command.ready_at = asyncio.get_running_loop().time() + delay

    async def _room(self) -> None:
        """Wait while the client does not take what waits for it: then PowerShell waits too, or the oldest is lost."""
        self.shed()
        while self.own.held + sum(command.held for command in self._running.values()) > MOST_HELD:
            self._taken.clear()
            await self._taken.wait()

    def _lose(self, error: Exception) -> None:
        """The process is gone. What it has said can still be received; then the shell is not found any more."""
        _log.warning("%s: a shell is lost: %s", self.machine.name, str(error) or type(error).__name__)
        self._gone = True
        for command in (self.own, *self._running.values()):
            command.lose()


def _final(fragment: Fragment) -> bool:
    return fragment.ends == PIPELINE_STATE and fragment.state in messages.FINAL


def _guid(name: str) -> uuid.UUID:
    try:
        return uuid.UUID(name)
    except ValueError as error:
        raise _invalid("the id of a command is a GUID") from error


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _invalid(f"the fragment is not valid: {error}") from error


def _invalid(message: str) -> WsmanFault:
    return WsmanFault(2150858770, "w:InternalError", message)
