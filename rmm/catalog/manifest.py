"""From a parsed `collector.yaml` to a `Manifest`: types and known keys, every problem with its place."""

from __future__ import annotations

from typing import Any

import msgspec

from rmm.document import Document, Path, Problem, checked, dotted
from rmm.model.collector import Argument, Field, Manifest, Source
from rmm.model.rule import Rule

_PARTS: dict[str, type[msgspec.Struct]] = {"fields": Field, "sources": Source, "arguments": Argument}


def build_manifest(document: Document) -> tuple[Manifest | None, list[Problem]]:
    """The manifest, or None with the problems that prevent it."""
    problems = list(document.problems)
    data = document.data
    if not isinstance(data, dict):
        if not problems:
            problems.append(Problem(1, "", "a mapping of keys is expected"))
        return None, problems
    values = {key: value for key, value in data.items() if key not in (*_PARTS, "rules")}
    for part, kind in _PARTS.items():
        values[part] = _each(document, part, kind, problems)
    values["rules"] = _rules(document, problems)
    whole = checked(document, (), Manifest, values, problems)
    if problems or whole is None:
        return None, problems
    return Manifest(**whole), problems


def _each(document: Document, part: str, kind: type[msgspec.Struct], problems: list[Problem]) -> dict[str, Any]:
    given = document.data.get(part)
    if given is None and part != "fields":
        return {}
    if not isinstance(given, dict) or not given:
        problems.append(Problem(document.line((part,)), part, "a mapping of names is expected"))
        return {}
    built = {}
    for name, value in given.items():
        place: Path = (part, name)
        if not isinstance(value, dict):
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
        elif (right := checked(document, place, kind, value, problems)) is not None:
            built[name] = kind(**right)
    return built


def _rules(document: Document, problems: list[Problem]) -> tuple[Rule, ...]:
    given = document.data.get("rules") or []
    name = document.data.get("name")
    if not isinstance(given, list):
        problems.append(Problem(document.line(("rules",)), "rules", "a list is expected"))
        return ()
    rules = []
    for index, value in enumerate(given):
        place: Path = ("rules", index)
        if not isinstance(value, dict) or "collector" in value:
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys without `collector`"))
        elif (right := checked(document, place, Rule, value, problems)) is not None:
            rules.append(Rule(**right, collector=str(name)))
    return tuple(rules)
