"""Who is told of an alert, and when, as data: `Person`, `Hours`, `Rota`, `Policy`, and what became of a step.

Times of day are of a time zone that is named beside them; moments are UTC.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Literal

import msgspec


class Contact(msgspec.Struct, frozen=True):
    """One way to reach a person: a channel, and what is laid over its options, such as `to`.

    `name` is that of the channel with those options, `mail/anna`; the channel's own where nothing is laid over it.
    """

    channel: str
    name: str
    options: dict[str, Any] = {}


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who can be told."""

    id: str
    name: str = ""
    contacts: tuple[Contact, ...] = ()


class Slot(msgspec.Struct, frozen=True, order=True):
    """Minutes since midnight, half-open; `end` is beyond 1440 where it is a time of the next day."""

    begin: int
    end: int


class Hours(msgspec.Struct, frozen=True, kw_only=True):
    """When something is open: slots for Monday to Sunday, less the days that are closed.

    An empty `timezone` and no `holidays` mean those of the site.
    """

    id: str
    timezone: str = ""
    week: tuple[tuple[Slot, ...], ...] = ((),) * 7
    holidays: tuple[str, ...] = ()  # COUNTRY or COUNTRY-SUBDIVISION, such as DE-BY
    closed: tuple[date, ...] = ()  # days of our own that are as holidays


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """People who take turns. The turn of the first begins at `starts` (local), each lasts `every`.

    Before `starts` the turns go on backwards, so that somebody is on call at every moment. `during` and `outside` name
    hours: the layer counts only then.
    """

    people: tuple[str, ...]
    every: timedelta  # whole minutes, by the clock on the wall: a day is a day also where the clock is changed
    starts: datetime  # naive: date and time of a hand-off
    during: str = ""
    outside: str = ""


class Override(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody takes a rota from `since` until `until`. Of several the newest counts."""

    rota: str
    person: str
    since: datetime
    until: datetime
    reason: str = ""
    author: str = ""  # empty: it is in rmm.yaml
    made_at: datetime | None = None  # None: it is in rmm.yaml
    number: int = 0
    removed_at: datetime | None = None
    removed_by: str = ""


class Rota(msgspec.Struct, frozen=True, kw_only=True):
    """Who is on call: layers (the last that counts decides) or a calendar file; `otherwise` where none does."""

    id: str
    timezone: str = "UTC"
    layers: tuple[Layer, ...] = ()
    calendar: str = ""  # path of an iCalendar file
    overrides: tuple[Override, ...] = ()
    otherwise: str = ""  # a person


class Target(msgspec.Struct, frozen=True):
    """Whom a tier tells: a person, whoever is on call in a rota, or a channel as it is configured."""

    kind: Literal["person", "oncall", "channel"]
    name: str


class Tier(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a policy, `after` so long from when the alert fired."""

    after: timedelta
    tell: tuple[Target, ...]
    via: tuple[str, ...] = ()  # only these channels of a person; all of them where empty
    during: str = ""  # hours outside of which the tier is passed over
    outside: str = ""  # hours within which it is


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Tiers in the order of their time. With `hours`, delays run only while those are open.

    The whole of it is done `repeat` more times; each begins `repeat_after` from the last tier of the one before.
    """

    id: str
    tiers: tuple[Tier, ...]
    hours: str = ""
    repeat: int = 0
    repeat_after: timedelta = timedelta(0)


class Escalation(msgspec.Struct, frozen=True, kw_only=True):
    """The sections `people`, `hours`, `oncall` and `escalation` of rmm.yaml, by name."""

    people: dict[str, Person] = {}
    hours: dict[str, Hours] = {}
    rotas: dict[str, Rota] = {}
    policies: dict[str, Policy] = {}


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """An incident that climbs a policy: since when, and until when if nobody else is to be told.

    `key` is the incident's id; of an alert that is part of none, the alert's key. With `first_at` (of the alert that
    began it) and `policy` it is the course's identity: an alert that fires anew has another `first_at`. It is closed
    when those who were told have heard of the end, too.
    """

    key: str
    first_at: datetime
    policy: str
    fired_at: datetime
    site: str = ""
    alert: str = ""  # the key of the one whose route began it
    ended_at: datetime | None = None
    due_at: datetime | None = None  # when its next step is; None: nothing comes any more
    ended: str = ""  # acknowledged | exhausted (all steps were taken) | resolved | removed (from rmm.yaml)
    closed_at: datetime | None = None


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A step that was decided, and whom it told."""

    key: str
    first_at: datetime
    policy: str
    repeat: int  # 0: the first time
    step: int  # from 1
    due_at: datetime
    at: datetime
    told: tuple[str, ...] = ()  # names of contacts and channels; empty: nobody, and `note` says why
    note: str = ""
