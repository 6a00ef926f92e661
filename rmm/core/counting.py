"""Counting polls for the metrics: what one observation adds, and the sum of two counts. Pure.

Names come from a bounded set as long as they are the product's own; whatever else arrives, the counts stay small.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from rmm.model.counts import BOUNDS, Counts, SiteCounts
from rmm.model.observation import Observation

MOST = 200  # different names in one place; further ones are counted together
OTHER = "other"


def note(counts: Counts, observation: Observation) -> None:
    """Count one poll."""
    site = counts.sites.setdefault(_admitted(counts.sites, observation.site), SiteCounts())
    _add(site.statuses, observation.status, 1)
    site.buckets[bisect_left(BOUNDS, observation.duration_s)] += 1
    site.seconds += max(0.0, observation.duration_s)
    if observation.fault is not None:
        _add(counts.faults, observation.fault.code, 1)
    for name, result in observation.collectors.items():
        outcomes = counts.results.setdefault(_admitted(counts.results, name), {})
        _add(outcomes, result.outcome, 1)


def add(total: Counts, one: Counts) -> None:
    """Add the counts of one round; what is of the last round alone is replaced."""
    _sum(total.rounds, one.rounds)
    total.round_seconds += one.round_seconds
    total.cpu_seconds += one.cpu_seconds
    for name, counted in one.sites.items():
        _add_site(total.sites.setdefault(_admitted(total.sites, name), SiteCounts()), counted)
    _sum(total.faults, one.faults)
    for name, outcomes in one.results.items():
        _sum(total.results.setdefault(_admitted(total.results, name), {}), outcomes)
    total.since = total.since or one.since
    total.ended_at, total.last_seconds = one.ended_at, one.last_seconds
    total.last_resident, total.last_version = one.last_resident, one.last_version


def _add_site(total: SiteCounts, one: SiteCounts) -> None:
    _sum(total.statuses, one.statuses)
    if len(total.buckets) != len(one.buckets):  # written by an rmm with other bounds: the histogram begins anew
        total.buckets, total.seconds = [0] * len(one.buckets), 0.0
    total.buckets = [before + more for before, more in zip(total.buckets, one.buckets, strict=True)]
    total.seconds += one.seconds


def _sum(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        _add(total, name, count)


def _add(total: dict[str, int], name: str, count: int) -> None:
    place = _admitted(total, name)
    total[place] = total.get(place, 0) + count


def _admitted(known: Mapping[str, object], name: str) -> str:
    """The name under which something is counted: once admitted, always the same, so that no counter falls."""
    return name if name in known or len(known) < MOST else OTHER
