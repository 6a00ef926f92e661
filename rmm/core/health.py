"""The health score: 0..100 of four quarters, which firing alerts take points from. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    word = "Healthy" if score >= HEALTHY_FROM else "Warning" if score >= WARNING_FROM else "Critical"
    return score, word, reasons


def fleet_score(scores: Iterable[int]) -> int | None:
    """The mean score of the endpoints of which something is known; None when there is none."""
    known = list(scores)
    return round(sum(known) / len(known)) if known else None
