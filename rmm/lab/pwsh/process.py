"""One PowerShell in server mode as a child process: its lines as events, and an end that leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmm.core.outofprocess import SESSION, Event, Exchange
from rmm.errors import ProtocolError

READ = 64 << 10
SILENT_S = 30.0  # without a byte while an acknowledgement is owed: it hangs
MOST_UNSENT = 16 << 20  # bytes that wait for it to read
END_S = 5.0  # for the session's end in order, and again for the process's
SERVER = "-ServerMode"
GUARD = str(Path(__file__).with_name("guard.py"))
STATE = "RMM_LAB_STATE"  # the environment variable in which the stand-ins find the machine's state


class LostError(Exception):
    """PowerShell ended, hangs, or broke its protocol."""


async def spawn(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> asyncio.subprocess.Process:
    """A child with pipes, in a process group of its own, with the machine's state in `folder`. Raises LostError."""
    apart: dict[str, Any] = {} if sys.platform == "win32" else {"start_new_session": True}
    pipe = asyncio.subprocess.PIPE
    serves = SERVER in command  # it says nothing on standard error that its client does not hear
    try:
        return await asyncio.create_subprocess_exec(
            *guarded(command), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL if serves else pipe,
            env={**environment, STATE: str(folder / "machine.json")}, limit=READ, **apart,
        )  # fmt: skip
    except OSError as error:
        raise LostError(f"PowerShell does not start: {error}") from error


def guarded(command: Sequence[str]) -> list[str]:
    """The command, so that on Linux it is killed when this process ends, however that ends. Raises LostError."""
    if sys.platform == "linux":
        if shutil.which(command[0]) is None:
            raise LostError(f"PowerShell does not start: {command[0]} is no program")
        return [sys.executable, "-I", "-S", "-B", GUARD, str(os.getpid()), *command]
    else:  # in server mode it ends with its standard input; a command line may outlive a killed lab
        return list(command)


def kill(child: asyncio.subprocess.Process) -> None:
    """End a child and all that it has started."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)


async def reap(child: asyncio.subprocess.Process, folder: Path) -> None:
    """Wait for a child whose standard input is closed, kill it when it takes too long, and remove its folder."""
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await child.wait()
    finally:
        kill(child)
        await child.wait()
        shutil.rmtree(folder, ignore_errors=True)


class Process:
    """`pwsh -ServerMode`. Whoever changes `exchange` calls `flush` afterwards."""

    def __init__(self, child: asyncio.subprocess.Process, folder: Path) -> None:
        self.exchange = Exchange()
        self.folder = folder
        self.child = child

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.child.returncode is None

    @property
    def state_file(self) -> Path:
        """Where its stand-ins read the machine's state."""
        return self.folder / "machine.json"

    def flush(self) -> None:
        """Send what may be sent now. Raises LostError when the process has not read for too long."""
        assert self.child.stdin is not None
        out = self.exchange.outgoing()
        if out:
            self.child.stdin.write(out)
        if self.child.stdin.transport.get_write_buffer_size() > MOST_UNSENT:
            raise LostError("PowerShell does not read what it is sent")

    async def events(self) -> list[Event]:
        """What it says next; perhaps nothing yet of a whole line. Raises LostError."""
        assert self.child.stdout is not None
        data = b""
        while not data:
            owed = self.exchange.awaiting
            try:
                async with asyncio.timeout(SILENT_S):
                    data = await self.child.stdout.read(READ)
            except TimeoutError as error:
                if owed:
                    raise LostError("PowerShell does not acknowledge what it was sent") from error
                continue
            if not data:
                raise LostError("PowerShell ended")
        try:
            events = self.exchange.feed(data)
        except ProtocolError as error:
            raise LostError(str(error)) from error
        self.flush()
        return events

    async def end(self) -> None:
        """Close the session in order, as far as it lets us within END_S; then the process ends, or is killed."""
        try:
            with contextlib.suppress(LostError, TimeoutError, OSError):
                async with asyncio.timeout(END_S):
                    await self._close()
            assert self.child.stdin is not None
            self.child.stdin.close()
            drain = asyncio.ensure_future(self._drain())
            try:
                await reap(self.child, self.folder)
            finally:
                drain.cancel()
        finally:
            kill(self.child)

    async def _close(self) -> None:
        if not self.exchange.started:
            return
        self.exchange.abandon()
        self.flush()
        while self.exchange.pipelines():
            await self.events()
        self.exchange.close(SESSION)
        self.flush()
        while Event("close_ack", SESSION) not in await self.events():
            pass

    async def _drain(self) -> None:
        """Read to the end: who waits for room to write cannot end."""
        assert self.child.stdout is not None
        while await self.child.stdout.read(READ):
            pass
