"""What a person does with the archive: looking, checking, bringing days back."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rmm.errors import ConfigError, DamagedFile
from rmm.tiers.archive import files, parquet
from rmm.tiers.archive.archiver import locked, set_aside
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.sealed import RESTORED, SealedWriter, raw_path
from rmm.tiers.migrations import tier_error

log = logging.getLogger(__name__)


class Looked(NamedTuple):
    """A day of the archive. state: ok, damaged, or set aside (of an earlier one that was)."""

    day: int
    path: Path
    bytes: int
    state: str
    proof: files.Proof | None = None
    why: str = ""


def listed(data: Path, site: str) -> list[Looked]:
    """Every day by what its file says of itself, and what was set aside; nothing is checked.

    Raises ConfigError without DuckDB, TierError.
    """
    files.required()
    folder = files.folder_of(data, site)
    found = [_said(day, path) for day, path in files.days(folder).items()]
    for path in folder.glob("*.damaged"):
        day = files.day_of(path.name.partition(".")[0])
        found.append(Looked(day, path, path.stat().st_size, "set aside"))
    return sorted(found, key=lambda one: (one.day, one.path))


def _said(day: int, path: Path) -> Looked:
    size = path.stat().st_size
    try:
        return Looked(day, path, size, "ok", parquet.proof_of(path))
    except DamagedFile as error:
        return Looked(day, path, size, "damaged", why=str(error))


def examined(site: str, day: int, path: Path) -> Looked:
    """A day's file read whole and compared with what it says; nothing is changed. Raises TierError.

    Outside of `archiver.locked` it may be written anew meanwhile: then it is read once more.
    """
    while True:
        before, one = path.stat(), _said(day, path)
        try:
            if one.proof is None or (one.proof.site, one.proof.day) != (site, day):
                raise DamagedFile(one.why or f"{path.name}: is a file of another site or day")
            if not parquet.matches(path, one.proof):
                raise DamagedFile(f"{path.name}: is not what it says of itself")
            return one
        except DamagedFile as error:
            if path.stat().st_ino == before.st_ino:
                return one._replace(state="damaged", why=str(error))


def verify(
    data: Path, site: str, days: Sequence[int] = (), tell: Callable[[Looked], None] = lambda _: None
) -> list[Looked]:
    """Read days, or all of them, whole, and compare them with what they say; what is damaged is set aside.

    Raises LeaseLost while the site is archived, ConfigError for a day that is not there or without DuckDB, TierError.
    """
    files.required()
    found = []
    with locked(data, site):
        for day, path in _wanted(data, site, days).items():
            one = examined(site, day, path)
            if one.state != "ok":
                one = one._replace(path=set_aside(path, DamagedFile(one.why)))
            found.append(one)
            tell(one)
    return found


def _wanted(data: Path, site: str, days: Sequence[int]) -> dict[int, Path]:
    here = files.days(files.folder_of(data, site))
    missing = [files.told(day) for day in days if day not in here]
    if missing:
        raise ConfigError(
            f"the archive of site {site} has no {', '.join(missing)}", hint="`rmm archive list` shows what there is."
        )
    return {day: here[day] for day in sorted(set(days))} if days else here


def restore(data: Path, site: str, days: Sequence[int]) -> list[Path]:
    """Bring days back into raw files of the store, which retention leaves alone; returns which. Durable on return.

    Raises as `verify`, and DamagedFile; what is there of a day that cannot be read is not restored.
    """
    files.required()
    with locked(data, site):
        wanted = _wanted(data, site, days)
        for path in wanted.values():
            if not parquet.matches(path, parquet.proof_of(path)):
                raise DamagedFile(f"{path.name}: is not what it says of itself")
        return asyncio.run(_restore(data / "cold" / site / RESTORED, wanted))


async def _restore(folder: Path, wanted: dict[int, Path]) -> list[Path]:
    made: list[Path] = []
    for day, path in wanted.items():
        target = raw_path(folder, day)
        async with SealedWriter(target) as writer:
            names = await asyncio.to_thread(parquet.endpoints, path)
            for first in range(0, len(names), parquet.BLOCK):
                block = await asyncio.to_thread(parquet.read, path, names[first : first + parquet.BLOCK])
                await writer.put([(one, day, *segment.encode(samples, segment.SMALL)) for one, samples in block])
        if target not in made:
            made.append(target)
    return made


def forget_restored(data: Path, site: str) -> bool:
    """Delete all days of a site that were restored; the archive keeps them. Whether there were any.

    Raises LeaseLost while the site is archived, TierError.
    """
    folder = data / "cold" / site / RESTORED
    with locked(data, site):
        if not folder.exists():
            return False
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise tier_error(folder, error) from error
        return True
