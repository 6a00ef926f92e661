"""Reads alert rules: `rules:` and `overrides:` in YAML files, the shipped ones and the configuration's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from rmm.core.query.schema import Schema
from rmm.core.rule_check import misfits, override_problems, rule_problems, when_problems
from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.errors import ConfigError
from rmm.model.collector import Manifest
from rmm.model.rule import Override, Rule
from rmm.resources import shipped

Places = Mapping[str, str]  # key of a rule, or nothing for itself -> `file:line: rules[0].key`


class RuleFiles(NamedTuple):
    """What the YAML files of a folder say, and where; `problems` as `file:line: key: text`.

    `ignored`: keys that are not known, where that is no mistake.
    """

    rules: list[Rule]
    overrides: list[Override]
    places: dict[str, Places]  # of rules by id, of overrides by `override N` (from 0)
    problems: list[str]
    ignored: list[str]


def read_rules(folder: Path, *, lenient: bool = False) -> RuleFiles:
    """The rules and overrides of a folder's YAML files, and what is wrong with each by itself.

    `lenient`: a key that is not known is ignored.
    """
    found = RuleFiles([], [], {}, [], [])
    for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else ():
        try:
            document = read_document(path.read_text(encoding="utf-8-sig"), lenient=lenient)
        except (OSError, UnicodeDecodeError) as error:
            found.problems.append(f"{path}:1: cannot be read: {error}")
            continue
        problems = list(document.problems)
        _read(document, str(path), found, problems)
        found.problems.extend(lines_of(str(path), problems))
        found.ignored.extend(lines_of(str(path), document.ignored or ()))
    return found


def _read(document: Document, file: str, found: RuleFiles, problems: list[Problem]) -> None:
    if isinstance(document.data, dict):
        unknown = document.data.keys() - {"rules", "overrides"}
        whither = problems if document.ignored is None else document.ignored
        whither += [Problem(document.line((key,)), key, "unknown key; known are overrides, rules") for key in unknown]
    for place, value in _items(document, "rules", problems):
        if (values := checked(document, place, Rule, value, problems)) is None:
            continue
        rule = Rule(**values)
        wrong = list(rule_problems(rule))
        if rule.id in found.places:
            wrong.append(("id", f"{rule.id} is also in {found.places[rule.id][''].rpartition(': ')[0]}"))
        problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in wrong]
        if not wrong:
            found.rules.append(rule)
            found.places[rule.id] = _places(document, file, place)
    for place, value in _items(document, "overrides", problems):
        if (values := checked(document, place, Override, value, problems)) is not None:
            found.places[f"override {len(found.overrides)}"] = _places(document, file, place)
            found.overrides.append(Override(**values))


def _items(
    document: Document, section: str, problems: list[Problem]
) -> Iterator[tuple[tuple[str | int, ...], dict[str, object]]]:
    """(place, mapping) of each item of a section; a file may be the list of rules itself."""
    whole = isinstance(document.data, dict)
    given = document.data.get(section) if whole else document.data if section == "rules" else None
    if given is not None and not isinstance(given, list):
        problems.append(Problem(document.line((section,)), section, f"a list of {section} is expected"))
        return
    for index, value in enumerate(given or ()):
        place: tuple[str | int, ...] = (section, index) if whole else (index,)
        if isinstance(value, dict):
            yield place, value
        else:
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))


def _places(document: Document, file: str, place: tuple[str | int, ...]) -> Places:
    own = {
        str(path[-1]): f"{file}:{line}: {dotted(path)}" for path, line in document.lines.items() if path[:-1] == place
    }
    return {"": f"{file}:{document.line(place)}: {dotted(place)}"} | own


def shipped_rules() -> list[Rule]:
    """The rules that come with rmm and belong to no collector."""
    found = read_rules(shipped("config") / "rules")
    if found.problems:
        raise ConfigError(problems=tuple(found.problems))
    return found.rules


def unfitting(
    rules: Iterable[Rule],
    overrides: Mapping[int, Override],
    places: Mapping[str, Places],
    every: Mapping[str, Rule],
    manifests: Mapping[str, Manifest],
    schema: Schema,
) -> list[str]:
    """What is wrong with the configuration's own rules and overrides beside everything else.

    `rules` and `overrides` (by their number) are looked at, and are at these `places`; `every` has all rules by id,
    also those of collectors that are disabled, `manifests` and `schema` are of those that are not.
    """

    def told(name: str, key: str, text: str) -> str:
        own = places.get(name, {})
        where = own.get(key) or own.get("") or f"rules: {name}"
        return f"{where}: {text}" if own.get(key) or key == "id" else f"{where}: {key}: {text}"

    problems = []
    for rule in rules:
        manifest = manifests.get(rule.collector)
        if manifest is None:
            if rule.collector:
                problems.append(told(rule.id, "collector", f"there is no {rule.collector!r}"))
            continue
        problems += [told(rule.id, key, text) for key, text in misfits(rule, manifest)]
        if rule.when:
            problems += [told(rule.id, key, text) for key, text in when_problems(rule, schema)]
    for number, override in overrides.items():
        problems += [told(f"override {number}", key, text) for key, text in override_problems(override, every)]
    return problems
