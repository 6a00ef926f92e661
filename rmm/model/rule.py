"""Rules and alerts as data: `Rule`, `Alert`, `Notification`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from rmm.model.incident import Acknowledgement, Incident, Suppression

EVENTS = ("added", "removed", "changed", "increased", "decreased")
VALUE, RATE, FORECAST, FLEET, ABSENCE = "value", "rate", "forecast", "fleet", "absence"
MEASURES = (VALUE, RATE, FORECAST, FLEET, ABSENCE)

Names = str | tuple[str, ...]  # one or several, in which * stands for anything


class Scope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Some endpoints: those that every key with something in it fits; all where nothing is said."""

    endpoint: Names = ()  # ids or names
    group: Names = ()
    site: Names = ()
    tag: Names = ()
    os: Names = ()  # without *: a part of the caption, such as "server 2022"


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition on the rows of one collector, or on the status of observations (`collector: ""`).

    On an inventory, `op` may also be added, removed, changed, increased or decreased (EVENTS): a change that fires at
    once, `critical: true` or `warning: true`, and resolves by itself after `hold_s` seconds without another one.
    `field` is what has changed, empty for added and removed.

    A row that matches `where` is tested: `field` `op` threshold. `for_s` is how long the condition must hold
    before the alert fires; `hysteresis` is how far (in the unit of what is tested) the value must come back to resolve.

    `measure` says what of the field is tested: its value; its rate, per `per` and over `window_s`; a forecast, the
    hours until it reaches `reach`; fleet, how many deviations it is above the `against` of its peers; or absence, the
    seconds since the collector, the field or a row was last there. `when` is a free condition instead of all that.
    """

    id: str  # unique over all rules, e.g. cpu_high
    collector: str = ""
    field: str = ""
    where: dict[str, Any] = {}  # row field -> value or list of values
    unless: dict[str, Any] = {}  # row field -> value or list of values: such rows are not tested
    when: str = ""  # a query (docs/query.md) on rows of the collector: fires where it is true
    over: str = ""  # sum: of the field over all rows that match, as if they were one row
    measure: str = VALUE
    op: str = ">"  # > >= < <= == != in, or one of EVENTS
    warning: Any = None
    critical: Any = None
    for_s: int = 0
    hold_s: int = 86_400  # of EVENTS; of absence: after so long what is missing is forgotten
    hysteresis: float = 0.0
    window_s: int = 3600  # of rate and forecast: how far back is looked; of fleet: how old a peer's value may be
    span_s: int = 0  # of rate and forecast: the least time between first and last sample; 0: half the window
    per: str = "s"  # of rate: s, h or d
    reach: float | None = None  # of forecast
    peers: str = "fleet"  # of fleet: fleet, site, group or os
    against: str = "median"  # of fleet: median, or p75, p90, p95, p99
    least: int = 10  # of fleet: fewer values of peers say nothing
    floor: float = 0.0  # of fleet: what counts as one deviation at least, in the field's unit
    only: Scope = Scope()  # the endpoints that it is for
    between: Names = ()  # when, in the site's time zone: "mon-fri 08:00-18:00", "22:00-06:00", "sat,sun"
    summary: str = ""  # text with {field} placeholders of the row, {value}, {endpoint}
    quarter: str = "performance"  # availability | performance | security | compliance: where it costs health
    points: int = 10  # of that quarter's 25, when critical; half of it when warning


class Override(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is different of a rule on some endpoints. `warning: never` and `critical: never` take a threshold away.

    Where several fit, what names an endpoint goes before what names a tag, then group, os, site; then the later one.
    """

    rule: str  # its id, or with * several
    endpoint: Names = ()
    group: Names = ()
    site: Names = ()
    tag: Names = ()
    os: Names = ()
    disable: bool = False
    warning: Any = msgspec.UNSET
    critical: Any = msgspec.UNSET
    for_s: int | None = None
    hold_s: int | None = None
    hysteresis: float | None = None
    window_s: int | None = None
    points: int | None = None
    between: Names | None = None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One condition on one endpoint. `key` (rule, endpoint, row key) is its identity while it lives."""

    key: str
    rule: str
    endpoint: str
    name: str
    site: str
    severity: str  # warning | critical
    state: str  # pending | firing | acknowledged | resolved | archived
    summary: str
    value: Any
    first_at: datetime
    last_at: datetime
    count: int = 1
    resolved_at: datetime | None = None
    row: str = ""
    fired_at: datetime | None = None  # when it went from pending to firing
    told_at: datetime | None = None  # when channels were told of it; None: nobody was
    suppressed: Suppression | None = None  # why nobody is told of it now
    incident: str = ""  # the id of the one that it is part of
    ack: Acknowledgement | None = None
    ended: str = ""  # why it was resolved where its condition did not go away
    late: bool = False  # it fired from an observation that came late


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel is asked to deliver. `id` is the idempotency key."""

    id: str
    kind: str  # firing | resolved | reminder | acknowledged
    at: datetime
    alerts: tuple[Alert, ...]
    incident: Incident | None = None  # that they are of; its id is the same in all that is told of it
    digest: bool = False  # a summary of what happened since the one before
    test: bool = False  # somebody tries the channel: nothing is wrong
