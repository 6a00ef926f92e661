"""SQLite's SQL as PostgreSQL's: named statements and migrations, translated once.

What this cannot translate is given anew: a statement in `sql/statements.sql` under its name, a migration as a file of
its own under its number. The tests prepare every statement and compare the two schemas.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from itertools import count
from typing import NamedTuple

from rmm.tiers.fleet_sqlite import database
from rmm.tiers.migrations import named

OWN = files("rmm.tiers.fleet_postgres") / "sql"
FIRST = 8  # the migration with which this database begins: it has what the file's first eight lead to

_ORDINAL = re.compile(r"\?(\d*)")
_LIST = re.compile(r"IN \(SELECT value FROM json_each\((\$\d+)\)\)")
_FIELD = re.compile(r"\b(\w+(?:\.\w+)?) ->> '(?:\$\.)?(\w+)'")
_STRINGS = re.compile(r"('(?:[^']|'')*'|--[^\n]*)")
_NUMBERED = re.compile(r"CREATE TABLE (\w+)(?:(?!CREATE TABLE).)*?\bno INTEGER PRIMARY KEY", re.DOTALL)
_SET = re.compile(r"(\w+) = \$(\d+)")
_INSERT = re.compile(r"INSERT INTO \w+ \(([^)]*)\)\s*VALUES \(([^)]*)\)")
# Texts that nothing looks for; others are part of an index, which has no room for long ones.
LONG = frozenset({"body", "facts", "hint", "message", "outcome", "reasons", "result"})
_TYPES = (
    (re.compile(r"\) WITHOUT ROWID"), ")"),
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),  # order by bytes, as in a file
    (re.compile(r"\bINTEGER\b"), "BIGINT"),
    (re.compile(r"\bREAL\b"), "DOUBLE PRECISION"),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
)


class Statement(NamedTuple):
    """A statement, and the numbers of its parameters that may be texts of any length."""

    text: str
    whole: frozenset[int]


def statements() -> dict[str, Statement]:
    """All named statements, by name."""
    own = named((OWN / "statements.sql").read_text(encoding="utf-8"))
    every = database.statements()
    if unknown := own.keys() - every.keys():
        raise ValueError(f"no statement of the fleet's database has the name {', '.join(sorted(unknown))}")
    texts = {name: own.get(name) or translated(text) for name, text in every.items()}
    return {name: Statement(text, _whole(text)) for name, text in texts.items()}


def _whole(text: str) -> frozenset[int]:
    """Parameters that are written into columns of LONG, by `column = $n` or by the list of an INSERT."""
    found = [(column, int(number)) for column, number in _SET.findall(text)]
    for columns, values in _INSERT.findall(text):
        names = [name.strip() for name in columns.split(",")]
        found += [(n, int(v[1:])) for n, v in zip(names, re.findall(r"\$\d+", values), strict=False)]
    return frozenset(number for column, number in found if column in LONG)


def translated(statement: str) -> str:
    """One statement: its parameters numbered, lists as arrays, fields of JSON."""
    numbers = count(1)
    parts = _STRINGS.split(statement)
    parts[::2] = [_ORDINAL.sub(lambda found: f"${found[1] or next(numbers)}", part) for part in parts[::2]]
    text = _LIST.sub(r"= ANY(\1::text[])", "".join(parts))
    return _FIELD.sub(r"(\1::json ->> '\2')", text).replace("LIMIT -1 OFFSET", "OFFSET")


def scripts() -> Iterator[tuple[int, str]]:
    """(number, script) of the migrations, in order: this database's own, or the file's, translated."""
    own = {entry.name[:3]: entry for entry in OWN.iterdir() if entry.name[:3].isdigit()}
    shared = {entry.name[:3]: entry for entry in database.SQL.iterdir() if entry.name[:3].isdigit()}
    for number in sorted(own.keys() | shared.keys()):
        if int(number) < FIRST:
            continue
        if number in own:
            yield int(number), own[number].read_text(encoding="utf-8")
        else:
            yield int(number), script(shared[number].read_text(encoding="utf-8"))


def script(text: str) -> str:
    """A migration: types, and numbers that go on from the highest that is there."""
    parts = []
    for part in _statements(text):
        numbered = _NUMBERED.search(part)
        if numbered:
            default = f"no INTEGER PRIMARY KEY DEFAULT next_no('{numbered[1]}')"
            part = part.replace("no INTEGER PRIMARY KEY", default)
        pieces = _STRINGS.split(part)
        for pattern, instead in _TYPES:
            pieces[::2] = [pattern.sub(instead, piece) for piece in pieces[::2]]
        parts.append("".join(pieces))
    return "".join(parts)


def _statements(text: str) -> Iterator[str]:
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    yield statement


def newest() -> int:
    """The schema that this rmm writes."""
    return max(number for number, _ in scripts())
