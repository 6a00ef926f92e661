"""Messages between the main process and its workers that poll; see `rmm.pipes`."""

from __future__ import annotations

import asyncio

import msgspec

from rmm import pipes
from rmm.model.observation import Fault


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
_decode = msgspec.msgpack.Decoder(Message).decode


async def read(stream: asyncio.StreamReader) -> Message | None:
    """The next message of a worker; None at its end."""
    return await pipes.read(stream, _decode)


def worker_pipe() -> pipes.WorkerPipe[Message]:
    """The worker's side."""
    return pipes.WorkerPipe(_decode)
