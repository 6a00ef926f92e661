"""Messages between the main process of a hub and its workers; see `rmm.pipes`."""

from __future__ import annotations

import asyncio
from datetime import datetime

import msgspec

from rmm import pipes


class Order(msgspec.Struct, tag="order"):
    """Main to worker, first. `passphrase` leaves this process through the pipe alone."""

    settings: bytes  # Settings, MessagePack: the main process's own, as the files may be others by now
    passphrase: str
    part: tuple[int, int]  # which worker this is, from 0, and of how many


class Given(msgspec.Struct, tag="given"):
    """Main to worker: a delivery. `number` grows."""

    number: int
    subject: str
    data: bytes
    attempt: int


class Stop(msgspec.Struct, tag="stop"):
    """Main to worker: end now, keeping what is taken."""


class Ready(msgspec.Struct, tag="ready"):
    """Worker to main: everything is at work."""


class Acked(msgspec.Struct, tag="acked"):
    """Worker to main: what is in this delivery is durable."""

    number: int


class Later(msgspec.Struct, tag="later"):
    """Worker to main: this delivery is to come again, not before so many seconds."""

    number: int
    delay_s: float


class State(msgspec.Struct, tag="state"):
    """Worker to main, every second: it lives, and what the main process has to know of sites.

    Attributes:
        heard: sites of which something that they signed came since the last time.
        seen: sites of which something was taken and not judged -> its time.
        since: the first of what was judged since the last time.
    """

    heard: list[str]
    seen: dict[str, datetime]
    since: datetime | None = None


class Trouble(msgspec.Struct, tag="trouble"):
    """Worker to main: nothing can be stored, and why; empty: it can again."""

    text: str


class Ended(msgspec.Struct, tag="ended"):
    """Worker to main, last. `code` is that of the error that ended it; empty after Stop."""

    code: str = ""
    message: str = ""
    hint: str = ""


Message = Order | Given | Stop | Ready | Acked | Later | State | Trouble | Ended
_decode = msgspec.msgpack.Decoder(Message).decode


async def read(stream: asyncio.StreamReader) -> Message | None:
    """The next message of a worker; None at its end."""
    return await pipes.read(stream, _decode)


def worker_pipe() -> pipes.WorkerPipe[Message]:
    """The worker's side."""
    return pipes.WorkerPipe(_decode)
