"""The command shell of WinRS in which `powershell` is real: a process for each command line that calls it.

Windows PowerShell writes in the console's code page, ends lines with CR LF, and writes errors as CLIXML when a program
reads them; what PowerShell 7 writes on another system is made so here.
"""

from __future__ import annotations

import asyncio
import base64
import codecs
import contextlib
import re
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rmm.lab.machine import Execution, Machine
from rmm.lab.pwsh.pool import FullError, Pool
from rmm.lab.pwsh.preparation import SCRIPT
from rmm.lab.pwsh.preparation import Machine as Prepared
from rmm.lab.pwsh.process import READ, LostError, kill, reap, spawn
from rmm.lab.pwsh.rewrite import MOST
from rmm.lab.pwsh.runspace import MOST_HELD, Relayed
from rmm.lab.wire import psrp
from rmm.lab.wire.command_line import encoded_script, line_of
from rmm.lab.wire.shells import Command, CommandShell, error_clixml
from rmm.lab.wire.soap import RSP, Call, WsmanFault, shell_gone

MOST_ERRORS = 1 << 20  # bytes of standard error that are kept
MOST_INPUT = 16 << 20  # bytes of standard input that wait to be read
HOOKS = ("executed",)  # the faults that can act where there are no messages
CLIXML = "http://schemas.microsoft.com/powershell/2004/04"


class PowerShellCommands(CommandShell):
    """A command shell; its PowerShell lines run in processes, of which each takes a place in the pool."""

    def __init__(
        self, machine: Machine, identity: str, idle_s: float, *, codepage: int, pool: Pool,
        become: Callable[[Path], Prepared], began: Callable[[], None], full: Callable[[], WsmanFault],
        keep: Callable[[asyncio.Future[None], PowerShellCommands], None], faults: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(machine, _refused, identity, idle_s)
        self._encoding = encoding_of(codepage)
        self._pool, self._become, self._began, self._full, self._keep = pool, become, began, full, keep
        self._change = self._changed if faults is not None and faults.concerns(HOOKS) else None
        self._faults = faults
        self._taken = asyncio.Event()
        self._running: dict[str, Run] = {}

    def start(self, call: Call) -> str:
        """Run a command line."""
        name = (call.body.get("CommandId") or str(uuid.uuid4())).upper()
        line = line_of(call)
        script = encoded_script(line)
        if script is None:
            script = command_script(line)
        if name in self.commands:
            raise shell_gone()
        command = Relayed(name, self.last_used, self._taken)
        if script is None:
            self.commands[name] = command
            self.plain(command, line)
            return name
        try:
            self._pool.reserve()
        except FullError as error:
            raise self._full() from error
        self._began()
        self.commands[name] = command
        # Who chooses the encoding in the script does not get the console's.
        encoding = "utf-8" if "OutputEncoding" in script else self._encoding
        run = self._running[name] = Run(command, script, encoding, self._change)
        life = asyncio.ensure_future(self._live(run))
        run.life = life
        self._keep(life, self)
        return name

    def send(self, call: Call) -> None:
        """Standard input."""
        for stream in call.body.iter(f"{{{RSP}}}Stream"):
            name = (stream.get("CommandId") or "").upper()
            self.command_of(name)
            run = self._running.get(name)
            if run is not None:
                ends = (stream.get("End") or "").lower() == "true"
                run.hear(base64.b64decode(stream.text or ""), ends=ends)

    def stop(self, command: Command) -> None:
        """A Signal: what runs is killed."""
        run = self._running.pop(command.id, None)
        if run is not None:
            run.stop()
        command.streams.clear()
        command.end()

    def end(self) -> None:
        """Everything that runs is killed."""
        for run in self._running.values():
            run.command.lose()
            run.stop()

    async def _live(self, run: Run) -> None:
        folder = self._pool.new_folder()
        child = None
        try:
            prepared = self._become(folder / "machine.json")
            words = ["-NoProfile", "-NonInteractive", "-EncodedCommand", encoded(wrapped(run.script, prepared))]
            language = {"LANG": f"{prepared.culture.replace('-', '_')}.UTF-8"}
            child = await spawn([self._pool.program, *words], self._pool.environment | language, folder)
            await run.through(child, self._room)
        except (LostError, OSError):
            run.command.lose()
        finally:
            self._running.pop(run.command.id, None)
            try:
                if child is not None:
                    kill(child)
                    await reap(child, folder)
            finally:
                self._pool.release()

    def _changed(self, execution: Execution) -> Execution:
        """What the faults of this machine make of all that a command has written."""
        for fault in self._faults.strike("executed", "command"):
            execution = fault.executed(self.machine, execution)
        return execution

    async def _room(self) -> None:
        while sum(run.command.held for run in self._running.values()) > MOST_HELD:
            self._taken.clear()
            await self._taken.wait()


class Run:
    """One command line that runs."""

    def __init__(
        self, command: Relayed, script: str, encoding: str, change: Callable[[Execution], Execution] | None = None
    ) -> None:
        self.command = command
        self.script = script
        self.life: asyncio.Future[None] | None = None
        self._encoding = encoding
        self._change = change
        self._child: asyncio.subprocess.Process | None = None
        self._input = bytearray()
        self._input_ended = self._stopped = False

    def hear(self, data: bytes, *, ends: bool) -> None:
        """Standard input, perhaps before the process has started. Raises WsmanFault when too much waits."""
        self._input += data
        self._input_ended = self._input_ended or ends
        waiting = 0
        if self._child is not None and self._child.stdin is not None:
            waiting = self._child.stdin.transport.get_write_buffer_size()
        if len(self._input) + waiting > MOST_INPUT:
            raise WsmanFault(2150859174, "w:QuotaLimit", "The command does not read its standard input.")
        self._pass_on()

    def stop(self) -> None:
        """Kill it."""
        if self.life is not None and not self._stopped:
            self._stopped = True
            self.life.cancel()

    def _pass_on(self) -> None:
        if self._child is None or self._child.stdin is None:
            return
        with contextlib.suppress(OSError):
            self._child.stdin.write(bytes(self._input))
            if self._input_ended:
                self._child.stdin.close()
        self._input.clear()

    async def through(self, child: asyncio.subprocess.Process, room: Callable[[], Awaitable[None]]) -> None:
        """Pass everything on until the process has ended."""
        self._child = child
        self._pass_on()
        errors = asyncio.ensure_future(self._errors(child))
        try:
            if self._change is None:
                await self._output(child, room)
                said = b""
            else:
                said = await _whole(child)
            text = await errors
        finally:
            errors.cancel()
        self.command.exit_code = await child.wait()
        if self._change is None:
            self._complain(text)
        else:
            await self._changed(said, text, self._change)
        self.command.end()

    def _complain(self, text: str) -> None:
        if text:
            self._put("stderr", clixml(text).encode(self._encoding, "replace"))

    async def _changed(self, said: bytes, text: str, change: Callable[[Execution], Execution]) -> None:
        """Say what faults make of a command that has ended; its output is lines for them."""
        lines: list[Any] = said.decode("utf-8", "replace").replace("\r\n", "\n").removesuffix("\n").split("\n")
        before = Execution(lines if said else [], [], self.command.exit_code != 0)
        execution = change(before)
        await asyncio.sleep(execution.delay_s)
        output = "".join(f"{line}\r\n" for line in execution.output)
        self._put("stdout", output.encode(self._encoding, "replace"))
        if execution.errors:
            self._put("stderr", error_clixml(execution).encode(self._encoding, "replace"))
            self.command.exit_code = int(execution.failed)
        else:
            self._complain(text)

    async def _output(self, child: asyncio.subprocess.Process, room: Callable[[], Awaitable[None]]) -> None:
        assert child.stdout is not None
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while data := await child.stdout.read(READ):
            text = decoder.decode(data).replace("\r\n", "\n").replace("\n", "\r\n")
            self._put("stdout", text.encode(self._encoding, "replace"))
            await room()

    async def _errors(self, child: asyncio.subprocess.Process) -> str:
        assert child.stderr is not None
        kept = bytearray()
        while data := await child.stderr.read(READ):
            kept += data[: MOST_ERRORS - len(kept)]
        return kept.decode("utf-8", "replace")

    def _put(self, name: str, data: bytes) -> None:
        for begin in range(0, len(data), psrp.FRAGMENT):
            self.command.say(data[begin : begin + psrp.FRAGMENT], name)


async def _whole(child: asyncio.subprocess.Process) -> bytes:
    """All that a child writes. Raises LostError for more than is kept."""
    assert child.stdout is not None
    kept = bytearray()
    while data := await child.stdout.read(READ):
        kept += data
        if len(kept) > MOST:
            raise LostError("a fault that changes output takes no more than 64 MB of it")
    return bytes(kept)


def wrapped(script: str, machine: Prepared) -> str:
    """The script as the machine's own PowerShell would run it; its lines keep their numbers.

    What ends a script is written to standard error as Windows PowerShell does, and so is a text that is no script.
    """
    quoted = " ".join("'" + text.replace("'", "''") + "'" for text in machine)
    return f"& {_block(SCRIPT)} {quoted}\n$ErrorView = 'NormalView'\ntry {{ . {_block(script + _SUCCESS)} }}\n{_CAUGHT}"


_SUCCESS = "\n;$global:__succeeded = $?"
_CAUGHT = """catch {
    $record = $_
    if ($record.Exception.InnerException -is [System.Management.Automation.ParseException]) {
        $record = $record.Exception.InnerException.ErrorRecord
    }
    [Console]::Error.WriteLine("$record`n$($record.InvocationInfo.PositionMessage)")
    [Console]::Error.WriteLine("    + CategoryInfo          : $($record.CategoryInfo)")
    [Console]::Error.WriteLine("    + FullyQualifiedErrorId : $($record.FullyQualifiedErrorId)`n ")
    exit 1
}
if (-not $global:__succeeded) { exit 1 }"""


def _block(text: str) -> str:
    data = base64.b64encode(text.encode()).decode()
    return f"([scriptblock]::Create([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('{data}'))))"


def encoded(script: str) -> str:
    """As -EncodedCommand takes it."""
    return base64.b64encode(script.encode("utf-16-le", "surrogatepass")).decode()


def command_script(line: str) -> str | None:
    """The script of a `powershell ... -Command X` line; None for any other line."""
    found = re.match(r"powershell(?:\.exe)?\s+(?:-\w+\s+)*?-c(?:ommand)?\s+(.+)\Z", line, re.IGNORECASE | re.DOTALL)
    return found[1].strip('"') if found else None


def clixml(text: str) -> str:
    """Lines of standard error as Windows PowerShell writes them to a pipe."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    records = "".join(f'<S S="Error">{psrp.escaped(line)}_x000D__x000A_</S>' for line in lines)
    return f'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="{CLIXML}">{records}</Objs>'


def encoding_of(codepage: int) -> str:
    """Python's name of a code page; of one that it does not have, UTF-8."""
    name = "utf-8" if codepage == 65001 else f"cp{codepage}"
    try:
        codecs.lookup(name)
    except LookupError:
        return "utf-8"
    return name


def _refused(*_: object) -> Execution:
    raise AssertionError("scripts are run by PowerShell")
