"""What PostgreSQL, its client and the network say, as errors of this product. Nothing here shows a password."""

from __future__ import annotations

import ssl
from typing import Any

import asyncpg

from rmm.errors import TierError
from rmm.tiers.fleet_sqlite.database import CONFLICT

_GONE = "Is the server up, and does it admit this machine? Nothing was lost: what is not stored is in the spool."
_RESTORE = "It was changed by something else than rmm: restore it from a dump (`pg_restore`), or give it an empty one."

# SQLSTATE, or its class of two characters -> (code, what to do).
_STATES: dict[str, tuple[str, str]] = {
    "08": ("database.unreachable", _GONE),
    "28": ("database.logon", "Check user and password: hub.database_password, PGPASSWORD, ~/.pgpass or the URL; and "
           "pg_hba.conf of the server."),
    "3D": ("database.unknown", "Make it: createdb --encoding UTF8 --owner USER DATABASE."),
    "3F": ("database.unknown", "Make the schema that search_path names: CREATE SCHEMA."),
    "42501": ("database.rights", "The user must own the database or its schema, as rmm makes its tables there."),
    "25006": ("database.read_only", "This is a standby, or the user may only read: name the server that takes writes."),
    "25P03": ("database.unreachable", "This process stood still within a transaction, and the server ended it."),
    "40": (CONFLICT, "Something else than rmm is at work in this database; the next round tries again."),
    "53100": ("disk.full", "Free some space on the server; nothing of this round was lost."),
    "53": ("database.busy", "The server has no room for another connection or no memory: raise its limits."),
    "55P03": ("database.busy", "Something else holds a lock in this database; the next round tries again."),
    "57014": ("database.busy", "The server is slow, or something else holds a lock; the next round tries again."),
    "57": ("database.unreachable", _GONE),
    "58": ("database.disk", "The server cannot read or write its own files: see its log."),
    "XX": ("tier.damaged", _RESTORE),
    "42": ("tier.damaged", _RESTORE),
}  # fmt: skip


def tier_error(where: str, error: BaseException) -> TierError:
    """The TierError of a failed operation; `where` names database and host."""
    if isinstance(error, TierError):
        return error
    if isinstance(error, asyncpg.InvalidCachedStatementError):  # a newer rmm has migrated meanwhile
        return TierError(f"{where}: {error}", code=CONFLICT, retry="RB", hint=_STATES["40"][1])
    state = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and state:
        code, hint = _STATES.get(state) or _STATES.get(state[:2]) or ("database", _RESTORE)
        return TierError(f"{where}: {error}", code=code, retry="RB", hint=hint)
    return _of_client(where, error)


def _of_client(where: str, error: BaseException) -> TierError:
    if isinstance(error, ssl.SSLError):
        return TierError(f"{where}: {error}", code="database.tls", retry="RH", hint=TLS)
    if isinstance(error, TimeoutError):
        return TierError(f"{where}: no answer in time", code="database.unreachable", retry="RB", hint=_GONE)
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        return TierError(f"{where}: {text}", code="database.unreachable", retry="RB", hint=_GONE)
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, asyncpg.DataError):
        return TierError(f"{where}: {error}", code="database.unreachable", retry="RB", hint=_GONE)
    return TierError(f"{where}: {error}", code="tier.damaged", hint=_RESTORE)  # what was read or given is not as it is


TLS = (
    "The server's certificate is checked as a browser would: name another CA by "
    "?sslmode=verify-full&sslrootcert=FILE, or say ?sslmode=disable where the way there is safe."
)


def refused(where: str, facts: Any) -> TierError | None:
    """Why a server that has answered cannot be written to; None where it can.

    `facts` has version (as 150018), standby, read_only, encoding, schema (of tables; None where search_path has none).
    """
    if facts["version"] < 130000:
        text = f"is PostgreSQL {facts['version'] // 10000}"
        return TierError(f"{where}: {text}", code="database.old", retry="RH", hint="PostgreSQL 13 or later is needed.")
    if facts["standby"] or facts["read_only"]:
        return TierError(f"{where}: takes no writes", code="database.read_only", retry="RH", hint=_STATES["25006"][1])
    if facts["encoding"] != "UTF8":
        text = f"has the encoding {facts['encoding']}"
        return TierError(f"{where}: {text}", code="database.unknown", retry="RH", hint=_STATES["3D"][1])
    if facts["schema"] is None:
        text = "search_path names no schema that there is"
        return TierError(f"{where}: {text}", code="database.unknown", retry="RH", hint=_STATES["3F"][1])
    return None
