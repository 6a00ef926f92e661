"""Worker processes of this program and the pipes to them: length, then MessagePack, over stdin and stdout.

A pipe of our own and not arguments or environment variables, because the first message carries the passphrase.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sys
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from io import RawIOBase
from typing import BinaryIO, Generic, TypeVar

import msgspec

from rmm.hardening import PASSPHRASE

LIMIT = 64 << 20  # bytes per message

_encode = msgspec.msgpack.Encoder().encode

T = TypeVar("T")
Decode = Callable[[bytes], T]  # raises msgspec.DecodeError


def pack(message: msgspec.Struct) -> bytes:
    """Length (4 bytes, big-endian) and payload."""
    data = _encode(message)
    return len(data).to_bytes(4, "big") + data


async def read(stream: asyncio.StreamReader, decode: Decode[T]) -> T | None:
    """The next message of a worker; None at its end."""
    try:
        size = int.from_bytes(await stream.readexactly(4), "big")
        if size > LIMIT:
            return None
        return decode(await stream.readexactly(size))
    except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError):
        return None


async def start(module: str) -> Process:
    """A process that runs `python -m MODULE`, with pipes to it and no passphrase in its environment."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, limit=1 << 20,
        env={name: value for name, value in os.environ.items() if name != PASSPHRASE},
    )  # fmt: skip


async def end(process: Process, last: msgspec.Struct, within_s: float) -> None:
    """Ask it to stop by a `last` message, then make it; a worker that already ended notices nothing."""
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError, RuntimeError):
            process.stdin.write(pack(last))
            process.stdin.close()
    try:
        async with asyncio.timeout(within_s):
            if process.stdout is not None:
                while await process.stdout.read(1 << 16):
                    pass
            await process.wait()
    except TimeoutError:
        pass
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class WorkerPipe(Generic[T]):
    """The worker's side. Two threads do the blocking reads and writes, which asyncio cannot on every platform."""

    def __init__(self, decode: Decode[T]) -> None:
        self._decode = decode
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[T | None] = asyncio.Queue()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(maxsize=512)
        # Files of our own: Python's stdout may be unbuffered (PYTHONUNBUFFERED), which then writes a part and says
        # nothing; and a thread that waits in its buffered stdin keeps the interpreter from ending.
        outgoing = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115 - for as long as the process
        incoming = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._writer = threading.Thread(target=self._write, args=(outgoing,), daemon=True)
        threading.Thread(target=self._read, args=(incoming,), daemon=True).start()
        self._writer.start()

    async def receive(self) -> T | None:
        """The next message; None when the main process is gone."""
        return await self._incoming.get()

    async def send(self, message: msgspec.Struct) -> None:
        """Queue a message; waits while the main process is behind."""
        data = pack(message)
        while True:
            with contextlib.suppress(queue.Full):
                self._outgoing.put_nowait(data)
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Send what is queued, at most two seconds long."""
        with contextlib.suppress(queue.Full):  # nobody reads, so nobody would read the end
            self._outgoing.put(None, timeout=0.1)
            await asyncio.to_thread(self._writer.join, 2.0)

    def _read(self, stream: RawIOBase) -> None:
        message: T | None = None
        while True:
            try:
                size = int.from_bytes(_exactly(stream, 4), "big")
                message = self._decode(_exactly(stream, size))
            except (EOFError, OSError, ValueError, msgspec.DecodeError):
                message = None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._incoming.put_nowait, message)
            if message is None:
                return

    def _write(self, stream: BinaryIO) -> None:
        while (data := self._outgoing.get()) is not None:
            try:
                stream.write(data)
                if self._outgoing.empty():
                    stream.flush()
            except (OSError, ValueError):
                return


def _exactly(stream: RawIOBase, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise EOFError
        data += more
    return bytes(data)
