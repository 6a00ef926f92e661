"""The life of an alert, as one function of an observation. Pure.

    condition     no alert        pending               firing, acknowledged
    holds         pending         firing once it has     count + 1
                  (or firing)     held for `for_s`
    is gone       -               dropped                resolved
    is unknown    -               -                      -

An event (`rmm.model.rule.EVENTS`) fires at once and resolves when it was the last one for `hold_s`.
A row that is no longer in the reading is a condition that is gone, unless the reading says that rows are missing (its
note `rows`); a collector that failed leaves all as it is.
The hysteresis eases the way back of what fires; what is pending has to meet the threshold itself each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from rmm.core.context import UNSUPPORTED
from rmm.core.measures import MEASURED, Context, measured, nothing_known, summed
from rmm.core.rules import CLEAR, UNKNOWN, Compiled, row_name, summary_of
from rmm.model.observation import OK, PARTIAL, CollectorResult, Observation
from rmm.model.observation import Change as Event
from rmm.model.rule import ABSENCE, EVENTS, VALUE, Alert, Rule

PENDING, FIRING, ACKNOWLEDGED, RESOLVED = "pending", "firing", "acknowledged", "resolved"
LIVE = (PENDING, FIRING, ACKNOWLEDGED)

# Statuses that say nothing about the endpoint itself: they neither raise an alert on it nor end one.
SILENT = frozenset({"AUTH_HELD", "COLLECTOR_FAULT", "SITE_DOWN", "REBOOTING"})


class Change(NamedTuple):
    """What an observation did to one alert. `tell` is firing or resolved when somebody is to be told, else empty."""

    alert: Alert
    tell: str = ""
    dropped: bool = False  # a pending alert whose condition went away: as if it had never been


def evaluate(
    observation: Observation,
    live: Mapping[str, Alert],
    rules: Mapping[str, Sequence[Compiled]],
    keys: Mapping[str, Sequence[str]],
    context: Context | None = None,
    between: Mapping[str, Callable[[datetime], bool]] | None = None,
) -> list[Change]:
    """What `observation`, the newest of its time line, changes.

    Args:
        observation: newer than any that this endpoint's alerts were evaluated with.
        live: the endpoint's live alerts by key.
        rules: compiled, by collector.
        keys: collector name -> its key fields.
        context: what is remembered of this time line, and is brought up to date; without it nothing is.
        between: the rules that are in force at times only; outside of them their conditions are gone.
    """
    context = context or nothing_known(observation.endpoint, observation.observed_at.timestamp())
    if between:
        rules = {name: _in_force(listed, observation, between) for name, listed in rules.items()}
    changes = _rested(observation, live, between) if between else []
    alive = {alert.rule for alert in live.values()} if live else ()
    if observation.status not in SILENT:
        row = {"status": observation.status, "fault": observation.fault.code if observation.fault else ""}
        for compiled in rules.get("", ()):
            if compiled.rule.measure != ABSENCE:
                changes += _one(compiled, observation, [row], (), live)
    for name, result in observation.collectors.items():
        if result.outcome in ("ok", "partial"):
            for compiled in rules.get(name, ()):
                if compiled.rule.op in EVENTS:
                    changes += _events(compiled, observation, result.changes, live)
                elif compiled.rule.id in alive or compiled.concerns(result.readings):
                    changes += _of_reading(compiled, observation, result, keys, live, context)
    changes += absences(observation, live, rules, keys, context)
    return changes + _over(observation, live, rules, {change.alert.key for change in changes})


def _of_reading(
    compiled: Compiled,
    observation: Observation,
    result: CollectorResult,
    keys: Mapping[str, Sequence[str]],
    live: Mapping[str, Alert],
    context: Context,
) -> list[Change]:
    if compiled.rule.measure == ABSENCE:
        return []  # asked of every observation
    whole = result.notes.get("rows", UNSUPPORTED) == UNSUPPORTED  # what is not installed is gone
    rows = _rows(compiled, observation, result.readings, keys, context)
    key = () if compiled.rule.over else keys.get(compiled.rule.collector, ())
    return _one(compiled, observation, rows, key, live, whole)


def _in_force(
    listed: Sequence[Compiled], observation: Observation, between: Mapping[str, Callable[[datetime], bool]]
) -> list[Compiled]:
    at = observation.observed_at
    return [one for one in listed if (test := between.get(one.rule.id)) is None or test(at)]


def _rested(
    observation: Observation, live: Mapping[str, Alert], between: Mapping[str, Callable[[datetime], bool]]
) -> list[Change]:
    """The end of what a rule says that is not in force at this time."""
    at = observation.observed_at
    return [
        gone(alert, observation)
        for alert in live.values()
        if (test := between.get(alert.rule)) is not None and not test(at)
    ]


def _rows(
    compiled: Compiled,
    observation: Observation,
    readings: Sequence[Mapping[str, Any]],
    keys: Mapping[str, Sequence[str]],
    context: Context,
) -> Sequence[Mapping[str, Any]]:
    """The rows that a rule tests."""
    rule = compiled.rule
    key = keys.get(rule.collector, ())
    if compiled.condition is not None:
        return compiled.condition.rows(observation, context, lambda row: row_name(row, key))
    if not compiled.derived:
        return readings
    asked = [(compiled.matches(row), row) for row in readings]
    matching = [row for matches, row in asked if matches]
    if rule.over:
        matching, key = summed(rule, matching), ()
    if rule.measure == VALUE:
        return matching
    unknown = [{**row, MEASURED: None} for matches, row in asked if matches is None]
    return measured(rule, [(row_name(row, key), row) for row in matching], context) + unknown


def absences(
    observation: Observation,
    live: Mapping[str, Alert],
    rules: Mapping[str, Sequence[Compiled]],
    keys: Mapping[str, Sequence[str]],
    context: Context,
) -> list[Change]:
    """What rules of absence say: of all their collectors, whether the observation has them or not."""
    changes: list[Change] = []
    for name, listed in rules.items():
        for compiled in listed:
            if compiled.rule.measure != ABSENCE:
                continue
            result = observation.collectors.get(name)
            read = result is not None and result.outcome in ("ok", "partial")
            key: Sequence[str] = keys.get(name, ())
            matching: list[tuple[str, Mapping[str, Any]]] = []
            if not name:
                matching = [("", {"status": observation.status})] if observation.status in (OK, PARTIAL) else []
            elif read and result is not None:
                matching = [(row_name(row, key), row) for row in result.readings if compiled.matches(row)]
            whole = not read or result is None or result.notes.get("rows", UNSUPPORTED) == UNSUPPORTED
            found = measured(compiled.rule, matching, context, whole)
            changes += _one(compiled, observation, found, key, live)
    return changes


def _events(
    compiled: Compiled, observation: Observation, found: Iterable[Event], live: Mapping[str, Alert]
) -> list[Change]:
    """An alert for each change that the rule is about; one that fires already is told again."""
    rule = compiled.rule
    made: dict[str, Change] = {}
    severity = "critical" if rule.critical else "warning"
    for event in found:
        if not _concerns(rule, event) or not compiled.matches(event.row):
            continue
        name = f"{rule.id}|{observation.endpoint}|{event.key}"
        row = {**event.row, "before": event.before, "after": event.after, "key": event.key}
        value = event.after if event.what == "changed" else event.what
        known = live.get(name)
        at = observation.observed_at
        alert = Alert(
            key=name, rule=rule.id, endpoint=observation.endpoint, name=observation.name, site=observation.site,
            severity=severity, state=FIRING, summary=summary_of(rule, row, value, observation.name), value=value,
            first_at=known.first_at if known else at, last_at=at, count=known.count + 1 if known else 1, row=event.key,
        )  # fmt: skip
        made[name] = Change(alert, FIRING)
    return list(made.values())


def _concerns(rule: Rule, event: Event) -> bool:
    if event.what != "changed" or event.field != rule.field:
        return event.what == rule.op and event.what != "changed"
    if rule.op in ("increased", "decreased"):
        if not all(isinstance(value, int | float) for value in (event.before, event.after)):
            return False
        return bool(event.after > event.before) is (rule.op == "increased")
    return rule.op == "changed"


def _over(
    observation: Observation, live: Mapping[str, Alert], rules: Mapping[str, Sequence[Compiled]], again: set[str]
) -> list[Change]:
    """The events of this endpoint that have been shown for long enough."""
    if not live:
        return []
    holds = {c.rule.id: c.rule.hold_s for listed in rules.values() for c in listed if c.rule.op in EVENTS}
    at = observation.observed_at
    return [
        gone(alert, observation)
        for key, alert in live.items()
        if key not in again and alert.rule in holds and abs((at - alert.last_at).total_seconds()) >= holds[alert.rule]
    ]


def _one(
    compiled: Compiled,
    observation: Observation,
    rows: Iterable[Mapping[str, Any]],
    key: Sequence[str],
    live: Mapping[str, Alert],
    whole: bool = True,
) -> list[Change]:
    rule, changes, derived = compiled.rule, [], compiled.derived
    prefix = f"{rule.id}|{observation.endpoint}|"
    unseen = {name for name in live if name.startswith(prefix)} if live else set()
    lives, seen = bool(unseen), set()
    for row in rows:
        matches = True if derived else compiled.matches(row)
        if matches is False or not (lives or compiled.severity(row, CLEAR) not in (CLEAR, UNKNOWN)):
            continue
        name = prefix + row_name(row, key)
        if name in seen:
            continue  # two rows of one key: the first counts, or an alert would come and go in one reading
        seen.add(name)
        known = live.get(name)
        unseen.discard(name)
        held = known.severity if known is not None and known.state != PENDING else CLEAR
        severity = compiled.severity(row, held)
        if matches is None or severity == UNKNOWN:
            continue
        change = _step(compiled, observation, row, name, known, severity)
        if change is not None:
            changes.append(change)
    return changes + [gone(live[name], observation) for name in sorted(unseen) if whole]


def _step(
    compiled: Compiled, observation: Observation, row: Mapping[str, Any], name: str, known: Alert | None, severity: str
) -> Change | None:
    at, rule, field = observation.observed_at, compiled.rule, compiled.field
    if severity == CLEAR:
        return gone(known, observation) if known is not None else None
    value = row.get(field)
    summary = summary_of(rule, row, value, observation.name)
    if known is None:
        state = PENDING if rule.for_s > 0 else FIRING
        alert = Alert(
            key=name, rule=rule.id, endpoint=observation.endpoint, name=observation.name, site=observation.site,
            severity=severity, state=state, summary=summary, value=value, first_at=at, last_at=at,
            row=name.split("|", 2)[2],
        )  # fmt: skip
        return Change(alert, FIRING if state == FIRING else "")
    ripe = known.state == PENDING and (at - known.first_at).total_seconds() >= rule.for_s
    worse = known.state == FIRING and severity == "critical" and known.severity == "warning"
    alert = msgspec.structs.replace(
        known,
        severity=severity,
        state=FIRING if ripe else known.state,
        summary=summary,
        value=value,
        first_at=min(known.first_at, at),  # the clock was set back
        last_at=at,
        count=known.count + 1,
    )
    return Change(alert, FIRING if ripe or worse else "")


def gone(known: Alert, observation: Observation) -> Change:
    """The end of a live alert, as of this observation."""
    if known.state == PENDING:
        return Change(known, dropped=True)
    at = observation.observed_at
    return Change(msgspec.structs.replace(known, state=RESOLVED, resolved_at=at, last_at=at), RESOLVED)
