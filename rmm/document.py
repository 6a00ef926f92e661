"""YAML with the place of every key: plain values only, no YAML 1.1 surprises, duplicate keys refused."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import msgspec

Path = tuple[str | int, ...]

_INTEGER = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,29})\Z")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][+-]?[0-9]+)?\Z")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
MAX_DEPTH = 20
MAX_VALUES = 100_000
_TOO_MANY = f"more than {MAX_VALUES} values"
_PLAIN = {
    "tag:yaml.org,2002:" + kind for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
}


class Problem(NamedTuple):
    """Something wrong at a place of a file; lines and columns count from 1."""

    line: int
    key: str
    message: str


class Document(NamedTuple):
    """A parsed file. `lines` maps the path of every key and item to its line.

    `ignored` is a list where unknown keys are no mistake, because a newer version may have written the file: what is
    ignored of it is noted there.
    """

    data: Any
    lines: dict[Path, int]
    problems: list[Problem]
    ignored: list[Problem] | None = None

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest place above it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_document(text: str, *, lenient: bool = False) -> Document:
    """Parse one YAML document. `no`, `12:30` and `012` stay text; only true, false, null and decimals are more.

    `lenient`: keys that are not known are noted and ignored.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = Document(None, {}, [], [] if lenient else None)
    try:
        node = yaml.compose(text, Loader=loader)
    except RecursionError:
        return Document(None, {}, [Problem(1, "", "nested too deeply")])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or str(error)
        return Document(None, {}, [Problem(line, "", f"not YAML: {problem}")])
    return document._replace(data=_value(node, (), document))


def _value(node: Any, path: Path, document: Document) -> Any:
    if node is None:
        return None
    if len(document.lines) >= MAX_VALUES:  # a few lines with aliases of aliases could stand for billions of values
        if not document.problems or document.problems[-1].message != _TOO_MANY:
            document.problems.append(Problem(node.start_mark.line + 1, dotted(path[:1]), _TOO_MANY))
        return None
    document.lines.setdefault(path, node.start_mark.line + 1)
    if len(path) > MAX_DEPTH:
        document.problems.append(Problem(document.line(path), dotted(path), "nested too deeply"))
        return None
    if node.id == "mapping":
        return _mapping(node, path, document)
    if node.id == "sequence":
        return [_value(item, (*path, index), document) for index, item in enumerate(node.value)]
    if node.tag not in _PLAIN:
        document.problems.append(Problem(document.line(path), dotted(path), f"tag {node.tag} is not allowed"))
        return None
    return _scalar(node.value) if node.style in (None, "") else node.value


def _mapping(node: Any, path: Path, document: Document) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if key_node.id == "scalar" else "?"
        place = (*path, key)
        if key in result:
            document.problems.append(
                Problem(key_node.start_mark.line + 1, dotted(place), f"twice; first in line {document.lines[place]}")
            )
            continue
        document.lines[place] = key_node.start_mark.line + 1
        result[key] = _value(value_node, place, document)
    return result


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        return int(text)
    if _DECIMAL.match(text):
        return float(text)
    return text


def dotted(path: Path) -> str:
    """`fields.used_pct.args`, `rules[0].field`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    """By name; finding out costs as much as all the rest."""
    return {field.name: field for field in msgspec.structs.fields(kind)}


def checked(
    document: Document, place: Path, kind: type[msgspec.Struct], values: dict[str, Any], problems: list[Problem]
) -> dict[str, Any] | None:
    """The values converted to the types that `kind` declares; None when one cannot be."""
    known = _fields(kind)
    result: dict[str, Any] = {}
    before = len(problems)
    for key, value in values.items():
        line, name = document.line((*place, key)), dotted((*place, key))
        if key not in known and document.ignored is not None:
            document.ignored.append(Problem(line, name, "unknown here, and ignored"))
            continue
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            problems.append(Problem(line, name, f"unknown key; {meant}"))
            continue
        try:
            result[key] = msgspec.convert({} if value is None else value, known[key].type)
        except msgspec.ValidationError as error:
            problems.append(Problem(line, name, str(error)))
    for key, field in known.items():
        if field.required and key not in values:
            problems.append(Problem(document.line(place), dotted((*place, key)), "missing"))
    return result if len(problems) == before else None


def lines_of(file: str, problems: Iterable[Problem]) -> list[str]:
    """One line per problem, in the order of the file; line 0 stands for what is not of the file."""
    return [
        f"{f'{file}:{p.line}: ' if p.line else ''}{p.key + ': ' if p.key else ''}{p.message}"
        for p in sorted(set(problems))
    ]
