"""One script in a POSIX shell: fed through standard input, so that no length limit of arguments concerns it.

The connection may be lost at any time, and OpenSSH signals nothing to the processes of a session then (nor, in a
session of root, when it is asked to). So standard input stays open as long as the script may run, and a watcher on the
endpoint kills the process group, which sshd makes for every session, when it closes: also at the end of a script,
where it finds itself alone, or with what the script left behind.
"""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

import asyncssh

from rmm.ports import ErrorRecord, Script, ScriptResult
from rmm.transports.ssh import faults
from rmm.transports.ssh.channel import CHUNK, Process, end, start
from rmm.transports.winrm.pipeline import Pace

STDERR_LIMIT = 64 << 10
_WHOLE = "#rmm:whole"  # a script that was cut off on its way must not run
# One line, and without an exclamation mark in quotes: csh, which may be the login shell, reads it first.
_LOADER = (
    "s=$(head -c {size}); "
    f'case $s in *"{_WHOLE}") ;; *) exit 97 ;; esac; '
    "exec 3<&0 </dev/null; "
    "( while read -r x <&3; do :; done; kill -9 0 ) >/dev/null 2>&1 & "
    '( eval "$s" ) 3<&-'
)


async def run_command(
    connection: asyncssh.SSHClientConnection, script: Script, deadline: float, max_bytes: int
) -> ScriptResult:
    """Run a script; every line of standard output is an output, of standard error an error record."""
    text = f"{script.text}\n{_WHOLE}".encode()
    words = [_LOADER.format(size=len(text)), "rmm", *(str(value) for _, value in script.arguments)]
    process = await start(connection, deadline, command="exec sh -c " + " ".join(map(shlex.quote, words)))
    command = _Command(max_bytes, Pace(script.steps, deadline))
    try:
        await command.carry_out(process, text)
    finally:
        await end(process)
    return command.result(process.exit_status)


class _Command:
    """What has come of one command."""

    def __init__(self, max_bytes: int, pace: Pace) -> None:
        self.size = 0
        self.state = "completed"
        self.broken = False
        self.overdue = False
        self._max = max_bytes
        self._pace = pace
        self._count = 0  # whole lines of standard output
        self._timer = asyncio.timeout_at(self._limit())
        self._out = bytearray()
        self._err = bytearray()

    def _limit(self) -> float:
        return self._pace.limit(self._count, asyncio.get_running_loop().time())

    async def carry_out(self, process: Process, text: bytes) -> None:
        """Send the script, and read until it ends, the next line is overdue, or there is too much."""
        readers = [
            asyncio.ensure_future(self._read(process.stdout, self._out, self._max)),
            asyncio.ensure_future(self._read(process.stderr, self._err, STDERR_LIMIT)),
        ]
        try:
            async with self._timer:
                sent = _sent(process, text)
                await asyncio.gather(*readers)
                await process.wait_closed()
            if not sent and not process.exit_status:
                raise BrokenPipeError
        except TimeoutError:
            self.state, self.overdue = "timed_out", self._pace.stepped
        except _TooMuchError:
            self.state = "truncated"
        except (OSError, asyncssh.Error) as error:
            lost = faults.lost("while a script ran")
            lost.partial = tuple(self._lines())
            raise lost from error
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)

    async def _read(self, stream: Any, into: bytearray, limit: int) -> None:
        while data := await stream.read(CHUNK):
            self.size += len(data)
            if len(into) + len(data) > limit:
                if into is self._out:
                    raise _TooMuchError
                continue
            into += data
            if into is self._out and b"\n" in data:
                self._count += data.count(b"\n")
                self._timer.reschedule(self._limit())

    def _lines(self) -> list[str]:
        text = self._out.decode("utf-8", "replace")
        whole = text if self.state == "completed" else text[: text.rfind("\n") + 1]
        return [line for line in whole.split("\n") if line]

    def result(self, status: int | None) -> ScriptResult:
        errors = [
            ErrorRecord("sh", "NotSpecified", line[:2000]) for line in self._err.decode("utf-8", "replace").splitlines()
        ]
        state = self.state
        if state == "completed" and status not in (0, None):
            state = "failed"
            errors.append(ErrorRecord(f"exit {status}", "OperationStopped", f"the script ended with status {status}"))
        return ScriptResult(
            output=tuple(self._lines()), state=state, errors=tuple(errors[:1000]), bytes=self.size, overdue=self.overdue
        )


def _sent(process: Process, text: bytes) -> bool:
    """Whether the script could be sent; a shell that lets nobody work ends before that, and says why."""
    try:
        process.stdin.write(text)
    except BrokenPipeError:
        return False
    return True


class _TooMuchError(Exception):
    """More output than allowed."""
