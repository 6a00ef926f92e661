"""Which rules an endpoint has, and with which thresholds: scopes and overrides applied. Pure.

Endpoints with the same rules share one compiled set, so a fleet of ten thousand has a few of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from rmm.core.between import within
from rmm.core.query.schema import Schema
from rmm.core.rules import Compiled, compile_rule
from rmm.core.wildcards import pattern
from rmm.model.endpoint import Endpoint
from rmm.model.rule import ABSENCE, FLEET, VALUE, Names, Override, Rule, Scope

NEVER = "never"  # a threshold that an override takes away
MOST_SETS = 4096  # of places that are remembered beside those of the endpoint list
_ORDER = ("site", "os", "group", "tag", "endpoint")  # an override that names a later one goes before
_CHANGED = ("for_s", "hold_s", "hysteresis", "window_s", "points", "between")


class Place(NamedTuple):
    """Where an endpoint stands, which decides what rules it has."""

    endpoint: str = ""
    name: str = ""
    site: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    os: str = ""  # its caption; empty while it is not known, and then no rule with `os` is about it


class RuleSet(NamedTuple):
    """The rules of some endpoints, compiled. `between` has the rules that are in force at times only."""

    compiled: dict[str, list[Compiled]]  # by collector
    rules: dict[str, Rule]  # by id, as they are on these endpoints
    between: dict[str, Callable[[datetime], bool]]
    absence: tuple[Compiled, ...]


def names(given: Names) -> tuple[str, ...]:
    """One or several, as a tuple."""
    return (given,) if isinstance(given, str) and given else tuple(given)


def fits(scope: Scope | Override, place: Place) -> bool:
    """Whether an endpoint is in a scope."""
    return (
        _one_of(scope.endpoint, (place.endpoint, place.name))
        and _one_of(scope.group, (place.group,))
        and _one_of(scope.site, (place.site,))
        and _one_of(scope.tag, place.tags)
        and _caption(scope.os, place.os)
    )


def _one_of(wanted: Names, values: Sequence[str]) -> bool:
    if not wanted:
        return True
    return any(like(text, value) for text in names(wanted) for value in values)


def like(text: str, value: str) -> bool:
    """Whether a value is that text, or like it where it has * or ?; upper and lower case are the same."""
    if "*" in text or "?" in text:
        return bool(value) and pattern(text)(value)
    return text.casefold() == value.casefold()


def _caption(wanted: Names, caption: str) -> bool:
    return not wanted or (bool(caption) and any(pattern(text)(caption) for text in names(wanted)))


def overridden(rule: Rule, overrides: Iterable[Override], place: Place) -> Rule | None:
    """The rule as it is on an endpoint; None where it does not apply there."""
    if not fits(rule.only, place):
        return None
    given = [one for one in overrides if like(one.rule, rule.id) and fits(one, place)]
    changes: dict[str, Any] = {}
    disabled = False
    for one in sorted(given, key=_rank):  # stable: of equal ones the later goes before
        disabled = one.disable
        changes |= {key: value for key in _CHANGED if (value := getattr(one, key)) is not None}
        for key in ("warning", "critical"):
            if (value := getattr(one, key)) is not msgspec.UNSET:
                changes[key] = None if value == NEVER else value
    if disabled:
        return None
    found = msgspec.structs.replace(rule, **changes) if changes else rule
    return None if found.warning is None and found.critical is None else found


def _rank(one: Override) -> int:
    return max((place for place, key in enumerate(_ORDER, 1) if getattr(one, key)), default=0)


class Rulebook:
    """All rules, and for each endpoint its own.

    Args:
        rules: as they are where nothing is overridden.
        overrides: in the order of the files.
        endpoints: by id: their groups and tags.
        zones: site -> its time zone.
        schema: what free conditions may name; without it they are left out.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        overrides: Sequence[Override] = (),
        endpoints: Mapping[str, Endpoint] | None = None,
        zones: Mapping[str, tzinfo] | None = None,
        schema: Schema | None = None,
    ) -> None:
        self.rules = {rule.id: rule for rule in rules}
        self._overrides = overrides
        self._endpoints = endpoints or {}
        self._zones = zones or {}
        self._schema = schema
        scopes: list[Scope | Override] = [rule.only for rule in rules if rule.only != Scope()]
        self._scopes = [*scopes, *overrides]  # what tells endpoints apart
        self._sets: dict[tuple[Any, ...], RuleSet] = {}
        self._of: dict[tuple[str, str, str, str], RuleSet] = {}
        self._compiled: dict[bytes, Compiled] = {}

    @property
    def soonest(self) -> float | None:
        """Seconds of the lowest threshold that any rule of absence has anywhere; None without such a rule."""
        own: list[Rule | Override] = [rule for rule in self.rules.values() if rule.measure == ABSENCE]
        ids = [rule.id for rule in self.rules.values() if rule.measure == ABSENCE]
        own += [one for one in self._overrides if any(like(one.rule, rule) for rule in ids)]
        found = [value for one in own for value in (one.warning, one.critical)]
        return min((float(one) for one in found if isinstance(one, int | float)), default=None)

    def place(self, endpoint: str, name: str = "", site: str = "", os: str = "") -> Place:
        """Where an endpoint stands; one that is not on the list has neither group nor tags."""
        known = self._endpoints.get(endpoint)
        if known is None:
            return Place(endpoint, name, site, os=os)
        return Place(endpoint, known.name, known.site, known.group, known.tags, os)

    def of(self, endpoint: str, name: str, site: str, os: str) -> RuleSet:
        """The rules of an endpoint."""
        wanted = endpoint, name, site, os
        found = self._of.get(wanted)
        if found is None:
            if len(self._of) >= len(self._endpoints) + MOST_SETS:
                self._of.clear()
            found = self._of[wanted] = self._made(self.place(*wanted))
        return found

    def _made(self, place: Place) -> RuleSet:
        zone = self._zones.get(place.site, UTC)
        identity = tuple([fits(scope, place) for scope in self._scopes]), str(zone)
        if identity not in self._sets:
            own = [found for rule in self.rules.values() if (found := overridden(rule, self._overrides, place))]
            self._sets[identity] = self._set([self._compile(rule) for rule in own], zone)
        return self._sets[identity]

    def _set(self, compiled: Sequence[Compiled], zone: tzinfo) -> RuleSet:
        by_collector: dict[str, list[Compiled]] = {}
        for one in compiled:
            for collector in one.condition.collectors if one.condition else (one.rule.collector,):
                by_collector.setdefault(collector, []).append(one)
        rules = {one.rule.id: one.rule for one in compiled}
        between = {name: within(names(rule.between), zone) for name, rule in rules.items() if rule.between}
        absence = tuple(one for one in compiled if one.rule.measure == ABSENCE)
        return RuleSet(by_collector, rules, between, absence)

    def _compile(self, rule: Rule) -> Compiled:
        identity = msgspec.json.encode(rule)
        if identity not in self._compiled:
            self._compiled[identity] = compile_rule(rule, self._schema)
        return self._compiled[identity]

    def groups(self, place: Place) -> dict[str, str]:
        """`peers` of a rule -> the group of peers that an endpoint is in."""
        return {"fleet": "", "site": place.site, "group": place.group, "os": place.os}

    def facts(self, endpoint: str, name: str, site: str) -> dict[str, Any]:
        """What the endpoint list says, as free conditions name it; empty settings are unknown."""
        known = self._endpoints.get(endpoint)
        facts: dict[str, Any] = {"id": endpoint, "name": name, "site": site}
        for key in ("group", "tags", "address", "description"):
            facts[key] = getattr(known, key, None) or None
        return facts

    @cached_property
    def remembers(self) -> bool:
        """Whether any rule needs to know what was before."""
        return any(rule.measure != VALUE or rule.when for rule in self.rules.values())

    @cached_property
    def compares(self) -> bool:
        """Whether any rule compares with the fleet."""
        return any(rule.measure == FLEET for rule in self.rules.values())
