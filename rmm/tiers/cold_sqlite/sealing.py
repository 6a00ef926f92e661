"""Sealing: the observations of an hour that is over, from rows into one segment. In the shard's own file alone."""

from __future__ import annotations

import asyncio
import logging
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import aiosqlite
import msgspec

from rmm.core.columns import Number
from rmm.tiers.cold_sqlite import segment
from rmm.tiers.cold_sqlite.layouts import checked_names
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import HOUR, PLACE
from rmm.tiers.cold_sqlite.segment import Name, Samples, Seen, Segment
from rmm.tiers.cold_sqlite.series import digest, exact_values

log = logging.getLogger(__name__)

MOST_HOURS = 50  # of endpoints, per transaction

_encode = msgspec.json.Encoder().encode

Row = Any  # a row of `hour_rows`


async def slice_of(db: aiosqlite.Connection, sql: Mapping[str, str], before: int) -> bool:
    """Seal up to MOST_HOURS hours that end at or before `before` (microseconds); whether there may be more."""
    limit = before // HOUR
    due = [
        (number, oldest // HOUR)
        for number, oldest in await db.execute_fetchall(sql["oldest"])
        if oldest is not None and oldest // HOUR < limit
    ]
    layouts: dict[int, list[Name]] = {}
    for number, hour in due[:MOST_HOURS]:
        await _seal(db, sql, number, hour, layouts)
    return bool(due)


async def _seal(
    db: aiosqlite.Connection, sql: Mapping[str, str], number: int, hour: int, layouts: dict[int, list[Name]]
) -> None:
    span = number, hour * HOUR, (hour + 1) * HOUR
    rows = list(await db.execute_fetchall(sql["hour_rows"], span))
    for layout in {row[6] for row in rows} - layouts.keys():
        layouts[layout] = await _names(db, sql, layout)
    for layout in {row[6] for row in rows if row[7] and not layouts[row[6]]}:
        # The observations stay; what was measured is kept for a person, since nobody knows what it is of.
        await db.execute(sql["set_samples_aside"], (*span, layout, "the names of its series are damaged"))
    place = number * PLACE + hour
    known = [
        part for part in [await known_hour(db, sql, place)] if part is not None
    ]  # a late observation: the hour is sealed already
    names, data = await asyncio.to_thread(_made, known, rows, layouts)
    stored = _encode(names)
    name = digest(stored)
    await db.execute(sql["add_layout"], (name, stored.decode(), hour * HOUR))
    ((layout,),) = await db.execute_fetchall(sql["layout_no"], (name,))
    await db.execute(sql["put_hour"], (place, layout, data))
    await db.execute(sql["drop_hour_rows"], span)


async def _names(db: aiosqlite.Connection, sql: Mapping[str, str], layout: int) -> list[Name]:
    """Of what rows of this layout have; none where they are damaged."""
    found = [*await db.execute_fetchall(sql["layout_of"], (layout,)), (None, None)]
    try:
        return checked_names(*found[0])
    except DamagedSegment as error:
        log.warning("samples of some observations are kept aside: %s", error)
        return []


async def hours_of(db: aiosqlite.Connection, sql: Mapping[str, str], number: int, day: int) -> list[Samples]:
    """The sealed hours of an endpoint and day; those that cannot be read are put aside."""
    first = number * PLACE + day * 24
    places = [row[0] for row in await db.execute_fetchall(sql["hours"], (first, first + 23))]
    found = [await known_hour(db, sql, place) for place in places]
    return [samples for samples in found if samples is not None]


async def known_hour(db: aiosqlite.Connection, sql: Mapping[str, str], place: int) -> Samples | None:
    for known, series, data in await db.execute_fetchall(sql["hour"], (place,)):
        try:
            names = checked_names(known, series)
            return await asyncio.to_thread(Segment(data, len(names)).samples, names)
        except DamagedSegment as error:
            log.warning("a sealed hour cannot be read (%s); it is kept aside", error)
            await db.execute(sql["set_hour_aside"], (place, str(error)))
    return None


def _made(known: list[Samples], rows: list[Row], layouts: Mapping[int, list[Name]]) -> tuple[tuple[Name, ...], bytes]:
    return segment.encode(segment.join([*known, samples_of(rows, layouts)]), segment.QUICK)


def samples_of(rows: list[Row], layouts: Mapping[int, list[Name]]) -> Samples:
    """The samples of rows (`hour_rows`), whose layouts are given by number."""
    return segment.gather((Seen(*row[:6]), dict(_values(row, layouts[row[6]]))) for row in rows)


def _values(row: Row, names: list[Name]) -> Iterator[tuple[Name, Number]]:
    packed, exact = row[7], exact_values(row[8]) if row[8] else {}
    values: Any = struct.unpack(f"<{len(packed) // 8}d", packed)
    found: dict[Name, Number] = {}
    for place, (name, value) in enumerate(zip(names, values, strict=False)):
        if name not in found and not math.isnan(value):  # of rows with one key the first
            found[name] = exact.get(place, value)
    yield from found.items()
    for name in names[len(values) :]:  # a reading whose values are stored when they change
        yield name, 1
