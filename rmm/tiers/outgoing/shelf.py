"""What keeps the entries of the outgoing log: the port of its file, and of the twin in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from rmm.model.outgoing import Books, Row


class Stored(msgspec.Struct, frozen=True):
    """An entry as a shelf has it."""

    row: Row
    kind: str
    at: int  # microseconds since 1970
    body: bytes = b""  # compressed
    raw: int = 0
    id: bytes | None = None
    endpoint: str = ""
    shard: int = 0
    fence: int = 0


class Shelf(Protocol):
    """Keeps entries by place, and the books. Changes are made inside `transaction`, and durable at its end.

    Every method may raise TierError; then nothing of the transaction is kept.
    """

    def transaction(self) -> AbstractContextManager[None]: ...

    def books(self) -> Books: ...

    def save(self, books: Books) -> None: ...

    def put(self, entry: Stored) -> bool:
        """False where something of its id is kept already."""
        ...

    def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]:
        """Entries behind a place, in order; `graded`: without METRICS."""
        ...

    def metrics(self, after: int, most: int) -> list[Row]:
        """Of METRICS, without what was given up."""
        ...

    def before(self, at: int) -> tuple[Row, str] | None:
        """The entry at this place or the last before it, and its kind."""
        ...

    def newest(self) -> list[Row]:
        """The newest observation of each endpoint, the newest of all first."""
        ...

    def read(self, places: Sequence[int]) -> list[Stored]: ...

    def sum(self, first: int, last: int) -> tuple[int, int]:
        """Entries and their bytes in a span, without what was given up."""
        ...

    def first_at(self, first: int, last: int) -> int | None:
        """When the first of a span was written, without what was given up."""
        ...

    def any(self, first: int, last: int) -> bool: ...

    def end_of(self, first: int, last: int, most: int) -> int | None:
        """The place of the last of the first so many entries of a span."""
        ...

    def delete(self, first: int, last: int) -> None:
        """All entries of a span that end in it."""
        ...

    def remove(self, places: Iterable[int]) -> None: ...

    def note(self, at: int, highs: dict[int, int]) -> None:
        """How far the hub had everything at a time, by number of epoch."""
        ...

    def notes(self) -> list[tuple[int, dict[int, int]]]:
        """Oldest first."""
        ...

    def forget_notes(self, before: int, behind: int) -> None: ...

    def tidy(self) -> None:
        """What is known of endpoints without an entry goes."""
        ...

    def close(self) -> None: ...
