"""What PostgreSQL, its client and the network say, as errors of this product. Nothing here shows a password."""

from __future__ import annotations

import ssl
from typing import Any, NamedTuple

import asyncpg

from rmm.errors import TierError
from rmm.model.observation import COLLECTOR_FAULT
from rmm.tiers.fleet_sqlite.database import CONFLICT, NO_ROOM, UNFIT

_GONE = "Is the server up, and does it admit this machine? Nothing was lost: what is not stored is in the spool."
_AGAIN = "Something else than rmm is at work in this database; the next round tries again."
_MAKE = "Make it: createdb --encoding UTF8 --owner USER DATABASE."
_SCHEMA = "Make the schema that search_path names: CREATE SCHEMA."
_OPTIONS = "Correct the options of hub.database: they are those of libpq, and settings of the server."
_STANDBY = "This is a standby, or the user may only read: name the server that takes writes."
_RESTORE = "It was changed by something else than rmm: restore it from a dump (`pg_restore`), or name an empty one."
_TLS = (
    "The server's certificate is checked as a browser would: name another CA by "
    "?sslmode=verify-full&sslrootcert=FILE, or say ?sslmode=disable where the way there is safe."
)


# What asyncpg, and what it stands on, raise; the last but one of a connection that ends while it is used.
FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


class Verdict(NamedTuple):
    """What a state means. The status is of an observation that could not be kept for it."""

    code: str
    retry: str
    hint: str
    status: str = COLLECTOR_FAULT


# By SQLSTATE, or its class of two characters.
_STATES: dict[str, Verdict] = {
    "08": Verdict("database.unreachable", "RB", _GONE, COLLECTOR_FAULT),
    "28": Verdict("database.logon", "RH", "Check user and password: hub.database_password, PGPASSWORD, ~/.pgpass or "
                  "the URL; and pg_hba.conf of the server.", COLLECTOR_FAULT),
    "3D": Verdict("database.unknown", "RH", _MAKE, COLLECTOR_FAULT),
    "3F": Verdict("database.unknown", "RH", _SCHEMA, COLLECTOR_FAULT),
    "42704": Verdict("database.options", "RH", _OPTIONS, COLLECTOR_FAULT),
    "22023": Verdict("database.options", "RH", _OPTIONS, COLLECTOR_FAULT),
    "42501": Verdict("database.rights", "RH", "The user must own the database or its schema, as rmm makes its tables "
                     "there.", COLLECTOR_FAULT),
    **dict.fromkeys(
        ("22001", "22003", "22008", "22021", "22P05", "54000"), Verdict(UNFIT, "R0", NO_ROOM, COLLECTOR_FAULT)
    ),
    "25006": Verdict("database.read_only", "RH", _STANDBY, COLLECTOR_FAULT),
    "25P03": Verdict("database.unreachable", "RB", "This process stood still within a transaction, and the server "
                     "ended it; the next round begins anew.", COLLECTOR_FAULT),
    "40": Verdict(CONFLICT, "RB", _AGAIN, COLLECTOR_FAULT),
    "53100": Verdict("database.full", "RB", "Free some space on the server; nothing of this round was lost.",
                     COLLECTOR_FAULT),
    "53": Verdict("database.busy", "RB", "The server has no room for another connection or no memory: raise its "
                  "limits.", COLLECTOR_FAULT),
    "55P03": Verdict("database.busy", "RB", _AGAIN, COLLECTOR_FAULT),
    "57014": Verdict("database.busy", "RB", "The server is slow, or something else holds a lock; the next round tries "
                     "again.", COLLECTOR_FAULT),
    "57": Verdict("database.unreachable", "RB", _GONE, COLLECTOR_FAULT),
    "58": Verdict("database.disk", "RB", "The server cannot read or write its own files: see its log.",
                  COLLECTOR_FAULT),
    "XX": Verdict("database.damaged", "RH", _RESTORE, COLLECTOR_FAULT),
    "42": Verdict("database.damaged", "RH", _RESTORE, COLLECTOR_FAULT),
}  # fmt: skip


def tier_error(where: str, error: BaseException) -> TierError:
    """The TierError of a failed operation; `where` names database and host."""
    if isinstance(error, TierError):
        return error
    if isinstance(error, asyncpg.InvalidCachedStatementError):  # a newer rmm has migrated meanwhile
        return TierError(f"{where}: {error}", code=CONFLICT, retry="RB", hint=_AGAIN)
    state = getattr(error, "sqlstate", None)
    if isinstance(error, asyncpg.PostgresError) and state:
        found = _STATES.get(state) or _STATES.get(state[:2]) or _STATES["XX"]
        return TierError(f"{where}: {error}", code=found.code, retry=found.retry, hint=found.hint)
    return _of_client(where, error)


def _of_client(where: str, error: BaseException) -> TierError:
    if isinstance(error, ssl.SSLError):
        return TierError(f"{where}: {error}", code="database.tls", retry="RH", hint=_TLS)
    if isinstance(error, TimeoutError):
        return TierError(f"{where}: no answer in time", code="database.unreachable", retry="RB", hint=_GONE)
    if isinstance(error, OSError):
        text = error.strerror or str(error)
        return TierError(f"{where}: {text}", code="database.unreachable", retry="RB", hint=_GONE)
    if isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError):  # asyncpg could not encode it
        return TierError(f"{where}: {error}", code=UNFIT, hint=NO_ROOM)
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError) and not isinstance(error, ValueError):
        return TierError(f"{where}: {error}", code="database.unreachable", retry="RB", hint=_GONE)
    return TierError(
        f"{where}: {error}", code="database.damaged", retry="RH", hint=_RESTORE
    )  # what was read or given is not as it is


def refused(where: str, facts: Any) -> TierError | None:
    """Why a server that has answered cannot be written to; None where it can.

    `facts` has version (as 150018), standby, read_only, encoding, schema (of tables; None where search_path has none).
    """
    if facts["version"] < 130000:
        text = f"is PostgreSQL {facts['version'] // 10000}"
        return TierError(f"{where}: {text}", code="database.old", retry="RH", hint="PostgreSQL 13 or later is needed.")
    if facts["standby"] or facts["read_only"]:
        return TierError(f"{where}: takes no writes", code="database.read_only", retry="RH", hint=_STANDBY)
    if facts["encoding"] != "UTF8":
        text = f"has the encoding {facts['encoding']}"
        return TierError(f"{where}: {text}", code="database.unknown", retry="RH", hint=_MAKE)
    if facts["schema"] is None:
        text = "search_path names no schema that there is"
        return TierError(f"{where}: {text}", code="database.unknown", retry="RH", hint=_SCHEMA)
    return None
