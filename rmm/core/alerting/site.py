"""Whose trouble is it? What befalls many endpoints of a site at once is the site's or the collector's: one alert. Pure.

Site-wide failures are not turned into hundreds of endpoint alerts.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from rmm.core.alerting.lifecycle import FIRING
from rmm.model.rule import Alert

LEAST = 10  # endpoints of a site that were polled in the round; fewer say nothing about the site
OUT_OF_REACH = frozenset({"UNREACHABLE", "TIMEOUT", "REBOOTING", "SITE_DOWN"})
RULE = "site_down"

Counts = Mapping[tuple[str, str], int]  # (status, fault code) -> endpoints of one site in one round


class Kind(NamedTuple):
    """A trouble that belongs to no endpoint: which faults show it, and from which share of the endpoints on."""

    rule: str
    codes: frozenset[str]
    share: float
    status: str  # what the endpoints concerned are shown as
    summary: str


KINDS = (
    Kind("collector_dns", frozenset({"dns.failure"}), 0.2, "COLLECTOR_FAULT", "names are not resolved: name server?"),
    Kind("collector_kdc", frozenset({"kdc.unreachable"}), 0.2, "COLLECTOR_FAULT", "no Kerberos server answers"),
    Kind("collector_clock", frozenset({"kdc.skew"}), 0.2, "COLLECTOR_FAULT", "Kerberos finds our clock wrong"),
    Kind("collector_sockets", frozenset({"collector.sockets"}), 0.0, "COLLECTOR_FAULT", "sockets or ports ran out"),
    Kind("collector_stalled", frozenset({"collector.stalled"}), 0.0, "COLLECTOR_FAULT", "the collector stood still"),
)  # fmt: skip


class Trouble(NamedTuple):
    """One kind that a site has now."""

    rule: str
    codes: frozenset[str]  # of the faults that it explains; empty: by status
    status: str
    summary: str
    concerned: int


def troubles(site: str, counts: Counts) -> list[Trouble]:
    """What a round's faults of one site say about the site and its collector."""
    total = sum(counts.values())
    found = []
    for kind in KINDS:
        hit = sum(number for (_, code), number in counts.items() if code in kind.codes)
        # A share needs enough endpoints to be one; what the collector says of itself does not.
        if hit and (not kind.share or (total >= LEAST and hit > kind.share * total)):
            text = f"site {site}: {kind.summary} ({hit} of {total} endpoints not polled for it)"
            found.append(Trouble(kind.rule, kind.codes, kind.status, text, hit))
    explained = frozenset().union(*(one.codes for one in found))
    out = sum(number for (status, code), number in counts.items() if status in OUT_OF_REACH and code not in explained)
    if total >= LEAST and out > 0.5 * total:
        text = f"site {site}: {out} of {total} endpoints out of reach; link, firewall or name service?"
        found.append(Trouble(RULE, frozenset(), "SITE_DOWN", text, out))
    return found


def explains(trouble: Trouble, status: str, code: str) -> bool:
    """Whether an endpoint's fault is part of this trouble."""
    return code in trouble.codes if trouble.codes else status in OUT_OF_REACH


BUDGET = "collector_budget"  # told before anything happens

# What the hub finds by itself, of sites and their collectors; no round of a site decides about these.
COLLECTOR_DOWN, LINK_SLOW, OFFSET = "collector_down", "link_slow", "collector_offset"
CERTIFICATE, SPOOL = "collector_certificate", "collector_spool"
WATCHED = frozenset({COLLECTOR_DOWN, LINK_SLOW, OFFSET, CERTIFICATE, SPOOL})
RULES = frozenset({RULE, BUDGET, "collector_disk", "collector_skew", *WATCHED, *(kind.rule for kind in KINDS)})


def is_ours(alert: Alert) -> bool:
    """Whether the hub decides of it; `site_down` is also what a round finds that has most endpoints out of reach."""
    return alert.rule in WATCHED or (alert.rule == RULE and isinstance(alert.value, str))


def site_alert(rule: str, site: str, summary: str, value: int, now: datetime, known: Alert | None) -> Alert:
    """The one alert of a trouble."""
    return Alert(
        key=f"{rule}||{site}",
        rule=rule,
        endpoint="",
        name=site,
        site=site,
        severity="warning" if rule == BUDGET else "critical",
        state=FIRING,
        summary=summary,
        value=value,
        first_at=known.first_at if known else now,
        last_at=now,
        count=known.count + 1 if known else 1,
        row=site,
    )
