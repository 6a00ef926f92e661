"""Reads baselines: one in each YAML file of a folder, the shipped ones and the configuration's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rmm.core.baseline import SEVERITIES, Baseline, Check
from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.errors import ConfigError
from rmm.resources import shipped

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")
MOST_CHECKS = 500


class Read(NamedTuple):
    """What a folder holds. `problems` are `file:line: key: text`; `places` is (baseline, check) -> `file:line: key`.

    `ignored`: keys that are not known, where that is no mistake.
    """

    baselines: list[Baseline]
    problems: list[str]
    places: dict[tuple[str, str], str]
    ignored: list[str]


def read_baselines(folder: Path, *, lenient: bool = False) -> Read:
    """The baselines of a folder's YAML files; whether conditions make sense is not asked.

    `lenient`: a key that is not known is ignored.
    """
    found: list[Baseline] = []
    lines: list[str] = []
    ignored: list[str] = []
    places: dict[tuple[str, str], str] = {}
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
        try:
            document = read_document(path.read_text(encoding="utf-8-sig"), lenient=lenient)
        except (OSError, UnicodeDecodeError) as error:
            lines.append(f"{path}:1: cannot be read: {error}")
            continue
        problems = list(document.problems)
        one = None if problems else _baseline(document, problems)
        if one is not None and any(one.id == other.id for other in found):
            problems.append(Problem(document.line(("id",)), "id", f"{one.id!r} is another file's too"))
        elif one is not None:
            found.append(one)
            for index, check in enumerate(one.checks):
                key = ("checks", index, "condition")
                places[one.id, check.id] = f"{path}:{document.line(key)}: {dotted(key)}"
        lines += lines_of(str(path), problems)
        ignored += lines_of(str(path), document.ignored or ())
    return Read(found, lines, places, ignored)


def _baseline(document: Document, problems: list[Problem]) -> Baseline | None:
    if not isinstance(document.data, dict):
        problems.append(Problem(1, "", "a mapping with id, title and checks is expected"))
        return None
    given = document.data.get("checks")
    rest = {key: value for key, value in document.data.items() if key != "checks"}
    values = checked(document, (), Baseline, rest, problems)
    if not isinstance(given, list) or not given:
        problems.append(Problem(document.line(("checks",)), "checks", "a list of checks is expected"))
        return None
    if len(given) > MOST_CHECKS:
        problems.append(Problem(document.line(("checks",)), "checks", f"{MOST_CHECKS} at most"))
        return None
    if values is not None and not _ID.match(values["id"]):
        problems.append(Problem(document.line(("id",)), "id", "use 1 to 64 of a-z 0-9 . _ -"))
    checks = tuple(_checks(document, given, problems))
    return Baseline(**values, checks=checks) if values is not None and not problems else None


def _checks(document: Document, given: list[Any], problems: list[Problem]) -> Iterator[Check]:
    seen: set[str] = set()
    for index, value in enumerate(given):
        place: tuple[str | int, ...] = ("checks", index)
        if not isinstance(value, dict):
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
            continue
        values = checked(document, place, Check, value, problems)
        if values is None:
            continue
        check = Check(**values)
        for key, wrong, text in (
            ("id", not _ID.match(check.id), "use 1 to 64 of a-z 0-9 . _ -"),
            ("id", check.id in seen, "this id is used twice"),
            ("severity", check.severity not in SEVERITIES, f"one of {', '.join(SEVERITIES)}"),
            ("condition", not check.condition.strip(), "a condition is expected: docs/query.md"),
        ):
            if wrong:
                problems.append(Problem(document.line((*place, key)), dotted((*place, key)), text))
        seen.add(check.id)
        yield check


def shipped_baselines() -> list[Baseline]:
    """The baselines that come with rmm."""
    found = read_baselines(shipped("config") / "baselines")
    if found.problems:
        raise ConfigError(problems=tuple(found.problems))
    return found.baselines
