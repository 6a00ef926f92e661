"""Messages between the main process and its workers: length, then MessagePack, over stdin and stdout.

A pipe of our own and not arguments or environment variables, because the first message carries the passphrase.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from io import RawIOBase
from typing import Any, BinaryIO

import msgspec

from rmm.model.observation import Fault

LIMIT = 64 << 20  # bytes per message; an observation is bounded far below

_encode = msgspec.msgpack.Encoder().encode


class Order(msgspec.Struct, tag="order"):
    """Main to worker, first: what to poll. `passphrase` leaves this process through the pipe alone."""

    config: str
    passphrase: str
    request: bytes  # PollRequest, JSON
    shards: list[tuple[str, int]]
    poll: bytes  # PollSettings, JSON: flags of the main process apply here too
    epoch: str
    bundle: str = ""  # the main process's own: a newer one may have come meanwhile


class Observed(msgspec.Struct, tag="observed"):
    """Worker to main: one acknowledged observation, encoded."""

    site: str
    shard: int
    data: bytes


class Flushed(msgspec.Struct, tag="flushed"):
    """Worker to main: hot and cold hold this shard; is the coordinator done with it?"""

    site: str
    shard: int


class Committed(msgspec.Struct, tag="committed"):
    """Main to worker: the answer to Flushed."""

    site: str
    shard: int
    ok: bool


class Stop(msgspec.Struct, tag="stop"):
    """Main to worker: end now, keeping what is acknowledged."""


class Ended(msgspec.Struct, tag="ended"):
    """Worker to main, last. `code` is empty after success; otherwise the error that ended the worker."""

    skipped: int = 0
    faults: tuple[Fault, ...] = ()
    code: str = ""
    message: str = ""
    hint: str = ""


Message = Order | Observed | Flushed | Committed | Stop | Ended
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """Length (4 bytes, big-endian) and payload."""
    data = _encode(message)
    return len(data).to_bytes(4, "big") + data


async def read(stream: asyncio.StreamReader) -> Message | None:
    """The next message of a worker; None at its end."""
    try:
        size = int.from_bytes(await stream.readexactly(4), "big")
        if size > LIMIT:
            return None
        return _decoder.decode(await stream.readexactly(size))
    except (asyncio.IncompleteReadError, msgspec.DecodeError):
        return None


class WorkerPipe:
    """The worker's side. Two threads do the blocking reads and writes, which asyncio cannot on every platform."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._incoming: asyncio.Queue[Message | None] = asyncio.Queue()
        self._outgoing: queue.Queue[bytes | None] = queue.Queue(maxsize=512)
        # Files of our own: Python's stdout may be unbuffered (PYTHONUNBUFFERED), which then writes a part and says
        # nothing; and a thread that waits in its buffered stdin keeps the interpreter from ending.
        outgoing = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115 - for as long as the process
        incoming = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
        self._writer = threading.Thread(target=self._write, args=(outgoing,), daemon=True)
        threading.Thread(target=self._read, args=(incoming,), daemon=True).start()
        self._writer.start()

    async def receive(self) -> Message | None:
        """The next message; None when the main process is gone."""
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        """Queue a message; waits while the main process is behind."""
        data = pack(message)
        while True:
            with contextlib.suppress(queue.Full):
                self._outgoing.put_nowait(data)
                return
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Send what is queued, at most two seconds long."""
        self._outgoing.put(None)
        await asyncio.to_thread(self._writer.join, 2.0)

    def _read(self, stream: RawIOBase) -> None:
        message: Any = None
        while True:
            try:
                size = int.from_bytes(_exactly(stream, 4), "big")
                message = _decoder.decode(_exactly(stream, size))
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
