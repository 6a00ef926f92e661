"""What the store holds, in figures."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rmm.core.budget import Forecast, Part, forecast
from rmm.model.settings import DiskSettings, Retention
from rmm.tiers.archive.files import day_in
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import DAY, HOUR, PLACE, day_of_month, day_of_week, names_of
from rmm.tiers.cold_sqlite.segment import Segment
from rmm.tiers.store import places
from rmm.tiers.store.places import ARCHIVE, SHARD, SPOOL, StoreFile
from rmm.tiers.store.sqlite import reading

MOST_WEIGHED = 12  # segments of a file that are decoded to say what a sample costs


class Line(msgspec.Struct, kw_only=True):
    """All files of one kind of one shard. Times are ISO 8601, or empty; -1 stands for what a kind does not have."""

    site: str
    shard: int
    kind: str
    files: int = 0
    bytes: int = 0
    wal: int = 0  # bytes; part of `bytes`
    segments: int = -1
    rows: int = -1  # observations that are not sealed yet
    first: str = ""
    last: str = ""
    bytes_per_sample: float | None = None  # weighed with some segments of each file
    schema: str = ""
    damaged: int = 0  # segments kept aside; what nobody has read yet is found by a check
    error: str = ""
    weights: list[tuple[float, int]] = []  # (samples, bytes) of each weighed file


def lines(data: Path) -> list[Line]:
    """One per site, shard and kind."""
    found: dict[tuple[str, int, str], Line] = {}
    for file in places.store_files(data):
        key = (file.site, file.shard, file.kind)
        line = found.get(key)
        if line is None:
            line = found[key] = Line(site=file.site, shard=file.shard, kind=file.kind, weights=[])
        _count(line, file)
    for line in found.values():
        samples, size = (sum(column) for column in zip(*line.weights, strict=True)) if line.weights else (0, 0)
        line.bytes_per_sample = round(size / samples, 2) if samples else None
        line.weights = []
    return sorted(found.values(), key=lambda line: (line.site, line.shard, line.kind))


def _count(line: Line, file: StoreFile) -> None:
    try:
        wal = file.path.with_name(file.path.name + "-wal")
        line.wal += wal.stat().st_size if wal.exists() else 0
        line.files += 1
        line.bytes += file.size()
        if file.kind == SPOOL:
            written = datetime.fromtimestamp(file.path.stat().st_mtime, UTC).isoformat(timespec="seconds")
            line.first, line.last = min(line.first or written, written), max(line.last, written)
        elif file.kind in places.SQLITE:
            with reading(file.path) as connection:
                _ask(line, file, connection)
    except (OSError, sqlite3.Error) as error:
        if file.path.exists():
            line.error = f"{file.path.name}: {error}"


def _ask(line: Line, file: StoreFile, connection: sqlite3.Connection) -> None:
    schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
    line.schema = ", ".join(sorted({*filter(None, line.schema.split(", ")), str(schema)}))
    if file.kind == places.FLEET or not schema:
        return
    if file.kind == SHARD:
        count, low, high = _rows(connection)
        line.rows = max(0, line.rows) + count
        _span(line, low, high)
        if schema < 2:
            return
    table, unit = ("hour", HOUR) if file.kind == SHARD else ("segment", DAY)
    count, low, high = connection.execute(
        f"SELECT count(*), min(place % {PLACE}), max(place % {PLACE}) FROM {table}"  # noqa: S608 - ours
    ).fetchone()
    line.segments = max(0, line.segments) + count
    line.damaged += connection.execute("SELECT count(*) FROM damaged").fetchone()[0]
    if count and file.kind in (SHARD, "raw"):
        _span(line, low * unit, (high + 1) * unit - 1)
    elif count:
        began = day_of_month if file.kind == "daily" else day_of_week
        _span(line, began(low) * DAY, min(began(high + 1) * DAY - 1, int(datetime.now(UTC).timestamp() * 1e6)))
    if count and file.kind == "raw":
        samples = _samples(connection, count)
        line.weights.append((samples, file.size()))


def _rows(connection: sqlite3.Connection) -> tuple[int, int | None, int | None]:
    found: tuple[int, int | None, int | None] = connection.execute(
        "SELECT count(*), min(at), max(at) FROM observation"
    ).fetchone()
    return found


def _span(line: Line, low: int | None, high: int | None) -> None:
    if low is None or high is None:
        return
    first, last = (datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="seconds") for at in (low, high))
    line.first, line.last = min(line.first or first, first), max(line.last, last)


def _samples(connection: sqlite3.Connection, count: int) -> float:
    """About how many samples a file has: those of some of its segments, spread over it, times all."""
    step = max(1, count // MOST_WEIGHED)
    rows = connection.execute(
        "SELECT CAST(l.series AS BLOB), s.data "
        "FROM (SELECT row_number() OVER (ORDER BY place) AS n, layout, data FROM segment) AS s "
        "JOIN layout AS l ON l.no = s.layout WHERE s.n % ? = 0 LIMIT ?",
        (step, MOST_WEIGHED),
    ).fetchall()
    weighed = []
    for series, data in rows:
        try:
            names = names_of(series)
            samples = Segment(data, len(names)).samples(names)
        except DamagedSegment:
            continue
        weighed.append(sum(len(one.places) for one in samples.series.values()))
    return count * sum(weighed) / len(weighed) if weighed else 0.0


YOUNG = 60  # days of history below which a week that only began counts
LEAST_DAYS = 2  # of history, before anything is said of its growth


def parts_of(data: Path, now: datetime, keep: Retention) -> list[Part]:
    """What the data folder consists of, for the forecast; told from names and sizes, of young stores from first days.

    A kind of which there are fewer than two days does not grow: the first readings of everything say nothing of a day.
    """
    files = places.store_files(data)
    today = int(now.timestamp() // 86_400)
    began = _began([file for file in files if file.kind == "raw"], today)
    kept = {"raw": keep.samples, "hourly": keep.hourly, "daily": keep.daily, SHARD: keep.changes}
    late = {"raw": 7, "hourly": 31}  # days that a file waits for its last one to be old
    found = []
    for kind in sorted({file.kind for file in files}):
        of = [file for file in files if file.kind == kind]
        first = max(began, min(file.first for file in of)) if kind in late else began
        days = _archived(of) if kind == ARCHIVE else today - first if kind in kept else 0
        days = days if days >= LEAST_DAYS else 0
        limit = kept.get(kind, 0) + late.get(kind, 0) if kept.get(kind) else 0
        found.append(Part(kind, sum(file.size() for file in of), days, limit))
    return found


def _archived(files: list[StoreFile]) -> int:
    """How many days the archive has, of all sites: as many as from its first to its last."""
    days = [day for file in files if (day := day_in(file.path.name)) is not None]
    return max(days) - min(days) + 1 if days else 0


def _began(raw: list[StoreFile], today: int) -> int:
    """The first day of history."""
    first = min((file.first for file in raw), default=today)
    if today - first > YOUNG:
        return first
    days = []
    for file in raw:
        if file.first == first:
            with contextlib.suppress(sqlite3.Error), reading(file.path) as connection:
                rows = connection.execute(
                    "SELECT (SELECT min(s.place) FROM segment AS s "
                    "WHERE s.place BETWEEN e.no * ?1 AND e.no * ?1 + ?1 - 1) % ?1 FROM endpoint AS e",
                    (PLACE,),
                )
                days += [row[0] for row in rows if row[0] is not None]
    return min(days, default=today)


def outlook(data: Path, now: datetime, keep: Retention, disk: DiskSettings) -> Forecast:
    """What becomes of the data folder and of its disk. Raises OSError when the disk does not say what is free."""
    there = data if data.exists() else next(folder for folder in data.parents if folder.exists())
    room = shutil.disk_usage(there)
    return forecast(parts_of(data, now, keep), disk, free=room.free, size=room.total)
