"""Reads alert rules: a list under `rules:` in YAML files, the shipped ones and the configuration's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rmm.core.rule_check import rule_problems
from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.errors import ConfigError
from rmm.model.rule import Rule
from rmm.resources import shipped


def read_rules(folder: Path) -> tuple[list[Rule], list[str]]:
    """The rules of a folder's YAML files (a list under `rules:`), and the problems found."""
    rules: list[Rule] = []
    lines: list[str] = []
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
        try:
            document = read_document(path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            lines.append(f"{path}:1: cannot be read: {error}")
            continue
        problems = list(document.problems)
        rules += _rules(document, problems)
        lines += lines_of(str(path), problems)
    return rules, lines


def _rules(document: Document, problems: list[Problem]) -> Iterable[Rule]:
    given = document.data.get("rules") if isinstance(document.data, dict) else document.data
    if given is not None and not isinstance(given, list):
        problems.append(Problem(1, "rules", "a list of rules is expected"))
        return
    for index, value in enumerate(given or ()):
        # A file may be the list itself.
        place: tuple[str | int, ...] = ("rules", index) if isinstance(document.data, dict) else (index,)
        if not isinstance(value, dict):
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
        elif (values := checked(document, place, Rule, value, problems)) is not None:
            rule = Rule(**values)
            found = list(rule_problems(rule))
            problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in found]
            if not found:
                yield rule


def shipped_rules() -> list[Rule]:
    """The rules that come with rmm and belong to no collector."""
    rules, problems = read_rules(shipped("config") / "rules")
    if problems:
        raise ConfigError(problems=tuple(problems))
    return rules
