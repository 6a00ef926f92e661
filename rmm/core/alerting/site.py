"""A site that is down is one alert, not one for each of its endpoints. Pure."""

from __future__ import annotations

from datetime import datetime

from rmm.core.alerting.lifecycle import FIRING
from rmm.model.rule import Alert

LEAST = 10  # endpoints of a site that were polled in the round
SHARE = 0.5  # more than this share of them out of reach
OUT_OF_REACH = frozenset({"UNREACHABLE", "TIMEOUT"})
RULE = "site_down"


def is_down(statuses: dict[str, int]) -> bool:
    """Whether a round's statuses (word -> count) of one site are the site's trouble, not its endpoints'."""
    total = sum(statuses.values())
    out = sum(count for status, count in statuses.items() if status in OUT_OF_REACH)
    return total >= LEAST and out > SHARE * total


def site_alert(site: str, statuses: dict[str, int], now: datetime, known: Alert | None) -> Alert:
    """The one alert of a site that is down."""
    total = sum(statuses.values())
    out = sum(count for status, count in statuses.items() if status in OUT_OF_REACH)
    return Alert(
        key=f"{RULE}||{site}",
        rule=RULE,
        endpoint="",
        name=site,
        site=site,
        severity="critical",
        state=FIRING,
        summary=f"site {site}: {out} of {total} endpoints out of reach; link, firewall or name service?",
        value=out,
        first_at=known.first_at if known else now,
        last_at=now,
        count=known.count + 1 if known else 1,
        row=site,
    )
