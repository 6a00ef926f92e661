"""What the fleet's database is to those who use it, wherever it is kept: the port of its adapters, and its statements.

A file of the data folder is `rmm.tiers.fleet_sqlite.folder`, PostgreSQL is `rmm.tiers.fleet_postgres`.
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from rmm.errors import TierError
from rmm.tiers.migrations import named

T = TypeVar("T")
P = ParamSpec("P")

SQL = files("rmm.tiers.fleet_sqlite") / "sql"
STATEMENTS = ("statements.sql", "delivery.sql", "escalation.sql", "sites.sql")
UNFIT = "database.value"  # a value that no row can have: waiting does not help, leaving it out does
NO_ROOM = "This is a defect in rmm, which should have refused it: please report it."
CONFLICT = "database.conflict"  # what a database answers when a transaction may succeed if it is done again
TRIES = 4
PAUSE_S = 0.05

Row = Any  # a value by its number and by its column's name; iterates over values; `dict` of it is by name


class Question(NamedTuple):
    """A named statement that only reads; of a schema older than `schema` the answer is no rows."""

    statement: str
    arguments: Sequence[Any] = ()
    schema: int = 1


class Database(Protocol):
    """One connection that writes. Statements are given by name; a list as an argument stands for `json_each(?)`.

    One user at a time. Everything raises TierError; a transaction that is left by any error leaves nothing behind.
    """

    async def execute(self, statement: str, arguments: Sequence[Any] = ()) -> None:
        """A statement that answers nothing."""

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """The same once for each of these arguments."""

    async def fetch(self, statement: str, arguments: Sequence[Any] = ()) -> Sequence[Row]:
        """All rows of a statement."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """All or nothing; durable on leaving."""

    async def version(self) -> int:
        """Changes when another connection has committed something."""

    def failed(self, error: Exception) -> TierError:
        """What a foreign error, also one of decoding what was read, is called here."""


class Place(Protocol):
    """Where a fleet's database is kept."""

    def open(self) -> AbstractAsyncContextManager[Database]:
        """The database at the newest schema, for one who writes. Raises TierError, and LeaseLost when it is held."""

    def alone(self) -> AbstractAsyncContextManager[None]:
        """What to hold around a transaction, so that processes take turns; not twice. Raises LeaseLost, TierError."""

    def ask(self, *questions: Question, wait_s: float = 10.0) -> list[Sequence[Row]]:
        """Answers of one moment, in their order; none where there is no database yet. Blocks; raises TierError.

        `wait_s`: how long a database that is locked is waited for.
        """

    def state(self) -> Hashable:
        """Equal to an earlier one as long as nothing was written in between; may be unequal without a reason."""

    def failed(self, error: Exception) -> TierError:
        """As `Database.failed`."""


def statements() -> dict[str, str]:
    """All named statements, by name; those of the live view and the metrics begin with `board.`."""
    found: dict[str, str] = {}
    for file in STATEMENTS:
        found |= named((SQL / file).read_text(encoding="utf-8"))
    board: Mapping[str, str] = named((SQL / "board.sql").read_text(encoding="utf-8"))
    return found | {f"board.{name}": statement for name, statement in board.items()}


def place_of(where: Path | Place) -> Place:
    """A place as it is; for a data folder its file."""
    if not isinstance(where, Path):
        return where
    from rmm.tiers.fleet_sqlite import folder

    return folder.InFolder(where)


def retried(unit: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """A unit that is one transaction, done again, TRIES times at most, when the database says that it may succeed.

    PostgreSQL says so of a deadlock with somebody else's transaction and of a serialization failure; a file never does.
    """

    @functools.wraps(unit)
    async def again(*arguments: P.args, **named_arguments: P.kwargs) -> T:
        for number in range(1, TRIES):
            try:
                return await unit(*arguments, **named_arguments)
            except TierError as error:
                if error.code != CONFLICT:
                    raise
            await asyncio.sleep(PAUSE_S * number * (0.5 + random.random()))
        return await unit(*arguments, **named_arguments)

    return again
