"""Performance trends: processors, memory and response over the days, and who is busiest."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

from rmm.core.trends import together
from rmm.model.report import Asked, Document, Lines, Table
from rmm.model.rollup import Rollup
from rmm.reports.making import column, dates, document, line
from rmm.reports.sources import Sources, command, scope, span

METRICS = (
    ("cpu.util_pct", "Processor load", "%", 100.0),
    ("memory.used_pct", "Memory in use", "%", 100.0),
    ("availability.tcp_ms", "Time to connect", "ms", 0.0),
)
COLUMNS = (
    column("endpoint", "Endpoint"),
    column("mean", "Mean", "number"),
    column("min", "Lowest", "number"),
    column("max", "Highest", "number"),
    column("last", "Last", "number"),
    column("count", "Samples", "number"),
)
MOST = 15


class Performance:
    """`sources.Report`."""

    name = "performance"
    title = "Performance trends"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Of each metric the days of all endpoints together, and the endpoints with the highest mean."""
        names, blocks = fleet.names(), []
        for metric, title, unit, top in METRICS:
            found = fleet.days(metric, asked.since, asked.until)
            how = ("history", metric, *span(asked), "--step", "day", *scope(asked))
            blocks += [
                _lines(found, asked, f"{title} by day", unit, top, command(*how, "--output", "json")),
                _table(found, names, f"{title}: the highest means", command(*how, "--top", str(MOST), "--by", "mean")),
            ]
        return document(self, asked, *blocks)


def _lines(
    found: Mapping[str, Sequence[Rollup]], asked: Asked, title: str, unit: str, top: float, how: str
) -> Lines:  # fmt: skip
    days = dates(asked)
    means: dict[str, list[float]] = {}
    for rollups in found.values():
        for one in rollups:
            means.setdefault(one.at.date().isoformat(), []).append(one.mean)
    lines = []
    if means:
        lines = [
            line("mean of all endpoints", days, {day: sum(all_) / len(all_) for day, all_ in means.items()}),
            line("95th percentile of endpoints", days, {day: _high(all_) for day, all_ in means.items()}),
        ]
    return Lines(title=title, days=tuple(days), lines=tuple(lines), unit=unit, top=top, command=how)


def _high(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-95 * len(ordered) // 100) - 1)]


def _table(found: Mapping[str, Sequence[Rollup]], names: Mapping[str, str], title: str, how: str) -> Table:
    whole = ((name, together(found[one])) for one, name in names.items() if one in found)
    most = heapq.nlargest(MOST, whole, key=lambda item: item[1].mean)
    rows = tuple((name, one.mean, one.min, one.max, one.last, one.samples) for name, one in most)
    return Table(title=title, columns=COLUMNS, rows=rows, command=how)


def build() -> Performance:
    """The plugin entry."""
    return Performance()
