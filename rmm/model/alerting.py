"""Settings of what becomes of alerts: `Scope`, `Window`, `Dependency`, `AlertSettings`."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What something is about: alerts that fit one of each list that is not empty. In `endpoint`, * stands for any."""

    endpoint: tuple[str, ...] = ()  # ids or names
    group: tuple[str, ...] = ()
    site: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Maintenance. Recurring by `weekly`, `monthly` or `cron`; else once, from `begins` to `ends`.

    Times are of the wall clock in `timezone`; where that is empty, in the time zone of the alert's site.
    """

    name: str
    scope: Scope = Scope()
    reason: str = ""
    timezone: str = ""
    weekly: tuple[int, ...] = ()  # 0 Monday .. 6 Sunday
    monthly: tuple[tuple[int, int], ...] = ()  # (day, -1), or (nth 1..5 or -1 for the last, weekday 0..6)
    cron: str = ""
    at: tuple[int, ...] = ()  # minutes since midnight, of weekly and monthly
    lasts_s: int = 0  # seconds that pass, also where the clock is changed meanwhile
    begins: datetime | None = None  # naive; of recurring ones the earliest start
    ends: datetime | None = None  # naive; of recurring ones the first start that is not any more


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """While all of the causes are broken, alerts of the scope follow from it and are not told."""

    of: Scope
    endpoints: tuple[str, ...] = ()  # causes: endpoint ids
    sites: tuple[str, ...] = ()  # causes: site ids
    when: tuple[str, ...] = (
        "endpoint_unreachable",
        "site_down",
    )  # rules whose alerts say that a cause is broken


class Flapping(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that came or went so often in so long flaps, until it did neither for `calm` seconds."""

    transitions: int = 3
    window: int = 3600
    calm: int = 1800


class Remind(msgspec.Struct, frozen=True, kw_only=True):
    """After how many seconds what fires unacknowledged is told again, by severity; 0: never."""

    critical: int = 14_400
    warning: int = 86_400


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `alerts` of rmm.yaml. Seconds for times where nothing else is said."""

    together: int = 600  # what comes on one endpoint within so long is one incident
    many: int = 5  # a rule that fires on so many endpoints of a site or group within that time is one
    resolve_after: int = 600  # the end of an incident is told when it has lasted so long; 0: at once
    starting: int = 300  # after an endpoint's start nothing that its readings show is told for so long
    remind: Remind = Remind()
    absent_after_days: int = 7  # an alert about which nothing was heard for so long is over; 0: never
    archive_after_days: int = 30  # resolved alerts are archived then; they stay in the database
    keep_record_days: int = 90  # of what was not told, and why
    flapping: Flapping = Flapping()
