"""Shells on the lab's machines: PowerShell over PSRP, and the command shell of WinRS."""

from __future__ import annotations

import asyncio
import base64
import binascii
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from psrpcore.types import PSRPMessageType

from rmm.lab.machine import ErrorInfo, Execution, Machine
from rmm.lab.wire import psrp
from rmm.lab.wire.command_line import encoded_script, line_of
from rmm.lab.wire.connect import PoolFacts
from rmm.lab.wire.soap import RSP, Call, WsmanFault, escape, shell_gone

Execute = Callable[[Machine, str, list[tuple[str | None, Any]], str], Execution]


@runtime_checkable
class ShellHost(Protocol):
    """An engine that makes whole shells, instead of running scripts for those of this module."""

    async def start(self) -> None:
        """Raises ConfigError when it cannot work."""
        ...

    def runspace(
        self, machine: Machine, identity: str, idle_s: float, *, opening: bytes, began: Callable[[], None], faults: Any,
        language: str,
    ) -> Shell:  # fmt: skip
        """A PowerShell session; `began` is called for each pipeline, `language` as in Shell. Raises WsmanFault."""
        ...

    def command_shell(
        self, machine: Machine, identity: str, idle_s: float, *, codepage: int, began: Callable[[], None], faults: Any
    ) -> Shell:
        """A command shell."""
        ...

    async def aclose(self) -> None:
        """End all shells and what stands behind them."""
        ...


COMMANDS = ("get-rmmdata",)  # visible in a session configuration without a language

DONE = f"{RSP}/CommandState/Done"
RUNNING = f"{RSP}/CommandState/Running"
BUFFERED = 2 << 20  # bytes of a command's output that wait for a client
FLAGS = 16  # where a PSRP fragment says whether it begins a message
_OUT_MARK = "[Console]::In.ReadToEnd()"  # a WinRS command that reads its script from standard input


class Shell:
    """What both kinds have in common: an id, streams that wait to be received, and idle time."""

    resource = ""
    name = ""  # what its client calls it
    owner = ""
    language = "full"  # of its session configuration: full, or none (commands only)
    uri = ""  # the resource that it was created from
    streams = ("stdin pr", "stdout")
    facts: PoolFacts | None = None  # of a pool that clients may leave and come back to
    client = ""  # SessionId of the client that is connected, or was; empty: one that cannot come back
    connected = True
    buffer_mode = "Block"  # Drop: what nobody receives is lost when the buffers are full

    def __init__(self, machine: Machine, identity: str, idle_s: float) -> None:
        self.machine = machine
        self.id = identity
        self.idle_s = idle_s
        self.created = self.last_used = asyncio.get_running_loop().time()
        self.commands: dict[str, Command] = {}
        self.own = Command("", self.last_used)

    def command_of(self, name: str) -> Command:
        """The command with this id, or the shell itself where it is empty."""
        if not name:
            return self.own
        if name not in self.commands:
            raise shell_gone()
        return self.commands[name]

    def suspend(self) -> None:
        """The client has disconnected; whoever still waits for output hears of it."""
        self.connected = False
        for command in (self.own, *self.commands.values()):
            command.connected = False
            command.changed.set()
        self.shed()

    def shed(self) -> None:
        """While nobody is connected, forget the oldest output beyond the buffers, if the client wants that."""
        if not self.connected and self.buffer_mode == "Drop":
            share = BUFFERED // (len(self.commands) + 1)  # one is the shell's own
            for command in self.commands.values():
                command.shed(share)

    def start(self, call: Call) -> str:
        """Handle a Command; returns the command's id."""
        raise WsmanFault(2150858764, "w:ActionNotSupported", "not supported")

    def send(self, call: Call) -> None:
        """Handle a Send."""

    def stop(self, command: Command) -> None:
        """Handle a Signal."""

    def end(self) -> None:
        """The shell is gone: let go of what stands behind it."""


class Command:
    """Streams of one command: (name, data) waiting for a Receive, not before `ready_at`."""

    def __init__(self, identity: str, ready_at: float) -> None:
        self.id = identity
        self.ready_at = ready_at
        self.streams: deque[tuple[str, bytes]] = deque()
        self.connected = True  # to the client of its shell
        self.ended = False  # no more streams will come
        self.lost = False  # nor its end: what ran it is gone, and with it the shell
        self.exit_code = 0
        self.changed = asyncio.Event()
        self.incoming = bytearray()
        self.next_number = 0
        self.fault = ""  # the s:Fault that ends it after its streams
        self.batches: deque[int] = deque()  # how many streams each of the next Receives may take at most

    def put(self, name: str, data: bytes) -> None:
        self.streams.append((name, data))
        self.changed.set()

    def end(self) -> None:
        self.ended = True
        self.changed.set()

    def shed(self, limit: int) -> None:
        """Forget the oldest streams beyond `limit` bytes, and with a PSRP fragment the rest of its message."""
        held = sum(len(data) for _, data in self.streams)
        while held > limit:
            held -= len(self.streams.popleft()[1])
            while self.streams and not self.streams[0][1][FLAGS] & 1:
                held -= len(self.streams.popleft()[1])

    def take(self, limit: int) -> str:
        """The streams of one ReceiveResponse within `limit` bytes, as XML, with the command's state."""
        attribute = f' CommandId="{self.id}"' if self.id else ""
        parts: list[str] = []
        room = limit - 4000
        most = self.batches.popleft() if self.batches else len(self.streams)
        while self.streams and most > 0:
            name, data = self.streams[0]
            size = -(-len(data) // 3) * 4 + 120
            if parts and size > room:
                break
            self.streams.popleft()
            most -= 1
            room -= size
            parts.append(f'<rsp:Stream Name="{name}"{attribute}>{base64.b64encode(data).decode()}</rsp:Stream>')
        if self.id and self.ended and not self.streams:
            code = f"<rsp:ExitCode>{self.exit_code}</rsp:ExitCode>"
            parts.append(f'<rsp:CommandState{attribute} State="{DONE}">{code}</rsp:CommandState>')
        elif self.id and parts:
            parts.append(f'<rsp:CommandState{attribute} State="{RUNNING}"/>')
        return f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>"


class PowerShellShell(Shell):
    """A runspace pool."""

    resource = "http://schemas.microsoft.com/powershell/Microsoft.PowerShell"

    def __init__(
        self,
        machine: Machine,
        execute: Execute,
        identity: str,
        idle_s: float,
        *,
        opening: bytes,
        templates: psrp.Templates,
        faults: Any = None,
    ) -> None:
        super().__init__(machine, identity, idle_s)
        self.execute = execute
        self._faults = faults
        self._templates = templates
        self._number = 0
        try:
            self.facts = PoolFacts(opening)
        except ValueError as error:
            raise WsmanFault(2150858770, "w:InternalError", f"the creation data is not valid: {error}") from error
        self._pool = self.facts.pool
        for kind, data in self._opening():
            pool = psrp.ZERO if kind == PSRPMessageType.SessionCapability else self._pool
            self._say(self.own, int(kind), data, pool=pool)
        self.own.batches.extend((2, 1))  # as Windows does: capability and private data first, then the state

    def _opening(self) -> list[tuple[int, bytes]]:
        """(message type, data) of what the pool says while it opens."""
        return [
            (PSRPMessageType.SessionCapability, self._templates.capability),
            (PSRPMessageType.ApplicationPrivateData, psrp.private_data(self.machine.os_version)),
            (PSRPMessageType.RunspacePoolState, self._templates.opened),
        ]

    def _say(self, command: Command, kind: int, data: bytes, *, pool: uuid.UUID | None = None) -> None:
        self._number += 1
        pipeline = uuid.UUID(command.id) if command.id else psrp.ZERO
        parts = psrp.fragments(self._number, psrp.message(kind, pool or self._pool, pipeline, data))
        for fault in self._faults.strike("fragmented", "receive") if self._faults and command.id else ():
            parts = fault.fragmented(parts)
        for part in parts:
            command.put("stdout", part)
            if command is self.own and self.facts is not None:
                self.facts.said(part)
        self.shed()

    def start(self, call: Call) -> str:
        """A CommandLine whose argument is the first fragment of a CREATE_PIPELINE."""
        name = (call.body.get("CommandId") or str(uuid.uuid4())).upper()
        if any(not command.ended for command in self.commands.values()):
            raise WsmanFault(2150859174, "w:QuotaLimit", "The shell runs a command already.")
        command = self.commands[name] = Command(name, self.last_used)
        self._feed(command, call.body.findtext(f"{{{RSP}}}Arguments") or "")
        return name

    def send(self, call: Call) -> None:
        """Further fragments. Host responses and input (stream `pr`, other messages) are taken and ignored."""
        for stream in call.body.iter(f"{{{RSP}}}Stream"):
            name = (stream.get("CommandId") or "").upper()
            command = self.command_of(name)
            if name and not command.ended:
                self._feed(command, stream.text or "")

    def _feed(self, command: Command, text: str) -> None:
        try:
            for _, last, data in psrp.unfragment(base64.b64decode(text)):
                command.incoming += data
                if last:
                    whole, command.incoming = bytes(command.incoming), bytearray()
                    if int.from_bytes(whole[4:8], "little") == PSRPMessageType.CreatePipeline:
                        self._run(command, whole[40:])
        except (ValueError, binascii.Error) as error:
            raise WsmanFault(2150858770, "w:InternalError", f"the fragment is not valid: {error}") from error

    def _run(self, command: Command, data: bytes) -> None:
        asked = self._templates.command(data)
        execution = self._execute(asked)
        for fault in self._faults.strike("executed", "command") if self._faults else ():
            execution = fault.executed(self.machine, execution)
        command.ready_at = self.last_used + execution.delay_s
        messages = self._messages(execution)
        hangs = False
        for fault in self._faults.strike("said", "command") if self._faults else ():
            messages = fault.said(messages)
            hangs = hangs or fault.hangs
        for kind, content in messages:
            self._say(command, kind, content)
        if not hangs:
            command.end()

    def _execute(self, asked: psrp.Command) -> Execution:
        """As PowerShell does in a runspace without a language: no scripts, and only the commands that are visible."""
        if self.language != "none":
            return self.execute(self.machine, asked.text, asked.arguments, "powershell")
        if asked.script:
            text = (
                "The syntax is not supported by this runspace. This can occur if the runspace is in no-language mode."
            )
            kind = "System.Management.Automation.ParseException"
            return Execution([], [ErrorInfo("ScriptsNotAllowed", "ParserError", text, kind, True)], True)
        if asked.text.lower() in COMMANDS:
            return self.execute(self.machine, asked.text, asked.arguments, "command")
        kind = "System.Management.Automation.CommandNotFoundException"
        text = f"The term '{asked.text}' is not recognized as a name of a cmdlet, function, script file."
        return Execution([], [ErrorInfo("CommandNotFoundException", "ObjectNotFound", text, kind, True)], True)

    def _messages(self, execution: Execution) -> list[tuple[int, bytes]]:
        """All that a pipeline says: outputs, error records, its state."""
        output, error = int(PSRPMessageType.PipelineOutput), int(PSRPMessageType.ErrorRecord)
        messages = [(output, self._templates.output(value)) for value in execution.output]
        final = self._templates.completed
        for one in execution.errors:
            if one.terminating:
                final = self._templates.failed(one)
            else:
                messages.append((error, self._templates.error(one)))
        return [*messages, (int(PSRPMessageType.PipelineState), final)]

    def stop(self, command: Command) -> None:
        """A Signal: what was not received yet is dropped, the pipeline is stopped."""
        if command.streams:
            command.streams.clear()
            self._say(command, int(PSRPMessageType.PipelineState), self._templates.stopped)
        command.ready_at = 0.0
        command.end()


class CommandShell(Shell):
    """WinRS: a command line in, standard output, standard error and an exit code out."""

    resource = f"{RSP}/cmd"
    streams = ("stdin", "stdout stderr")

    def __init__(self, machine: Machine, execute: Execute, identity: str, idle_s: float) -> None:
        super().__init__(machine, identity, idle_s)
        self.execute = execute

    def start(self, call: Call) -> str:
        """Run a command line, at once or when its standard input has ended."""
        name = (call.body.get("CommandId") or str(uuid.uuid4())).upper()
        command = self.commands[name] = Command(name, self.last_used)
        line = line_of(call)
        script = encoded_script(line)
        if script is None:
            self.plain(command, line)
        elif _OUT_MARK in script:
            command.incoming = bytearray()
        else:
            self._script(command, script)
        return name

    def send(self, call: Call) -> None:
        """Standard input; its end starts a script that was waiting for it."""
        for stream in call.body.iter(f"{{{RSP}}}Stream"):
            command = self.command_of((stream.get("CommandId") or "").upper())
            command.incoming += base64.b64decode(stream.text or "")
            if (stream.get("End") or "").lower() == "true" and not command.ended:
                self._script(command, command.incoming.decode("utf-8", "replace"))

    def _script(self, command: Command, script: str) -> None:
        execution = self.execute(self.machine, script, [], "powershell")
        command.ready_at = self.last_used + execution.delay_s
        text = "".join(f"{value}\r\n" for value in execution.output)
        _put(command, "stdout", text.encode())
        if execution.errors:
            _put(command, "stderr", error_clixml(execution).encode())
        command.exit_code = 1 if execution.failed else 0
        command.end()

    def plain(self, command: Command, line: str) -> None:
        """Answer a line that is not PowerShell's."""
        if line.lower() in ("hostname", "hostname.exe"):
            _put(command, "stdout", f"{self.machine.name}\r\n".encode())
        else:
            word = line.split(" ")[0]
            text = f"'{word}' is not recognized as an internal or external command,\r\n"
            text += "operable program or batch file.\r\n"
            _put(command, "stderr", text.encode())
            command.exit_code = 1
        command.end()

    def stop(self, command: Command) -> None:
        """A Signal."""
        command.streams.clear()
        command.ready_at = 0.0
        command.end()


def error_clixml(execution: Execution) -> str:
    """Standard error of `powershell.exe` that writes to a pipe: the error view's lines as CLIXML strings."""
    lines = [
        line
        for error in execution.errors
        for line in (
            error.message,
            f"    + CategoryInfo          : {error.category}: (:) [], {error.exception}",
            f"    + FullyQualifiedErrorId : {error.error_id}",
        )
    ]
    records = "".join(f'<S S="Error">{escape(line)}_x000D__x000A_</S>' for line in lines)
    space = "http://schemas.microsoft.com/powershell/2004/04"
    return f'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="{space}">{records}</Objs>'


def _put(command: Command, name: str, data: bytes) -> None:
    for start in range(0, len(data), psrp.FRAGMENT):
        command.put(name, data[start : start + psrp.FRAGMENT])
