"""Which reading follows a time: asked only when one comes late, so it may look everywhere."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import aiosqlite

from rmm.tiers.cold_sqlite.asking import opened
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, PLACE, names_of, sealed_files
from rmm.tiers.cold_sqlite.sealed import SQL as SEALED_SQL
from rmm.tiers.cold_sqlite.segment import Segment
from rmm.tiers.migrations import named, tier_error

log = logging.getLogger(__name__)


async def read_after(
    db: aiosqlite.Connection, sql: Mapping[str, str], folder: Path, place: tuple[int, str], at: int
) -> int | None:
    """The time of an endpoint's first reading of a collector after `at`, wherever it is by now; None for none.

    `place`: number of the endpoint, collector. An rmm of the first schema did not note which observations have one.
    A damaged file of merged history is passed over. Raises TierError where one cannot be read otherwise.
    """
    number, collector = place
    found: list[int] = []
    async with db.execute(sql["rows_after"], (number, at)) as cursor:
        async for row_at, series in cursor:
            with contextlib.suppress(DamagedSegment):
                if (collector, "", "") in names_of(series):
                    found.append(row_at)
                    break
    first = number * PLACE
    async with db.execute(sql["hours"], (first + at // HOUR, first + PLACE - 1)) as cursor:
        async for _, _, series, data in cursor:
            if (moment := _first(series, data, collector, at)) is not None:
                found.append(moment)
                break
    ((endpoint,),) = await db.execute_fetchall(sql["id_of"], (number,))
    if (moment := _merged(folder, endpoint, collector, at)) is not None:
        found.append(moment)
    return min(found, default=None)


def _merged(folder: Path, endpoint: str, collector: str, at: int) -> int | None:
    sql = named((SEALED_SQL / "statements.sql").read_text(encoding="utf-8"))
    for file in sealed_files(folder, "raw"):
        if file.end <= at // DAY:
            continue
        try:
            with contextlib.closing(opened(file.path)) as connection:
                numbers = connection.execute(sql["endpoint_no"], (endpoint,)).fetchall()
                for (number,) in numbers:
                    places = number * PLACE + at // DAY, number * PLACE + PLACE - 1
                    for _, _, series, data in connection.execute(sql["segments"], places):
                        if (found := _first(series, data, collector, at)) is not None:
                            return found
        except (sqlite3.Error, UnicodeDecodeError) as error:
            failure = tier_error(file.path, error)
            if failure.code != "tier.damaged":
                raise failure from error
            log.warning("%s; whether it has the reading that follows a late one is not known", failure)
    return None


def _first(series: bytes | None, data: bytes, collector: str, at: int) -> int | None:
    reading = (collector, "", "")
    with contextlib.suppress(DamagedSegment):
        names = names_of(series)
        if reading in names:
            times, _ = Segment(data, len(names)).one(names.index(reading))
            return next((moment for moment in times if moment > at), None)
    return None
