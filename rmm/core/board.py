"""What a board comes to: the fleet and its sites in figures, and the rows of the live view's pages. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from rmm.core.health import fleet_score
from rmm.model.board import Board, Line, LiveAlert
from rmm.model.endpoint import Endpoint

WORDS = ("Healthy", "Warning", "Critical", "Offline", "Unknown")
STALE_S = 900.0  # an endpoint that was not observed for so long is stale
_SEVERITIES, _STATES = ("critical", "warning"), ("firing", "acknowledged", "pending")


class SiteLine(NamedTuple):
    """A site, or the fleet: endpoints by health word, and the rest of what its row shows."""

    site: str
    endpoints: int
    words: Mapping[str, int]
    score: int | None  # mean of those of which something is known
    stale: int  # polled once, and not observed for STALE_S
    newest: float  # seconds since 1970 of its newest observation; 0: none
    oldest: float
    critical: int  # alerts that fire or are acknowledged
    warning: int


def with_unpolled(lines: Sequence[Line], listed: Iterable[Endpoint]) -> list[Line]:
    """The lines, and one for each enabled endpoint of the list that was never polled."""
    known = {line.id for line in lines}
    more = [one for one in listed if one.enabled and one.id not in known]
    return [*lines, *(Line(e.id, e.name, e.site, "", "", 0.0, 0.0, 0, "Unknown") for e in more)]


def fleet_line(lines: Sequence[Line], alerts: Sequence[LiveAlert], now: float) -> SiteLine:
    """The whole fleet as one row."""
    return _summed("fleet", lines, [alert.severity for alert in alerts if alert.state != "pending"], now)


def site_lines(lines: Iterable[Line], alerts: Iterable[LiveAlert], now: float) -> list[SiteLine]:
    """One row for each site."""
    by_site: dict[str, list[Line]] = {}
    for line in lines:
        by_site.setdefault(line.site, []).append(line)
    severities: dict[str, list[str]] = {}
    for alert in alerts:
        if alert.state != "pending":
            severities.setdefault(alert.site, []).append(alert.severity)
    return [_summed(site, found, severities.get(site, []), now) for site, found in sorted(by_site.items())]


def _summed(name: str, lines: Sequence[Line], severities: Sequence[str], now: float) -> SiteLine:
    at = [line.at for line in lines if line.at]
    return SiteLine(
        site=name,
        endpoints=len(lines),
        words=Counter(line.health for line in lines),
        score=fleet_score(line.score for line in lines if line.health != "Unknown"),
        stale=sum(now - one > STALE_S for one in at),
        newest=max(at, default=0.0),
        oldest=min(at, default=0.0),
        critical=severities.count("critical"),
        warning=severities.count("warning"),
    )


Key = Callable[[Any], Any]
SORTS: Mapping[str, Mapping[str, Key]] = {
    "sites": {
        "site": lambda one: one.site,
        "health": lambda one: (one.score is None, one.score, one.site),
        "endpoints": lambda one: (-one.endpoints, one.site),
        "alerts": lambda one: (-one.critical, -one.warning, one.site),
        "observed": lambda one: (one.newest, one.site),
    },
    "alerts": {
        "severity": lambda one: (_place(_SEVERITIES, one.severity), _place(_STATES, one.state), one.name, one.rule),
        "newest": lambda one: (_descending(one.first_at), one.name),
        "oldest": lambda one: (one.first_at, one.name),
        "endpoint": lambda one: (one.name, one.rule),
        "rule": lambda one: (one.rule, one.name),
        "count": lambda one: (-one.count, one.name),
    },
    "endpoints": {
        "health": lambda one: (one.score, one.health, one.name),
        "endpoint": lambda one: one.name,
        "site": lambda one: (one.site, one.name),
        "status": lambda one: (one.status, one.name),
        "observed": lambda one: (one.at, one.name),
    },
    "slow": {
        "seconds": lambda one: (-one.duration_s, one.name),
        "endpoint": lambda one: one.name,
        "site": lambda one: (one.site, -one.duration_s, one.name),
        "observed": lambda one: (one.at, one.name),
    },
}
"""Page -> name of an order -> its key; the first one is where a page begins."""


def _place(words: Sequence[str], word: str) -> int:
    return words.index(word) if word in words else len(words)


def _descending(text: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in text)


def rows(page: str, board: Board, sort: str, *, reverse: bool, wanted: str, now: float) -> list[Any]:
    """The rows of a page in this order: SiteLine, LiveAlert or Line; only those that have all words of `wanted`."""
    found: Iterable[Any]
    if page == "sites":
        found = site_lines(board.endpoints, board.alerts, now)
    elif page == "alerts":
        found = board.alerts
    elif page == "slow":
        found = (line for line in board.endpoints if line.at)
    else:
        found = board.endpoints
    words = wanted.casefold().split()
    if words:
        found = [row for row in found if _has(row, words)]
    return sorted(found, key=SORTS[page][sort], reverse=reverse)


def _has(row: SiteLine | LiveAlert | Line, words: Sequence[str]) -> bool:
    if isinstance(row, SiteLine):
        texts = [row.site]
    elif isinstance(row, LiveAlert):
        texts = [row.name, row.site, row.severity, row.state, row.rule, row.summary]
    else:
        texts = [row.name, row.site, row.status or "never polled", row.health, row.fault]
    text = " ".join(texts).casefold()
    return all(word in text for word in words)
