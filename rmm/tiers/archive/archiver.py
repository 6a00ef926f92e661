"""Archiving what is merged, and letting go of what is archived.

A day is written anew whenever a shard's merged history of it is another than the file was written from: late samples
join what the file has. The order, of which every step may be the last before a crash:

1. a digest of each shard's merged day, and only then the day itself: what is merged in between makes it differ;
2. the file under a temporary name, synced, read back, compared;
3. its name, and the folder synced: from here on the day is archived;
4. later, by the one writer of a shard: a raw file goes when each of its days has the digest that the archive names.

Until 4 the samples are in both, and readers take each once.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm.durable import fsync_folder, hold, rename, replace_file
from rmm.errors import DamagedFile, LeaseLost, RmmError, TierError
from rmm.tiers.archive import files, parquet
from rmm.tiers.archive.parquet import Digest
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.asking import opened, version_of
from rmm.tiers.cold_sqlite.sealed import SQL, SealedFile, sealed_files
from rmm.tiers.cold_sqlite.segment import Samples
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.migrations import named, tier_error

log = logging.getLogger(__name__)

_CHECKED = "checked.json"


class _Week(msgspec.Struct):
    """What was found when the raw files of a week were last compared with the archive.

    before: days before this one were. marks: shard -> sizes and times of its file then. days: those that are archived.
    """

    before: int
    marks: dict[str, list[int]]
    days: list[int]


_weeks = msgspec.json.Decoder(dict[int, _Week]).decode


class Archived(NamedTuple):
    """A day that a run wrote."""

    day: int
    proof: files.Proof
    bytes: int


class _Shards(SiteSamples):
    """The site as some of its shards have it: an endpoint is looked for where it is known."""

    def __init__(self, data: Path, site: str, day: int) -> None:
        super().__init__(data, site)
        self._places: dict[str, list[Path]] = {}
        self._chosen: list[Path] | None = None
        for path in self._files():
            known = [row[0] for row in self._all(path, self._sql["ids"])]
            for file in _covering(path, day):
                known += [row[0] for row in self._all(file.path, self._sealed_sql["ids"])]
            for endpoint in set(known):
                self._places.setdefault(endpoint, []).append(path)

    def _files(self) -> list[Path]:
        return super()._files() if self._chosen is None else self._chosen

    def known(self) -> list[str]:
        return sorted(self._places)

    def day(self, endpoint: str, day: int) -> Samples:
        self._chosen = self._places.get(endpoint, [])
        return super().day(endpoint, day)


def _covering(path: Path, day: int) -> list[SealedFile]:
    return [file for file in sealed_files(path.with_suffix(""), "raw") if file.first <= day < file.end]


def digests(file: Path) -> dict[int, str]:
    """Day -> a digest of what is merged of it in a raw file. Raises TierError."""
    totals: dict[int, blake2b] = {}
    try:
        with closing(opened(file)) as db:
            if not version_of(db):  # its writer had only just made it
                return {}
            rows = db.execute(named((SQL / "statements.sql").read_text(encoding="utf-8"))["whole"])
            for day, *parts in rows:
                total = totals.setdefault(day, blake2b(digest_size=16))
                for part in parts:
                    data = part or b""
                    total.update(len(data).to_bytes(8, "little") + data)
    except sqlite3.Error as error:
        raise tier_error(file, error) from error
    return {day: total.hexdigest() for day, total in totals.items()}


def run(
    data: Path,
    site: str,
    before: int,
    *,
    most: int = 1 << 20,
    tell: Callable[[Archived], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Archived]:
    """Archive up to `most` days before this day that are merged and not archived as they are, oldest first.

    Raises LeaseLost while another process archives this site, ConfigError without DuckDB, TierError; where a raw file
    is damaged (tier.damaged), when all others are done.
    """
    files.required()
    done: list[Archived] = []
    damaged: list[TierError] = []
    folder = files.folder_of(data, site)
    with locked(data, site):
        _tidy(folder)
        for day, sources in _due(data, site, folder, before, damaged):
            if len(done) >= most or stop():
                break
            done.append(_archive(data, site, day, sources))
            tell(done[-1])
    if damaged:
        raise damaged[0]
    return done


def after_round(data: Path, sites: Iterable[str], before: int, room: Callable[[], None]) -> None:
    """One day of each site where one is due; what hinders it is told in the log. `room` raises where there is none."""
    for site in sites:
        try:
            room()
            run(data, site, before, most=1)
        except LeaseLost:
            continue  # another process is at it
        except RmmError as error:
            log.warning("site %s: not everything that is due was archived: %s", site, error)


def locked(data: Path, site: str) -> AbstractContextManager[None]:
    """The right to write the archive of a site; LeaseLost while another process has it."""
    return hold(data / "locks" / f"archive-{site}.lock", f"the archive of site {site}")


def _tidy(folder: Path) -> None:
    """Remove what a process that died had not finished: a day, its checksums, or what was compared."""
    for kind in ("tmp", "work", "work.wal"):
        for path in folder.glob(f".*.{kind}"):
            with contextlib.suppress(OSError):  # writing tells what is wrong with the disk
                path.unlink()


def _due(
    data: Path, site: str, folder: Path, before: int, damaged: list[TierError]
) -> Iterator[tuple[int, dict[str, str]]]:
    """Days with the digests of their sources. Raw files that are as they were when last compared are not read.

    Weeks of which a file is damaged are left out and told in `damaged`: they stay where they are.
    """
    weeks, known = _raw_files(data, site), _known(folder)
    checked = {first: week for first, week in known.items() if first in weeks}
    for first, raw in sorted(weeks.items()):
        marks, end = {shard: _mark(path) for shard, path in raw.items()}, min(before, first + 7)
        week, here = known.get(first), files.days(folder)
        if end <= first or (
            week and week.marks == marks and week.before >= end and all(day in here for day in week.days)
        ):
            continue
        merged: dict[int, dict[str, str]] = {}
        try:
            for shard, path in raw.items():
                for day, digest in digests(path).items():
                    merged.setdefault(day, {})[shard] = digest
        except TierError as error:
            if error.code != "tier.damaged":
                raise
            damaged.append(error)
            continue
        days = sorted(day for day in merged if day < end)
        for day in days:
            if not _proved(folder, day, merged[day]):
                yield day, merged[day]
        checked[first] = _Week(end, marks, days)
        replace_file(folder / _CHECKED, msgspec.json.encode(checked))


def _raw_files(data: Path, site: str) -> dict[int, dict[str, Path]]:
    """First day of a week -> shard -> its raw file."""
    found: dict[int, dict[str, Path]] = {}
    for shard in (data / "cold" / site).glob("*.sqlite"):
        for file in sealed_files(shard.with_suffix(""), "raw"):
            found.setdefault(file.first, {})[shard.stem] = file.path
    return found


def _mark(path: Path) -> list[int]:
    """Differs when a file was written to."""
    marks = []
    for one in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            found = one.stat()
            marks += [found.st_size, found.st_mtime_ns]
    return marks


def _known(folder: Path) -> dict[int, _Week]:
    try:
        return _weeks((folder / _CHECKED).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}  # it saves time alone


def _proved(folder: Path, day: int, merged: dict[str, str]) -> bool:
    """Whether the archive has all that is merged of a day. What cannot be read is set aside. Raises TierError."""
    path = files.path_of(folder, day)
    if not path.exists():
        return False
    try:
        return merged.items() <= parquet.proof_of(path).sources.items()
    except DamagedFile as error:
        set_aside(path, error)
        return False


def set_aside(path: Path, error: DamagedFile) -> Path:
    """Move a file that cannot be read out of the way; the holder of `locked` alone. Returns where it is.

    Raises TierError.
    """
    number = 1
    while (kept := path.with_name(f"{path.name}.{number}.damaged")).exists():
        number += 1
    try:
        rename(path, kept)
        fsync_folder(path.parent)
    except OSError as failed:
        raise tier_error(path, failed) from failed
    log.warning("the archive: %s; it is kept as %s", error, kept.name)
    return kept


def _archive(data: Path, site: str, day: int, merged: dict[str, str]) -> Archived:
    path = files.path_of(files.folder_of(data, site), day)
    store = _Shards(data, site, day)
    old: files.Proof | None = None
    if path.exists():
        try:  # all of it, before a new file takes its name
            old = parquet.proof_of(path)
            if not parquet.matches(path, old):
                raise DamagedFile(f"{path.name}: is not what it says of itself")
        except DamagedFile as error:
            set_aside(path, error)
            old = None
    sources = {**(old.sources if old else {}), **merged}
    before = old.damaged if old else 0  # its source may have been set aside since

    def proof(digest: Digest) -> files.Proof:
        return digest.proof(site, day, sources, max(before, store.damaged + store.aside(day)))

    made = parquet.write(path, _parts(store, day, path if old else None), proof)
    return Archived(day, made, path.stat().st_size)


def _parts(store: _Shards, day: int, old: Path | None) -> Iterator[tuple[str, Samples]]:
    """Each endpoint's samples of a day, of archive and store, by growing name."""
    archived = parquet.endpoints(old) if old else []
    names = sorted({*store.known(), *archived})
    for first in range(0, len(names), parquet.BLOCK):
        block = names[first : first + parquet.BLOCK]
        before = dict(parquet.read(old, block)) if old else {}
        for endpoint in block:
            parts = [before[endpoint]] if endpoint in before else []
            samples = segment.join([*parts, store.day(endpoint, day)])
            if samples.seen:
                yield endpoint, samples


def complete(data: Path, site: str, file: SealedFile) -> bool:
    """Whether nothing is known to have been left out of the days of a raw file, in any shard. Raises TierError."""
    folder = files.folder_of(data, site)
    days = [day for day in range(file.first, file.end) if files.path_of(folder, day).exists()]
    try:
        return not any(parquet.proof_of(files.path_of(folder, day)).damaged for day in days)
    except DamagedFile:  # a day of which this file has nothing, or `may_go` would have said so
        return False


def may_go(data: Path, site: str, shard: str, file: SealedFile) -> bool:
    """Whether the archive has every day of a raw file as it is; asked by its shard's one writer.

    Raises TierError.
    """
    folder = files.folder_of(data, site)
    for day, digest in sorted(digests(file.path).items()):
        path = files.path_of(folder, day)
        try:
            if not path.exists() or parquet.proof_of(path).sources.get(shard) != digest:
                return False
        except DamagedFile as error:
            log.warning("the archive: %s; its source stays", error)
            return False
    return True
