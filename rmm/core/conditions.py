"""Free conditions: a query over what one endpoint's readings say, asked of each observation. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.core.measures import MEASURED, Context, slot_of
from rmm.core.query import ENDPOINT, Part, Query, compile_query
from rmm.core.query.schema import Schema
from rmm.errors import QueryError
from rmm.model.observation import CollectorResult, Observation
from rmm.model.rule import Rule

Row = Mapping[str, Any]
MOST_ROWS = 100  # that are remembered of a collector which the observation does not have
# What an observation and the endpoint list know; the rest is found out from what rules say.
FIELDS = frozenset({"id", "name", "site", "group", "tags", "address", "description", "status", "fault"})
_RELATIVE = re.compile(r"\bnow\b|[-+]\d")  # a time that moves with the clock
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Condition:
    """The `when` of a rule. Raises QueryError for one that cannot be asked."""

    def __init__(self, rule: Rule, schema: Schema) -> None:
        self._rule, self._schema = rule, schema
        self._keys = schema.keys.get(rule.collector, ())
        self._moves = _RELATIVE.search(rule.when) is not None
        self._asked: tuple[int, Query, Query] | None = None
        query = self._queries(_EPOCH)[0]
        self.collectors = tuple(name for name in query.fields if name != ENDPOINT)
        if rule.collector not in self.collectors:
            raise QueryError(f"name a field of {rule.collector}, whose readings this is about", rule.when, 1)
        if unknown := set(query.fields.get(ENDPOINT, ())) - FIELDS:
            reason = f"endpoint.{min(unknown)} is not known when a rule is asked; {', '.join(sorted(FIELDS))} are"
            raise QueryError(reason, rule.when, 1)

    def _queries(self, now: datetime) -> tuple[Query, Query]:
        """It and its opposite: what is true of neither is not known."""
        hour = int((now - _EPOCH) / timedelta(hours=1)) if self._moves else 0
        if self._asked is None or self._asked[0] != hour:
            rule, fields = self._rule, self._schema.fields.get(self._rule.collector, {})
            named = [name for name in _PLACEHOLDER.findall(rule.summary) if name in fields and name not in self._keys]
            columns = [f"{rule.collector}.{name}" for name in dict.fromkeys([*self._keys, rule.field, *named]) if name]
            self._columns = [name.partition(".")[2] for name in columns]
            made = [
                compile_query(text, self._schema, columns=columns or ["endpoint"], now=now)
                for text in (rule.when, f"not ({rule.when})")
            ]
            self._asked = hour, made[0], made[1]
        return self._asked[1:]

    def rows(self, observation: Observation, context: Context, name_of: Callable[[Row], str]) -> list[Row]:
        """A row for each that the condition was asked of, with True, False or None for not known."""
        query, opposite = self._queries(observation.observed_at)
        parts = {name: self._part(query, name, observation, context) for name in self.collectors}
        facts = {**context.facts, "status": observation.status}
        facts["fault"] = observation.fault.code if observation.fault else None
        found: dict[str, Row] = {}
        for value, asked in ((True, query), (False, opposite)):
            endpoint = tuple(facts.get(name) for name in asked.fields.get(ENDPOINT, ()))
            for line in asked.lines(endpoint, parts):
                row: Row = {**dict(zip(self._columns, line, strict=False)), MEASURED: value}
                found.setdefault(name_of(row), row)
        for other in self._all(observation):
            found.setdefault(name_of(other), {**other, MEASURED: None})
        return list(found.values())

    def _all(self, observation: Observation) -> Sequence[Row]:
        result = observation.collectors.get(self._rule.collector)
        return result.readings if result is not None else ()

    def _part(self, query: Query, collector: str, observation: Observation, context: Context) -> Part:
        """What is known of a collector: what the observation has, or else what an earlier one had."""
        fields = query.fields[collector]
        result = observation.collectors.get(collector)
        if result is not None and result.outcome in ("ok", "partial"):
            rows = [_values(row, fields, result, observation) for row in result.readings]
            if len(self.collectors) > 1:
                slot = context.memory.setdefault(slot_of(self._rule), {})
                slot[collector] = [list(fields), [list(row) for row in rows[:MOST_ROWS]]]
                context.changed.add(slot_of(self._rule))
            return Part(rows, _values({}, fields, result, observation))
        known = context.memory.get(slot_of(self._rule), {}).get(collector)
        blank = (None,) * len(fields)
        return Part([tuple(row) for row in known[1]] if known and known[0] == list(fields) else None, blank)


def _values(row: Row, fields: Sequence[str], result: CollectorResult, seen: Observation) -> tuple[Any, ...]:
    about = {"@at": seen.observed_at.isoformat(), "@outcome": result.outcome, "@fault": None}
    return tuple(about[name] if name in about else row.get(name) for name in fields)
