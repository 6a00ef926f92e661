"""Which files of the data folder are what. Nothing here opens one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from rmm.durable import hold
from rmm.tiers.archive.files import SUFFIX
from rmm.tiers.cold_sqlite.sealed import sealed_files

FLEET, HOT, SHARD, SPOOL, ARCHIVE, ASIDE, TEMPORARY = (
    "fleet", "hot", "shard", "spool", "archive", "aside", "temporary",
)  # fmt: skip
SEALED = ("raw", "hourly", "daily")
SQLITE = (FLEET, SHARD, *SEALED)
BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps next to a file

RESTORING = "restoring"
BEFORE = "before-restore-"


class StoreFile(NamedTuple):
    """A file of the data folder. `shard`: -1 where it is of none; `first`, `end`: the days since 1970 it may hold."""

    path: Path
    kind: str
    site: str = ""
    shard: int = -1
    first: int = 0
    end: int = 0

    def size(self) -> int:
        """Bytes, with what SQLite keeps beside it; 0 when it has gone meanwhile."""
        return sum(_size(self.path.with_name(self.path.name + suffix)) for suffix in ("", "-wal"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def store_files(data: Path) -> list[StoreFile]:
    """All files of the store, in the order in which `backup` copies them: see there."""
    return [
        *_of_shards(data, "spool"),
        *_of_shards(data, "hot"),
        *_cold(data),
        *archive_files(data),
        *([StoreFile(data / "fleet.sqlite", FLEET)] if (data / "fleet.sqlite").exists() else ()),
    ]


def archive_files(data: Path) -> list[StoreFile]:
    """The archive's files, days first; the first folder of each names its site."""
    top = data / "archive"
    found = sorted((path for path in top.rglob("*") if path.is_file()), key=lambda path: (path.suffix != SUFFIX, path))
    return [StoreFile(path, _kind(path, ARCHIVE), path.relative_to(top).parts[0]) for path in found]


def _of_shards(data: Path, kind: str) -> Iterator[StoreFile]:
    for folder in _folders(data / kind):
        for path in sorted(folder.rglob("*")):
            if path.is_dir():
                continue
            name = path.name if kind == HOT else path.relative_to(folder).parts[0]
            shard = name.split(".")[0]
            of = int(shard) if shard.isdigit() else -1
            yield StoreFile(path, _kind(path, kind), folder.name, of)


def _kind(path: Path, kind: str) -> str:
    """A file that is no part of the store, but lies in it, has a kind of its own."""
    if path.name.startswith(".") and path.name.endswith(".tmp"):
        return TEMPORARY
    return ASIDE if "damaged" in path.name or path.name.endswith(".orphan") else kind


def _cold(data: Path) -> Iterator[StoreFile]:
    """Of each shard its own file before those of merged history."""
    for folder in _folders(data / "cold"):
        shards = {path.stem for path in folder.glob("*.sqlite")} | {path.name for path in _folders(folder)}
        for name in sorted(filter(str.isdigit, shards), key=int):
            if (path := folder / f"{name}.sqlite").exists():
                yield StoreFile(path, SHARD, folder.name, int(name))
            for file in sealed_files(folder / name):
                yield StoreFile(file.path, file.kind, folder.name, int(name), file.first, file.end)
            aside = [*folder.glob(f"{name}.damaged-*"), *(folder / name).glob("*.damaged-*")]
            for path in sorted((*aside, *folder.glob(f"{name}.sqlite*.orphan"))):
                yield StoreFile(path, ASIDE, folder.name, int(name))


def _folders(top: Path) -> list[Path]:
    return sorted(path for path in top.glob("*") if path.is_dir())


def orphans(data: Path) -> list[Path]:
    """What SQLite left beside a file that is not there any more, and what a crash left of a file in the making."""
    cold = [path for suffix in BESIDE for path in (data / "cold").rglob(f"*.sqlite{suffix}")]
    cold += [path for suffix in BESIDE for path in data.glob(f"*.sqlite{suffix}")]
    lone = [path for path in cold if not path.with_name(path.name.rpartition("-")[0]).exists()]
    return sorted(lone + [file.path for file in store_files(data) if file.kind == TEMPORARY])


def lease(data: Path, site: str, shard: int) -> AbstractContextManager[None]:
    """The lease of a shard, which a poll has as long as it is at work there. Raises LeaseLost on entering."""
    return hold(data / "locks" / f"{site}-{shard}.lock", f"shard {shard} of site {site}")


def fleet_lease(data: Path) -> AbstractContextManager[None]:
    """The lock of the fleet's database. Raises LeaseLost on entering, after some seconds."""
    return hold(data / "locks" / "fleet.lock", "the fleet's database", timeout_s=10.0)


def shards_of(data: Path) -> list[tuple[str, int]]:
    """(site, shard) of all shards that have anything in the store."""
    return sorted({(file.site, file.shard) for file in store_files(data) if file.shard >= 0})
