"""What a well-typed manifest must obey beyond its types: names, references between its parts, formulas, rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from rmm.catalog.wql import Query, parse_query
from rmm.core.formulas import FORMULAS
from rmm.core.journal import BOOKMARKS, SECONDS
from rmm.core.normalize import NOTES
from rmm.core.rates import CLOCKS
from rmm.core.rule_check import misfits, rule_problems
from rmm.model.collector import Field, Manifest, Source

Path = tuple[str | int, ...]
Found = Iterator[tuple[Path, str]]

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}\Z")
TYPES = ("text", "int", "float", "bool", "time")
KINDS = {
    "gauge": ("int", "float"), "counter": ("int", "float"), "state": TYPES,
    "text": ("text",), "bool": ("bool",), "time": ("time",), "now": TYPES,
}  # fmt: skip
COSTS = ("C0", "C1", "C2", "C3", "C4")
_HIVE = re.compile(r"HK(LM|U|CR|CU)\\[^\\]", re.IGNORECASE)


def manifest_problems(manifest: Manifest, folder: str, *, has_windows: bool, linux: bool) -> list[tuple[Path, str]]:
    """Every violation with the path of the key it is about."""
    found: list[tuple[Path, str]] = []
    for check in (_head, _sources, _rows, _top, _fields, _arguments_of_script, _journal, _alert_rules):
        found += check(manifest)
    if manifest.name != folder:
        found.append((("name",), f"must be the folder's name, {folder}"))
    if manifest.cost == "C0":
        return found
    if not has_windows and not linux:
        found.append((("name",), "the folder has neither collect.ps1 nor collect.sh"))
    for os, present in (("windows", has_windows), ("linux", linux)):
        if (os in manifest.os) != present:
            found.append((("os",), f"{os} and the script for it go together"))
    return found


def _head(manifest: Manifest) -> Found:
    if not NAME.match(manifest.name):
        yield ("name",), "must be lower-case letters, digits and _, starting with a letter"
    if manifest.cost not in COSTS:
        yield ("cost",), f"must be one of {', '.join(COSTS)}"
    if manifest.rights not in ("user", "admin"):
        yield ("rights",), "must be user or admin"
    if not 10 <= manifest.interval <= 7 * 86_400:
        yield ("interval",), "must be 10 to 604800 seconds"
    if not 1 <= manifest.timeout <= 600:
        yield ("timeout",), "must be 1 to 600 seconds"
    if manifest.schema < 1:
        yield ("schema",), "must be 1 or more"
    for index, os in enumerate(manifest.os):
        if os not in ("windows", "linux"):
            yield ("os", index), "must be windows or linux"


def _sources(manifest: Manifest) -> Found:
    for name, source in manifest.sources.items():
        place: Path = ("sources", name)
        if not NAME.match(name) or name == NOTES:
            yield place, f"must be lower-case letters, digits and _, and not {NOTES}"
        if sum(map(bool, (source.wql, source.registry, source.registry_keys))) > 1:
            yield place, "only one of wql, registry and registry_keys"
        if source.wql and isinstance(query := parse_query(source.wql), str):
            yield (*place, "wql"), query
        for kind in ("registry", "registry_keys"):
            for index, key in enumerate(getattr(source, kind)):
                if not _HIVE.match(key):
                    yield (*place, kind, index), r"must be a full path such as HKLM\SOFTWARE\..."


def _rows(manifest: Manifest) -> Found:
    if manifest.rows and manifest.rows not in manifest.sources:
        yield ("rows",), f"no source {manifest.rows}"
        return
    for section in ("where", "exclude"):
        for prop in getattr(manifest, section):
            if not manifest.rows:
                yield (section,), "needs `rows`"
            elif not _has(manifest.sources[manifest.rows], prop):
                yield (section, prop), f"source {manifest.rows} has no property {prop}"
    for index, name in enumerate(manifest.key):
        if name not in manifest.fields:
            yield ("key", index), f"no field {name}"
        elif FORMULAS.get(manifest.fields[name].formula, FORMULAS[""]).rate:
            yield ("key", index), "a rate cannot name a row"


def _top(manifest: Manifest) -> Found:
    top = manifest.top
    if top is None:
        return
    if not 1 <= top.rows <= 100:
        yield ("top", "rows"), "must be 1 to 100"
    for index, name in enumerate(top.by):
        if name not in manifest.fields or manifest.fields[name].type not in ("int", "float"):
            yield ("top", "by", index), f"no field {name} with a number"
    for name in top.always:
        if name not in manifest.fields:
            yield ("top", "always", name), f"no field {name}"
    if not manifest.rows or not top.by:
        yield ("top",), "needs `rows` and fields in `by`"


_ARGUMENT = re.compile(r"[A-Z][A-Za-z0-9]{0,39}\Z")
_VALUES = {"int": int, "text": str, "bool": bool}


def _arguments_of_script(manifest: Manifest) -> Found:
    for name, argument in manifest.arguments.items():
        place: Path = ("arguments", name)
        if not _ARGUMENT.match(name) or name in (BOOKMARKS, SECONDS):
            yield place, f"must be letters and digits, starting with a capital, and not {BOOKMARKS} or {SECONDS}"
        if argument.type not in _VALUES:
            yield (*place, "type"), f"must be one of {', '.join(_VALUES)}"
        elif type(argument.default) is not _VALUES[argument.type]:
            yield (*place, "default"), f"is no {argument.type}"


def _journal(manifest: Manifest) -> Found:
    journal = manifest.journal
    if journal is None:
        return
    for key in ("records", "logs"):
        source = manifest.sources.get(getattr(journal, key))
        if source is None:
            yield ("journal", key), f"no source {getattr(journal, key)}"
        elif properties(source) is not None:
            yield ("journal", key), "must be a source of the script's own"
    if manifest.rows != journal.records:
        yield ("rows",), "must be the journal's records"
    if not journal.group:
        yield ("journal", "group"), "needs a property"
    if not 600 <= journal.keep_s <= 7 * 86_400:
        yield ("journal", "keep_s"), "must be 600 to 604800 seconds"
    if not 1 <= journal.most <= 1000:
        yield ("journal", "most"), "must be 1 to 1000"


def properties(source: Source) -> tuple[str, ...] | None:
    """The properties of a source's instances; None when the manifest does not say (a script's own source)."""
    if source.wql:
        query = parse_query(source.wql)
        return query.properties if isinstance(query, Query) else None
    if source.registry:
        return (*source.values, "KeyName")
    return (*source.values, "KeyName", "Root") if source.registry_keys else None


def _has(source: Source, prop: str) -> bool:
    known = properties(source)
    return known is None or prop in known


def _fields(manifest: Manifest) -> Found:
    earlier: list[str] = []
    for name, field in manifest.fields.items():
        place: Path = ("fields", name)
        if not NAME.match(name):
            yield place, "must be lower-case letters, digits and _, starting with a letter"
        if field.type not in TYPES:
            yield (*place, "type"), f"must be one of {', '.join(TYPES)}"
        if field.type not in KINDS.get(field.kind, ()):
            yield (*place, "kind"), f"does not go with type {field.type}; kinds are {', '.join(KINDS)}"
        yield from _formula(manifest, place, field, earlier)
        earlier.append(name)


def _formula(manifest: Manifest, place: Path, field: Field, earlier: list[str]) -> Found:
    formula = FORMULAS.get(field.formula)
    if formula is None:
        yield (*place, "formula"), f"unknown; known are {', '.join(name for name in FORMULAS if name)}"
        return
    source = manifest.sources.get(field.source or manifest.rows)
    if source is None and not {"field", "fields"} & set(formula.arguments.values()):
        reason = f"no source {field.source!r}" if field.source else "missing, since there are no `rows`"
        yield (*place, "source"), reason
        return
    known = properties(source) if source else ()
    yield from _property(place, field, known)
    if formula.rate and known is not None and (lacking := [clock for clock in CLOCKS if clock not in known]):
        yield (*place, "formula"), f"a rate needs {', '.join(lacking)} in its source"
    yield from _matched(manifest, place, field, known)
    yield from _arguments(manifest, place, field, known, earlier)


def _matched(manifest: Manifest, place: Path, field: Field, known: tuple[str, ...] | None) -> Found:
    formula = FORMULAS[field.formula]
    for prop in field.unless:
        if not manifest.rows or not _has(manifest.sources[manifest.rows], prop):
            yield (*place, "unless", prop), f"source {manifest.rows} has no property {prop}"
    if field.missing and not formula.prop:
        yield (*place, "missing"), "needs a formula with `prop`"
    if not field.match:
        return
    if len(field.match) != 1 or not field.source or not manifest.rows or field.source == manifest.rows:
        yield (*place, "match"), "one pair, of another source than the rows'"
    elif formula.whole or formula.rate:
        yield (
            (*place, "match"),
            f"does not go with {field.formula}, which reads no single instance, or two polls' worth",
        )
    else:
        ((theirs, ours),) = field.match.items()
        if known is not None and theirs not in known:
            yield (*place, "match", theirs), f"source {field.source} has no property {theirs}"
        if not _has(manifest.sources[manifest.rows], ours):
            yield (*place, "match", theirs), f"source {manifest.rows} has no property {ours}"


def _property(place: Path, field: Field, known: tuple[str, ...] | None) -> Found:
    if not FORMULAS[field.formula].prop:
        return
    if not field.prop:
        yield (*place, "prop"), "missing"
    elif field.formula != "listed" and known is not None and field.prop not in known:
        yield (*place, "prop"), f"the source has no property {field.prop}"


def _arguments(
    manifest: Manifest, place: Path, field: Field, known: tuple[str, ...] | None, earlier: list[str]
) -> Found:
    kinds = FORMULAS[field.formula].arguments
    for key in field.args:
        if key not in kinds:
            yield (*place, "args", key), f"unknown argument; known are {', '.join(kinds)}"
    for key, kind in kinds.items():
        if key not in field.args:
            if not kind.endswith("?"):
                yield (*place, "args"), f"argument {key} is missing"
        elif reason := _argument(kind.rstrip("?"), field.args[key], manifest, known, earlier):
            yield (*place, "args", key), reason


def _argument(kind: str, value: Any, manifest: Manifest, known: tuple[str, ...] | None, earlier: list[str]) -> str:
    """Why an argument is wrong; empty when it is not."""
    if kind == "source":
        return "" if value in manifest.sources else f"no source {value}"
    if kind in ("prop", "props", "field", "fields"):
        names = value if isinstance(value, list) else [value]
        one = kind in ("prop", "field")
        if one == isinstance(value, list) or not names:
            return "a name is expected" if one else "a list of names is expected"
        allowed = earlier if kind.startswith("field") else known
        wrong = [name for name in names if allowed is not None and name not in allowed]
        return (
            f"no such {'earlier field' if kind.startswith('field') else 'property'}: {', '.join(map(str, wrong))}"
            if wrong
            else ""
        )
    return "" if _SHAPES[kind](value) else f"a {kind} is expected"


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "positive number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value > 0,
    "flag": lambda value: isinstance(value, bool),
    "text": lambda value: isinstance(value, str) and value != "",
    "list": lambda value: isinstance(value, list) and bool(value),
    "map": lambda value: isinstance(value, dict) and bool(value),
    "any": lambda value: True,
}


def _alert_rules(manifest: Manifest) -> Found:
    for index, rule in enumerate(manifest.rules):
        place: Path = ("rules", index)
        if not NAME.match(rule.id):
            yield (*place, "id"), "must be lower-case letters, digits and _"
        for key, reason in (*rule_problems(rule), *misfits(rule, manifest)):
            yield (*place, key), reason
