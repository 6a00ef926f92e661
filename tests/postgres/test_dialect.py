"""Statements and migrations in PostgreSQL's words: all of them are understood, and the schema is the file's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import asyncpg
import pytest
from cluster import Cluster, in_thread, schema_of

from rmm.errors import TierError
from rmm.tiers.fleet_postgres import dialect
from rmm.tiers.fleet_sqlite import FleetStore, InFolder, database
from rmm.tiers.fleet_sqlite import folder as files

TYPES = {"TEXT": "text", "INTEGER": "bigint", "REAL": "double precision", "BLOB": "bytea"}
COLUMNS = """
SELECT table_name, column_name, data_type, is_nullable = 'NO', collation_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name != 'rmm_database' ORDER BY table_name, column_name
"""
INDEXES = """
SELECT c.relname, i.indisunique, i.indpred IS NOT NULL,
  (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey::int[]) WITH ORDINALITY AS k (no, n)
   JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.no)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace s ON s.oid = c.relnamespace
WHERE s.nspname = current_schema() AND NOT i.indisprimary ORDER BY 1
"""
KEYS = """
SELECT i.indrelid::regclass::text, string_agg(a.attname, ',' ORDER BY k.n) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace s ON s.oid = c.relnamespace,
  unnest(i.indkey::int[]) WITH ORDINALITY AS k (no, n), pg_attribute a
WHERE a.attrelid = i.indrelid AND a.attnum = k.no AND s.nspname = current_schema() AND i.indisprimary GROUP BY 1
"""


async def made(cluster: Cluster, data: Path) -> str:
    async with FleetStore.open(cluster.of_folder(data)):
        return str(schema_of(data))


async def test_every_statement_is_understood(cluster: Cluster, tmp_path: Path) -> None:
    schema = await made(cluster, tmp_path)
    statements = dialect.statements()
    assert statements.keys() == database.statements().keys()

    async def prepare() -> None:
        connection = await asyncpg.connect(cluster.url(schema))
        for name, statement in statements.items():
            try:
                await connection.prepare(statement.text)
            except asyncpg.PostgresError as error:
                raise AssertionError(f"{name}: {error}: {statement.text}") from error
        await connection.close()

    in_thread(prepare)


async def test_the_schema_is_the_files(cluster: Cluster, tmp_path: Path) -> None:
    schema = await made(cluster, tmp_path)
    async with InFolder(tmp_path).open():
        pass
    with closing(sqlite3.connect(files.path_of(tmp_path))) as file:
        tables = [row[0] for row in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        columns, keys, indexes = [], {}, []
        for table in tables:
            found = file.execute(f"PRAGMA table_info({table})").fetchall()
            for _, name, kind, required, _, key in found:
                # A key has no NULL there, though the file's schema need not say so.
                kind = TYPES[kind]
                columns.append((table, name, kind, bool(required or key), "C" if kind == "text" else None))
            keys[table] = ",".join(row[1] for row in sorted(found, key=lambda row: row[5]) if row[5])
            for _, name, unique, origin, partial in file.execute(f"PRAGMA index_list({table})").fetchall():
                if origin == "c":
                    parts = [row[2] for row in file.execute(f"PRAGMA index_info({name})")]
                    indexes.append((name, bool(unique), bool(partial), ",".join(parts)))
        newest = file.execute("PRAGMA user_version").fetchone()[0]
    assert cluster.execute(COLUMNS, schema) == sorted(columns)
    assert dict(cluster.execute(KEYS, schema)) == keys
    assert cluster.execute(INDEXES, schema) == sorted(indexes)
    assert cluster.execute("SELECT schema FROM rmm_database", schema) == [(newest,)]


SCRIPT = """-- What a founder writes for the file: 'no INTEGER PRIMARY KEY' is words here.
CREATE TABLE fence (
  site TEXT NOT NULL,
  shard INTEGER NOT NULL,
  since REAL NOT NULL DEFAULT 0,
  body BLOB,
  note TEXT NOT NULL DEFAULT 'an INTEGER; or TEXT',
  PRIMARY KEY (site, shard)
) WITHOUT ROWID;
CREATE TABLE entry (
  no INTEGER PRIMARY KEY,
  at TEXT NOT NULL
);
CREATE INDEX entry_at ON entry (at) WHERE at != '';
ALTER TABLE alert ADD COLUMN site TEXT NOT NULL DEFAULT '';
"""


async def test_a_migration_of_the_file_is_this_ones(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database of the schema before is brought up to date by the script that the file has."""
    schema = await made(cluster, tmp_path)
    before = list(dialect.scripts())
    monkeypatch.setattr(dialect, "scripts", lambda: iter([*before, (900, dialect.script(SCRIPT))]))
    async with FleetStore.open(cluster.of_folder(tmp_path)) as store:
        assert await store.mark_of("x") == 0
    assert cluster.execute("SELECT schema FROM rmm_database", schema) == [(900,)]
    cluster.execute("INSERT INTO fence (site, shard) VALUES ('a', 1);", schema)
    assert cluster.execute("SELECT * FROM fence", schema) == [("a", 1, 0.0, None, "an INTEGER; or TEXT")]
    for _ in range(2):
        cluster.execute("INSERT INTO entry (at) VALUES ('x');", schema)
    assert cluster.execute("SELECT no FROM entry ORDER BY no", schema) == [(1,), (2,)]
    monkeypatch.undo()
    with pytest.raises(TierError) as caught:
        async with FleetStore.open(cluster.of_folder(tmp_path)):
            pass
    assert caught.value.code == "tier.newer"


async def test_who_is_open_while_a_newer_one_migrates_writes_nothing_more(cluster: Cluster, tmp_path: Path) -> None:
    schema = await made(cluster, tmp_path)
    async with FleetStore.open(cluster.of_folder(tmp_path)) as store:
        cluster.execute("UPDATE rmm_database SET schema = 900;", schema)
        with pytest.raises(TierError) as caught:
            async with store.transaction():
                await store.set_mark("x", 1)
    assert caught.value.code == "tier.newer"
    assert cluster.execute("SELECT * FROM mark", schema) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("SELECT ? IN ('', site), '?' FROM t LIMIT ?", "SELECT $1 IN ('', site), '?' FROM t LIMIT $2"),
        ("SELECT ?2, ?1 -- what?", "SELECT $2, $1 -- what?"),
        ("DELETE FROM t WHERE id IN (SELECT value FROM json_each(?))", "DELETE FROM t WHERE id = ANY($1::text[])"),
        ("SELECT a.body ->> '$.at'", "SELECT (a.body::json ->> 'at')"),
        ("SELECT no FROM t LIMIT -1 OFFSET ?3", "SELECT no FROM t OFFSET $3"),
    ],
)
def test_words(given: str, expected: str) -> None:
    assert dialect.translated(given) == expected


def test_the_first_migration_is_known() -> None:
    assert next(number for number, _ in dialect.scripts()) == dialect.FIRST
