"""Stage 3, inhibit: an alert waits while another one fires that explains it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rmm.core.alerting.route import labels, matches
from rmm.model.routing import Inhibition, Routing
from rmm.model.rule import Alert

Labels = Mapping[str, Sequence[str]]
Sources = list[tuple[Inhibition, str, Labels]]


def sources(live: Iterable[Alert], routing: Routing) -> Sources:
    """What inhibits now: (rule, key of the alert, its labels)."""
    found: Sources = []
    for alert in live if routing.inhibit else ():
        if alert.state in ("firing", "acknowledged"):
            seen = labels(alert, routing)
            found += [(one, alert.key, seen) for one in routing.inhibit if matches(one.source, seen)]
    return found


def inhibited(alert: Alert, found: Sources, routing: Routing) -> str:
    """The key of the alert that explains this one; empty where none does. No alert inhibits itself."""
    seen = labels(alert, routing) if found else {}
    for one, key, other in found:
        # What matches both sides is explained by none of its kind, or two such alerts would keep each other silent.
        meant = key != alert.key and matches(one.target, seen) and not matches(one.source, seen)
        if meant and all(set(seen[label]) & set(other[label]) - {""} for label in one.equal):
            return key
    return ""
