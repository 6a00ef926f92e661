"""Opening an SQLite file with one writer, durable commits and numbered migrations."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import aiosqlite

from rmm.durable import disk_code, make_folder
from rmm.errors import TierError

log = logging.getLogger(__name__)

# Releases without the WAL-reset bug of 3.7.0 and later: the first one, and those of older lines that have its fix.
FIXED = (3, 51, 3)
FIXED_LINES = {(3, 50): 7, (3, 44): 6}
WARNED = "sqlite-warned"  # in the data folder: the version of SQLite of which people have been told
WAIT_S = 10.0  # for another process that has just made the file
# Our statements fit the schema, so one that lacks something is damaged as well.
_SIGNS = ("malformed", "not a database", "no such table", "no such column", "has no column", "decode to UTF-8")
LITTLE = 1 << 20  # bytes of free space with which a failed write is put down to a full disk
_FULL = "Free some space; nothing of this round was lost."
_DAMAGED = "Run `rmm store repair`, which keeps it aside and saves what can be read; a backup may have the rest."


def verdict() -> str:
    """What is wrong with this SQLite library and what to do; empty when nothing."""
    major, minor, patch = sqlite3.sqlite_version_info
    if (major, minor, patch) >= FIXED or patch >= FIXED_LINES.get((major, minor), patch + 1):
        return ""
    return (
        f"SQLite {sqlite3.sqlite_version} can damage a file that two connections write or checkpoint at once (fixed in "
        f"{'.'.join(map(str, FIXED))}, and in 3.50.7 and 3.44.6). rmm has one writer per file and locks, so polling is "
        "safe; open files of the data folder with other tools only for reading, or use a Python with a newer SQLite."
    )


def warn_once(data: Path) -> None:
    """For whoever is about to write: the verdict, in the log, once for each data folder and version of SQLite."""
    note, why = data / WARNED, verdict()
    if not why:
        return
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if note.read_text(encoding="ascii") == sqlite3.sqlite_version:
            return
    log.warning("%s This is said once; `rmm doctor` and `rmm store status` say it again.", why)
    with contextlib.suppress(OSError):
        make_folder(data)
        note.write_text(sqlite3.sqlite_version, encoding="ascii")


async def open_writer(path: Path, scripts: Traversable, *, page_size: int = 4096) -> aiosqlite.Connection:
    """The one writing connection of a file, at the newest schema; the caller closes it.

    An SQLite with the WAL-reset bug can corrupt a file that several connections write or checkpoint at once. This one
    is the only one that writes (the caller holds the file's lock) and readers open it read-only, which avoids the bug.
    """
    try:
        make_folder(path.parent)
        connection = await aiosqlite.connect(path, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise tier_error(path, error) from error
    try:
        await connection.execute("PRAGMA busy_timeout = 10000")
        await connection.execute(f"PRAGMA page_size = {page_size:d}")
        await _use_wal(connection)
        await connection.execute("PRAGMA synchronous = FULL")
        await connection.execute("PRAGMA journal_size_limit = 67108864")
        await migrate(connection, scripts)
    except BaseException as error:
        await connection.close()
        if isinstance(error, sqlite3.Error | UnicodeDecodeError):  # a schema that is no text makes an error of none
            raise tier_error(path, error) from error
        raise
    return connection


async def _use_wal(connection: aiosqlite.Connection) -> None:
    """Switch to WAL, for which SQLite wants the file for itself and does not wait as for a lock."""
    until = asyncio.get_running_loop().time() + WAIT_S
    while True:
        try:
            await connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or asyncio.get_running_loop().time() > until:
                raise
        await asyncio.sleep(0.02)


async def bounded_wal(connection: aiosqlite.Connection, path: Path, most: int) -> None:
    """Raises TierError (tier.held) when the WAL is larger than `most` bytes because a reader does not let go.

    Checkpoints cannot pass the oldest reader, and the WAL begins anew only when nobody reads from it.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        size = wal.stat().st_size
    except OSError:
        return
    if size <= most:
        return
    cursor = await connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    row = await cursor.fetchone()
    await cursor.close()
    if row is not None and row[1] == row[2]:  # all of it is in the file: the next write begins the WAL anew
        return
    who = ", ".join(readers_of(path)) or "a process that cannot be seen from here"
    raise TierError(
        f"{wal}: has {size / 1e6:.0f} MB and cannot begin anew while a reader holds on: {who}",
        code="tier.held",
        hint="End that process, or let it end its transaction. Readings are in the spool until then.",
    )


def readers_of(path: Path) -> list[str]:
    """Other processes that have the file open, as `NAME (process N)`; only where the system has /proc."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(folder.name) == os.getpid() or not any(path.samefile(link) for link in (folder / "fd").iterdir()):
                continue
            found.append(f"{(folder / 'comm').read_text().strip()} (process {folder.name})")
        except OSError:  # it has ended, or is another account's
            continue
    return sorted(found)


async def migrate(connection: aiosqlite.Connection, scripts: Traversable) -> None:
    """Apply `NNN_*.sql` in order, each in a transaction of its own with the new `user_version`.

    Of several processes that open a new file at once one migrates it; the others wait and find it done.
    """
    names = sorted(
        entry.name for entry in scripts.iterdir() if entry.name[:3].isdigit() and entry.name.endswith(".sql")
    )
    newest = int(names[-1][:3]) if names else 0
    version = await _version(connection)
    if version > newest:
        raise TierError(
            f"the file has schema {version}, this rmm knows {newest}",
            code="tier.newer",
            hint="It was written by a newer rmm: install that version.",
        )
    for name in names:
        if int(name[:3]) <= version:
            continue
        await connection.execute("BEGIN IMMEDIATE")
        try:
            version = await _version(connection)  # another process may have been first
            if int(name[:3]) > version:
                for statement in _statements((scripts / name).read_text(encoding="utf-8")):
                    await connection.execute(statement)
                await connection.execute(f"PRAGMA user_version = {int(name[:3]):d}")
            await connection.execute("COMMIT")
        except BaseException:
            await connection.rollback()
            raise


async def _version(connection: aiosqlite.Connection) -> int:
    cursor = await connection.execute("PRAGMA user_version")
    row = await cursor.fetchone()
    return int(row[0]) if row else 0


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would end the transaction that they belong to."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def tier_error(path: Path, error: Exception) -> TierError:
    """The TierError for a failed operation on `path`."""
    if isinstance(error, OSError):
        return TierError(f"{path}: {error.strerror or error}", code=disk_code(error))
    if not isinstance(error, sqlite3.Error):  # what was read does not decode
        return TierError(f"{path}: {error}", code="tier.damaged", hint=_DAMAGED)
    text = str(error)
    if "full" in text:
        return TierError(f"{path}: {text}", code="disk.full", hint=_FULL)
    if "I/O error" in text or "unable to open" in text:
        return _refused(path, text)
    if "locked" in text or text == "interrupted":
        return TierError(f"{path}: {text}", code="tier.busy", hint="Something else is at work on this file; try again.")
    if "readonly" in text:
        return TierError(f"{path}: {text}", code="disk.read_only")
    if any(sign in text for sign in _SIGNS):
        return TierError(f"{path}: {text}", code="tier.damaged", hint=_DAMAGED)
    return TierError(f"{path}: {text}")


def _refused(path: Path, text: str) -> TierError:
    """SQLite does not say why the system refused; a full disk, too, makes this of a file that is to be new."""
    there = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    folder = there if there.is_dir() else there.parent
    if shutil.disk_usage(folder).free < LITTLE:
        return TierError(f"{path}: {text}, the disk is full", code="disk.full", hint=_FULL)
    code = "disk.io" if os.access(there, os.W_OK) and os.access(folder, os.W_OK) else "disk.read_only"
    return TierError(f"{path}: {text}", code=code)


def set_aside(path: Path) -> Path:
    """Rename a damaged file, with what SQLite keeps beside it, to `<stem>.damaged-<n>`; returns the new name.

    Raises TierError when the folder does not let us.
    """
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}")).exists():
        number += 1
    try:
        for suffix in ("-shm", "-wal"):
            beside = path.with_name(path.name + suffix)
            if beside.exists():
                beside.replace(aside.with_name(aside.name + suffix))
        path.replace(aside)
    except OSError as error:
        raise tier_error(path, error) from error
    return aside


def named(text: str) -> dict[str, str]:
    """Statements of an SQL file by the name in the `-- name: x` line above each."""
    statements: dict[str, str] = {}
    for block in text.split("-- name:")[1:]:
        name, _, body = block.partition("\n")
        statements[name.strip()] = body.strip().rstrip(";")
    return statements
