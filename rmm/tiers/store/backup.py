"""Backup while everything runs, into a folder that is a data folder itself.

Nothing is locked, so the order of copying has to do it. An acknowledged observation is in the spool, then in the
shard's own file, then in the hot file and with the coordinator, and only after that the spool forgets it; a sealed day
is in its own files before it leaves the shard's. So what history leaves is copied before what it goes to: spool, hot,
the shard's own file, merged history, the fleet's database. What moves on meanwhile is then in two places of the backup,
as after a crash, and counts once. The other way round it could be in none.

A hot file says which values history has stored already. That of the backup may be older than the history in it, so it
says nothing of that, and the next poll stores them anew.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

import msgspec

from rmm import __version__
from rmm.durable import disk_code, fsync_folder, make_folder, replace_file
from rmm.errors import ConfigError, TierError
from rmm.tiers import hot_json
from rmm.tiers.archive import files as archived
from rmm.tiers.migrations import tier_error
from rmm.tiers.store import places
from rmm.tiers.store.places import ARCHIVE, ASIDE, HOT, SQLITE, TEMPORARY, StoreFile
from rmm.tiers.store.sqlite import integrity, reading

FORMAT = 1
MANIFEST = "manifest.json"
DATA, CONFIG = "data", "config"
PAGES = 512  # copied at once; a file that is not in WAL mode is locked against its writer as long as that takes
PIECE = 1 << 20
TRIES = 3
ROOM = 1.05  # of what is copied has to be free
# Of the configuration what cannot be had again. The vault is sealed; rmm.yaml may have the addresses of webhooks.
CONFIGURATION = ("rmm.yaml", "site.yaml", "endpoints.csv", "credentials.vault", "rules/*.yaml")

Told = Callable[[str], None]


class Copied(msgspec.Struct, frozen=True):
    """A file of a backup. `path` is relative to it, with slashes."""

    path: str
    bytes: int
    blake2b: str
    kind: str
    schema: int = 0


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup consists of."""

    format: int
    rmm: str
    began: datetime
    ended: datetime
    files: tuple[Copied, ...]


def backup(data: Path, config: Path, target: Path, *, archive: bool = True, told: Told = lambda _: None) -> Manifest:
    """Make the new folder `target`, complete or not at all, and read all of it once more.

    Raises ConfigError when it is there already, TierError when there is no room or a file cannot be copied whole.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"{target}: is there already", hint="Name a folder that is new or empty.")
    files = [file for file in places.store_files(data) if file.kind not in (ASIDE, TEMPORARY)]
    files = [file for file in files if archive or file.kind != ARCHIVE]
    began = datetime.now(UTC)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _check_room(target, sum(file.size() for file in files))
        make_folder(target.parent)
        part.mkdir(mode=0o700)
        copied = [one for file in files if (one := _copy(data, file, part, told)) is not None]
        copied += _others(data, config, part)
        manifest = Manifest(format=FORMAT, rmm=__version__, began=began, ended=datetime.now(UTC), files=tuple(copied))
        replace_file(part / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1), private=True)
        for folder, _, _ in os.walk(part, topdown=False):
            fsync_folder(Path(folder))
        told("reading it once more")
        verify(part, manifest)
        if target.exists():
            target.rmdir()
        part.replace(target)
        fsync_folder(target.parent)
    except OSError as error:
        raise TierError(f"{error.filename or target}: {error.strerror or error}", code=disk_code(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


def _check_room(target: Path, wanted: int) -> None:
    there = next(folder for folder in target.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if free < wanted * ROOM:
        raise TierError(
            f"{target}: {wanted / 1e9:.2f} GB are to be copied, {free / 1e9:.2f} GB are free", code="disk.full",
            hint="Name a folder on a larger disk.",
        )  # fmt: skip


def _copy(data: Path, file: StoreFile, part: Path, told: Told) -> Copied | None:
    """Copy one file; None when it went away meanwhile, and what it held has moved on to files that come later."""
    relative = f"{DATA}/{file.path.relative_to(data).as_posix()}"
    target = part / relative
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    told(relative)
    schema = 0
    try:
        if file.kind in SQLITE:
            schema = _copy_sqlite(file.path, target)
        elif file.kind == HOT and file.shard >= 0:
            _copy_hot(data, file, part / DATA)
        elif file.kind == ARCHIVE:
            _copy_archived(file.path, target)
        else:
            shutil.copyfile(file.path, target)
    except FileNotFoundError:
        return None
    return _sealed(part, relative, file.kind, schema)


def _sealed(part: Path, relative: str, kind: str, schema: int = 0) -> Copied:
    """Durable, and with its checksum."""
    path = part / relative
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.chmod(0o600)
    return Copied(relative, path.stat().st_size, checksum(path), kind, schema)


def checksum(path: Path) -> str:
    """BLAKE2b of a file, 128 bits, in hexadecimal."""
    total = blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            total.update(piece)
    return total.hexdigest()


def _copy_hot(data: Path, file: StoreFile, part: Path) -> None:
    if why := hot_json.damage(data, file.site, file.shard):
        raise TierError(f"{file.path}: {why}", code="tier.damaged", hint="Run `rmm store repair` first.")
    states = hot_json.load(data, file.site, file.shard, owner=False)
    known = {name: hot_json.without_digests(state) for name, state in states.items()}
    hot_json.write(part, file.site, file.shard, known, datetime.now(UTC))


def _copy_archived(source: Path, target: Path) -> None:
    """A day with its checksum beside it, which belong together; it may be written anew meanwhile."""
    if target.exists():  # a checksum that came with its day
        return
    for _ in range(TRIES):
        shutil.copyfile(source, target)
        sums = source.with_suffix(archived.SUMS)
        if source.suffix != archived.SUFFIX or not sums.exists():
            return
        shutil.copyfile(sums, target.with_suffix(archived.SUMS))
        if archived.checksum(target) in archived.known_checksums(target):
            return


def _copy_sqlite(source: Path, target: Path) -> int:
    """Copy by SQLite's own backup; returns the schema. The copy is one file that needs nothing beside it."""
    try:
        with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as copy:
            with reading(source) as connection:
                connection.isolation_level = None
                # In WAL mode a read that lasts keeps one state for all steps and blocks nobody: without it each commit
                # of a round would begin the copy anew. Without a WAL it would block the writer; there each step reads
                # for itself, and the nightly merge is the only one that can make it begin anew.
                if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                connection.backup(copy, pages=PAGES, sleep=0.05)
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
            if found := integrity(copy):
                raise TierError(f"{source}: {found}", code="tier.damaged", hint="Run `rmm store repair` first.")
            return int(copy.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        if not source.exists():
            target.unlink(missing_ok=True)
            raise FileNotFoundError(source) from error
        raise tier_error(source, error) from error


def _others(data: Path, config: Path, part: Path) -> list[Copied]:
    """The number of the installation, and the configuration."""
    found = [(data / "installation", f"{DATA}/installation")]
    for pattern in CONFIGURATION:
        found += [(path, f"{CONFIG}/{path.relative_to(config).as_posix()}") for path in sorted(config.glob(pattern))]
    copied = []
    for path, relative in found:
        if path.is_file():
            (part / relative).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copyfile(path, part / relative)
            copied.append(_sealed(part, relative, relative.partition("/")[0]))
    return copied


def read_manifest(folder: Path) -> Manifest:
    """Raises ConfigError when it is no backup, TierError when it is damaged or of a newer rmm."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        if int(msgspec.json.decode(text).get("format", 0)) > FORMAT:
            raise TierError(f"{path}: it was made by a newer rmm", code="tier.newer", hint="Install that version.")
        return msgspec.json.decode(text, type=Manifest)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"{folder}: is no backup: there is no {MANIFEST}", hint="Name a folder that `rmm store backup` has made."
        ) from error
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, ValueError, TypeError) as error:
        raise TierError(f"{path}: cannot be read: {error}", code="backup.damaged", hint=_OTHER) from error


_OTHER = "Use another backup; this one is not what was written."


def verify(folder: Path, manifest: Manifest) -> None:
    """Every file is there and has its checksum. Raises TierError that names the first which is not."""
    for one in manifest.files:
        path = folder / checked_path(one.path)
        try:
            right = path.stat().st_size == one.bytes and checksum(path) == one.blake2b
        except OSError as error:
            raise TierError(f"{path}: {error.strerror or error}", code="backup.damaged", hint=_OTHER) from error
        if not right:
            raise TierError(f"{path}: its checksum is another one", code="backup.damaged", hint=_OTHER)


def checked_path(relative: str) -> Path:
    """The path of a file of a backup, below it whatever the manifest says. Raises TierError."""
    parts = relative.split("/")
    if (
        parts[0] not in (DATA, CONFIG)
        or len(parts) < 2
        or any(part in ("", ".", "..") or "\\" in part or ":" in part or "\0" in part for part in parts)
    ):
        raise TierError(f"{MANIFEST}: {relative!r} is no file of a backup", code="backup.damaged", hint=_OTHER)
    return Path(*parts)
