"""The part of WQL that collectors may use: SELECT of named properties FROM one class, with a WHERE."""

from __future__ import annotations

import re
from typing import NamedTuple

_QUERY = re.compile(
    r"\s*SELECT\s+(?P<properties>.+?)\s+FROM\s+(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:\s+WHERE\s+(?P<where>.+?))?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEYWORDS = frozenset({"and", "or", "not", "like", "is", "null", "isa", "true", "false"})


class Query(NamedTuple):
    """A parsed query; `conditions` are the properties that its WHERE names."""

    class_name: str
    properties: tuple[str, ...]
    conditions: tuple[str, ...] = ()


def parse_query(wql: str) -> Query | str:
    """The query, or why it is refused."""
    match = _QUERY.match(wql)
    if match is None:
        return "not of the form SELECT properties FROM class [WHERE condition]"
    names = tuple(name.strip() for name in match["properties"].split(","))
    if any(not _NAME.match(name) for name in names):
        return "name every property that is needed; SELECT * costs the endpoint too much"
    words = _WORD.findall(_STRING.sub(" ", match["where"] or ""))
    return Query(match["name"], names, tuple(word for word in words if word.lower() not in _KEYWORDS))
