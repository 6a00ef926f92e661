"""SQL over the archive, by DuckDB: it reads the files that are named and nothing else, within limits."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rmm.errors import ArchiveQueryError, ConfigError
from rmm.tiers.archive.parquet import connected

SCALES = "[1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6]"
_OBSERVATIONS = """
CREATE VIEW observations AS
SELECT site, endpoint, unnest(time) AS time, unnest(epoch) AS epoch, unnest(seq) AS seq, unnest(status) AS status,
  unnest(fault) AS fault, unnest(duration_ms) AS duration_ms
FROM archive WHERE collector IS NULL
"""
# value: float64, the nearest to what was measured; exact: the same for whole numbers, to the last digit.
_SAMPLES = f"""
CREATE VIEW samples AS
SELECT s.site, s.endpoint, s.collector, s.key, s.field,
  unnest(CASE WHEN s.places IS NULL THEN o.time ELSE list_select(o.time, [p + 1 for p in s.places]) END) AS time,
  unnest(CASE WHEN s.numbers IS NULL THEN s.reals ELSE [n / {SCALES}[s.digits + 1] for n in s.numbers] END) AS value,
  unnest(CASE WHEN s.exact IS NOT NULL THEN s.exact WHEN s.digits = 0 THEN s.numbers::DECIMAL(20,0)[]
         ELSE [NULL for r in coalesce(s.numbers, s.reals)]::DECIMAL(20,0)[] END) AS exact
FROM archive AS s JOIN archive AS o ON o.site = s.site AND o.file = s.file AND o.endpoint = s.endpoint
WHERE s.field <> '' AND o.collector IS NULL  -- without a field: that there was a reading
"""  # noqa: S608


class Limits(NamedTuple):
    """What a query may take: rows of its answer, memory (as DuckDB writes it), seconds."""

    rows: int = 10_000
    memory: str = "1GB"
    seconds: float = 60.0


class Answer(NamedTuple):
    """Columns and rows; `more` where there were more rows than the limit."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    more: bool


def query(statement: str, sites: Mapping[str, Sequence[Path]], limits: Limits) -> Answer:
    """Answer one SELECT over these files.

    Raises ArchiveQueryError for what DuckDB does not take or does not finish within the limits, and ConfigError where
    there is no DuckDB.
    """
    paths = [str(path.absolute()) for found in sites.values() for path in found]
    if not paths:
        raise ConfigError("the archive has no day of these sites and times", hint="`rmm archive list` shows them.")
    with contextlib.closing(connected(threads=2, memory_limit=limits.memory, temp_directory="")) as db:
        import duckdb

        try:
            _selects_alone(db, statement)
            _prepare(db, sites, paths)
            return _answer(db, statement, limits)
        except duckdb.InterruptException as error:
            raise ArchiveQueryError(f"the query was not done within {limits.seconds:g} s") from error
        except duckdb.Error as error:
            raise ArchiveQueryError(str(error).strip()) from error


def _selects_alone(db: Any, statement: str) -> None:
    import duckdb

    found = db.extract_statements(statement)
    allowed = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
    if len(found) != 1 or found[0].type not in allowed:
        raise ArchiveQueryError("one SELECT is expected, and nothing else")


def _prepare(db: Any, sites: Mapping[str, Sequence[Path]], paths: list[str]) -> None:
    """Views over the files, and from then on no way to any other file, to the network or to these settings."""
    parts = " UNION ALL ".join(
        f"SELECT {_text(site)} AS site, filename AS file, * EXCLUDE (filename) "  # noqa: S608
        f"FROM read_parquet([{', '.join(_text(str(path.absolute())) for path in found)}], filename = true)"
        for site, found in sites.items()
        if found
    )
    db.execute(f"SET allowed_paths = [{', '.join(map(_text, paths))}]")
    db.execute("SET enable_external_access = false")
    db.execute(f"CREATE VIEW archive AS {parts}")
    db.execute(_OBSERVATIONS)
    db.execute(_SAMPLES)
    db.execute("SET lock_configuration = true")


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _answer(db: Any, statement: str, limits: Limits) -> Answer:
    timer = threading.Timer(limits.seconds, db.interrupt)
    timer.start()
    try:
        db.execute(statement)
        rows = db.fetchmany(limits.rows + 1)
        return Answer([one[0] for one in db.description], rows[: limits.rows], len(rows) > limits.rows)
    finally:
        timer.cancel()
