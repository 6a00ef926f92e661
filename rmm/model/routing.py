"""Who is told of what, and when: `Route`, `Inhibition`, and what routes know of an alert beside itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

Match = dict[str, Any]  # label -> value or list of values; `*` at the end of a value stands for anything


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """Which alerts go to which channels, and how patiently. Seconds for times.

    Routes are asked in their order; the first that matches decides, unless it says `continue`. What none matches
    goes to every channel at once.
    """

    name: str = ""  # for the log; its place in the list where empty
    match: Match = {}  # severity, site, group, tag, rule, quarter, endpoint, name, source; all must hold
    channels: tuple[str, ...] = ()  # nobody where empty
    group_by: tuple[str, ...] = ()  # labels that alerts of one notification share; empty: each alert by itself
    group_wait: float = 0.0  # how long the first alert of a group waits for others
    group_interval: float = 0.0  # and how long later ones of the same group do, from the notification before
    repeat_interval: float = 0.0  # what still fires is told again after so long; 0: never
    digest: str = ""  # hourly, or daily at HH:MM (UTC): one summary instead of single notifications
    escalation: str = ""  # the policy that the alerts climb
    more: bool = False  # `continue`: the routes behind this one are asked as well


class Inhibition(msgspec.Struct, frozen=True, kw_only=True):
    """While an alert fires that matches `source`, those that match `target` wait, where the labels `equal` agree."""

    source: Match
    target: Match
    equal: tuple[str, ...] = ()


class Subject(NamedTuple):
    """What the configuration says of an endpoint."""

    group: str = ""
    tags: tuple[str, ...] = ()


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides who is told."""

    routes: tuple[Route, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()
    subjects: Mapping[str, Subject] = {}  # by endpoint id
    quarters: Mapping[str, str] = {}  # rule id -> quarter


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """One alert's news on its way to one channel: it waits for its group, its digest, or the end of an inhibition."""

    channel: str
    group: str
    id: str  # of the notification that was decided
    kind: str
    at: datetime
    due_at: datetime
    route: str
    alert: str  # its key


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """That a channel was told that an alert fires, and has not heard of its end."""

    alert: str
    channel: str
    group: str
    route: str
    at: datetime  # when it was told last
