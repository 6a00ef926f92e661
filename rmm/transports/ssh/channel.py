"""Processes on an endpoint: started in a channel, and made sure not to outlive it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncssh

from rmm.transports.ssh import faults

CHUNK = 64 << 10
CLOSE_S = 2.0
Process = Any  # asyncssh.SSHClientProcess[bytes]; asyncssh leaves its type parameter open


async def start(connection: asyncssh.SSHClientConnection, deadline: float, **what: Any) -> Process:
    """Start a command, or a subsystem, whose standard error nobody needs."""
    name = f"the subsystem {what['subsystem']}" if "subsystem" in what else "a command"
    try:
        async with asyncio.timeout_at(deadline):
            return await connection.create_process(encoding=None, **what)
    except TimeoutError as error:
        raise faults.silent(name) from error
    except (OSError, asyncssh.Error) as error:
        raise faults.channel_error(error, name) from error


class ChannelStream:
    """`outofprocess.Stream` over a channel."""

    def __init__(self, process: Process) -> None:
        self.process = process

    async def read(self) -> bytes:
        """What has arrived; empty at the end."""
        try:
            return bytes(await self.process.stdout.read(CHUNK))
        except (OSError, asyncssh.Error) as error:
            raise faults.lost("while a script ran") from error

    async def write(self, data: bytes) -> None:
        """Send; the window of the channel is the bound. What went wrong when it is closed, `read` knows."""
        with contextlib.suppress(OSError, asyncssh.Error):
            self.process.stdin.write(data)
            await self.process.stdin.drain()


async def end(process: Process) -> None:
    """Make sure that nothing of ours goes on running there.

    A command's process group gets SIGKILL (RFC 4254 6.9, OpenSSH 7.9 and later). A subsystem cannot be signalled; it
    loses its standard input, and at that PowerShell ends itself, whatever its pipeline does.
    """
    if process.exit_status is None and process.returncode is None:
        with contextlib.suppress(OSError, asyncssh.Error):
            process.kill()
    process.close()
    with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
        async with asyncio.timeout(CLOSE_S):
            await process.wait_closed()
