"""Every metric there is: its name, type, labels and meaning. Names are stable, units are seconds, bytes and ratios."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

GAUGE, COUNTER, HISTOGRAM = "gauge", "counter", "histogram"


class Metric(NamedTuple):
    """One metric. The name of a counter is that of its samples, which ends with _total."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    source: str  # fleet | rounds | store | server | endpoint


FLEET = (
    Metric("rmm_endpoints", GAUGE, ("site", "status", "health"),
           "Endpoints by the status of their newest poll, or never_polled, and by their health word", "fleet"),
    Metric("rmm_stale_endpoints", GAUGE, ("site",), "Endpoints that were not observed for 15 minutes", "fleet"),
    Metric("rmm_refused_endpoints", GAUGE, (), "Endpoints for which another machine answers", "fleet"),
    Metric("rmm_fleet_health_ratio", GAUGE, (),
           "Mean health score, 0 to 1, of the endpoints of which something is known", "fleet"),
    Metric("rmm_site_health_ratio", GAUGE, ("site",), "The same of one site", "fleet"),
    Metric("rmm_alerts", GAUGE, ("severity", "state", "rule"), "Alerts that are pending, firing or acknowledged",
           "fleet"),
    Metric("rmm_site_alerts", GAUGE, ("site", "severity", "state"), "The same by site", "fleet"),
    Metric("rmm_site_newest_observation_timestamp_seconds", GAUGE, ("site",),
           "When the newest observation of a site was made", "fleet"),
    Metric("rmm_site_oldest_observation_timestamp_seconds", GAUGE, ("site",),
           "When that endpoint was observed whose newest observation is the oldest of the site", "fleet"),
    Metric("rmm_site_collector_heard_timestamp_seconds", GAUGE, ("site", "collector"),
           "When the hub last heard of a site collector, by its own clock; of a hub", "fleet"),
    Metric("rmm_site_collector_lag_seconds", GAUGE, ("site", "collector"),
           "How old the oldest entry is that a site collector has not handed over", "fleet"),
    Metric("rmm_site_collector_spooled_entries", GAUGE, ("site", "collector"),
           "Entries of a site collector that the hub has not committed", "fleet"),
    Metric("rmm_site_collector_spooled_bytes", GAUGE, ("site", "collector"), "Their size", "fleet"),
    Metric("rmm_site_collector_dropped_entries", GAUGE, ("site", "collector"),
           "Entries that a site collector has given up since its start, because its outgoing log was full", "fleet"),
    Metric("rmm_site_collector_clock_offset_seconds", GAUGE, ("site", "collector"),
           "How far its clock is ahead of the hub's", "fleet"),
    Metric("rmm_site_collector_certificate_expires_timestamp_seconds", GAUGE, ("site", "collector"),
           "Until when its certificate is good", "fleet"),
    Metric("rmm_site_collector_endpoints", GAUGE, ("site", "collector"), "Endpoints of the shards that it holds",
           "fleet"),
    Metric("rmm_site_collector_info", GAUGE, ("site", "collector", "version", "configuration"),
           "The version of rmm and of the configuration that it runs; always 1", "fleet"),
    Metric("rmm_site_refused_total", COUNTER, ("site", "reason"), "What the hub refused of a site", "fleet"),
    Metric("rmm_outbox_notifications", GAUGE, ("channel", "state"),
           "Notifications that a channel has not taken: waiting, or held for a group, digest or inhibition", "fleet"),
    Metric("rmm_outbox_oldest_timestamp_seconds", GAUGE, ("channel", "state"), "Since when the oldest of them waits",
           "fleet"),
)  # fmt: skip
ROUNDS = (
    Metric("rmm_polls_total", COUNTER, ("site", "status"), "Polls of all rounds", "rounds"),
    Metric("rmm_poll_duration_seconds", HISTOGRAM, ("site",), "How long polls took", "rounds"),
    Metric("rmm_poll_faults_total", COUNTER, ("code",), "Polls that failed as a whole, by the code of their fault",
           "rounds"),
    Metric("rmm_collector_results_total", COUNTER, ("collector", "outcome"), "Collectors' parts of polls", "rounds"),
    Metric("rmm_rounds_total", COUNTER, ("outcome",),
           "Rounds that ended: ok, some_failed, nothing (could be polled), error or stopped", "rounds"),
    Metric("rmm_rounds_duration_seconds_total", COUNTER, (), "How long all rounds took", "rounds"),
    Metric("rmm_rounds_cpu_seconds_total", COUNTER, (), "Processor time of all processes of all rounds", "rounds"),
    Metric("rmm_last_round_timestamp_seconds", GAUGE, (), "When the last round ended", "rounds"),
    Metric("rmm_last_round_duration_seconds", GAUGE, (), "How long it took", "rounds"),
    Metric("rmm_last_round_peak_memory_bytes", GAUGE, (), "Memory of its process, at most; not on Windows", "rounds"),
    Metric("rmm_last_round_info", GAUGE, ("version",), "The version of rmm that it ran with; always 1", "rounds"),
)  # fmt: skip
STORE = (
    Metric("rmm_store_files", GAUGE, ("kind",), "Files in the data folder", "store"),
    Metric("rmm_store_bytes", GAUGE, ("kind",), "Their size, with what SQLite keeps beside them", "store"),
    Metric("rmm_spool_bytes", GAUGE, ("site",), "Observations that are not yet everywhere", "store"),
    Metric("rmm_hot_written_timestamp_seconds", GAUGE, ("site",), "When the site's last states were written", "store"),
    Metric("rmm_disk_free_bytes", GAUGE, (), "Free on the data folder's disk", "store"),
    Metric("rmm_disk_reserved_bytes", GAUGE, (), "What history leaves free of it", "store"),
    Metric("rmm_store_growth_bytes_per_second", GAUGE, (), "How the store grows; absent before two days of history",
           "store"),
    Metric("rmm_disk_full_seconds", GAUGE, (),
           "Until the disk is full but for what is left free; +Inf: not in ten years", "store"),
    Metric("rmm_store_budget_reached_seconds", GAUGE, (),
           "Until the store reaches its budget; +Inf: not in ten years; absent without a budget", "store"),
)  # fmt: skip
SERVER = (
    Metric("rmm_build_info", GAUGE, ("version", "python"), "What gives these metrics; always 1", "server"),
    Metric("rmm_source_readable", GAUGE, ("source",),
           "Whether fleet (fleet.sqlite) and store (the data folder) could be read; what could not is absent",
           "server"),
    Metric("rmm_metrics_gather_seconds", GAUGE, (), "How long it took to gather these metrics", "server"),
    Metric("rmm_metrics_series_left_out", GAUGE, (),
           "Series that were left out or counted together because there are too many", "server"),
    Metric("rmm_metrics_requests_total", COUNTER, ("code",), "Answers of `rmm metrics serve`, by HTTP status",
           "server"),
    Metric("rmm_metrics_dropped_connections_total", COUNTER, (),
           "Connections that were too many, too slow or spoke no HTTP", "server"),
)  # fmt: skip
_OF_ENDPOINT = ("endpoint", "name", "site")
ENDPOINT = (
    Metric("rmm_endpoint_up", GAUGE, _OF_ENDPOINT, "1 where the newest poll gave readings, else 0", "endpoint"),
    Metric("rmm_endpoint_health_ratio", GAUGE, _OF_ENDPOINT, "Health score, 0 to 1", "endpoint"),
    Metric("rmm_endpoint_observation_timestamp_seconds", GAUGE, _OF_ENDPOINT, "When it was observed last", "endpoint"),
    Metric("rmm_endpoint_poll_duration_seconds", GAUGE, _OF_ENDPOINT, "How long its newest poll took", "endpoint"),
    Metric("rmm_endpoint_cpu_ratio", GAUGE, _OF_ENDPOINT, "Use of all processors, 0 to 1", "endpoint"),
    Metric("rmm_endpoint_memory_ratio", GAUGE, _OF_ENDPOINT, "Memory in use, 0 to 1", "endpoint"),
    Metric("rmm_endpoint_volume_ratio", GAUGE, _OF_ENDPOINT, "The fullest volume, 0 to 1", "endpoint"),
    Metric("rmm_endpoint_uptime_seconds", GAUGE, _OF_ENDPOINT, "Since its system started", "endpoint"),
)
METRICS = (*FLEET, *ROUNDS, *STORE, *SERVER, *ENDPOINT)
BY_NAME = {metric.name: metric for metric in METRICS}
PER_ENDPOINT = {metric.name.removeprefix("rmm_endpoint_"): metric.name for metric in ENDPOINT}
"""Short name, as `--per-endpoint` takes it -> metric."""

_TITLES = {
    "fleet": "The fleet", "rounds": "Rounds and polls", "store": "The store", "server": "The metrics themselves",
    "endpoint": "Single endpoints, with --per-endpoint",
}  # fmt: skip


def page() -> Iterator[str]:
    """The lines of the tables in docs/metrics.md."""
    for source, title in _TITLES.items():
        yield from ("", f"### {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|")
        for metric in METRICS:
            if metric.source == source:
                labels = ", ".join(metric.labels)
                yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.meaning} |"
