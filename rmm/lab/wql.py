"""A strict parser of the WQL that a monitoring query needs, and its conditions as predicates.

SELECT * | property, ... FROM class [WHERE condition]; conditions with AND, OR, NOT, parentheses, = <> != < > <= >=,
[NOT] LIKE and IS [NOT] NULL. It knows no instances and no classes: types are handed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from rmm.lab.machine import INVALID_QUERY, CimFault

Predicate = Callable[[Mapping[str, Any]], bool]

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<word>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[+-]?\d+(?:\.\d+)?)
    | (?P<text>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")
    | (?P<mark><>|!=|<=|>=|[=<>(),*])
    )""",
    re.VERBOSE,
)
_KEYWORDS = frozenset(["select", "from", "where", "and", "or", "not", "like", "is", "null", "true", "false"])
MAX_LENGTH = 8192
MAX_DEPTH = 32


class Comparison(NamedTuple):
    """`operator` is one of = <> < > <= >= like, or null (IS NULL; then `value` is None)."""

    prop: str
    operator: str
    value: str | int | float | bool | None


class Group(NamedTuple):
    """`kind` is and, or, not; `parts` are Comparison or Group."""

    kind: str
    parts: tuple[Any, ...]


class Query(NamedTuple):
    """A parsed query. `properties` is empty for `*`; names are as written."""

    class_name: str
    properties: tuple[str, ...]
    where: Comparison | Group | None


def invalid_query(why: str) -> CimFault:
    """WMI's own answer to a query that it cannot read; `why` is for people."""
    return CimFault(INVALID_QUERY, f"Invalid query: {why}")


def parse(text: str) -> Query:
    """Raises CimFault 0x80041017 for anything outside the grammar."""
    if len(text) > MAX_LENGTH:
        raise invalid_query("too long")
    return _Parser(_tokens(text)).query()


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, position, end = [], 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise invalid_query(f"at character {position + 1}")
        kind, value = match.lastgroup, match.group(match.lastgroup)
        if kind == "word" and value.lower() in _KEYWORDS:
            kind, value = "keyword", value.lower()
        tokens.append((kind, value))
        position = match.end()
    return tokens


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def accept(self, kind: str, value: str) -> bool:
        if self.peek() == (kind, value):
            self.at += 1
            return True
        return False

    def expect(self, kind: str, value: str = "") -> str:
        found, text = self.peek()
        if found != kind or (value and text != value):
            raise invalid_query(f"expected {value or kind}, found {text or 'the end'}")
        self.at += 1
        return text

    def query(self) -> Query:
        self.expect("keyword", "select")
        properties: list[str] = []
        if not self.accept("mark", "*"):
            properties.append(self.expect("word"))
            while self.accept("mark", ","):
                properties.append(self.expect("word"))
        self.expect("keyword", "from")
        name = self.expect("word")
        where = self.either() if self.accept("keyword", "where") else None
        self.expect("end")
        return Query(name, tuple(properties), where)

    def either(self) -> Any:
        parts = [self.both()]
        while self.accept("keyword", "or"):
            parts.append(self.both())
        return parts[0] if len(parts) == 1 else Group("or", tuple(parts))

    def both(self) -> Any:
        parts = [self.negation()]
        while self.accept("keyword", "and"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else Group("and", tuple(parts))

    def negation(self) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise invalid_query("nested too deeply")
        try:
            if self.accept("keyword", "not"):
                return Group("not", (self.negation(),))
            if self.accept("mark", "("):
                inner = self.either()
                self.expect("mark", ")")
                return inner
            return self.comparison()
        finally:
            self.depth -= 1

    def comparison(self) -> Any:
        prop = self.expect("word")
        if self.accept("keyword", "is"):
            absent = not self.accept("keyword", "not")
            self.expect("keyword", "null")
            test = Comparison(prop, "null", None)
            return test if absent else Group("not", (test,))
        if self.accept("keyword", "not"):
            self.expect("keyword", "like")
            return Group("not", (Comparison(prop, "like", self.pattern()),))
        if self.accept("keyword", "like"):
            return Comparison(prop, "like", self.pattern())
        operator = self.expect("mark")
        if operator not in ("=", "<>", "!=", "<", ">", "<=", ">="):
            raise invalid_query(f"{operator} is no comparison")
        return Comparison(prop, "<>" if operator == "!=" else operator, self.literal())

    def pattern(self) -> str:
        value = self.literal()
        if not isinstance(value, str):
            raise invalid_query("LIKE needs a string")
        return value

    def literal(self) -> str | int | float | bool | None:
        kind, text = self.peek()
        self.at += 1
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "keyword" and text in ("true", "false", "null"):
            return {"true": True, "false": False, "null": None}[text]
        raise invalid_query(f"expected a value, found {text or 'the end'}")


def predicate(where: Comparison | Group | None, types: Mapping[str, str]) -> Predicate:
    """A condition as a function of an instance.

    `types` maps the class's properties to CIM types, in their own spelling. Raises CimFault for a property that
    the class does not have and for a value that cannot be compared with it, as WMI does.
    """
    if where is None:
        return lambda row: True
    if isinstance(where, Group):
        parts = [predicate(part, types) for part in where.parts]
        if where.kind == "not":
            only = parts[0]
            return lambda row: not only(row)
        if where.kind == "and":
            return lambda row: all(part(row) for part in parts)
        return lambda row: any(part(row) for part in parts)
    return _comparison(where, types)


def _comparison(test: Comparison, types: Mapping[str, str]) -> Predicate:
    prop = spelled(test.prop, types)
    if test.operator == "null" or test.value is None:
        if test.operator not in ("null", "=", "<>"):
            raise invalid_query("NULL has no order")
        wanted = test.operator != "<>"
        return lambda row: (row.get(prop) is None) == wanted
    kind = types[prop]
    if kind.endswith("[]"):
        raise invalid_query(f"{prop} is an array")
    if test.operator == "like":
        if kind != "string":
            raise invalid_query(f"{prop} is not a string")
        expression = like(str(test.value))
        return lambda row: isinstance(row.get(prop), str) and expression.fullmatch(row[prop]) is not None
    value = _coerce(test.value, kind, prop)
    compare = _OPERATORS[test.operator]

    def check(row: Mapping[str, Any]) -> bool:
        have = row.get(prop)
        if have is None:
            return False
        return compare(have.casefold() if isinstance(have, str) else have, value)

    return check


_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda have, value: bool(have == value),
    "<>": lambda have, value: bool(have != value),
    "<": lambda have, value: bool(have < value),
    ">": lambda have, value: bool(have > value),
    "<=": lambda have, value: bool(have <= value),
    ">=": lambda have, value: bool(have >= value),
}


def spelled(name: str, types: Mapping[str, str]) -> str:
    """The class's own spelling of a property named without regard to case. Raises CimFault when it has none."""
    if name in types:
        return name
    folded = name.casefold()
    for known in types:
        if known.casefold() == folded:
            return known
    raise invalid_query(f"there is no property {name}")


def _coerce(value: str | int | float | bool, kind: str, prop: str) -> Any:
    """The literal as a value of the property's type; WMI takes numbers and booleans in quotes too."""
    try:
        if kind == "string":
            return str(value).casefold()
        if kind == "boolean":
            return _boolean(value)
        if kind == "datetime":
            return read_datetime(str(value))
        if isinstance(value, bool):
            return int(value)
        return float(value) if kind.startswith("float") or isinstance(value, float) else int(value)
    except ValueError as error:
        raise invalid_query(f"{prop} cannot be compared with {value!r}") from error


def _boolean(value: str | int | float | bool) -> bool:
    word = str(value).casefold()
    if word in ("true", "1", "-1"):
        return True
    if word in ("false", "0"):
        return False
    raise ValueError(word)


def like(pattern: str) -> re.Pattern[str]:
    """WQL's LIKE: % any text, _ one character, [a-f] and [^a-f] ranges; without regard to case."""
    parts, position = [], 0
    while position < len(pattern):
        character = pattern[position]
        end = pattern.find("]", position + 1)
        if character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        elif character == "[" and end > position + 1:
            parts.append(_range(pattern[position + 1 : end]))
            position = end
        else:
            parts.append(re.escape(character))
        position += 1
    return re.compile("".join(parts), re.IGNORECASE | re.DOTALL)


def _range(inner: str) -> str:
    negated = inner.startswith("^") and len(inner) > 1
    body = re.sub(r"([\\\]\[^&~|])", r"\\\1", inner[1:] if negated else inner)
    text = f"[{'^' if negated else ''}{body}]"
    try:
        re.compile(text)
    except re.error as error:
        raise invalid_query(f"[{inner}] is no range") from error
    return text


def read_datetime(text: str) -> datetime:
    """A CIM datetime `yyyymmddHHMMSS.ffffff+UUU` (minutes from UTC) as an aware time; ValueError for anything else."""
    match = re.fullmatch(r"(\d{14})\.(\d{6})([+-])(\d{3})", text)
    if match is None:
        raise ValueError(text)
    minutes = int(match[3] + match[4])
    offset = f"{match[3]}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    return datetime.strptime(f"{match[1]}.{match[2]}{offset}", "%Y%m%d%H%M%S.%f%z")
