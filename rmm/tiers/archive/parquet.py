"""One day of a site as a Parquet file, by DuckDB.

A row is one series of one endpoint, with its samples as lists, or the observations of one endpoint (`collector` is null
then). Rows are in blocks of endpoints; in a block observations first, then the series by metric, so that what is alike
is side by side. Measured on the shapes of the benchmark, bytes per sample: 1.25 so (of it 0.07 for the observations),
1.6 to 4.4 with a row per sample in different orders. Values are as `rmm.core.columns` scales them: `numbers`, to be
divided by ten to the power of `digits`, or `reals` with `exact` where float64 does not hold them. Lossless.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from rmm.core.columns import Number, scaled, unscaled
from rmm.durable import disk_code, fsync_folder, make_folder, rename
from rmm.errors import DamagedFile, TierError
from rmm.tiers.archive import files
from rmm.tiers.archive.files import Proof, required
from rmm.tiers.cold_sqlite.segment import Name, Samples, Seen, Series

BLOCK = 200  # endpoints
ROWS = 2048  # of a row group; DuckDB's least
LEVEL = 19  # zstd; 5 % smaller than level 3 at ten times its time, which is 1.5 s for 3.5 million samples
MEMORY = "512MB"
LARGEST_EXACT = 1 << 53

_COLUMNS = {
    "endpoint": "VARCHAR", "collector": "VARCHAR", "key": "VARCHAR", "field": "VARCHAR",
    "time": "BIGINT[]", "epoch": "VARCHAR[]", "seq": "BIGINT[]", "status": "VARCHAR[]", "fault": "VARCHAR[]",
    "duration_ms": "DOUBLE[]", "places": "INTEGER[]", "digits": "TINYINT", "numbers": "BIGINT[]", "reals": "DOUBLE[]",
    "exact": "DECIMAL(20,0)[]",
}  # fmt: skip
_SHAPE = [{name: [kind[:-2]] if kind.endswith("[]") else kind for name, kind in _COLUMNS.items()}]
_TIME = "[make_timestamp(t) for t in time] AS time"
_MICROS = "[epoch_us(t) for t in time] AS time"

_json = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder().encode


class Digest:
    """Equal for equal observations and samples; endpoints are added by growing name."""

    def __init__(self) -> None:
        self._total = blake2b(digest_size=16)
        self.endpoints = self.observations = self.samples = 0

    def add(self, endpoint: str, samples: Samples) -> None:
        """Everything of one endpoint."""
        total = self._total
        total.update(_pack((endpoint, samples.seen, sorted(samples.series))))
        for name, series in sorted(samples.series.items()):
            places = series.places if len(series.places) != len(samples.seen) else None
            total.update(_pack((places, _exact(series.values))))
            total.update(array("d", series.values).tobytes())
            self.samples += len(series.values) if name[2] else 0  # without a field: that there was a reading
        self.endpoints += 1
        self.observations += len(samples.seen)

    def proof(self, site: str, day: int, sources: Mapping[str, str], damaged: int = 0) -> Proof:
        """What was added, as a file says it."""
        counts = self.endpoints, self.observations, self.samples
        return Proof(site, day, *counts, self._total.hexdigest(), dict(sources), damaged)

    def proves(self, proof: Proof) -> bool:
        """Whether what was added is what a file says."""
        return self.proof(proof.site, proof.day, proof.sources, proof.damaged) == proof


def _exact(values: Sequence[Number]) -> list[tuple[int, int]]:
    """What float64 does not hold: (place, value)."""
    if not values or (min(values) >= -LARGEST_EXACT and max(values) <= LARGEST_EXACT):
        return []
    return [(place, one) for place, one in enumerate(values) if one.__class__ is int and float(one) != one]


def connected(file: str = ":memory:", **options: Any) -> Any:
    """A connection of DuckDB. Raises ConfigError where it is not installed."""
    required()
    import duckdb

    config = {"threads": 1, "memory_limit": MEMORY, "autoinstall_known_extensions": False, **options}
    connection = duckdb.connect(file, config=config)
    connection.execute("SET TimeZone = 'UTC'")
    return connection


_reader = cache(connected)  # an empty database in memory, whose cursors read files: making one takes 30 ms


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """What DuckDB raises, as TierError."""
    required()
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise TierError(f"the archive: {_first_line(error)}", code=_code(error)) from error


def _code(error: Exception) -> str:
    """DuckDB says why the system refused in words alone."""
    for number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EROFS, errno.EACCES, errno.EIO):
        if os.strerror(number) in str(error):
            return disk_code(OSError(number, ""))
    return "archive"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def write(path: Path, days: Iterable[tuple[str, Samples]], proved: Any) -> Proof:
    """Write a day: (endpoint, everything of it), by growing endpoint; durable under its name on return.

    `proved(digest)` gives what the file says of itself, when all has been taken. The file is read back and compared
    before it gets its name. Raises TierError, and then what was there is as it was.
    """
    temporary, work = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("tmp", "work"))
    try:
        make_folder(path.parent)
        with translated(), contextlib.closing(connected(str(work))) as db:
            columns = ", ".join(f'"{name}" {kind}' for name, kind in _COLUMNS.items())
            db.execute(f"CREATE TABLE day ({columns})")
            digest = _fill(db, days)
            proof: Proof = proved(digest)
            _copy(db, temporary, proof)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if not matches(temporary, proof):
            raise TierError(f"{path}: what was written is not what it was written from", code="archive.written")
        # Whatever of the next three steps is the last: the file under the name has one of the checksums beside it.
        new = files.checksum(temporary)
        files.note_checksums(path, [*files.known_checksums(path)[-1:], new])
        rename(temporary, path)
        fsync_folder(path.parent)
        files.note_checksums(path, [new])
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
    except DamagedFile as error:
        raise TierError(f"{path}: what was written cannot be read: {error}", code="archive.written") from error
    finally:
        for left in (temporary, work, work.with_name(work.name + ".wal")):
            with contextlib.suppress(OSError):
                left.unlink()
    return proof


def _fill(db: Any, days: Iterable[tuple[str, Samples]]) -> Digest:
    digest, rest = Digest(), iter(days)
    while block := list(islice(rest, BLOCK)):
        for endpoint, samples in block:
            digest.add(endpoint, samples)
        rows = [_observations(endpoint, samples) for endpoint, samples in block]
        series = [(name, endpoint, one, samples) for endpoint, samples in block for name, one in samples.series.items()]
        # collector, field, row key, endpoint: what is measured alike is alike
        series.sort(key=lambda one: (one[0][0], one[0][2], one[0][1], one[1]))
        rows += [_series(name, endpoint, one, len(samples.seen)) for name, endpoint, one, samples in series]
        for first in range(0, len(rows), ROWS):
            _insert(db, rows[first : first + ROWS])
    return digest


def _insert(db: Any, rows: list[dict[str, Any]]) -> None:
    """As JSON: DuckDB takes a list from Python value by value, which takes seven times as long."""
    db.execute(
        "INSERT INTO day BY NAME SELECT unnest(from_json($1, $2), recursive := true)",
        [_json(rows).decode(), _json(_SHAPE).decode()],
    )


def _observations(endpoint: str, samples: Samples) -> dict[str, Any]:
    names = ("time", "epoch", "seq", "status", "fault", "duration_ms")
    return {"endpoint": endpoint, **{name: [one[n] for one in samples.seen] for n, name in enumerate(names)}}


def _series(name: Name, endpoint: str, series: Series, count: int) -> dict[str, Any]:
    row: dict[str, Any] = {"endpoint": endpoint, "collector": name[0], "key": name[1], "field": name[2]}
    if len(series.places) != count:
        row["places"] = series.places
    found = scaled(series.values)
    if found is not None:
        return {**row, "digits": found[0], "numbers": found[1]}
    reals = list(map(float, series.values))
    if exact := dict(_exact(series.values)):
        row["exact"] = [exact.get(place) for place in range(len(reals))]
    return {**row, "reals": [one if math.isfinite(one) else str(one) for one in reals]}


def _copy(db: Any, path: Path, proof: Proof) -> None:
    said = _quoted(_json(proof).decode())
    columns = ", ".join(_TIME if name == "time" else f'"{name}"' for name in _COLUMNS)
    db.execute(
        f"COPY (SELECT {columns} FROM day) TO {_quoted(str(path))} (FORMAT parquet, PARQUET_VERSION v2, "  # noqa: S608
        f"COMPRESSION zstd, COMPRESSION_LEVEL {LEVEL}, ROW_GROUP_SIZE {ROWS}, KV_METADATA {{rmm: {said}}})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextlib.contextmanager
def reading(path: Path) -> Iterator[Any]:
    """A connection, and what makes a file unreadable as DamagedFile."""
    with translated(), contextlib.closing(_reader().cursor()) as db:
        import duckdb

        try:
            yield db
        except (duckdb.OutOfMemoryException, duckdb.InterruptException, duckdb.PermissionException):
            raise
        except (duckdb.Error, msgspec.DecodeError, ValueError, IndexError, TypeError) as error:
            if not path.exists():
                raise TierError(f"{path}: there is no such file", code="archive") from error
            raise DamagedFile(f"{path.name}: {_first_line(error)}") from error


def proof_of(path: Path) -> Proof:
    """What a file says of itself. Raises DamagedFile, TierError."""
    with reading(path) as db:
        found = db.execute("SELECT value FROM parquet_kv_metadata(?) WHERE key = 'rmm'", [str(path)]).fetchall()
        if len(found) != 1:
            raise DamagedFile(f"{path.name}: is not a file of this archive")
        return msgspec.json.decode(found[0][0], type=Proof)


def endpoints(path: Path) -> list[str]:
    """The endpoints of a file, in order. Raises DamagedFile, TierError."""
    with reading(path) as db:
        statement = "SELECT endpoint FROM read_parquet(?) WHERE collector IS NULL ORDER BY endpoint"
        return [row[0] for row in db.execute(statement, [str(path)]).fetchall()]


def read(path: Path, names: Sequence[str], collector: str = "", field: str = "") -> list[tuple[str, Samples]]:
    """Everything of some endpoints by name; of one field's series alone where it is given.

    Raises DamagedFile, TierError.
    """
    if not names:
        return []
    columns = ", ".join(_MICROS if name == "time" else f'"{name}"' for name in _COLUMNS)
    statement = f"SELECT {columns} FROM read_parquet(?) WHERE endpoint BETWEEN ? AND ?"  # noqa: S608
    given = [str(path), min(names), max(names)]
    if collector:
        statement += " AND (collector IS NULL OR (collector = ? AND field = ?))"
        given += [collector, field]
    wanted = set(names)
    with reading(path) as db:
        return together(row for row in db.execute(statement, given).fetchall() if row[0] in wanted)


def together(rows: Iterable[Sequence[Any]]) -> list[tuple[str, Samples]]:
    """Rows in the order of the columns, by endpoint. Raises ValueError, KeyError for what does not fit."""
    found: dict[str, Samples] = {}
    left: list[Sequence[Any]] = []
    for row in rows:
        if row[1] is None:
            found[row[0]] = Samples([Seen(*one) for one in zip(*row[4:10], strict=True)], {})
        else:
            left.append(row)
    for endpoint, collector, key, field, *_, places, digits, numbers, reals, exact in left:
        if endpoint not in found:
            raise ValueError(f"{endpoint} has samples without observations")
        count = len(found[endpoint].seen)
        values = unscaled(digits, numbers) if numbers is not None else _mixed(reals, exact)
        at = list(range(count)) if places is None else places
        if len(at) != len(values) or (at and not 0 <= min(at) <= max(at) < count):
            raise ValueError("samples and observations do not match")
        found[endpoint].series[(collector, key, field)] = Series(at, values)
    return sorted(found.items())


def _mixed(reals: list[float], exact: Sequence[Any] | None) -> list[Number]:
    if exact is None:
        return [*reals]
    return [real if whole is None else int(whole) for real, whole in zip(reals, exact, strict=True)]


def all_of(path: Path) -> Iterator[tuple[str, Samples]]:
    """Everything, endpoint by endpoint. Raises DamagedFile, TierError."""
    names = endpoints(path)
    for first in range(0, len(names), BLOCK):
        yield from read(path, names[first : first + BLOCK])


def matches(path: Path, proof: Proof) -> bool:
    """Whether a file holds what the proof says, says the same, and has its checksum. Raises DamagedFile, TierError."""
    known = files.known_checksums(path)
    if (known and files.checksum(path) not in known) or proof_of(path) != proof:
        return False
    digest = Digest()
    for endpoint, samples in all_of(path):
        digest.add(endpoint, samples)
    return digest.proves(proof)
