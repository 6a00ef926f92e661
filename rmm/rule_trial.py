"""A rule over the stored history: when it would have fired. What fires is decided by the evaluation that alerts use."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rmm.core.alerting.trial import SECOND, Fired, Limits, Trial, further, limits_of, telling
from rmm.core.forecast import MOST
from rmm.core.measures import MEASURED
from rmm.core.query import ENDPOINT, compile_query
from rmm.core.rulebook import RuleSet
from rmm.core.rules import CLEAR, UNKNOWN
from rmm.errors import ConfigError
from rmm.model.observation import Change, CollectorResult, Fault, Observation
from rmm.model.rule import ABSENCE, EVENTS, FLEET, FORECAST, RATE, VALUE, Rule
from rmm.tiers.cold_sqlite.asking import moment_of
from rmm.tiers.cold_sqlite.past import Bounds, Past, SitePast
from rmm.tiers.cold_sqlite.sealed import HOUR
from rmm.tiers.cold_sqlite.writer import micros
from rmm.tiers.fleet_sqlite import FleetFile

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.core.peers import Peers
    from rmm.model.endpoint import Endpoint

Rows = dict[str, dict[str, Any]]  # row key -> fields
Timed = tuple[int, Mapping[str, Rows]]  # microseconds, collector -> rows


class Span(NamedTuple):
    """From when to when."""

    since: datetime
    until: datetime


class RuleTrial:
    """One rule of a configuration. Raises ConfigError for one that history cannot tell about."""

    def __init__(self, app: App, rule: Rule) -> None:
        self._app, self.rule = app, rule
        self._keys = {name: one.manifest.key for name, one in app.catalog.items()}
        self._sampled = {name: frozenset(kept.samples) for name, kept in app.fields.items()}
        self._systems = {row["endpoint"]: str(row["facts"].get("os") or "") for row in FleetFile(app.fleet).endpoints()}
        self._sets: dict[int, RuleSet] = {}
        self._peers: dict[tuple[str, str], Peers] = {}
        self._needed = self._fields()
        if rule.measure == ABSENCE and rule.collector and not self._samples_of(rule.collector):
            raise ConfigError(
                f"{rule.id}: history does not tell when {rule.collector} was read",
                hint="Only collectors with numbers have that; the rule itself works.",
            )

    def run(self, endpoints: Sequence[Endpoint], span: Span) -> list[tuple[Endpoint, Fired]]:
        """What would have fired on these endpoints, in order of time."""
        found: list[tuple[Endpoint, Fired]] = []
        sites: dict[str, list[Endpoint]] = {}
        for endpoint in endpoints:
            sites.setdefault(endpoint.site, []).append(endpoint)
        if self.rule.measure == FLEET:
            found = self._of_fleet(sites, span)
        else:
            for site, own in sites.items():
                found += self._of_site(SitePast(self._app.data, site), own, span)
        return sorted(found, key=lambda one: (one[1].began, one[0].id))

    def _fields(self) -> dict[str, frozenset[str]]:
        """The fields that the rule looks at, by collector."""
        rule = self.rule
        if rule.when:
            now = self._app.clock.now()
            query = compile_query(rule.when, self._app.schema, now=now)
            return {name: frozenset(names) for name, names in query.fields.items() if name != ENDPOINT}
        return {rule.collector: frozenset([rule.field, *rule.where, *rule.unless]) - {""}} if rule.collector else {}

    def _samples_of(self, collector: str) -> list[str]:
        """The sampled fields that are needed; of absence any one."""
        own = self._sampled.get(collector, frozenset())
        needed = sorted(self._needed.get(collector, frozenset()) & own)
        return needed or (sorted(own)[:1] if self.rule.measure == ABSENCE else [])

    def _changes_needed(self) -> bool:
        return any(
            names - self._sampled.get(name, frozenset()) - set(self._keys.get(name, ()))
            for name, names in self._needed.items()
        )

    def rules(self, endpoint: Endpoint) -> RuleSet | None:
        """The rule as it is on an endpoint; None where it is not in force."""
        every = self._app.rulebook.of(endpoint.id, endpoint.name, endpoint.site, self._systems.get(endpoint.id, ""))
        if self.rule.id not in every.rules:
            return None
        if id(every) not in self._sets:
            name = self.rule.id
            self._sets[id(every)] = RuleSet(
                {
                    collector: own
                    for collector, listed in every.compiled.items()
                    if (own := [one for one in listed if one.rule.id == name])
                },
                {name: every.rules[name]},
                {key: test for key, test in every.between.items() if key == name},
                tuple(one for one in every.absence if one.rule.id == name),
            )
        return self._sets[id(every)]

    def _trial(self, endpoint: Endpoint, rules: RuleSet) -> Trial:
        book = self._app.rulebook
        facts = book.facts(endpoint.id, endpoint.name, endpoint.site)
        place = book.place(endpoint.id, os=self._systems.get(endpoint.id, ""))
        peers = (self._peers, book.groups(place)) if self.rule.measure == FLEET else None
        return Trial(rules, self._keys, endpoint.id, facts, peers)

    def _of_site(self, past: SitePast, endpoints: Sequence[Endpoint], span: Span) -> Iterator[tuple[Endpoint, Fired]]:
        in_force = {one.id: (one, rules) for one in endpoints if (rules := self.rules(one)) is not None}
        limits = {id(rules): self._limits(rules) for _, rules in in_force.values()}
        if in_force and self._plain() and all(limits.values()):
            yield from self._plainly(past, in_force, limits, span)
            return
        samples = self._samples(past, set(in_force), span)
        for name, (endpoint, rules) in in_force.items():
            trial = self._trial(endpoint, rules)
            for observation in self._observations(past, endpoint, rules, samples.get(name, {}), span):
                trial.take(observation)
            yield from ((endpoint, one) for one in trial.end())

    def _plain(self) -> bool:
        """Whether it compares one number of a row with thresholds, so that most of history need not be looked at."""
        rule = self.rule
        plain = rule.measure == VALUE and not rule.over and not rule.when and rule.collector != ""
        return plain and self._samples_of(rule.collector) == [rule.field]

    def _limits(self, rules: RuleSet) -> Limits | None:
        return limits_of(rules.rules[self.rule.id])

    def _plainly(
        self, past: SitePast, in_force: Mapping[str, tuple[Endpoint, RuleSet]], limits: Mapping[int, Limits | None],
        span: Span,
    ) -> Iterator[tuple[Endpoint, Fired]]:  # fmt: skip
        """Of merged hours only those with a value beyond a threshold; of their samples only what tells."""
        known = [one.bounds() for one in limits.values() if one is not None]
        touched = Bounds(max(low for low, _ in known), min(high for _, high in known))
        metric = self.rule.collector, self.rule.field
        found = past.past(metric, since=span.since, until=span.until, touched=touched, wanted=set(in_force))
        for name, own in found:
            endpoint, rules = in_force[name]
            rule, limit = rules.rules[self.rule.id], limits[id(rules)]
            assert limit is not None
            trial = self._trial(endpoint, rules)
            for observation in self._telling(past, endpoint, own, rule, limit, span):
                trial.take(observation)
            yield from ((endpoint, self._whole(one, own, rule)) for one in trial.end())

    def _telling(
        self, past: SitePast, endpoint: Endpoint, own: Past, rule: Rule, limits: Limits, span: Span
    ) -> Iterator[Observation]:
        shown: set[int] = set()
        values: dict[str, dict[int, float]] = {}
        for row, (at, numbers) in own.rows.items():
            hours = own.hours.get(row)
            if not hours:
                continue
            inside = [number for number, moment in enumerate(at) if moment // HOUR in hours]
            times, part = [at[number] for number in inside], [numbers[number] for number in inside]
            values[row] = dict(zip(times, part, strict=True))
            shown.update(times[number] for number in telling(times, part, rule, limits))
        if not shown:
            return
        states = self._states(past, endpoint, span) if self._changes_needed() else iter(())
        timeline = _Timeline(states)
        for moment in sorted(shown):
            known = timeline.at(moment).get(rule.collector, {})
            rows = {
                row: {**known.get(row, {}), rule.field: numbers.get(moment)}
                for row, numbers in values.items()
                if moment // HOUR in own.hours[row]
            }
            yield self._observed(endpoint, moment, {rule.collector: rows})

    def _whole(self, fired: Fired, own: Past, rule: Rule) -> Fired:
        """With the peak and the count of all its samples, not only of those that were shown."""
        at, values = own.rows.get(fired.alert.row) or own.rows.get("", ([], []))
        first = bisect_left(at, micros(fired.began))
        last = bisect_left(at, micros(fired.ended)) if fired.ended else len(at)
        peak = further(rule, [fired.peak, *values[first:last]])
        return fired._replace(peak=peak)

    def _samples(self, past: SitePast, wanted: set[str], span: Span) -> dict[str, dict[tuple[str, str], Past]]:
        """Endpoint -> (collector, field) -> all of its samples."""
        found: dict[str, dict[tuple[str, str], Past]] = {}
        for collector in self._needed:
            for field in self._samples_of(collector):
                metric = collector, field
                asked = past.past(metric, since=span.since, until=span.until, touched=None, wanted=wanted)
                for endpoint, own in asked:
                    found.setdefault(endpoint, {})[metric] = own
        return found

    def _observations(
        self, past: SitePast, endpoint: Endpoint, rules: RuleSet, samples: Mapping[tuple[str, str], Past], span: Span
    ) -> Iterator[Observation]:
        """The observations of an endpoint, as far as the rule looks at them."""
        rule = rules.rules[self.rule.id]
        if not rule.collector:
            yield from self._statuses(past, endpoint, span)
        elif rule.op in EVENTS:
            yield from self._events(past, endpoint, span)
        elif samples:
            yield from self._sampled_ones(past, endpoint, rule, samples, span)
        else:
            yield from self._stated(past, endpoint, rules, span)

    def _statuses(self, past: SitePast, endpoint: Endpoint, span: Span) -> Iterator[Observation]:
        for one in past.statuses(endpoint.id, since=span.since, until=span.until):
            fault = Fault(str(one["fault"])) if one["fault"] else None
            yield self._observed(endpoint, micros(one["at"]), {}, str(one["status"]), fault)

    def _events(self, past: SitePast, endpoint: Endpoint, span: Span) -> Iterator[Observation]:
        """One for each time at which something changed; the first reading of all is no change."""
        collector, rows = self.rule.collector, Rows()
        found: dict[int, list[Change]] = {}
        for one in past.changes(endpoint.id, since=datetime.min.replace(tzinfo=span.since.tzinfo), until=span.until):
            if one["collector"] != collector:
                continue
            key, field, at = str(one["key"]), str(one["field"]), micros(one["at"])
            row = rows.setdefault(key, self._named(collector, key))
            what = "changed" if field else "added" if one["value"] else "removed"
            if field:
                row[field] = one["value"]
            elif not one["value"]:
                rows.pop(key, None)
            if not one["first"] and at >= micros(span.since):
                found.setdefault(at, []).append(Change(what, key, field, one["before"], one["value"], row))
        for at in sorted(found):
            result = CollectorResult(outcome="ok", changes=tuple(found[at]))
            yield msgspec.structs.replace(self._observed(endpoint, at, {}), collectors={collector: result})

    def _sampled_ones(
        self, past: SitePast, endpoint: Endpoint, rule: Rule, samples: Mapping[tuple[str, str], Past], span: Span
    ) -> Iterator[Observation]:
        """One for each time with a sample; of measures that look back over a window those that are kept of it."""
        step = rule.window_s * SECOND // (MOST - 2) if rule.measure in (FORECAST, RATE) else 0
        if rule.measure == FLEET:
            step = rule.window_s * SECOND // 4
        values = {
            metric: {row: dict(zip(*found, strict=True)) for row, found in own.rows.items()}
            for metric, own in samples.items()
        }
        timeline = _Timeline(self._states(past, endpoint, span) if self._changes_needed() else iter(()))
        before = -step
        moments = {at for own in samples.values() for at in own.read}
        if rule.measure == ABSENCE:  # polls without a reading tell of it
            moments |= {micros(one["at"]) for one in past.statuses(endpoint.id, since=span.since, until=span.until)}
        for moment in sorted(moments):
            if moment - before < step:
                continue
            before = moment
            rows: dict[str, Rows] = {name: {} for name, _ in samples}
            states = timeline.at(moment)
            for (name, field), own in values.items():
                for row, numbers in own.items():
                    if moment in numbers:
                        known = rows[name].setdefault(row, dict(states.get(name, {}).get(row, {})))
                        known[field] = numbers[moment]
            yield self._observed(endpoint, moment, {name: found for name, found in rows.items() if found})

    def _stated(self, past: SitePast, endpoint: Endpoint, rules: RuleSet, span: Span) -> Iterator[Observation]:
        """One for each time at which a state changed, and the polls at which it has lasted for so long."""
        states = list(self._states(past, endpoint, span))
        if not any(self._says(rules, at, rows, endpoint) for at, rows in states):
            return
        polls = [micros(one["at"]) for one in past.statuses(endpoint.id, since=span.since, until=span.until)]
        wait = rules.rules[self.rule.id].for_s * SECOND
        times = {at for at, _ in states} | set(polls[-1:])
        times |= {polls[n] for at, _ in states if (n := bisect_left(polls, at + wait)) < len(polls)}
        timeline = _Timeline(iter(states))
        for moment in sorted(times):
            yield self._observed(endpoint, moment, timeline.at(moment))

    def _says(self, rules: RuleSet, at: int, rows: Mapping[str, Rows], endpoint: Endpoint) -> bool:
        """Whether any row is not clear; where that cannot be told of a row alone, it may be."""
        seen = self._observed(endpoint, at, rows)
        for name, listed in rules.compiled.items():
            result = seen.collectors.get(name)
            for one in listed:
                if one.derived or one.field == MEASURED:
                    return True
                for row in result.readings if result else ():
                    if one.matches(row) and one.severity(row, CLEAR) not in (CLEAR, UNKNOWN):
                        return True
        return False

    def _states(self, past: SitePast, endpoint: Endpoint, span: Span) -> Iterator[Timed]:
        """What texts, states, booleans and times were: at the beginning, and whenever one changed."""
        rows: dict[str, Rows] = {}
        begin, end = micros(span.since), micros(span.until)
        at = begin
        for moment, collector, key, field, value in sorted(past.all_changes(endpoint.id), key=lambda one: one[0]):
            if collector not in self._needed or moment > end:
                continue
            if moment > at:
                yield at, _copy(rows)
                at = moment
            own = rows.setdefault(collector, {})
            if field:
                own.setdefault(key, {})[field] = value
            elif value is None:
                own.pop(key, None)
            else:
                own.setdefault(key, {})
        yield at, _copy(rows)

    def _named(self, collector: str, key: str) -> dict[str, Any]:
        """The key fields of a row."""
        names = self._keys.get(collector, ())
        texts = [key] if len(names) == 1 else key.split("|", len(names) - 1)
        fields = self._app.catalog[collector].manifest.fields
        row: dict[str, Any] = {}
        for name, text in zip(names, texts, strict=False):
            row[name] = int(text) if fields[name].type == "int" and text.lstrip("-").isdigit() else text
        return row

    def _observed(
        self, endpoint: Endpoint, at: int, rows: Mapping[str, Rows], status: str = "OK", fault: Fault | None = None
    ) -> Observation:
        parts = {
            name: CollectorResult(
                outcome="ok", readings=tuple({**self._named(name, key), **row} for key, row in own.items())
            )
            for name, own in rows.items()
        }
        return Observation(
            endpoint=endpoint.id, name=endpoint.name, site=endpoint.site, shard=0, observed_at=moment_of(at),
            duration_s=0.0, status=status, fault=fault, collectors=parts, epoch="", seq=0,
        )  # fmt: skip

    def _of_fleet(self, sites: Mapping[str, list[Endpoint]], span: Span) -> list[tuple[Endpoint, Fired]]:
        """All endpoints side by side, in order of time, since each is compared with what the others are then."""
        trials: dict[str, tuple[Endpoint, Trial]] = {}
        found: list[tuple[int, str, Observation]] = []
        for site, listed in sites.items():
            past = SitePast(self._app.data, site)
            in_force = {one.id: (one, rules) for one in listed if (rules := self.rules(one)) is not None}
            for name, samples in self._samples(past, set(in_force), span).items():
                endpoint, rules = in_force[name]
                trials[name] = endpoint, self._trial(endpoint, rules)
                own = self._sampled_ones(past, endpoint, rules.rules[self.rule.id], samples, span)
                found += [(micros(one.observed_at), name, one) for one in own]
        for _, name, observation in sorted(found, key=lambda one: one[:2]):
            trials[name][1].take(observation)
        return [(endpoint, one) for endpoint, trial in trials.values() for one in trial.end()]


class _Timeline:
    """What the states were at growing times."""

    def __init__(self, states: Iterable[Timed]) -> None:
        self._left = iter(states)
        self._now: Mapping[str, Rows] = {}
        self._next = next(self._left, None)

    def at(self, moment: int) -> Mapping[str, Rows]:
        """At this time, which is not before the one that was asked for last."""
        while self._next is not None and self._next[0] <= moment:
            self._now = self._next[1]
            self._next = next(self._left, None)
        return self._now


def _copy(rows: Mapping[str, Rows]) -> dict[str, Rows]:
    return {name: {key: dict(row) for key, row in own.items()} for name, own in rows.items()}
