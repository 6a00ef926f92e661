"""The schema of the fleet's database in PostgreSQL: made and brought up to date in one transaction."""

from __future__ import annotations

from typing import Any

from rmm.errors import TierError
from rmm.tiers.fleet_postgres import dialect

# One lock for each schema of a database, for the length of a transaction.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('rmm ' || current_schema(), 0))"
STATE = "SELECT schema, changes FROM rmm_database"
EXISTS = "SELECT to_regclass(quote_ident(current_schema()) || '.rmm_database') IS NOT NULL"

_FIRST = """
CREATE TABLE rmm_database (schema BIGINT NOT NULL, changes BIGINT NOT NULL);
INSERT INTO rmm_database (schema, changes) VALUES (0, 0);
-- The number after the highest that is there, as in a file: whoever writes is alone.
CREATE FUNCTION next_no(tab TEXT) RETURNS BIGINT LANGUAGE plpgsql AS $body$
DECLARE found BIGINT;
BEGIN
  EXECUTE format('SELECT coalesce(max(no), 0) + 1 FROM %I', tab) INTO found;
  RETURN found;
END $body$;
"""


async def migrate(connection: Any, where: str) -> None:
    """Apply the migrations that are not; whoever else opens the database waits and finds it done.

    Raises TierError (tier.newer), and what asyncpg raises.
    """
    newest = dialect.newest()
    if await connection.fetchval(EXISTS) and await connection.fetchval(STATE) == newest:
        return
    async with connection.transaction(isolation="read_committed"):
        await connection.execute(LOCK)
        if not await connection.fetchval(EXISTS):
            await connection.execute(_FIRST)
        schema = await connection.fetchval(STATE)
        if schema > newest:
            raise newer(where, schema)
        for number, script in dialect.scripts():
            if number > schema:
                await connection.execute(script)
        await connection.execute("UPDATE rmm_database SET schema = $1, changes = changes + 1", newest)


def newer(where: str, schema: int) -> TierError:
    """A newer rmm was here."""
    return TierError(
        f"{where}: has schema {schema}, this rmm knows {dialect.newest()}",
        code="tier.newer",
        hint="It was written by a newer rmm: install that version.",
    )
