"""Capacity forecast: which volumes grow, and when they are full if they go on like that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.core.capacity import capacity
from rmm.model.report import Asked, Bar, Bars, Document, Figure, Figures, Table, Text
from rmm.reports.making import Asker, column, document, listed
from rmm.reports.sources import Sources, command, scope, span

METRIC = "volumes.used_pct"
MOST_VOLUMES = 16  # names of volumes for which the history of the whole fleet is read, those on the most endpoints
SOON = 30  # days
COLUMNS = (
    column("endpoint", "Endpoint"),
    column("volume", "Volume"),
    column("size_b", "Size", "bytes"),
    column("free_b", "Free", "bytes"),
    column("used_pct", "Used %", "number"),
    column("per_day", "Growth, % a day", "number"),
    column("days_left", "Full in days", "number"),
    column("fit", "Fit", "number", paper=False),
)
LIST = ("endpoint.id", "endpoint", "volumes.volume", "volumes.size_b", "volumes.free_b", "volumes.used_pct")


class Capacity:
    """`sources.Report`."""

    name = "capacity"
    title = "Capacity forecast"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Soonest full first, then the fullest."""
        ask = Asker(fleet, asked, {
            "list": listed("volumes.used_pct is not null", *LIST), "full": "any(volumes.used_pct >= 90)",
        })  # fmt: skip
        volumes = ask.rows("list")
        grown, left_out = _grown(fleet, asked, volumes)
        rows = [_row(one, grown) for one in volumes]
        rows.sort(key=lambda row: (row[6] is None, row[6] or 0.0, -(row[4] or 0), str(row[0]).casefold(), str(row[1])))
        soon = [row for row in rows if row[6] is not None and row[6] <= SOON]
        how = command("history", f"{METRIC}[*]", *span(asked), "--step", "day", "--forecast", "100", *scope(asked))
        bars = tuple(Bar(label=f"{row[0]} {row[1]}", value=round(row[6], 1), mood="bad") for row in soon[:12])
        note = "Volumes of the last readings."
        note += (
            f" Those with other names than the {MOST_VOLUMES} most frequent have no forecast: {left_out}."
            if left_out
            else ""
        )
        return document(
            self, asked,
            Figures(items=(
                Figure(label=f"volumes that are full within {SOON} days", value=len(soon), command=how,
                       mood="bad" if soon else "good"),
                ask.figure("full", "endpoints with a volume of 90 % and more", "bad"),
                Figure(label="volumes", value=len(rows), command=ask.how("list")),
            )),
            Bars(title="Full soon", bars=bars, unit="days", command=how),
            Table(title="Volumes, soonest full first", columns=COLUMNS, rows=tuple(rows), command=how, main=True,
                  note=note),
            Text(text="The forecast is a straight line through the last value of each day, by least squares. There is "
                      "none where the days are too few or do not lie on a line (fit below 0.6), or where the volume "
                      "does not grow. It says what happens if nothing changes, and not that nothing will."),
        )  # fmt: skip


def _grown(fleet: Sources, asked: Asked, volumes: list[dict[str, Any]]) -> tuple[dict[tuple[str, str], Any], int]:
    """(endpoint id, volume) -> its forecast; and how many volumes were not looked at."""
    counts: dict[str, int] = {}
    for one in volumes:
        counts[one["volumes.volume"]] = counts.get(one["volumes.volume"], 0) + 1
    names = sorted((name for name in counts if name and "]" not in name), key=lambda name: (-counts[name], name))
    found = {}
    for name in names[:MOST_VOLUMES]:
        for endpoint, rollups in fleet.days(f"{METRIC}[{name}]", asked.since, asked.until).items():
            points = [(one.at.timestamp() / 86_400, one.last) for one in rollups]
            found[(endpoint, name)] = capacity(points, 100.0)
    return found, sum(counts.values()) - sum(counts[name] for name in names[:MOST_VOLUMES])


def _row(one: Mapping[str, Any], grown: Mapping[tuple[str, str], Any]) -> tuple[Any, ...]:
    known = grown.get((one["endpoint.id"], one["volumes.volume"]))
    forecast = (None, None, None) if known is None else (
        round(known.per_day, 4), None if known.days is None else round(known.days, 2), round(known.fit, 3),
    )  # fmt: skip
    keys = ("endpoint.name", "volumes.volume", "volumes.size_b", "volumes.free_b", "volumes.used_pct")
    return (*(one[key] for key in keys), *forecast)


def build() -> Capacity:
    """The plugin entry."""
    return Capacity()
