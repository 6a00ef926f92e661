"""Questions to JetStream itself ($JS.API): one place for how they are put, and for what its errors mean here.

The API is used as it is (docs.nats.io, reference of the JetStream wire API), without a client's layer above it, so that
the subjects a user needs are the ones in `rmm.bus.subjects`.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from rmm.bus.link import WAIT_S, Link
from rmm.errors import BusError, BusFull

T = TypeVar("T")

# Error codes of the server (server/errors.json).
NO_CONSUMER, NO_STREAM, NAME_IN_USE, NO_MESSAGE, STORE_FAILED = 10014, 10059, 10058, 10037, 10077
WRONG_SEQUENCE = (10071, 10164)
NO_LEADER = (10008, 10009)  # of the cluster, for the moment
NO_SPACE = (10023, 10047, 10028)  # insufficient resources, storage, memory


class ApiError(msgspec.Struct, frozen=True):
    """What the server says that is wrong."""

    code: int = 0
    err_code: int = 0
    description: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What every answer may have."""

    error: ApiError | None = None


class PubAck(Answer, frozen=True):
    """The stream has the message."""

    stream: str = ""
    seq: int = 0


class Refused(BusError):
    """JetStream refused a request; `err_code` says why."""

    err_code: int = 0

    @classmethod
    def of(cls, error: ApiError, what: str) -> Refused:
        """In the server's words, shortened."""
        said = "".join(c for c in error.description[:200] if c.isprintable())
        hint = None
        if error.err_code in (NO_STREAM, NO_CONSUMER):
            hint = "The hub makes the streams of its sites when it starts: run `rmm hub run` once."
        elif error.err_code in NO_SPACE:
            hint = "Give the broker more disk (`jetstream { max_file_store }` of its configuration)."
        refused = cls(f"the broker refuses {what}: {said}", code="bus.refused_request", hint=hint)
        refused.err_code = error.err_code
        return refused


def stored(data: bytes, subject: str) -> PubAck:
    """The acknowledgement of a message that was published. Raises BusFull, Refused, BusError."""
    ack = decoded(data, PubAck, subject)
    if ack.error is not None:
        said = ack.error.description
        if ack.error.err_code == STORE_FAILED and ("maximum messages" in said or "maximum bytes" in said):
            raise BusFull(f"what waits of {subject} is not acknowledged: {said[:100]}")
        raise Refused.of(ack.error, subject)
    if not ack.stream or ack.seq < 1:
        raise BusError(f"{subject} went to something that is no stream")
    return ack


def decoded(data: bytes, kind: type[T], what: str) -> T:
    """An answer. Raises BusError for what is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise BusError(f"the broker's answer about {what} is not one: {error}") from error


async def call(link: Link, subject: str, body: Any = None, kind: type[T] | None = None) -> T:
    """One request to $JS.API.`subject`. Raises Refused, and BusError without an answer."""
    data = b"" if body is None else msgspec.json.encode(body)
    message = await link.request(f"$JS.API.{subject}", data, timeout_s=WAIT_S)
    answer = decoded(message.data, Answer, subject)
    if answer.error is not None:
        raise Refused.of(answer.error, subject)
    return decoded(message.data, kind or dict[str, Any], subject)  # type: ignore[return-value]
