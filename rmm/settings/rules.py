"""Reads alert rules: a list under `rules:` in YAML files, the shipped ones and the configuration's own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.errors import ConfigError
from rmm.model.rule import EVENTS, Rule
from rmm.resources import shipped

OPERATORS = (">", ">=", "<", "<=", "==", "!=", "in", *EVENTS)
QUARTERS = ("availability", "performance", "security", "compliance")


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
            found = list(_rule(rule))
            problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in found]
            if not found:
                yield rule


def _rule(rule: Rule) -> Iterable[tuple[str, str]]:
    """(key, problem) of one rule."""
    for key, allowed in (("op", OPERATORS), ("quarter", QUARTERS)):
        if getattr(rule, key) not in allowed:
            yield key, f"{getattr(rule, key)!r} is not one of {' '.join(allowed)}"
    if rule.warning is None and rule.critical is None:
        yield "id", f"{rule.id}: name a threshold, `warning` or `critical`"
    for key in ("warning", "critical"):
        threshold = getattr(rule, key)
        if rule.op == "in" and threshold is not None and not isinstance(threshold, list):
            yield key, "`op: in` compares with a list"
        if rule.op in OPERATORS[:4] and not isinstance(threshold, int | float | None):
            yield key, f"`op: {rule.op}` compares with a number"
    if rule.op in EVENTS and (rule.for_s or rule.hysteresis):
        yield "op", f"`op: {rule.op}` fires at once: no `for_s`, no `hysteresis`"
    if rule.for_s < 0 or rule.hysteresis < 0:
        yield "for_s" if rule.for_s < 0 else "hysteresis", "cannot be negative"
    if not 0 <= rule.points <= 25:
        yield "points", "0 to 25 are allowed"


def shipped_rules() -> list[Rule]:
    """The rules that come with rmm and belong to no collector."""
    rules, problems = read_rules(shipped("config") / "rules")
    if problems:
        raise ConfigError(problems=tuple(problems))
    return rules
