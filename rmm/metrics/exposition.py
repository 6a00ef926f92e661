"""Samples as text in the formats of Prometheus; prometheus_client writes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rmm.errors import ConfigError
from rmm.metrics.table import BY_NAME, COUNTER, HISTOGRAM, METRICS
from rmm.metrics.values import Samples
from rmm.model.counts import BOUNDS

if TYPE_CHECKING:
    from prometheus_client.core import Metric

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def available() -> None:
    """ConfigError where the extra `metrics` is not installed."""
    for name in ("h11", "prometheus_client"):
        if find_spec(name) is None:
            raise ConfigError(f"metrics need the package {name}", hint="Install it: pip install 'mytech-rmm[metrics]'.")


def text(samples: Samples, *, openmetrics: bool = False, process: bool = False) -> bytes:
    """All metrics that have a value, in the order of the table. `process`: also what the system says of this process.

    A sample of a metric that the table does not have is a KeyError.
    """
    from prometheus_client import CollectorRegistry, ProcessCollector, exposition
    from prometheus_client.openmetrics import exposition as openmetrics_exposition

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(_families(samples))))
    if process:
        ProcessCollector(registry=registry)  # process_*, where there is /proc
    write: Any = openmetrics_exposition.generate_latest if openmetrics else exposition.generate_latest
    made: bytes = write(registry)
    return made


class _Collected:
    """What prometheus_client calls a collector: it has the families ready."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(samples: Samples) -> Iterator[Any]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    unknown = samples.values.keys() - BY_NAME.keys()
    if unknown:
        raise KeyError(f"no such metric in the table: {', '.join(sorted(unknown))}")
    for metric in METRICS:
        series = samples.values.get(metric.name)
        if not series:
            continue
        family: Any
        if metric.kind == HISTOGRAM:
            family = HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
            bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
            for labels, one in sorted(series.items()):
                family.add_metric(labels, list(zip(bounds, one.cumulative, strict=True)), one.total)
        else:
            made = CounterMetricFamily if metric.kind == COUNTER else GaugeMetricFamily
            family = made(metric.name, metric.meaning, labels=metric.labels)
            for labels, value in sorted(series.items()):
                family.add_metric(labels, value)
        yield family
