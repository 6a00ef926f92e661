"""What of a field is tested: its rate, when it reaches a limit, how it compares with its peers, how long it is absent.

Pure, but for what is remembered: `Context.memory`, one endpoint's slots by rule, plain values that can be encoded, and
bounded: MOST_ROWS rows of a rule with MOST samples each. A measure gives rows with MEASURED (and HELD, which counts
instead while the condition holds already); None there says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rmm.core.forecast import MOST, NEVER, forecast
from rmm.core.peers import Peers
from rmm.model.rule import ABSENCE, FLEET, FORECAST, RATE, Rule

Row = Mapping[str, Any]
MEASURED, HELD = "@measured", "@held"
MOST_ROWS = 64
PER = {"s": 1, "h": 3600, "d": 86_400}


class Context(NamedTuple):
    """What measures need beside rows. `changed` names the slots that are not as they were.

    `peers` is by rule and group of peers; None where the fleet is not known, as for what comes late.
    """

    endpoint: str
    at: float  # seconds since 1970
    memory: dict[str, Any]
    changed: set[str]
    peers: dict[tuple[str, str], Peers] | None = None
    groups: Mapping[str, str] = {}  # peers: of a rule -> the group that this endpoint is in
    facts: Mapping[str, Any] = {}  # of the endpoint, as free conditions name them


def nothing_known(endpoint: str = "", at: float = 0.0) -> Context:
    """A context without any past."""
    return Context(endpoint, at, {}, set())


def slot_of(rule: Rule) -> str:
    """The name of a rule's slot: another field or measure begins anew."""
    return f"{rule.id} {rule.measure} {rule.field}"


def summed(rule: Rule, rows: Iterable[Row]) -> list[Row]:
    """One row instead of many: the sum of the field."""
    values = [row.get(rule.field) for row in rows]
    numbers = [value for value in values if isinstance(value, int | float)]
    return [{rule.field: sum(numbers) if numbers or not values else None}]


def measured(rule: Rule, rows: Iterable[tuple[str, Row]], context: Context, whole: bool = True) -> list[Row]:
    """The rows (with their names) with what is tested of them; those that are absent as well where that is asked."""
    slot = context.memory.setdefault(slot_of(rule), {})
    if rule.measure == ABSENCE:
        return _absent(rule, rows, context, slot, whole)
    found: list[Row] = []
    seen = set()
    for name, row in rows:
        value = row.get(rule.field)
        seen.add(name)
        told = _NOTHING
        if (value.__class__ is float or value.__class__ is int) and (name in slot or len(slot) < MOST_ROWS):
            told = _TAKE[rule.measure](rule, name, value, context, slot)
        found.append({**row, **told})
    if len(slot) > len(seen):
        _forget(rule, context, slot)
    return found


_NOTHING: dict[str, Any] = {MEASURED: None, HELD: None}


def _forget(rule: Rule, context: Context, slot: dict[str, Any]) -> None:
    """Rows that were not seen within the window."""
    for name in [name for name, kept in slot.items() if _newest(kept) < context.at - rule.window_s]:
        del slot[name]
        context.changed.add(slot_of(rule))


def _newest(kept: Sequence[Any]) -> float:
    return float(kept[0][-1] if isinstance(kept[0], list) else kept[0])


def _kept(rule: Rule, name: str, value: float, context: Context, slot: dict[str, Any]) -> tuple[list[Any], bool]:
    """A row's samples of the window, MOST of them, evenly; and whether this one has come to them."""
    at, before = context.at, slot.get(name)
    times: list[float] = before[0] if before else []
    values: list[float] = before[1] if before else []
    if times and times[-1] > at:  # the clock was set back
        times, values = [], []
    if times and at - times[-1] < rule.window_s / (MOST - 2):
        return [times, values], False
    first = 0
    while first < len(times) and times[first] < at - rule.window_s:
        first += 1
    kept = slot[name] = [[*times[first:], at], [*values[first:], value]]
    context.changed.add(slot_of(rule))
    return kept, True


def _span(rule: Rule) -> float:
    return rule.span_s or rule.window_s / 2


def _rate(rule: Rule, name: str, value: float, context: Context, slot: dict[str, Any]) -> dict[str, Any]:
    times, values = _kept(rule, name, value, context, slot)[0]
    passed = context.at - times[0]
    rate = (value - values[0]) / passed * PER[rule.per] if passed > 0 and passed >= _span(rule) else None
    return {MEASURED: rate, HELD: rate}


def _forecast(rule: Rule, name: str, value: float, context: Context, slot: dict[str, Any]) -> dict[str, Any]:
    """Hours. A forecast is made when a sample has come to those that are kept, and holds until the next one."""
    before = slot.get(name)
    kept, new = _kept(rule, name, value, context, slot)
    if new:
        kept.append(_foreseen(rule, *kept[:2]))
    told = kept[2] if new else before[2] if before else None
    if told is None:
        return _NOTHING
    seconds, sure, then = told
    hours = NEVER if seconds is None else max(0.0, seconds - (context.at - then)) / 3600
    return {MEASURED: hours if sure else NEVER, HELD: hours}


def _foreseen(rule: Rule, times: list[float], values: list[float]) -> list[Any] | None:
    """[seconds, sure, when it was made]; None where too little is known."""
    assert rule.reach is not None
    limit = (max(one for one in (rule.warning, rule.critical) if one is not None) + rule.hysteresis) * 3600
    needed = abs(rule.reach - values[-1]) / limit * _span(rule)
    if times[-1] - times[0] < _span(rule):
        return None
    if max(values) - min(values) < needed / 2:  # nothing near: most of the fleet, most of the time
        return [None, True, times[-1]]
    found = forecast(times, values, rule.reach, _span(rule), rule.window_s)
    if found is None:
        return None
    return [None if found.seconds == NEVER else found.seconds, found.sure, times[-1]]


def _fleet(rule: Rule, name: str, value: float, context: Context, slot: dict[str, Any]) -> dict[str, Any]:
    if context.peers is None:
        return _NOTHING
    known = slot.get(name)
    if known is None or not 0 <= context.at - known[0] < rule.window_s / 4:  # for the next start; often enough
        slot[name] = [context.at, value]
        context.changed.add(slot_of(rule))
    group = rule.id, context.groups.get(rule.peers, "")
    peers = context.peers.setdefault(group, Peers(rule.window_s))
    peers.put((context.endpoint, name), context.at, value)
    score = peers.score(value, rule.against, rule.floor) if len(peers) >= max(rule.least, 2) else None
    return {MEASURED: score, HELD: score}


_TAKE = {RATE: _rate, FORECAST: _forecast, FLEET: _fleet}


def _absent(
    rule: Rule, rows: Iterable[tuple[str, Row]], context: Context, slot: dict[str, Any], whole: bool
) -> list[Row]:
    """What is there, with 0 seconds, and what was there, with the seconds since then.

    A slot has for each row when it was seen and its key fields. What has been missing for `hold_s` more than its
    highest threshold is forgotten: it is not coming back.
    """
    found: list[Row] = []
    seen = set()
    for name, row in rows:
        if name in seen or (rule.field and row.get(rule.field) is None):
            continue
        if name in slot or len(slot) < MOST_ROWS:
            slot[name] = [context.at, {key: value for key, value in row.items() if len(str(value)) <= 200}]
            seen.add(name)
            found.append({**row, MEASURED: 0.0})
            context.changed.add(slot_of(rule))
    longest = max(one for one in (rule.warning, rule.critical) if one is not None) + rule.hold_s
    for name, (at, row) in list(slot.items()):
        if name in seen:
            continue
        passed = context.at - at
        if passed > longest:
            del slot[name]
            context.changed.add(slot_of(rule))
        else:
            found.append({**row, MEASURED: passed if whole and passed >= 0 else None})
    return found
