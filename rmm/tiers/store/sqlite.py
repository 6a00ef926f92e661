"""What checks, status and backup ask any SQLite file of the store."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

from rmm.tiers.cold_sqlite.asking import opened
from rmm.tiers.cold_sqlite.sealed import SQL as SEALED_SQL
from rmm.tiers.cold_sqlite.writer import SQL as SHARD_SQL
from rmm.tiers.fleet_sqlite.database import SQL as FLEET_SQL
from rmm.tiers.store.places import FLEET, SHARD

MOST_TOLD = 5  # lines of what integrity_check says


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection for as long as it takes. Raises sqlite3.Error."""
    with contextlib.closing(opened(path)) as connection:
        connection.set_progress_handler(None, 0)
        yield connection


def scripts_of(kind: str) -> Traversable:
    """The migrations of a kind of file."""
    return FLEET_SQL if kind == FLEET else SHARD_SQL if kind == SHARD else SEALED_SQL


def newest_schema(kind: str) -> int:
    """The schema that this rmm writes."""
    names = [entry.name for entry in scripts_of(kind).iterdir()]
    return max(int(name[:3]) for name in names if name[:3].isdigit() and name.endswith(".sql"))


def integrity(connection: sqlite3.Connection) -> str:
    """What SQLite finds wrong in the file; empty when nothing."""
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MOST_TOLD})")]
    except sqlite3.Error as error:
        return str(error)
    return "" if found == ["ok"] else "; ".join(line.strip() for line in found)
