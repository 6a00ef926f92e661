"""A query's text as words. Bounded in length; what is no word is a QueryError with its place."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from rmm.errors import QueryError

MOST_CHARACTERS = 4000
MOST_WORDS = 1000

KEYWORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "unknown", "true", "false", "now"})

_WORDS = re.compile(
    r"""(?P<space>\s+)
    | (?P<time>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:T[0-9:.]{1,20}(?:Z|[+-][0-9]{2}:[0-9]{2})?)?)
    | (?P<number>(?:[0-9]{1,40}(?:\.[0-9]{1,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3}(?![A-Za-z0-9]))?)
      (?P<unit>(?:%|/?[A-Za-z][A-Za-z0-9]*(?:/s)?)?)
    | (?P<text>"(?:[^"]|"")*"|'(?:[^']|'')*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>==|!=|<=|>=|!~|<|>|~|\(|\)|,|\.|@|\+|-)""",
    re.VERBOSE,
)
_INSTEAD = {"=": "==", "&": "and", "|": "or", "!": "not"}


class Word(NamedTuple):
    """`kind`: keyword, name, number, text, time, sign or end.

    `value` is what a text, number or time stands for, and a name as it was written.
    """

    kind: str
    text: str
    column: int
    value: int | float | str | datetime = ""
    unit: str = ""


def words_of(text: str) -> list[Word]:
    """The words, and at last one of kind `end`.

    Raises QueryError for what is no word, and for what is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"the query is longer than {MOST_CHARACTERS} characters")
    found: list[Word] = []
    at = 0
    while at < len(text):
        match = _WORDS.match(text, at)
        if match is None:
            raise _no_word(text, at)
        if match.lastgroup != "space":
            found.append(_word(match, text))
        at = match.end()
        if len(found) > MOST_WORDS:
            raise QueryError(f"the query has more than {MOST_WORDS} words")
    return [*found, Word("end", "", len(text) + 1)]


def _no_word(text: str, at: int) -> QueryError:
    if text[at] in "\"'":
        return QueryError("this text has no closing quote", text, at + 1)
    instead = _INSTEAD.get(text[at])
    return QueryError(f"{text[at]!r} is no word{f'; write {instead}' if instead else ''}", text, at + 1)


def _word(match: re.Match[str], query: str) -> Word:
    text, column = match[0], match.start() + 1
    if match["name"] is not None:
        lowered = text.lower()
        return Word("keyword" if lowered in KEYWORDS else "name", lowered, column, text)
    if match["text"] is not None:
        quote = text[0]
        return Word("text", text, column, text[1:-1].replace(quote * 2, quote))
    if match["time"] is not None:
        return Word("time", text, column, moment_of(text, query, column))
    if match["number"] is not None:
        return Word("number", text, column, _number(match["number"], query, column), match["unit"])
    return Word("sign", text, column)


def _number(text: str, query: str, column: int) -> int | float:
    if text.isdecimal():
        return int(text)
    value = float(text)
    if value - value != 0:
        raise QueryError("this number is too large", query, column)
    return value


def moment_of(text: str, query: str, column: int) -> datetime:
    """An ISO time, UTC where it names no offset. Raises QueryError."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise QueryError("this is no time; write 2026-11-24 or 2026-11-24T12:30", query, column) from error
