"""Repair: what cannot be read is kept aside, what can be read of a damaged file goes into a new one.

For the holder of the leases: see `places.lease`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rmm.durable import fsync_folder
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite.layouts import elsewhere
from rmm.tiers.cold_sqlite.sealed import PAGE as SEALED_PAGE
from rmm.tiers.cold_sqlite.sealed import PLACE
from rmm.tiers.cold_sqlite.series import digest
from rmm.tiers.cold_sqlite.writer import PAGE as SHARD_PAGE
from rmm.tiers.migrations import open_writer, set_aside, tier_error
from rmm.tiers.store import places
from rmm.tiers.store.check import Layout, damaged_segments, layouts_of, lost_shards, unreadable
from rmm.tiers.store.places import FLEET, HOT, SHARD, StoreFile
from rmm.tiers.store.sqlite import integrity, newest_schema, scripts_of

log = logging.getLogger(__name__)


class Done(NamedTuple):
    """What was done about a file."""

    path: Path
    what: str


def repair_shard(data: Path, site: str, shard: int) -> Iterator[Done]:
    """All of one shard but its spool, which mends itself when it is read. Raises TierError."""
    for file in places.store_files(data):
        if (file.site, file.shard) == (site, shard):
            yield from _file(data, file)
    for folder in lost_shards(data):
        if (folder.parent.name, folder.name) == (site, str(shard)):
            path = folder.with_name(f"{folder.name}.sqlite")
            _fresh(path, SHARD)
            yield Done(path, "made anew, empty, so that the history beside it is read again")


def repair_fleet(data: Path) -> Iterator[Done]:
    """The fleet's database and what belongs to no shard. Raises TierError."""
    for file in places.store_files(data):
        if file.kind == FLEET:
            yield from _file(data, file)
    for path in places.orphans(data):
        if path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)
            yield Done(path, "deleted: what a crash left of a file in the making")
        else:
            path.replace(path.with_name(path.name + ".orphan"))
            yield Done(path, f"renamed to {path.name}.orphan: the file that it belongs to is gone")


def _file(data: Path, file: StoreFile) -> Iterator[Done]:
    if file.kind == HOT and file.shard >= 0:
        why = hot_json.damage(data, file.site, file.shard)
        if why and not why.startswith("schema"):
            yield Done(file.path, f"renamed to {set_aside(file.path).name} ({why}); the next poll makes it anew")
    elif file.kind in places.SQLITE:
        try:
            yield from _sqlite(file)
        except sqlite3.Error as error:
            raise tier_error(file.path, error) from error


def _sqlite(file: StoreFile) -> Iterator[Done]:
    why, schema = "", 0
    try:
        with contextlib.closing(_writer(file.path)) as db:
            schema = int(db.execute("PRAGMA user_version").fetchone()[0])
            if schema > newest_schema(file.kind):
                return
            why = integrity(db)
            if not why:
                sealed = file.kind != FLEET and schema >= _first(file.kind)
                if sealed and (named := _put_names_right(db, file.path)):
                    yield Done(file.path, f"{named} damaged lists of series are as another file has them")
                moved = _move_segments(db, file.kind) if sealed else 0
                if moved:
                    yield Done(file.path, f"{moved} damaged segments are in its table `damaged` now")
                return
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise
        why = str(error)
    if file.kind == FLEET:
        yield Done(file.path, f"renamed to {set_aside(file.path).name} ({why}); the next poll makes it anew")
    else:
        yield _salvage(file, why)


def _first(kind: str) -> int:
    """The first schema that has segments."""
    return 2 if kind == SHARD else 1


def _writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _put_names_right(db: sqlite3.Connection, path: Path) -> int:
    """Lists of series that are damaged, from other files of the site; how many that were."""
    damaged = [one for one in layouts_of(db).values() if one[1] is None or digest(one[1]) != one[0]]
    found = [(series.decode(), known) for known, _ in damaged if (series := elsewhere(path, known)) is not None]
    db.executemany("UPDATE layout SET series = ? WHERE digest = ?", found)
    return len(found)


def _move_segments(db: sqlite3.Connection, kind: str) -> int:
    table = "hour" if kind == SHARD else "segment"
    found = list(damaged_segments(db, kind))
    if found:
        db.execute("BEGIN IMMEDIATE")
        for place, why in found:
            db.execute(
                f"INSERT INTO damaged (place, layout, data, why) SELECT place, layout, data, ? FROM {table} "  # noqa: S608
                "WHERE place = ?",
                (why, place),
            )
            db.execute(f"DELETE FROM {table} WHERE place = ?", (place,))  # noqa: S608 - ours
        db.execute("COMMIT")
    return len(found)


def _fresh(path: Path, kind: str) -> None:
    """An empty file of the newest schema."""

    async def make() -> None:
        page = SHARD_PAGE if kind == SHARD else SEALED_PAGE
        db = await open_writer(path, scripts_of(kind), page_size=page)
        await db.execute("PRAGMA journal_mode = DELETE")
        await db.close()

    asyncio.run(make())


def rebuild(path: Path, kind: str, why: str) -> None:
    """`_salvage` of a file of merged history, for its one writer, who has it closed. Raises TierError."""
    try:
        done = _salvage(StoreFile(path, kind), why)
    except sqlite3.Error as error:
        raise tier_error(path, error) from error
    log.warning("%s: %s", path, done.what)


def _salvage(file: StoreFile, why: str) -> Done:
    """A new file with what can be read of the damaged one, which is kept aside."""
    made = file.path.with_name(f".{file.path.name}.salvage.tmp")
    for path in (made, *(made.with_name(made.name + suffix) for suffix in places.BESIDE)):
        path.unlink(missing_ok=True)
    _fresh(made, file.kind)
    with contextlib.closing(_writer(made)) as new:
        saved = _Salvage(file, new).all()
    aside = set_aside(file.path)
    made.replace(file.path)
    fsync_folder(file.path.parent)
    told = ", ".join(f"{number} {name}" for name, number in saved.items())
    return Done(file.path, f"damaged ({why}); kept as {aside.name}, and of it was saved: {told or 'nothing'}")


class _Salvage:
    """Reads each table from both ends until what is damaged, endpoint by endpoint where a table has them."""

    def __init__(self, file: StoreFile, new: sqlite3.Connection) -> None:
        self._file = file
        self._new = new

    def all(self) -> dict[str, int]:
        """Table -> rows that are in the new file now."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_writer(self._file.path)) as old:
            self._new.execute("BEGIN")
            for table in ("endpoint", "layout"):
                self._ends(old, table, "no", "1 = 1", ())
            numbers = [row[0] for row in self._new.execute("SELECT no FROM endpoint")]
            for number in numbers:
                span = (number * PLACE, number * PLACE + PLACE - 1)
                if self._file.kind == SHARD:
                    self._ends(old, "observation", "at", "endpoint = ?", (number,))
                    self._ends(old, "change", "collector", "endpoint = ?", (number,))
                    self._ends(old, "hour", "place", "place BETWEEN ? AND ?", span)
                else:
                    self._ends(old, "segment", "place", "place BETWEEN ? AND ?", span)
            self._ends(old, "damaged", "rowid", "1 = 1", ())
            self._new.execute("COMMIT")
        return self._counts()

    def _counts(self) -> dict[str, int]:
        if self._new.in_transaction:
            self._new.execute("COMMIT")
        tables = ("observation", "change", "hour") if self._file.kind == SHARD else ("segment",)
        found = {name: self._new.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608
        words = {"observation": "observations", "change": "changes", "hour": "sealed hours", "segment": "segments"}
        return {words[name]: number for name, number in found.items() if number}

    def _ends(self, old: sqlite3.Connection, table: str, order: str, where: str, values: tuple[Any, ...]) -> None:
        """`order` is one that the table or an index has: what is sorted first would all be lost with one page."""
        for direction in ("ASC", "DESC"):
            by = f"{order} {direction}" + (f", at {direction}" if table == "change" else "")
            try:
                cursor = old.execute(
                    f"SELECT * FROM {table} WHERE {where} ORDER BY {by}",  # noqa: S608 - ours
                    values,
                )
                names = [column[0] for column in cursor.description]
                for row in cursor:
                    self._put(table, names, row)
                return
            except sqlite3.Error:
                continue

    def _layout(self, number: Any) -> Layout:
        found: Layout | None = self._new.execute(
            "SELECT digest, CAST(series AS BLOB) FROM layout WHERE no = ?", (number,)
        ).fetchone()
        return found or (None, None)

    def _put(self, table: str, names: list[str], row: tuple[Any, ...]) -> None:
        if table in ("hour", "segment"):
            place, layout, data = row
            if why := unreadable(self._file.kind, self._layout(layout), data):
                table, names, row = "damaged", ["place", "layout", "data", "why"], (place, layout, data, why)
        elif table == "observation" and self._layout(row[names.index("layout")])[1] is None:
            return  # nobody knows what its samples are of
        marks = ", ".join("?" for _ in names)
        with contextlib.suppress(sqlite3.IntegrityError):  # a row that lacks what every row has
            self._new.execute(
                f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - ours
                row,
            )
