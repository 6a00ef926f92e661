"""The health score: 0..100 of four quarters, which firing alerts take points from; of many endpoints the mean. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rmm.model.observation import OK, PARTIAL
from rmm.model.rule import Alert, Rule

QUARTERS = ("availability", "performance", "security", "compliance")
FULL = 25
HEALTHY_FROM, WARNING_FROM = 90, 70

# Nothing is known of the machine itself then: our credential was held back, or the fault was ours.
NOT_ITS_FAULT = frozenset({"AUTH_HELD", "COLLECTOR_FAULT", "SITE_DOWN", "CONFIG"})


def health(status: str, alerts: Iterable[Alert], rules: Mapping[str, Rule]) -> tuple[int, str, list[str]]:
    """(score, status word, reasons that took points) of one endpoint.

    Args:
        status: of its newest observation; empty for an endpoint that was never polled.
        alerts: its firing and acknowledged alerts.
        rules: by id.
    """
    if not status or status in NOT_ITS_FAULT:
        return 0, "Unknown", [status or "never polled"]
    left = dict.fromkeys(QUARTERS, FULL)
    reasons: list[str] = []
    for alert in alerts:
        rule = rules.get(alert.rule)
        if rule is None or rule.quarter not in left:
            continue
        points = rule.points if alert.severity == "critical" else (rule.points + 1) // 2
        left[rule.quarter] = max(0, left[rule.quarter] - points)
        reasons.append(f"-{points} {alert.summary}")
    if status not in (OK, PARTIAL):  # it gives nothing, and what it was like before is no health
        return 0, "Offline", [status, *reasons]
    score = sum(left.values())
    return score, word_of(score), reasons


def word_of(score: int) -> str:
    """The status word of a score."""
    return "Healthy" if score >= HEALTHY_FROM else "Warning" if score >= WARNING_FROM else "Critical"


def lost(status: str, alerts: Iterable[Mapping[str, Any]], rules: Mapping[str, Rule]) -> dict[str, int]:
    """What took the points that an endpoint lacks: rule, or status where it gives nothing, -> points really taken."""
    if not status or status in NOT_ITS_FAULT:
        return {}
    if status not in (OK, PARTIAL):
        return {status: 4 * FULL}
    left = dict.fromkeys(QUARTERS, FULL)
    taken: dict[str, int] = {}
    for alert in alerts:
        rule = rules.get(alert["rule"])
        if rule is not None and rule.quarter in left:
            points = rule.points if alert["severity"] == "critical" else (rule.points + 1) // 2
            points = min(points, left[rule.quarter])
            left[rule.quarter] -= points
            taken[rule.id] = taken.get(rule.id, 0) + points
    return taken


class Reason(msgspec.Struct, frozen=True):
    """What takes points from the mean: a rule or a status, on how many endpoints, and how many points."""

    what: str
    endpoints: int
    points: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The health of several endpoints: the mean score of those of which something is known, None where there is none.

    `status` is the word of that score, Offline where all that is known is offline, Unknown where nothing is.
    """

    endpoints: int
    known: int
    score: int | None
    status: str
    words: dict[str, int]
    reasons: tuple[Reason, ...]


def summary(rows: Iterable[Mapping[str, Any]], taken: Mapping[str, Mapping[str, int]]) -> Summary:
    """Rows have endpoint, health and health_status; `taken` is `lost` by endpoint."""
    members = list(rows)
    words = Counter(row["health_status"] for row in members)
    known = [row for row in members if row["health_status"] != "Unknown"]
    score = fleet_score(row["health"] for row in known)
    status = "Unknown" if score is None else "Offline" if words["Offline"] == len(known) else word_of(score)
    points: Counter[str] = Counter()
    where: Counter[str] = Counter()
    for row in known:
        for what, took in taken.get(row["endpoint"], {}).items():
            points[what] += took
            where[what] += 1
    reasons = tuple(Reason(what, where[what], round(took / len(known), 2)) for what, took in points.most_common())
    return Summary(
        endpoints=len(members), known=len(known), score=score, status=status, words=dict(words), reasons=reasons
    )


def fleet_score(scores: Iterable[int]) -> int | None:
    """The mean score of the endpoints of which something is known; None when there is none."""
    known = list(scores)
    return round(sum(known) / len(known)) if known else None
