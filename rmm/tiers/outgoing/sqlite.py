"""The file of the outgoing log: SQLite in WAL mode, every change durable when it is done."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from rmm.model.outgoing import Books, Row
from rmm.tiers.migrations import named, open_writer, tier_error
from rmm.tiers.outgoing.shelf import Stored

SQL = files("rmm.tiers.outgoing") / "sql"
T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode
_books = msgspec.msgpack.Decoder(Books).decode


def path_of(data: Path, site: str) -> Path:
    """`data/outgoing/<site>.sqlite`."""
    return data / "outgoing" / f"{site}.sqlite"


async def prepare(path: Path) -> None:
    """The file, made or brought to the newest schema. Raises TierError."""
    await (await open_writer(path, SQL)).close()


class SqliteShelf:
    """`log.Shelf`. Used by one thread at a time, by the holder of the file's lock; `readonly` by anybody."""

    def __init__(self, path: Path, *, readonly: bool = False) -> None:
        self._path = path
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
        mode = "ro" if readonly else "rw"
        try:
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}",
                uri=True, timeout=10, isolation_level=None, check_same_thread=False,
            )  # fmt: skip
            if not readonly:
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA journal_size_limit = 67108864")
        except sqlite3.Error as error:
            raise tier_error(path, error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # some failures, such as a full disk, roll back by themselves
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise tier_error(self._path, error) from error

    def _ask(self, statement: str, read: Callable[[Any], T], *arguments: Any) -> list[T]:
        try:
            return [read(row) for row in self._db.execute(self._sql[statement], arguments)]
        except (sqlite3.Error, msgspec.DecodeError, ValueError, TypeError) as error:
            raise tier_error(self._path, error) from error

    def _do(self, statement: str, *arguments: Any) -> int:
        """How many rows it changed."""
        return self._db.execute(self._sql[statement], arguments).rowcount

    def books(self) -> Books:
        found = self._ask("books", lambda row: _books(row[0]))
        return found[0] if found else Books()

    def save(self, books: Books) -> None:
        self._do("put_books", _encode(books))

    def put(self, entry: Stored) -> bool:
        row = entry.row
        new = self._do(
            "put", row.place, row.span, row.size, entry.at, row.grade, entry.kind, entry.shard, entry.fence, entry.raw,
            entry.id, entry.body,
        )  # fmt: skip
        if new and entry.endpoint:
            self._do("put_newest", entry.endpoint, row.place)
        return bool(new)

    def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]:
        return self._ask("graded" if graded else "rows", Row._make, after, most)

    def metrics(self, after: int, most: int) -> list[Row]:
        return self._ask("metrics", Row._make, after, most)

    def before(self, at: int) -> tuple[Row, str] | None:
        found = self._ask("before", lambda row: (Row._make(row[:5]), str(row[5])), at)
        return found[0] if found else None

    def newest(self) -> list[Row]:
        return self._ask("newest", Row._make)

    def read(self, places: Sequence[int]) -> list[Stored]:
        return self._ask("read", _stored, json.dumps(list(places)))

    def sum(self, first: int, last: int) -> tuple[int, int]:
        return self._ask("sum", lambda row: (int(row[0]), int(row[1])), first, last)[0]

    def first_at(self, first: int, last: int) -> int | None:
        found = self._ask("first_at", lambda row: int(row[0]), first, last)
        return found[0] if found else None

    def any(self, first: int, last: int) -> bool:
        return bool(self._ask("any", lambda row: row[0], first, last)[0])

    def end_of(self, first: int, last: int, most: int) -> int | None:
        return self._ask("end_of", lambda row: None if row[0] is None else int(row[0]), first, last, most)[0]

    def delete(self, first: int, last: int) -> None:
        self._do("delete", first, last, last)

    def remove(self, places: Iterable[int]) -> None:
        self._db.executemany(self._sql["remove"], [(place,) for place in places])

    def note(self, at: int, highs: dict[int, int]) -> None:
        self._do("put_covered", at, json.dumps(highs))

    def notes(self) -> list[tuple[int, dict[int, int]]]:
        return self._ask("covered", lambda row: (int(row[0]), {int(k): int(v) for k, v in json.loads(row[1]).items()}))

    def forget_notes(self, before: int, behind: int) -> None:
        self._do("forget_covered", before, behind)

    def tidy(self) -> None:
        self._do("forget_newest")

    def close(self) -> None:
        try:
            self._db.close()
        except sqlite3.Error as error:
            raise tier_error(self._path, error) from error


def _stored(row: Any) -> Stored:
    place, kind, at, body, raw, shard, fence, count = row
    return Stored(Row(place, count, 0, at / 1e6, 0), kind, at, body, raw, None, "", shard, fence)
