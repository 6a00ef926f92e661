"""Rules and alerts as data: `Rule`, `Alert`, `Notification`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

EVENTS = ("added", "removed", "changed", "increased", "decreased")


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A condition on the rows of one collector, or on the status of observations (`collector: ""`).

    On an inventory, `op` may also be added, removed, changed, increased or decreased (EVENTS): a change that fires at
    once, `critical: true` or `warning: true`, and resolves by itself after `hold_s` seconds without another one.
    `field` is what has changed, empty for added and removed.

    A row that matches `where` is tested: `field` `op` threshold. `for_s` is how long the condition must hold
    before the alert fires; `hysteresis` is how far (in the field's unit) the value must come back to resolve.
    """

    id: str  # unique over all rules, e.g. cpu_high
    collector: str = ""
    field: str = ""
    where: dict[str, Any] = {}  # row field -> value or list of values
    unless: dict[str, Any] = {}  # row field -> value or list of values: such rows are not tested
    op: str = ">"  # > >= < <= == != in, or one of EVENTS
    warning: Any = None
    critical: Any = None
    for_s: int = 0
    hold_s: int = 86_400  # of EVENTS alone
    hysteresis: float = 0.0
    summary: str = ""  # text with {field} placeholders of the row, {value}, {endpoint}
    quarter: str = "performance"  # availability | performance | security | compliance: where it costs health
    points: int = 10  # of that quarter's 25, when critical; half of it when warning


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


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel is asked to deliver. `id` is the idempotency key."""

    id: str
    kind: str  # firing | acknowledged | resolved
    at: datetime
    alerts: tuple[Alert, ...]
    digest: bool = False  # a summary of what happened since the one before
    test: bool = False  # somebody tries the channel: nothing is wrong
