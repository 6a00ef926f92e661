"""Who is on call: the arithmetic of rotations, overrides and calendars. Pure.

    override (the newest that covers the moment)  >  the last layer that counts then, or the calendar  >  otherwise

A layer is an endless row of shifts that meet without a gap: the end of one is the beginning of the next, computed from
the same time on the wall. So exactly one person is on call per layer at every moment, whatever clocks do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import NamedTuple

from rmm.core.alerting.hours import OpenHours
from rmm.core.walltime import instant, shown
from rmm.model.escalation import Layer, Override, Rota

MOST_SPANS = 5000  # of one answer


class Span(NamedTuple):
    """`person` is on call from `since` until `until`; `source` says why: `layer 1`, `calendar`, `override 3`."""

    since: datetime
    until: datetime
    person: str
    source: str = ""


class Duty(NamedTuple):
    """Who is on call at one moment; an empty person: nobody. `note` says what was wrong with the calendar."""

    person: str
    source: str
    note: str = ""


class Roster(NamedTuple):
    """A rota with what belongs to it looked up."""

    rota: Rota
    zone: tzinfo
    hours: Mapping[str, OpenHours] = {}
    overrides: tuple[Override, ...] = ()  # those made by command; they count before those of rmm.yaml
    calendar: tuple[Span, ...] = ()
    note: str = ""  # why the calendar has nothing to say


def shift(layer: Layer, zone: tzinfo, at: datetime) -> Span:
    """The shift of a layer that `at` lies in."""
    turn = (shown(at, zone) - layer.starts) // layer.every
    # A time on the wall that comes twice is its first time: in its second hour the next hand-off may have been.
    while (until := _begins(layer, zone, turn + 1)) <= at:
        turn += 1
    return Span(_begins(layer, zone, turn), until, layer.people[turn % len(layer.people)])


def _begins(layer: Layer, zone: tzinfo, turn: int) -> datetime:
    return instant(layer.starts + turn * layer.every, zone)


def on_call(roster: Roster, at: datetime) -> Duty:
    """Who is on call at this moment."""
    for one in _ranked(roster):
        if one.since <= at < one.until:
            return Duty(one.person, f"override {one.number}" if one.number else "override of rmm.yaml")
    for number, layer in reversed(list(enumerate(roster.rota.layers, 1))):
        if _counts(layer, roster.hours, at):
            return Duty(shift(layer, roster.zone, at).person, f"layer {number}")
    found = [span for span in roster.calendar if span.since <= at < span.until]
    if found:  # of several the one that began last, which is the narrower one
        return Duty(max(found, key=lambda span: (span.since, -span.until.timestamp(), span.person)).person, "calendar")
    return Duty(roster.rota.otherwise, "otherwise", roster.note)


def duties(roster: Roster, since: datetime, until: datetime) -> list[Span]:
    """Who is on call from `since` until `until`: spans in order that meet; at most MOST_SPANS."""
    moments = sorted({since, until, *(at for at in _moments(roster, since, until) if since < at < until)})
    spans: list[Span] = []
    for begin, end in pairwise(moments):
        duty = on_call(roster, begin)
        if spans and spans[-1][2:] == (duty.person, duty.source):
            spans[-1] = spans[-1]._replace(until=end)
        elif len(spans) == MOST_SPANS:
            break
        else:
            spans.append(Span(begin, end, duty.person, duty.source))
    return spans


def _ranked(roster: Roster) -> list[Override]:
    """Overrides, those that count first."""
    return [*sorted(roster.overrides, key=lambda one: -one.number), *reversed(roster.rota.overrides)]


def _counts(layer: Layer, hours: Mapping[str, OpenHours], at: datetime) -> bool:
    return (not layer.during or hours[layer.during].is_open(at)) and not (
        layer.outside and hours[layer.outside].is_open(at)
    )


def _moments(roster: Roster, since: datetime, until: datetime) -> Iterable[datetime]:
    """Every moment at which somebody else may come on call."""
    for one in _ranked(roster):
        yield from (one.since, one.until)
    for span in roster.calendar:
        yield from span[:2]
    for layer in roster.rota.layers:
        for name in filter(None, (layer.during, layer.outside)):
            yield from roster.hours[name].changes(since, until)
        at = since
        for _ in range(MOST_SPANS):
            at = shift(layer, roster.zone, at).until
            if at >= until:
                break
            yield at
