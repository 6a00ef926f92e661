"""The values of the metrics, from what was read. Pure: no clock, no file.

Labels have values from bounded sets alone: sites, rules, collectors and channels of the configuration, and words and
codes of the product. Where a database has others all the same, those beyond MOST are counted together as `other`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import msgspec

from rmm.core import counting
from rmm.core.board import SiteLine
from rmm.core.counting import OTHER
from rmm.core.harmless import clean
from rmm.model.board import Board, Line
from rmm.model.counts import BOUNDS, Counts
from rmm.model.observation import OK, PARTIAL
from rmm.model.sites import Contact, Refused

MOST = counting.MOST + 1  # values of one label
LONGEST = 120  # characters of a label's value

Labels = tuple[str, ...]


class Histogram(NamedTuple):
    """Counts of what was at most each of BOUNDS, of all, and the sum of all."""

    cumulative: Sequence[int]
    total: float


class Samples:
    """Metric -> labels -> value; a series that is added twice is the sum of both."""

    def __init__(self) -> None:
        self.values: dict[str, dict[Labels, Any]] = {}
        self.left_out = 0

    def add(self, metric: str, value: float, *labels: str) -> None:
        """Add a value."""
        series = self.values.setdefault(metric, {})
        place = tuple(label(text) for text in labels)
        series[place] = series.get(place, 0) + value

    def count(self, metric: str, counted: Mapping[Labels, float]) -> None:
        """Add counts, of each label MOST values at most: the first ones by name, so that they are always the same."""
        counted = {tuple(label(text) for text in labels): value for labels, value in _summed(counted).items()}
        for place in range(max((len(labels) for labels in counted), default=0)):
            names = sorted({labels[place] for labels in counted})
            if len(names) > MOST:
                self.left_out += len(names) - MOST
                kept = set(names[:MOST])
                counted = _summed(
                    (labels if labels[place] in kept else (*labels[:place], OTHER, *labels[place + 1 :]), value)
                    for labels, value in counted.items()
                )
        for labels, value in counted.items():
            self.add(metric, value, *labels)

    def put(self, metric: str, value: Any, *labels: str) -> None:
        """Set a value that is no sum, where there is room for its series."""
        series = self.values.setdefault(metric, {})
        place = tuple(label(text) for text in labels)
        if place in series or len(series) < MOST:
            series[place] = value
        else:
            self.left_out += 1


def _summed(counted: Mapping[Labels, float] | Iterable[tuple[Labels, float]]) -> dict[Labels, float]:
    total: dict[Labels, float] = {}
    for labels, value in counted.items() if isinstance(counted, Mapping) else counted:
        total[labels] = total.get(labels, 0) + value
    return total


def label(text: str) -> str:
    """A label's value: harmless, and not too long; `none` for an empty one."""
    return clean(text)[:LONGEST].encode("utf-8", "replace").decode() or "none"


def of_fleet(samples: Samples, board: Board, sites: Sequence[SiteLine], fleet: SiteLine) -> None:
    """From the coordinator's database."""
    samples.count(
        "rmm_endpoints", Counter((one.site, one.status or "never_polled", one.health) for one in board.endpoints)
    )
    samples.count("rmm_stale_endpoints", {(one.site,): one.stale for one in sites})
    samples.add("rmm_refused_endpoints", board.refused)
    samples.count("rmm_alerts", Counter((one.severity, one.state, one.rule) for one in board.alerts))
    samples.count("rmm_site_alerts", Counter((one.site, one.severity, one.state) for one in board.alerts))
    if fleet.score is not None:
        samples.add("rmm_fleet_health_ratio", fleet.score / 100)
    for one in sites:
        if one.score is not None:
            samples.put("rmm_site_health_ratio", one.score / 100, one.site)
        if one.newest:
            samples.put("rmm_site_newest_observation_timestamp_seconds", one.newest, one.site)
            samples.put("rmm_site_oldest_observation_timestamp_seconds", one.oldest, one.site)


def of_collectors(samples: Samples, contacts: Iterable[Contact], refused: Iterable[Refused]) -> None:
    """What a hub knows of site collectors."""
    for one in contacts:
        beat, labels = one.beat, (one.beat.site, one.beat.collector)
        known = {
            "heard_timestamp_seconds": one.heard_at.timestamp(),
            "lag_seconds": one.lag_s,
            "spooled_entries": beat.spooled,
            "spooled_bytes": beat.spool_bytes,
            "dropped_entries": beat.dropped,
            "clock_offset_seconds": one.offset_s,
            "endpoints": beat.endpoints,
        }
        if beat.expires_at is not None:
            known["certificate_expires_timestamp_seconds"] = beat.expires_at.timestamp()
        for name, value in known.items():
            samples.put(f"rmm_site_collector_{name}", value, *labels)
        samples.put("rmm_site_collector_info", 1, *labels, beat.version, beat.bundle)
    samples.count("rmm_site_refused_total", {(one.site, one.reason): one.number for one in refused})


def of_outbox(samples: Samples, board: Board, oldest: Mapping[Labels, float]) -> None:
    """Notifications that wait; `oldest`: (channel, state) -> seconds since 1970."""
    samples.count(
        "rmm_outbox_notifications",
        {(one.channel, "held" if one.held else "waiting"): one.number for one in board.waiting},
    )
    for labels, at in oldest.items():
        samples.put("rmm_outbox_oldest_timestamp_seconds", at, *labels)


def of_rounds(samples: Samples, counts: Counts) -> None:
    """From what all rounds have come to."""
    samples.count(
        "rmm_polls_total",
        {(site, status): n for site, one in counts.sites.items() for status, n in one.statuses.items()},
    )
    for site, one in counts.sites.items():
        if len(one.buckets) == len(BOUNDS) + 1:
            samples.put("rmm_poll_duration_seconds", Histogram(tuple(accumulate(one.buckets)), one.seconds), site)
    samples.count("rmm_poll_faults_total", {(code,): n for code, n in counts.faults.items()})
    samples.count(
        "rmm_collector_results_total",
        {(name, outcome): n for name, found in counts.results.items() for outcome, n in found.items()},
    )
    samples.count("rmm_rounds_total", {(outcome,): n for outcome, n in counts.rounds.items()})
    samples.add("rmm_rounds_duration_seconds_total", counts.round_seconds)
    samples.add("rmm_rounds_cpu_seconds_total", counts.cpu_seconds)
    if counts.ended_at is not None:
        samples.add("rmm_last_round_timestamp_seconds", counts.ended_at.timestamp())
        samples.add("rmm_last_round_duration_seconds", counts.last_seconds)
        samples.add("rmm_last_round_info", 1, counts.last_version)
        if counts.last_resident:
            samples.add("rmm_last_round_peak_memory_bytes", counts.last_resident)


def of_endpoints(samples: Samples, lines: Iterable[Line], metrics: Sequence[str], most: int) -> None:
    """Series of single endpoints, of the first `most` by id that were polled."""
    polled = sorted((line for line in lines if line.at), key=lambda line: line.id)
    samples.left_out += max(0, len(polled) - most) * len(metrics)
    for line in polled[:most]:
        found = _of_endpoint(line)
        for metric in metrics:
            if (value := found.get(metric)) is not None:
                place = (label(line.id), label(line.name), label(line.site))
                samples.values.setdefault(metric, {})[place] = value


def _of_endpoint(line: Line) -> dict[str, float | None]:
    try:
        facts = msgspec.json.decode(line.facts, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError):
        facts = {}
    return {
        "rmm_endpoint_up": float(line.status in (OK, PARTIAL)),
        "rmm_endpoint_health_ratio": line.score / 100 if line.health != "Unknown" else None,
        "rmm_endpoint_observation_timestamp_seconds": line.at,
        "rmm_endpoint_poll_duration_seconds": line.duration_s,
        "rmm_endpoint_cpu_ratio": _number(facts.get("cpu_pct"), 0.01),
        "rmm_endpoint_memory_ratio": _number(facts.get("memory_pct"), 0.01),
        "rmm_endpoint_volume_ratio": _number(facts.get("volumes_max_pct"), 0.01),
        "rmm_endpoint_uptime_seconds": _number(facts.get("uptime_s"), 1.0),
    }


def _number(value: Any, factor: float) -> float | None:
    """What an endpoint says of itself may be anything."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value * factor if math.isfinite(value) and abs(value) < 1e18 else None
