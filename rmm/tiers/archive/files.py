"""Names of the archive's files, and what proves one. Nothing here needs DuckDB.

data/archive/<site>/2026-11-24.parquet      a day, UTC
data/archive/<site>/*.damaged               what could not be read, as it was found
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import msgspec

from rmm.durable import replace_file
from rmm.errors import ConfigError, TierError
from rmm.tiers.cold_sqlite.sealed import EPOCH, SealedFile, named_in
from rmm.tiers.migrations import set_aside

log = logging.getLogger(__name__)

SUFFIX = ".parquet"
SUMS = ".b2"
INSTALL = "Install the extra: pip install 'mytech-rmm[archive]'."


class Proof(msgspec.Struct, frozen=True):
    """What a day's file says of itself, in its metadata under the key `rmm`.

    content: of everything in it, see `parquet.Digest`. sources: shard -> `archiver.digests` of what was merged there
    when the file was written: a raw file that still has this digest holds nothing that the archive lacks.
    damaged: segments of the source that could not be read when it was written, or written first; see `released` for
    what becomes of them.
    """

    site: str
    day: int
    endpoints: int
    observations: int
    samples: int
    content: str
    sources: dict[str, str]
    damaged: int = 0
    version: int = 1


def folder_of(data: Path, site: str) -> Path:
    """Where the archive of a site is."""
    return data / "archive" / site


def path_of(folder: Path, day: int) -> Path:
    """The file of a day since 1970."""
    return folder / f"{told(day)}{SUFFIX}"


def told(day: int) -> str:
    """A day as people write it: 2026-11-24."""
    return (EPOCH + timedelta(days=day)).isoformat()


def day_of(text: str) -> int:
    """The inverse of `told`. Raises ConfigError."""
    try:
        return (date.fromisoformat(text) - EPOCH).days
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day", hint="Write it as 2026-11-24.") from error


def day_in(name: str) -> int | None:
    """The day of a file with this name; None where it is no day's."""
    with contextlib.suppress(ValueError):
        if name.endswith(SUFFIX):
            return (date.fromisoformat(name.removesuffix(SUFFIX)) - EPOCH).days
    return None


def days(folder: Path) -> dict[int, Path]:
    """Day -> its file, by time."""
    found: dict[int, Path] = {}
    for name in named_in(folder):
        if (day := day_in(name)) is not None:
            found[day] = folder / name
    return dict(sorted(found.items()))


def checksum(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def known_checksums(path: Path) -> list[str]:
    """Those of which a day's file has one: two where a new one was not finished, none where they were not copied."""
    try:
        return [line.split()[0] for line in path.with_suffix(SUMS).read_text(encoding="ascii").splitlines() if line]
    except (OSError, ValueError, IndexError):
        return []


def note_checksums(path: Path, sums: Sequence[str]) -> None:
    """Write them; durable on return. Raises TierError."""
    replace_file(path.with_suffix(SUMS), "".join(f"{one}  {path.name}\n" for one in sums).encode())


def available() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("duckdb") is not None


def required() -> None:
    """ConfigError where the extra is missing."""
    if not available():
        raise ConfigError("the archive needs DuckDB, which is not installed", hint=INSTALL)


def released(data: Path, site: str, shard: int) -> Callable[[SealedFile], bool] | None:
    """Which raw files of a shard may go because the archive has them; None, which asks nothing, without the extra.

    Where the archive cannot be asked, nothing may go. A file with segments that cannot be read, which the archive
    lacks, does not go either: it is renamed to `*.damaged-<n>`, for a person.
    """
    if not available():
        _say_once()
        return None

    def asked(file: SealedFile) -> bool:
        from rmm.tiers.archive.archiver import complete, may_go
        from rmm.tiers.store.check import lacks_nothing

        try:
            if not may_go(data, site, str(shard), file):
                return False
            if complete(data, site, file) or lacks_nothing(file.path):
                return True
            kept = set_aside(file.path).name
        except TierError as error:
            log.warning("%s stays, because the archive cannot be asked: %s", file.path, error)
            return False
        log.warning("%s: the archive has what could be read of it; it is kept as %s", file.path, kept)
        return False

    return asked


@cache
def _say_once() -> None:
    log.warning("archive.after_days is set, but nothing is archived: history goes as `retention` says. %s", INSTALL)
