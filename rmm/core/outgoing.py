"""The books of the outgoing log: places of entries, and what a receipt changes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import msgspec

from rmm.core.marks import clipped, includes, minus
from rmm.model.envelope import AUDIT as KIND_AUDIT
from rmm.model.envelope import ROUND, Marks, Receipt, RoundEnd
from rmm.model.incident import Act
from rmm.model.observation import OK, PARTIAL, CollectorResult, Fault
from rmm.model.outgoing import ALERTS, AUDIT, CHANGES, METRICS, Books, Item, News

NUMBERS = 1 << 40  # of an epoch
MOST_RETIRED = 64  # starts of the hub that are remembered, so that an old receipt cannot be played again

NOTHING = Marks()


class Part(msgspec.Struct, frozen=True):
    """What the grade of an observation needs of a collector's part."""

    changes: msgspec.Raw = msgspec.Raw(b"[]")


class Telemetry(msgspec.Struct, frozen=True):
    """What the outgoing log needs of an observation's telemetry."""

    lease: float = 0.0


class Glance(msgspec.Struct, frozen=True):
    """What the outgoing log needs of an observation."""

    endpoint: str
    site: str
    shard: int
    observed_at: datetime
    status: str
    epoch: str
    seq: int
    collectors: dict[str, Part] = {}
    telemetry: Telemetry = Telemetry()
    duration_s: float = 0.0

    @property
    def fence(self) -> int:
        """Under which it was polled; 0 where it does not say."""
        return int(self.telemetry.lease)

    @property
    def ended(self) -> datetime:
        """When the poll was over."""
        return self.observed_at + timedelta(seconds=self.duration_s)

    @property
    def id(self) -> str:
        """As `Observation.id`."""
        return f"{self.site}/{self.shard}/{self.epoch}/{self.seq}"


_encode = msgspec.json.Encoder().encode
_glance = msgspec.json.Decoder(Glance).decode
_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def glance(data: bytes) -> Glance:
    """A look at an encoded observation, at a fraction of what reading it costs. Raises `msgspec.DecodeError`."""
    try:
        return _glance(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(type(error).__name__) from error


def grade_of(seen: Glance, alerted: Container[str], before: str) -> int:
    """What an observation is worth.

    `alerted` has the ids of observations with which an alert began or ended; `before` is the status of the endpoint in
    the observation before this one, empty where none is known: then only what is not well is a change.
    """
    if seen.id in alerted or seen.status != (before or "OK"):
        return ALERTS
    if any(bytes(part.changes) not in (b"[]", b"null") for part in seen.collectors.values()):
        return CHANGES
    return METRICS


def lightened(body: bytes, fits: Callable[[bytes], bool]) -> bytes | None:
    """An encoded observation without what its largest collectors found, as many of them as it takes until it fits.

    What is left out is a fault in it. None for one that does not fit without them either, and for what is none.
    """
    try:
        whole = _raw(body)
        parts = _raw(whole["collectors"])
        status = msgspec.json.decode(whole["status"], type=str)
        for name in sorted(parts, key=lambda one: len(parts[one]), reverse=True):
            message = f"{len(parts[name])} bytes are more than the hub takes in one piece; the site's history has them"
            fault = Fault("output.too_large", "R0", "This collector must ask for less. The others were read.", message)
            parts[name] = msgspec.Raw(_encode(CollectorResult(outcome="fault", fault=fault)))
            changed = {"collectors": parts, "status": PARTIAL if status == OK else status}
            if fits(made := _encode({**whole, **changed})):
                return made
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError):
        pass
    return None


def round_item(end: RoundEnd, at: datetime) -> Item:
    """The end of a round, for the log."""
    name = f"round/{end.began.isoformat()}/{end.ended.isoformat()}"
    return Item(id=name, body=_encode(end), at=at, kind=ROUND)


def act_item(act: Act, at: datetime) -> Item:
    """What somebody did, for the log; the same act is kept once."""
    body = _encode(act)
    return Item(id=f"act/{blake2b(body, digest_size=16).hexdigest()}", body=body, at=at, kind=KIND_AUDIT, grade=AUDIT)


def place(epoch: int, number: int) -> int:
    """Of a number in an epoch."""
    return epoch * NUMBERS + number


def number_of(at: int) -> tuple[int, int]:
    """Epoch and number of a place."""
    return divmod(at, NUMBERS)


def is_committed(marks: dict[int, Marks], at: int, count: int = 1) -> bool:
    """Whether all numbers of an entry are committed."""
    epoch, number = number_of(at)
    return includes(marks.get(epoch, NOTHING), number, number + count - 1)


def uncommitted_from(books: Books) -> int:
    """All places before the one that is returned are committed, and it is not, if there is such an entry."""
    for epoch, last in sorted(books.last.items()):
        high = books.marks.get(epoch, NOTHING).high
        if high < last:
            return place(epoch, high + 1)
    return place(books.epoch, books.last.get(books.epoch, 0) + 1)


def accept(books: Books, receipt: Receipt) -> tuple[Books, News] | None:
    """The books after a receipt, and what it changes; None for one that is older than what is known.

    The newest once more changes nothing.

    Starts of the hub have no order. So one that is new is believed, and one that was there before only when it writes
    later than what came since, as several workers of a hub do; the times of one start are not compared, for clocks are
    set.
    """
    begun = receipt.hub != books.hub
    if not begun:
        if receipt.number <= books.number:
            return (books, News(False, (), ())) if receipt.number == books.number else None
    elif receipt.hub in books.retired and books.heard is not None and receipt.at <= books.heard:
        return None
    marks = {
        epoch: clipped(receipt.marks[name], books.last.get(epoch, 0))
        for epoch, name in books.names.items()
        if name in receipt.marks
    }
    come = tuple(_differences(marks, books.marks))
    gone = tuple(_differences(books.marks, marks))
    retired = books.retired
    if begun and books.hub:
        retired = (*(hub for hub in retired if hub not in (books.hub, receipt.hub)), books.hub)[-MOST_RETIRED:]
    after = msgspec.structs.replace(
        books, marks=marks, hub=receipt.hub, number=receipt.number, heard=receipt.at, retired=retired
    )
    again = bool(gone) or (begun and receipt.hub not in books.retired)
    return after, News(again, come, gone)


def _differences(marks: dict[int, Marks], others: dict[int, Marks]) -> Iterator[tuple[int, int]]:
    for epoch, one in sorted(marks.items()):
        for first, last in minus(one, others.get(epoch, NOTHING)):
            yield place(epoch, first), place(epoch, last)


def runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """Runs of places that follow each other, as first place and count."""
    first, count = -1, 0
    for one in places:
        if one == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = one, 1
    if count:
        yield first, count


def spooled_facts(books: Books) -> dict[str, Any]:
    """The part of `Spooled` that the books have."""
    return {name: getattr(books, name) for name in ("entries", "bytes", "kept", "kept_bytes", "dropped", "heard")}
