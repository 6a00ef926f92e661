"""Merging: the sealed hours of a day that is over into one segment, and its rollups by hour and by day.

A day goes into its files first and out of the shard's own file after that, so that a crash between leaves it in both;
it is then merged again, which changes nothing. Readers look into the shard's own file first, for the same reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, TypeVar

from rmm.core.rollup import Rollups, replaced, roll
from rmm.tiers.archive import recall
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.layouts import checked_names, elsewhere
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import (
    DAY,
    HOUR,
    Found,
    SealedWriter,
    daily_path,
    hourly_path,
    month_of,
    raw_path,
    week_of,
)
from rmm.tiers.cold_sqlite.segment import Name, RolledSegment, Samples, Segment

log = logging.getLogger(__name__)

T = TypeVar("T")
Stored = tuple[str, int, tuple[Name, ...], bytes]


class Sealed(NamedTuple):
    """The sealed hours of one endpoint and day."""

    endpoint: str
    day: int
    hours: list[Samples]


class Merger:
    """Writes days into their files, which it keeps open; an async context manager. Raises TierError."""

    def __init__(self, folder: Path, archived: Path | None = None) -> None:
        self._folder = folder
        self._archived = archived  # the archive of the site
        self._stack = AsyncExitStack()
        self._files: dict[Path, SealedWriter] = {}

    async def __aenter__(self) -> Merger:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _file(self, path: Path) -> SealedWriter:
        if path not in self._files:
            self._files[path] = await self._stack.enter_async_context(SealedWriter(path))
        return self._files[path]

    async def merge(self, day: int, parts: Sequence[Sealed]) -> None:
        """Write the hours of one day of several endpoints; durable on return."""
        raw = await self._file(raw_path(self._folder, day))
        hourly = await self._file(hourly_path(self._folder, day))
        daily = await self._file(daily_path(self._folder))
        made = []
        for part in parts:
            known = await _known(raw, part.endpoint, day, _samples)
            if known is None and self._archived is not None:
                # Late samples of a day that has gone to the archive: a merged day is complete where it is.
                known = await asyncio.to_thread(recall.day, self._archived, part.endpoint, day)
            hours = await _known(hourly, part.endpoint, week_of(day), _rollups)
            days = await _known(daily, part.endpoint, month_of(day), _rollups)
            made.append(await asyncio.to_thread(_merged, part, known, hours or {}, days or {}))
        for place, file in enumerate((raw, hourly, daily)):
            await file.put([segments[place] for segments in made])

    async def compact(self) -> None:
        """Give back what rewritten segments left unused; once a week, since a week's segments grow for seven nights."""
        for file in self._files.values():
            await file.compact()


async def _known(file: SealedWriter, endpoint: str, time: int, read: Callable[[list[Name], bytes], T]) -> T | None:
    """What a file has already; what cannot be read is put aside in it, and counts as nothing."""
    found = await file.get(endpoint, time)
    if found is None:
        return None
    try:
        return await asyncio.to_thread(read, await _names(file, found), found.data)
    except DamagedSegment as error:
        log.warning("%s: a segment of %s cannot be read (%s); it is kept aside", file, endpoint, error)
        await file.set_aside(endpoint, time, str(error))
        return None


async def _names(file: SealedWriter, found: Found) -> list[Name]:
    """Damaged ones are put right where another file has them. Raises DamagedSegment."""
    try:
        return checked_names(found.digest, found.series)
    except DamagedSegment:
        series = await asyncio.to_thread(elsewhere, file.path, found.digest)
        if found.digest is None or series is None:
            raise
        log.warning("%s: names of series were damaged, and are put right from another file", file)
        await file.put_right(found.digest, series)
        return checked_names(found.digest, series)


def _samples(names: list[Name], data: bytes) -> Samples:
    return Segment(data, len(names)).samples(names)


def _rollups(names: list[Name], data: bytes) -> dict[Name, Rollups]:
    return RolledSegment(data, len(names)).all(names)


def _merged(
    part: Sealed, known: Samples | None, hours: dict[Name, Rollups], days: dict[Name, Rollups]
) -> tuple[Stored, Stored, Stored]:
    samples = segment.join([*([known] if known else []), *part.hours])
    times = [one.at for one in samples.seen]
    by_hour, by_day = dict[Name, Rollups](), dict[Name, Rollups]()
    for name, series in samples.series.items():
        if not name[2]:  # it says that there was a reading
            continue
        at = times if len(series.places) == len(times) else [times[place] for place in series.places]
        by_hour[name], by_day[name] = roll(at, series.values, HOUR, DAY)
    first = part.day * 24
    return (
        (part.endpoint, part.day, *segment.encode(samples, segment.SMALL)),
        (part.endpoint, week_of(part.day), *_added(hours, by_hour, first, first + 24)),
        (part.endpoint, month_of(part.day), *_added(days, by_day, part.day, part.day + 1)),
    )


def _added(
    known: dict[Name, Rollups], new: dict[Name, Rollups], first: int, end: int
) -> tuple[tuple[Name, ...], bytes]:
    """A segment of rollups with the spans from `first` to `end` replaced."""
    none = Rollups(0, [])
    rollups = {
        name: replaced(known.get(name, none), new.get(name, none), first, end) for name in known.keys() | new.keys()
    }
    return segment.encode_rollups({name: one for name, one in rollups.items() if one.spans}, segment.SMALL)
