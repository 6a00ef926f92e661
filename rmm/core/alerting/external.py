"""Alerts that another program found (Prometheus, Grafana), in the form of Alertmanager's API v2. Pure.

They are alerts of no endpoint, of a rule `external:NAME`. One lives as long as it is pushed: it ends at its `endsAt`,
or five minutes after it was pushed last.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from rmm.core.alerting.lifecycle import FIRING, RESOLVED, Change
from rmm.core.alerting.route import EXTERNAL
from rmm.model.rule import Alert

MOST_POSTED, MOST_LIVE = 1000, 10_000
MOST_LABELS, MOST_TEXT = 64, 2000
RESOLVE_AFTER = timedelta(minutes=5)
AHEAD = timedelta(days=7)  # an end further away than this is not believed: nobody would end it
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,99}\Z")
_ODD = re.compile(r"[^A-Za-z0-9_.:-]")
_CRITICAL = frozenset({"critical", "page", "error", "fatal", "emergency", "high"})
_TEXTS = ("summary", "message", "description")  # annotations that say what is wrong
_FILTER = re.compile(r'\{?\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"?((?:[^"\\]|\\.)*)"?\s*\}?\Z')


class Posted(msgspec.Struct, frozen=True):
    """One of the alerts of `POST /api/v2/alerts`."""

    labels: dict[str, str]
    annotations: dict[str, str] = {}
    startsAt: datetime | None = None
    endsAt: datetime | None = None
    generatorURL: str = ""


class Refused(ValueError):
    """What was posted is not what the API takes; the text says why."""


def checked(posted: Sequence[Posted]) -> Sequence[Posted]:
    """As given, or Refused."""
    if len(posted) > MOST_POSTED:
        raise Refused(f"more than {MOST_POSTED} alerts at once")
    for one in posted:
        if not any(one.labels.values()):
            raise Refused("at least one label pair required")
        for name, texts in (("labels", one.labels), ("annotations", one.annotations)):
            if len(texts) > MOST_LABELS or any(len(text) > MOST_TEXT for text in texts.values()):
                raise Refused(f"{name}: at most {MOST_LABELS}, of {MOST_TEXT} characters")
            if not all(_LABEL.match(key) for key in texts):
                raise Refused(f"invalid {name} set: a name is not [a-zA-Z_][a-zA-Z0-9_]*")
        if len(one.generatorURL) > MOST_TEXT:
            raise Refused("generatorURL is too long")
        if any(at is not None and at.tzinfo is None for at in (one.startsAt, one.endsAt)):
            raise Refused("a time needs its zone")
    return posted


def changes(posted: Iterable[Posted], live: Mapping[str, Alert], now: datetime) -> list[Change]:
    """What was pushed makes of the live alerts of no endpoint. Raises Refused where there would be too many."""
    made: dict[str, Change] = {}
    for one in posted:
        labels = {name: text for name, text in one.labels.items() if text}
        key = key_of(labels)
        known = made[key].alert if key in made and made[key].alert.state != RESOLVED else live.get(key)
        ends_at = min(_ends_at(one, now), now + AHEAD)
        if ends_at <= now:
            if known is not None:
                made[key] = _ended(known, now)
            continue
        alert = _alert(key, labels, one, known, ends_at, now)
        worse = known is not None and known.severity != "critical" and alert.severity == "critical"
        made[key] = Change(alert, FIRING if known is None or worse or _tell(made, key) else "")
    if sum(key not in live for key in made) + len(live) > MOST_LIVE:
        raise Refused(f"more than {MOST_LIVE} alerts are alive")
    return list(made.values())


def _tell(made: Mapping[str, Change], key: str) -> bool:
    return key in made and made[key].tell == FIRING


def _ends_at(one: Posted, now: datetime) -> datetime:
    # Go's zero time stands for none.
    return one.endsAt if one.endsAt is not None and one.endsAt.year > 1 else now + RESOLVE_AFTER


def expired(live: Mapping[str, Alert], now: datetime) -> list[Change]:
    """Those that nobody pushes any more."""
    return [
        _ended(alert, now)
        for alert in live.values()
        if alert.rule.startswith(EXTERNAL) and datetime.fromisoformat(alert.value["ends_at"]) <= now
    ]


def _ended(alert: Alert, now: datetime) -> Change:
    return Change(msgspec.structs.replace(alert, state=RESOLVED, resolved_at=now, last_at=now), RESOLVED)


def key_of(labels: Mapping[str, str]) -> str:
    """The identity of an alert: its labels, whatever else changes."""
    return f"{_rule(labels)}||{fingerprint(labels)}"


def _rule(labels: Mapping[str, str]) -> str:
    return EXTERNAL + _ODD.sub("_", labels.get("alertname", "unnamed"))[:100]


def fingerprint(labels: Mapping[str, str]) -> str:
    """Sixteen digits, as Alertmanager's; not computed as its own are."""
    text = msgspec.json.encode(sorted(labels.items()))
    return hashlib.sha256(text).hexdigest()[:16]


def _alert(
    key: str, labels: Mapping[str, str], one: Posted, known: Alert | None, ends_at: datetime, now: datetime
) -> Alert:
    name = labels.get("instance") or labels.get("host") or labels.get("alertname") or "external"
    notes = one.annotations
    began = min(one.startsAt, now) if one.startsAt is not None and one.startsAt.year > 1 else now
    return Alert(
        key=key,
        rule=_rule(labels),
        endpoint="",
        name=name,
        site="",  # the label of that name is what routes see; the site's own rounds end what is theirs
        severity="critical" if labels.get("severity", "").casefold() in _CRITICAL else "warning",
        state=known.state if known else FIRING,
        summary=next((notes[key] for key in _TEXTS if notes.get(key)), labels.get("alertname", name)),
        value={
            "labels": dict(labels), "annotations": dict(notes), "url": one.generatorURL, "ends_at": ends_at.isoformat(),
        },
        first_at=known.first_at if known else began,
        last_at=now,
        count=known.count + 1 if known else 1,
        row=fingerprint(labels),
    )  # fmt: skip


def labels_of(alert: Alert) -> dict[str, str]:
    """The labels of any alert, as Alertmanager's API shows them."""
    if alert.rule.startswith(EXTERNAL) and isinstance(alert.value, dict):
        return dict(alert.value.get("labels") or {})
    found = {
        "alertname": alert.rule, "instance": alert.name, "endpoint": alert.endpoint, "site": alert.site,
        "severity": alert.severity, "row": alert.row,
    }  # fmt: skip
    return {name: text for name, text in found.items() if text}


def gettable(alert: Alert, receivers: Sequence[str]) -> dict[str, Any]:
    """`gettableAlert` of the API."""
    labels = labels_of(alert)
    external = alert.value if alert.rule.startswith(EXTERNAL) and isinstance(alert.value, dict) else {}
    ends_at = external.get("ends_at") or "0001-01-01T00:00:00.000Z"
    return {
        "labels": labels,
        "annotations": external.get("annotations") or {"summary": alert.summary},
        "startsAt": _moment(alert.first_at),
        "endsAt": _moment(datetime.fromisoformat(ends_at)),
        "updatedAt": _moment(alert.last_at),
        "fingerprint": fingerprint(labels),
        "generatorURL": external.get("url", ""),
        "receivers": [{"name": name} for name in receivers],
        "status": {
            "state": "suppressed" if alert.state == "acknowledged" else "active", "silencedBy": [], "inhibitedBy": [],
        },
    }  # fmt: skip


def _moment(at: datetime) -> str:
    # Not strftime: it writes the year 1 without its zeros.
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if at.year > 1 else _NEVER


_NEVER = "0001-01-01T00:00:00.000Z"


class Filter(NamedTuple):
    """NAME="VALUE", or NAME!="VALUE"."""

    name: str
    equal: bool
    value: str


def filters_of(texts: Iterable[str]) -> list[Filter]:
    """The `filter` parameters of the API; Refused for anything but = and !=."""
    found = []
    for text in texts:
        match = _FILTER.match(text[:MOST_TEXT])
        if match is None:
            raise Refused(f"bad matcher format: {text[:100]}")
        if match[2] in ("=~", "!~"):
            raise Refused("matchers of this server are = and !=: regular expressions are not taken")
        found.append(Filter(match[1], match[2] == "=", re.sub(r"\\(.)", r"\1", match[3])))
    return found


def passes(labels: Mapping[str, str], filters: Iterable[Filter]) -> bool:
    """Whether labels agree with all of them."""
    return all((labels.get(one.name, "") == one.value) is one.equal for one in filters)
