"""Observations that came late: evaluated on their own time line, in whatever order they come. Pure.

They are kept, reduced to what rules look at, and those of an endpoint are evaluated in the order of their time, from
the beginning each time that some have come: so the outcome does not depend on the order of arrival. What fires there is
over. It is told once, and not at all where an alert of the same condition tells it already; what is live now neither
ends by it nor fires again, it only began earlier.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from rmm.core.alerting.lifecycle import LIVE, PENDING, RESOLVED, evaluate
from rmm.core.measures import nothing_known
from rmm.core.rulebook import RuleSet
from rmm.core.rules import CLEAR, Compiled
from rmm.model.observation import CollectorResult, Observation
from rmm.model.rule import EVENTS, Alert

GAP = timedelta(minutes=30)  # without an observation: what was pending begins anew, what is further apart is another
MOST_BYTES = 1 << 20  # of a reduced observation, unpacked

Row = Mapping[str, Any]
Keys = Mapping[str, Sequence[str]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Observation).decode


class Settled(NamedTuple):
    """An alert that is over. `number`: of the one that it replaces, 0 for none. `tell`: it is news."""

    alert: Alert
    number: int = 0
    tell: bool = False


def reduced(observation: Observation, rules: RuleSet, keys: Keys) -> bytes:
    """What the rules look at in an observation, packed."""
    parts = {}
    for name, result in observation.collectors.items():
        own = rules.compiled.get(name)
        if own and result.outcome in ("ok", "partial"):
            rows = _rows(result.readings, own, keys.get(name, ()))
            notes = {key: result.notes[key] for key in ("rows",) if key in result.notes}
            events = any(one.rule.op in EVENTS for one in own)
            parts[name] = CollectorResult(
                outcome="ok", readings=tuple(rows), notes=notes, changes=result.changes if events else ()
            )
    small = msgspec.structs.replace(observation, collectors=parts, telemetry={}, identity={}, errors=(), refused=None)
    return zlib.compress(_encode(small), 1)


def unpacked(body: bytes) -> Observation:
    """The inverse. Raises ValueError for what is no such thing."""
    unpack = zlib.decompressobj()
    try:
        return _decode(unpack.decompress(body, MOST_BYTES))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"a late observation cannot be read: {error}") from error


def _rows(readings: Iterable[Row], rules: Sequence[Compiled], key: Sequence[str]) -> Iterable[dict[str, Any]]:
    """The rows that are not clear, whole, and of others what measures need; a row that is left out is clear."""
    plain = [one for one in rules if not one.derived and one.rule.op not in EVENTS]
    derived = [one for one in rules if one.derived]
    needed = set(key)
    for one in derived:
        needed.update((one.rule.field, *one.rule.where, *one.rule.unless))
    for row in readings:
        if any(one.condition is not None for one in derived) or any(_says(one, row) for one in plain):
            yield dict(row)
        elif any(one.matches(row) is not False for one in derived):
            yield {name: row[name] for name in needed if name in row}


def _says(rule: Compiled, row: Row) -> bool:
    """Whether the row is not clear, or would not be if the alert fired already."""
    return rule.matches(row) is not False and any(rule.severity(row, held) for held in ("critical", "warning", CLEAR))


def episodes(observations: Sequence[Observation], rules: RuleSet, keys: Keys) -> list[Alert]:
    """The alerts that fire on a time line of their own, those last that do not end on it; oldest first."""
    context = nothing_known()
    live: dict[str, Alert] = {}
    ended: list[Alert] = []
    before: datetime | None = None
    for one in observations:
        if before is not None and one.observed_at - before > GAP:
            live = {key: alert for key, alert in live.items() if alert.state != PENDING}
        before = one.observed_at
        context = context._replace(endpoint=one.endpoint, at=one.observed_at.timestamp())
        for change in evaluate(one, live, rules.compiled, keys, context, rules.between):
            if change.dropped or change.alert.state == RESOLVED:
                live.pop(change.alert.key, None)
                ended += () if change.dropped else (change.alert,)
            else:
                live[change.alert.key] = change.alert
    return ended + [alert for alert in live.values() if alert.state != PENDING]


def settled(
    found: Iterable[Alert], since: datetime, ended: Iterable[tuple[int, Alert]], live: Mapping[str, Alert]
) -> tuple[list[Settled], list[Alert]]:
    """(what is to be written, live alerts that began earlier than was known) of the episodes of a time line.

    `since`: when the time line begins; `ended`: alerts of the endpoint that are over, by number; `live`: by key.
    """
    known: dict[str, list[Settled]] = {}
    for number, alert in ended:
        known.setdefault(alert.key, []).append(Settled(alert, number))
    earlier: dict[str, Alert] = {}
    written: dict[str, list[Settled]] = {}
    for episode in found:
        if (now := earlier.get(episode.key) or live.get(episode.key)) is not None and _leads_to(episode, now):
            if episode.first_at < now.first_at:
                earlier[now.key] = msgspec.structs.replace(now, first_at=episode.first_at)
            continue
        over = msgspec.structs.replace(
            episode, state=RESOLVED, late=True, resolved_at=episode.resolved_at or episode.last_at
        )
        own = written.setdefault(episode.key, [])
        if own and _touch(own[-1].alert, over):
            own[-1] = own[-1]._replace(alert=_joined(own[-1].alert, over))
        elif (before := next((one for one in known.get(episode.key, ()) if _touch(one.alert, over)), None)) is None:
            own.append(Settled(over, tell=True))
        elif before.alert.late:
            # The time line has all that was known then, and what has come since.
            own.append(Settled(over if before.alert.first_at >= since else _joined(before.alert, over), before.number))
    return [one for listed in written.values() for one in listed], list(earlier.values())


def _leads_to(episode: Alert, live: Alert) -> bool:
    """Whether what is live now is the same trouble, or its end."""
    return live.state in LIVE and live.state != PENDING and episode.last_at >= live.first_at - GAP


def _touch(one: Alert, other: Alert) -> bool:
    first, last = sorted((one, other), key=lambda alert: alert.first_at)
    return last.first_at <= (first.resolved_at or first.last_at) + GAP


def _joined(one: Alert, other: Alert) -> Alert:
    """Both as one."""
    worse = "critical" if "critical" in (one.severity, other.severity) else "warning"
    return msgspec.structs.replace(
        max(one, other, key=lambda alert: alert.count),
        first_at=min(one.first_at, other.first_at),
        last_at=max(one.last_at, other.last_at),
        resolved_at=max(one.resolved_at or one.last_at, other.resolved_at or other.last_at),
        severity=worse,
    )
