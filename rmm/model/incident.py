"""What people and circumstances do to alerts, as data: `Incident`, `Suppression`, `Silence`, `Act` and more."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Acknowledgement(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody is at it: no reminders until `until` (None: until it is over), or until it gets worse."""

    who: str
    at: datetime
    reason: str = ""
    until: datetime | None = None
    severity: str = ""  # that the alert had then


class Suppression(msgspec.Struct, frozen=True):
    """Why nobody is told of an alert. `until` is when that ends for certain, None where it is not known.

    kind: window | silence | dependency | site | starting | round | incident | flapping. `ref` names which of them.
    """

    kind: str
    ref: str = ""
    reason: str = ""
    until: datetime | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts that are one trouble: they are told together. `id` stays the same while it is open, a key for channels.

    kind: endpoint (what one endpoint has), many (one rule on many endpoints), site (of no endpoint).
    """

    id: str
    kind: str
    subject: str  # endpoint id; `site:X` or `group:X`; the site's id
    title: str
    severity: str  # the worst of what fires; the last one after it is closed
    opened_at: datetime
    last_at: datetime  # when the newest member came
    rule: str = ""  # of `many`
    site: str = ""
    group: str = ""
    state: str = "open"  # open | closed
    closed_at: datetime | None = None
    count: int = 0  # members that ever were
    firing: int = 0
    before: int = 0  # of `many`: endpoints that were told alone, before it was seen that they are many
    acknowledged: bool = False  # all that fires is
    told_at: datetime | None = None  # when channels were first told that it opened
    told_severity: str = ""
    reminded_at: datetime | None = None
    flapping: bool = False
    lingers: dict[str, datetime] = {}  # keys of alerts that ended, whose end is not believed before


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label. op: = != =~ !~ (regular expressions match the whole value)."""

    label: str
    op: str
    value: str


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """All alerts that every matcher fits are not told from `starts_at` until `ends_at`."""

    number: int = 0  # given by the database
    matchers: tuple[Matcher, ...]
    author: str
    reason: str
    starts_at: datetime
    ends_at: datetime


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """What a person did. what: ack | resolve | silence | unsilence."""

    number: int = 0  # given by the database
    at: datetime
    who: str
    what: str
    key: str = ""  # of the alert
    reason: str = ""
    detail: str = ""


class Flap(msgspec.Struct, frozen=True):
    """When an alert came and went lately, oldest first; `since` when it was found to flap."""

    key: str
    times: tuple[datetime, ...] = ()
    since: datetime | None = None


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the record of what was not told, and why."""

    at: datetime
    key: str
    rule: str
    endpoint: str
    site: str
    severity: str
    summary: str
    why: Suppression
