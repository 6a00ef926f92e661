"""A rule over what was: the same evaluation as of what is, and which observations it need not be shown. Pure.

What fires is decided by `rmm.core.alerting.lifecycle.evaluate` alone. Observations between two in which nothing changes
for it (the value stays between the same thresholds, and the condition has not just held for `for_s`) are left out.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from rmm.core.alerting.lifecycle import FIRING, PENDING, RESOLVED, evaluate
from rmm.core.measures import Context, nothing_known
from rmm.core.peers import Peers
from rmm.core.rulebook import RuleSet
from rmm.model.observation import Observation
from rmm.model.rule import Alert, Rule

SECOND = 1_000_000  # microseconds


class Fired(NamedTuple):
    """One alert that a rule would have raised. `ended` is None where it would fire still."""

    alert: Alert
    began: datetime  # when the condition began to hold
    fired: datetime
    ended: datetime | None
    peak: Any  # the value that was furthest beyond the threshold; the first one where values have no order


class Limits(NamedTuple):
    """The thresholds of a plain numeric rule, with those that are eased by its hysteresis, in order."""

    steps: tuple[float, ...]
    upward: bool  # it fires above them
    strict: bool  # and not at them

    def bounds(self) -> tuple[float, float]:
        """Only values at the first or below it, or at the second or above it, may be other than clear."""
        return (-math.inf, self.steps[0]) if self.upward else (self.steps[-1], math.inf)


def limits_of(rule: Rule) -> Limits | None:
    """The limits of a rule that compares a number with numbers; None for another."""
    if rule.op not in (">", ">=", "<", "<="):
        return None
    upward = rule.op in (">", ">=")
    given = [float(one) for one in (rule.warning, rule.critical) if one is not None]
    eased = [one - rule.hysteresis if upward else one + rule.hysteresis for one in given]
    return Limits(tuple(sorted({*given, *eased})), upward, rule.op in (">", "<"))


def telling(at: Sequence[int], values: Sequence[float], rule: Rule, limits: Limits) -> list[int]:
    """The places of the samples that evaluation must be shown, of a row's samples by growing time in microseconds."""
    # How many limits a value has passed tells every decision about it apart.
    place = bisect_left if limits.upward == limits.strict else bisect_right
    first = min(one for one in (rule.warning, rule.critical) if one is not None)
    last = max(one for one in (rule.warning, rule.critical) if one is not None)
    holding = bisect_left(limits.steps, first if limits.upward else last)
    steps, wait = limits.steps, rule.for_s * SECOND
    shown: list[int] = []
    before, since, ripe = -1, 0, True
    for number, value in enumerate(values):
        passed = place(steps, value)
        if passed != before:
            holds = passed > holding if limits.upward else passed <= holding
            held = before >= 0 and (before > holding if limits.upward else before <= holding)
            if holds and not held:
                since, ripe = at[number], wait == 0
            before = passed
            shown.append(number)
        elif not ripe and at[number] - since >= wait:
            ripe = True
            shown.append(number)
    if values and (not shown or shown[-1] != len(values) - 1):
        shown.append(len(values) - 1)
    return shown


class Trial:
    """One rule on one endpoint: `take` its observations in order, then `fired`."""

    def __init__(
        self,
        rules: RuleSet,
        keys: Mapping[str, Sequence[str]],
        endpoint: str,
        facts: Mapping[str, Any],
        peers: tuple[dict[tuple[str, str], Peers], Mapping[str, str]] | None = None,
    ) -> None:
        self._rules, self._keys, self._facts, self._peers = rules, keys, facts, peers
        self._context = nothing_known(endpoint)
        self._live: dict[str, Alert] = {}
        self._open: dict[str, Fired] = {}
        self.fired: list[Fired] = []

    def take(self, observation: Observation) -> None:
        """The next one."""
        peers, groups = self._peers or (None, {})
        memory, at = self._context.memory, observation.observed_at.timestamp()
        context = Context(observation.endpoint, at, memory, set(), peers, groups, self._facts)
        rules = self._rules
        for change in evaluate(observation, self._live, rules.compiled, self._keys, context, rules.between):
            self._note(change.alert, change.tell, dropped=change.dropped)

    def _note(self, alert: Alert, tell: str, *, dropped: bool) -> None:
        known = self._open.get(alert.key)
        if dropped or alert.state == RESOLVED:
            self._live.pop(alert.key, None)
            if known is not None:
                self.fired.append(known._replace(alert=alert, ended=alert.resolved_at))
                del self._open[alert.key]
            return
        self._live[alert.key] = alert
        if alert.state == PENDING:
            return
        if known is None:
            self._open[alert.key] = Fired(alert, alert.first_at, alert.last_at, None, alert.value)
        else:
            worst = alert if tell == FIRING else known.alert
            self._open[alert.key] = known._replace(alert=worst, peak=self._further(known.peak, alert))

    def _further(self, peak: Any, alert: Alert) -> Any:
        rule = self._rules.rules[alert.rule]
        return further(rule, (peak, alert.value))

    def end(self) -> list[Fired]:
        """All that fired; what fires still is last."""
        return self.fired + list(self._open.values())


def further(rule: Rule, values: Iterable[Any]) -> Any:
    """Of some values the one that is furthest beyond the rule's threshold."""
    numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
    if rule.op in (">", ">="):
        return max(numbers, default=None)
    if rule.op in ("<", "<="):
        return min(numbers, default=None)
    return next(iter(values), None)
