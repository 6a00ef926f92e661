"""Reads everything and says what is wrong. It changes nothing and may run beside a poll."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rmm.errors import TierError
from rmm.tiers import hot_json, spool
from rmm.tiers.archive import files as archive
from rmm.tiers.archive import upkeep
from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.layouts import checked_names
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import PLACE
from rmm.tiers.cold_sqlite.sealed import SQL as SEALED_SQL
from rmm.tiers.cold_sqlite.segment import RolledSegment, Segment
from rmm.tiers.migrations import named, tier_error
from rmm.tiers.store import places
from rmm.tiers.store.places import FLEET, HOT, SEALED, SHARD, SPOOL, StoreFile
from rmm.tiers.store.sqlite import integrity, newest_schema, reading

REPAIR = "Run `rmm store repair`; it keeps aside what cannot be read."
NEWER = "It was written by a newer rmm: install that version."
DISK = "Check permissions and the disk of the data folder."
PASSED = "Readers pass it over, up to the next whole one. A backup may have it: `rmm store restore`."
ARCHIVED = (
    "Run `rmm archive verify`; it keeps aside what cannot be read, and `rmm archive run` writes it anew where it can."
)
LACKS = "The file of the store that has them is kept as it was found. A backup may have them whole."
PERSON = "It was kept for a person to look at; `rmm store restore` has what a backup has. Delete it when done."


Layout = tuple[bytes | None, bytes | None]  # digest and stored form of names; None where they are gone


_ASIDE = named((SEALED_SQL / "statements.sql").read_text(encoding="utf-8"))["aside"]


class Finding(NamedTuple):
    """Something wrong with a file. `severity`: "damaged" needs a repair, "note" is told only."""

    path: Path
    severity: str
    what: str
    fix: str


def check(data: Path) -> Iterator[StoreFile | Finding]:
    """Every file, followed by what is wrong with it; what belongs to no file comes last."""
    unread = 0
    for file in places.store_files(data):
        if file.kind == places.TEMPORARY:
            continue
        if file.kind == places.ARCHIVE and not archive.available():
            unread += file.path.suffix == archive.SUFFIX
            continue
        yield file
        try:
            yield from _of_file(data, file)
        except FileNotFoundError:  # retention took it, or the spool forgot it
            continue
        except OSError as error:
            yield Finding(file.path, "damaged", error.strerror or str(error), DISK)
    if unread:
        yield Finding(
            data / "archive", "note", f"{unread} archived days are not read, as DuckDB is missing", archive.INSTALL
        )
    for path in places.orphans(data):
        yield Finding(path, "note", "belongs to nothing", "Run `rmm store repair` to put it away.")
    yield from _lost_shards(data)


def _of_file(data: Path, file: StoreFile) -> Iterator[Finding]:
    if file.kind in places.SQLITE:
        yield from _sqlite(file)
    elif file.kind == HOT:
        yield from _hot(data, file)
    elif file.kind == SPOOL:
        for what in spool.damage(file.path.read_bytes()):
            yield Finding(file.path, "damaged", what, "The next poll keeps the damaged part aside and goes on.")
    elif file.kind == places.ARCHIVE:
        yield from _archived(file)
    elif file.kind == places.ASIDE:
        yield Finding(file.path, "note", "was found damaged and set aside", PERSON)


def _archived(file: StoreFile) -> Iterator[Finding]:
    day = archive.day_in(file.path.name)
    if day is None:
        return
    try:
        one = upkeep.examined(file.site, day, file.path)
    except TierError as error:
        yield Finding(file.path, "damaged", str(error), DISK)
        return
    if one.state != "ok":
        yield Finding(file.path, "damaged", one.why, ARCHIVED)
    elif one.proof and one.proof.damaged:
        yield Finding(file.path, "note", f"lacks {one.proof.damaged} segments that could not be read", LACKS)


def _hot(data: Path, file: StoreFile) -> Iterator[Finding]:
    if file.shard >= 0 and (why := hot_json.damage(data, file.site, file.shard)):
        yield Finding(file.path, "damaged", why, NEWER if why.startswith("schema") else REPAIR)


def _sqlite(file: StoreFile) -> Iterator[Finding]:
    try:
        with reading(file.path) as connection:
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if schema > newest_schema(file.kind):
                yield Finding(file.path, "damaged", f"schema {schema} is not known to this rmm", NEWER)
                return
            if found := integrity(connection):
                yield Finding(file.path, "damaged", found, REPAIR)
                return
            if file.kind == SHARD and schema:
                yield from _changes(file, connection)
            if file.kind != FLEET and schema:
                yield from _segments(file, connection, schema)
    except sqlite3.OperationalError as error:
        if not file.path.exists():
            raise FileNotFoundError(file.path) from error
        yield Finding(file.path, "damaged", str(error), DISK)
    except sqlite3.Error as error:
        yield Finding(file.path, "damaged", str(error), REPAIR)


def _changes(file: StoreFile, connection: sqlite3.Connection) -> Iterator[Finding]:
    last = -1
    while rows := connection.execute(
        "SELECT rowid, endpoint, collector, value FROM change WHERE rowid > ? ORDER BY rowid LIMIT 256", (last,)
    ).fetchall():
        for _, endpoint, collector, value in rows:
            try:
                changes.unpack(value)
            except changes.DamagedChange as error:
                what = f"a change of {collector} of endpoint {endpoint} cannot be read: {error}"
                yield Finding(file.path, "damaged", what, PASSED)
        last = rows[-1][0]


def _segments(file: StoreFile, connection: sqlite3.Connection, schema: int) -> Iterator[Finding]:
    if file.kind == SHARD and schema < 2:
        return
    for place, why in damaged_segments(connection, file.kind):
        where = f"the segment of endpoint {place // PLACE} at {place % PLACE} cannot be read: {why}"
        yield Finding(file.path, "damaged", where, REPAIR)
    ((aside,),) = connection.execute("SELECT count(*) FROM damaged").fetchall()
    if aside:
        yield Finding(file.path, "note", f"{aside} damaged segments are kept in its table `damaged`", PERSON)


def damaged_segments(connection: sqlite3.Connection, kind: str) -> Iterator[tuple[int, str]]:
    """(place, why) of the segments that cannot be read whole; each is decoded. Of a file that is intact for SQLite."""
    table = "hour" if kind == SHARD else "segment"
    layouts = layouts_of(connection)
    last = -1
    while True:  # by portions, so that no read lasts long
        rows = connection.execute(
            f"SELECT place, layout, data FROM {table} WHERE place > ? ORDER BY place LIMIT 64",  # noqa: S608 - ours
            (last,),
        ).fetchall()
        for place, layout, data in rows:
            if why := unreadable(kind, layouts.get(layout, (None, None)), data):
                yield place, why
        if not rows:
            return
        last = rows[-1][0]


def layouts_of(connection: sqlite3.Connection) -> dict[int, Layout]:
    """Number -> digest and stored form of the names of its series."""
    rows = connection.execute("SELECT no, digest, CAST(series AS BLOB) FROM layout")
    return {number: (digest, series) for number, digest, series in rows}


def lacks_nothing(path: Path) -> bool:
    """Whether all that a raw file ever held can be read from it. Raises TierError."""
    try:
        with reading(path) as connection:
            ((aside,),) = connection.execute(_ASIDE, (0, PLACE)).fetchall()
            return not aside and not any(damaged_segments(connection, SEALED[0]))
    except sqlite3.Error as error:
        raise tier_error(path, error) from error


def unreadable(kind: str, layout: Layout, data: bytes) -> str:
    """Why a segment cannot be read; empty when it can."""
    try:
        names = checked_names(*layout)
        if kind in (SHARD, SEALED[0]):
            Segment(data, len(names)).samples(names)
        else:
            RolledSegment(data, len(names)).all(names)
    except DamagedSegment as error:
        return str(error)
    return ""


def _lost_shards(data: Path) -> Iterator[Finding]:
    """Merged history is read through its shard's own file."""
    for folder in lost_shards(data):
        what = f"history without {folder.name}.sqlite beside it, which readers begin with"
        yield Finding(folder, "damaged", what, REPAIR)


def lost_shards(data: Path) -> list[Path]:
    """Folders of merged history whose shard's own file is missing."""
    found = {file.path.parent for file in places.store_files(data) if file.kind in SEALED}
    return sorted(folder for folder in found if not folder.with_name(f"{folder.name}.sqlite").exists())
