"""What the hub finds by itself: sites that are silent, collectors that are, links that are slow, and more. Pure.

A silent site is one alert; of one that is heard each collector that is not is one. What waits at a site that is heard,
for longer than it should, is a slow link, unless it gets less as fast as it does while a site catches up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec

from rmm.core.alerting import site as words
from rmm.core.alerting import states
from rmm.core.alerting.lifecycle import FIRING, RESOLVED, Change
from rmm.core.alerting.site import site_alert
from rmm.model.rule import Alert
from rmm.model.sites import Contact

OFFSET_S, OFFSET_OVER_S = 60.0, 30.0  # of a collector's clock; an alert ends only below the second
CERTIFICATE_DAYS, CERTIFICATE_LAST_DAYS = 14.0, 3.0
SPOOL_FULL, SPOOL_OVER = 0.8, 0.7  # of what a site may keep
DROPPED_S = 900.0  # for how long it counts that something was given up
CATCHES_UP = 0.5  # what waits gets younger by so much of the time that passes
AGAIN = timedelta(seconds=60)  # how often what an alert says is brought up to date
FORGOTTEN = timedelta(days=30)  # a collector that was silent for so long is no collector any more


class Limits(NamedTuple):
    """Seconds, and bytes of a site's spool where its collector does not say how much may wait."""

    silent_after: float
    slow_after: float
    spool_bytes: int


class Found(NamedTuple):
    """One trouble."""

    rule: str
    site: str
    row: str  # the site's id, with the collector's where it is one's
    severity: str
    summary: str
    value: Any

    @property
    def key(self) -> str:
        """Of its alert."""
        return f"{self.rule}||{self.row}"


class Lags:
    """Of one collector: whether what waits there is on its way, or waits for a link."""

    def __init__(self, span_s: float) -> None:
        self._span = span_s
        self._kept: deque[tuple[float, float]] = deque()  # when, by the hub's monotonic clock, and the lag

    def note(self, at: float, lag_s: float) -> None:
        """What a beat said."""
        self._kept.append((at, lag_s))
        while self._kept[0][0] < at - self._span:
            self._kept.popleft()

    def forget(self) -> None:
        """Nothing was heard for a while: what was before says nothing."""
        self._kept.clear()

    def is_slow(self, limit_s: float) -> bool:
        """Whether for half of the span something waited too long, and did not get less as by catching up."""
        if not self._kept:
            return False
        (first, before), (last, now) = self._kept[0], self._kept[-1]
        passed = last - first
        return now > limit_s and passed >= self._span / 2 and before - now < CATCHES_UP * passed


class Known(NamedTuple):
    """What is known of one collector, as of a moment.

    Attributes:
        silent_s: since it was heard, or since the hub could have heard it, whichever is less.
        slow: what waits there waits for the link.
    """

    contact: Contact
    silent_s: float
    slow: bool


def troubles(
    collectors: Iterable[Known], quiet: Mapping[str, float], limits: Limits, live: Mapping[str, Alert], now: datetime
) -> Iterator[Found]:
    """All that is wrong with sites of which a collector was ever heard.

    Args:
        collectors: that may speak for a site.
        quiet: site -> seconds since anything at all came from it, where something did.
        limits: from when on.
        live: alerts of no endpoint, by key, because what holds ends later than it begins.
        now: by the hub's clock.
    """
    sites: dict[str, list[Known]] = {}
    for one in collectors:
        sites.setdefault(one.contact.beat.site, []).append(one)
    for site, members in sorted(sites.items()):
        silent = min(min(one.silent_s for one in members), quiet.get(site, float("inf")))
        if silent > limits.silent_after:
            last = max(one.contact.heard_at for one in members)
            text = f"site {site}: nothing was heard of it since {last:%Y-%m-%d %H:%M:%S} UTC; link, power or collector?"
            yield Found(words.RULE, site, site, "critical", text, last.isoformat(timespec="seconds"))
            continue
        for one in members:
            if one.silent_s > limits.silent_after:
                yield _down(one)
            else:
                yield from _of_collector(one, limits, live, now)


def _down(one: Known) -> Found:
    beat, last = one.contact.beat, one.contact.heard_at
    row = f"{beat.site}/{beat.collector}"
    text = f"site {beat.site}: collector {beat.collector} is silent since {last:%Y-%m-%d %H:%M:%S} UTC, others are not"
    return Found(words.COLLECTOR_DOWN, beat.site, row, "critical", text, last.isoformat(timespec="seconds"))


def _of_collector(one: Known, limits: Limits, live: Mapping[str, Alert], now: datetime) -> Iterator[Found]:
    contact, beat = one.contact, one.contact.beat
    row, who = f"{beat.site}/{beat.collector}", f"site {beat.site}, collector {beat.collector}"

    def found(rule: str, severity: str, text: str, value: Any) -> Found:
        return Found(rule, beat.site, row, severity, f"{who}: {text}", value)

    def holds(rule: str) -> bool:
        return f"{rule}||{row}" in live

    if one.slow or (holds(words.LINK_SLOW) and contact.lag_s > limits.slow_after):
        text = f"{beat.spooled} entries wait for the link, the oldest for {contact.lag_s:.0f} s"
        yield found(words.LINK_SLOW, "warning", text, round(contact.lag_s))
    if abs(contact.offset_s) > (OFFSET_OVER_S if holds(words.OFFSET) else OFFSET_S):
        way = "ahead of" if contact.offset_s > 0 else "behind"
        text = f"its clock is {abs(contact.offset_s):.0f} s {way} the hub's"
        yield found(words.OFFSET, "warning", text, round(contact.offset_s))
    if beat.expires_at is not None:
        days = (beat.expires_at - now).total_seconds() / 86_400
        if days < CERTIFICATE_DAYS:
            severity = "critical" if days < CERTIFICATE_LAST_DAYS else "warning"
            text = f"its certificate ends {beat.expires_at:%Y-%m-%d} and has not been renewed"
            yield found(words.CERTIFICATE, severity, text, round(days, 1))
    dropped = contact.dropped_at is not None and now - contact.dropped_at < timedelta(seconds=DROPPED_S)
    most = beat.spool_limit if beat.spool_limit > 0 else limits.spool_bytes  # a site may have a bound of its own
    if dropped or beat.spool_bytes > (SPOOL_OVER if holds(words.SPOOL) else SPOOL_FULL) * most:
        lost = f", and {beat.dropped} entries with metrics alone were given up" if dropped else ""
        text = f"{_size(beat.spool_bytes)} of {_size(most)} wait for the hub{lost}"
        yield found(words.SPOOL, "critical" if dropped else "warning", text, beat.spool_bytes)


def _size(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def changes(
    found: Sequence[Found], live: Mapping[str, Alert], now: datetime, heard: Callable[[str], bool]
) -> list[Change]:
    """What becomes of alerts. `heard`: whether a site or `site/collector` is heard; only then its trouble is over."""
    made = []
    wanted = {one.key: one for one in found}
    for key, one in wanted.items():
        known = live.get(key)
        worse = known is None or states.worse(one.severity, known.severity)
        if known is not None and not worse and words.is_ours(known) and now - known.last_at < AGAIN:
            continue
        alert = site_alert(one.rule, one.site, one.summary, 0, now, known)
        alert = msgspec.structs.replace(alert, key=key, row=one.row, severity=one.severity, value=one.value)
        made.append(Change(alert, FIRING if worse else ""))
    for key, alert in live.items():
        if words.is_ours(alert) and key not in wanted and heard(alert.row):
            ended = msgspec.structs.replace(alert, state=RESOLVED, resolved_at=now, last_at=now)
            made.append(Change(ended, RESOLVED))
    return made
