"""What is wrong with a rule, by itself and for its collector; the same for manifests and configurations. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches

import msgspec

from rmm.core.between import HINT, span_of
from rmm.core.change import is_inventory
from rmm.core.conditions import Condition
from rmm.core.health import QUARTERS
from rmm.core.measures import PER
from rmm.core.peers import AGAINST
from rmm.core.query.schema import Schema
from rmm.core.rulebook import NEVER, like, names
from rmm.errors import QueryError
from rmm.model.collector import Manifest
from rmm.model.rule import ABSENCE, EVENTS, FLEET, FORECAST, MEASURES, RATE, VALUE, Names, Override, Rule

ORDERED = (">", ">=", "<", "<=")
OPERATORS = (*ORDERED, "==", "!=", "in", *EVENTS)
ROWS = ("added", "removed")  # events of whole rows, which no field tells

PEERS = ("fleet", "site", "group", "os")
MOST_WINDOW = 30 * 86_400

Found = Iterator[tuple[str, str]]  # key, problem


def rule_problems(rule: Rule) -> Found:
    """Of any rule."""
    for key, allowed in (("op", OPERATORS), ("quarter", QUARTERS), ("measure", MEASURES), ("over", ("", "sum"))):
        if getattr(rule, key) not in allowed:
            yield key, f"{getattr(rule, key)!r} is not one of {' '.join(allowed)}"
    if rule.warning is None and rule.critical is None:
        yield "id", f"{rule.id}: name a threshold, `warning` or `critical`"
    for key in ("warning", "critical"):
        yield from _threshold(rule, key)
    if rule.op in EVENTS and (rule.for_s or rule.hysteresis or rule.measure != VALUE or rule.over):
        yield "op", f"`op: {rule.op}` fires at once: no `for_s`, `hysteresis`, `measure` or `over`"
    for key in ("for_s", "hold_s", "hysteresis", "span_s", "floor"):
        if getattr(rule, key) < 0:
            yield key, "cannot be negative"
    if not 60 <= rule.window_s <= MOST_WINDOW:
        yield "window_s", f"60 to {MOST_WINDOW} (30 days) are allowed"
    if not 0 <= rule.points <= 25:
        yield "points", "0 to 25 are allowed"
    yield from _between(rule.between)
    yield from _measure(rule)


def _between(between: Names) -> Found:
    for text in names(between):
        if span_of(text) is None:
            yield "between", f"{text!r} is no time of the week: {HINT}"


def _measure(rule: Rule) -> Found:
    """What the measure needs, and what goes with nothing else."""
    if rule.when and (rule.measure != VALUE or rule.where or rule.unless or rule.over or rule.hysteresis):
        yield "when", "is the whole condition: no `measure`, `where`, `unless`, `over` or `hysteresis` beside it"
    if (rule.when or rule.measure in (RATE, FORECAST, FLEET) or rule.over) and not rule.collector:
        yield "collector", "name the collector whose readings this is about"
    if rule.measure in (RATE, FORECAST, FLEET) and not rule.field:
        yield "field", f"`measure: {rule.measure}` is of a field"
    if rule.measure != VALUE and rule.op not in ORDERED:
        yield "op", f"`measure: {rule.measure}` gives a number: > >= < <="
    if rule.measure in (RATE, FORECAST) and rule.span_s > rule.window_s:
        yield "span_s", "is longer than `window_s`"
    for measure, key, allowed in (
        (RATE, "per", tuple(PER)),
        (FLEET, "peers", PEERS),
        (FLEET, "against", tuple(AGAINST)),
        (FORECAST, "op", ("<", "<=")),
        (ABSENCE, "op", (">", ">=")),
    ):
        if rule.measure == measure and getattr(rule, key) not in allowed:
            yield key, f"`measure: {measure}` has one of {' '.join(allowed)}"
    if rule.measure == FORECAST and rule.reach is None:
        yield "reach", "say which value is to be forecast, such as `reach: 100`"
    if rule.measure == FLEET and not 3 <= rule.least <= 1_000_000:
        yield "least", "three peers or more can be compared with"


def _threshold(rule: Rule, key: str) -> Found:
    threshold = getattr(rule, key)
    if threshold is None:
        return
    number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if rule.when:
        if threshold is not True:
            yield key, f"`when` is true or not: say `{key}: true`"
    elif rule.op == "in" and not isinstance(threshold, list):
        yield key, "`op: in` compares with a list"
    elif rule.op in ORDERED and not number:
        yield key, f"`op: {rule.op}` compares with a number"
    elif rule.op in EVENTS and threshold is not True:
        yield key, f"`op: {rule.op}` has no threshold: say `{key}: true`"
    if rule.measure in (FORECAST, ABSENCE) and number and threshold <= 0:
        yield key, f"`measure: {rule.measure}` compares with a span of time, more than 0"


def override_problems(override: Override, rules: Mapping[str, Rule]) -> Found:
    """Of an override of these rules: what it leads to must be a rule."""
    concerned = [rule for rule in rules.values() if like(override.rule, rule.id)]
    if not concerned:
        near = get_close_matches(override.rule, list(rules), 3)
        yield "rule", f"there is no rule {override.rule!r}{'; near: ' + ', '.join(near) if near else ''}"
    for key in ("warning", "critical"):
        value = getattr(override, key)
        if value is msgspec.UNSET or value == NEVER:
            continue
        for rule in concerned:
            for _, text in _threshold(msgspec.structs.replace(rule, **{key: value}), key):
                yield key, f"{rule.id}: {text}; `{key}: {NEVER}` takes it away"
    for key in ("for_s", "hold_s", "hysteresis"):
        if (getattr(override, key) or 0) < 0:
            yield key, "cannot be negative"
    if override.points is not None and not 0 <= override.points <= 25:
        yield "points", "0 to 25 are allowed"
    if override.window_s is not None and not 60 <= override.window_s <= MOST_WINDOW:
        yield "window_s", f"60 to {MOST_WINDOW} (30 days) are allowed"
    yield from _between(override.between or ())


def when_problems(rule: Rule, schema: Schema) -> Found:
    """Of a free condition: what is asked must be there."""
    try:
        Condition(rule, schema)
    except QueryError as error:
        yield "when", f"column {error.column}: {error.reason}" if error.column else error.reason


def misfits(rule: Rule, manifest: Manifest) -> Found:
    """Of a rule about the collector with this manifest."""
    if rule.op in EVENTS and not is_inventory(manifest):
        yield "op", f"changes are told of inventories only, and {manifest.name} is none: it has no unchanged_ttl"
    if rule.op in ROWS and not manifest.key:
        yield "op", f"rows come and go only where there is a `key`, and {manifest.name} has none"
    optional = rule.op in ROWS or rule.measure == ABSENCE or rule.when
    fields = () if optional and not rule.field else (rule.field,)
    for section, wanted in (("field", fields), ("where", rule.where), ("unless", rule.unless)):
        for name in wanted:
            if name not in manifest.fields:
                known = ", ".join(sorted(manifest.fields))
                near = get_close_matches(name, list(manifest.fields), 1)
                yield (
                    section,
                    f"{manifest.name} has no {name!r}; {f'did you mean {near[0]}?' if near else f'it has {known}'}",
                )
    yield from _unmeasured(rule, manifest)


def _unmeasured(rule: Rule, manifest: Manifest) -> Found:
    """Why a rule's measure would say nothing of this collector."""
    number = rule.measure in (RATE, FORECAST, FLEET) or rule.over
    if number and (known_field := manifest.fields.get(rule.field)) and known_field.type not in ("int", "float"):
        yield "field", f"{rule.field} is no number"
    if rule.measure == ABSENCE:
        for key in ("warning", "critical"):
            if (threshold := getattr(rule, key)) is not None and threshold < 2 * manifest.interval:
                yield key, f"{manifest.name} is read every {manifest.interval} s: at least twice that"
    if rule.measure in (RATE, FORECAST) and (rule.span_s or rule.window_s / 2) < 2 * manifest.interval:
        yield "window_s", f"{manifest.name} is read every {manifest.interval} s: at least four times that"
