"""Uptime: how long each endpoint was up, what is not known, and what maintenance took out of the count."""

from __future__ import annotations

from typing import Any

from rmm.core.availability import Uptime as Time
from rmm.core.availability import together
from rmm.model.report import Asked, Bar, Bars, Document, Figure, Figures, Table, Text
from rmm.reports.making import column, document
from rmm.reports.sources import Sources, command, scope, span

COLUMNS = (
    column("endpoint", "Endpoint"),
    column("uptime_pct", "Uptime %", "number"),
    column("outages", "Outages", "number"),
    column("up_h", "Up h", "number"),
    column("down_h", "Down h", "number"),
    column("unobserved_h", "Not observed h", "number"),
    column("maintenance_h", "Maintenance h", "number"),
)
MOST_BARS = 12
Row = dict[str, Any]


class Uptime:
    """`sources.Report`."""

    name = "uptime"
    title = "Uptime"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Worst first."""
        names, found = fleet.names(), fleet.uptime(asked.since, asked.until, fleet.gap_s)
        rows = sorted((row_of(names[one], time) for one, time in found.items()), key=order)
        how = command("uptime", *span(asked), "--gap", f"{fleet.gap_s}s", *scope(asked))
        whole = row_of("", together(found.values()))
        below = [row for row in rows if row["uptime_pct"] is not None and row["uptime_pct"] < fleet.target_pct]
        blind = [row for row in rows if row["uptime_pct"] is None]
        percent = whole["uptime_pct"]
        span_h = sum(whole[name] for name in ("up_h", "down_h", "unobserved_h", "maintenance_h"))
        unseen = 100 * whole["unobserved_h"] / span_h if span_h else None
        return document(
            self, asked,
            Figures(items=(
                Figure(label="uptime of the time that was observed", value=percent, unit="%", command=how,
                       mood="" if percent is None else "good" if percent >= fleet.target_pct else "bad"),
                Figure(label=f"endpoints below {fleet.target_pct:g} %", value=len(below), command=how,
                       mood="bad" if below else "good"),
                Figure(label="outages", value=whole["outages"], command=how),
                Figure(label="of the time not observed", value=None if unseen is None else round(unseen, 3), unit="%",
                       command=how, mood="warn" if unseen and unseen > 5 else ""),
                Figure(label="endpoints of which nothing is known", value=len(blind), command=how,
                       mood="warn" if blind else ""),
            )),
            Bars(title="Lowest uptime", unit="%", top=100, command=how, bars=tuple(
                Bar(label=row["endpoint"], value=row["uptime_pct"], mood="bad")
                for row in below[:MOST_BARS]
            )),
            Table(title="Endpoints, worst first", columns=COLUMNS, command=how, main=True,
                  rows=tuple(tuple(row[one.key] for one in COLUMNS) for row in rows)),
            Text(text=f"Up: the endpoint answered, whatever became of the poll. Down: it did not. Where no poll came "
                      f"within {fleet.gap_s // 60} minutes, and while its site or this collector itself was in "
                      "trouble, nothing is known: such time counts neither as up nor as down. Maintenance is left out "
                      "of the count. Days of which only the archive has samples are not observed here."),
        )  # fmt: skip


def row_of(name: str, time: Time) -> Row:
    """A row as `rmm uptime` prints it; hours with three digits, so that they add up to seconds."""
    hours = {
        key: round(micros / 3.6e9, 3)
        for key, micros in (
            ("up_h", time.up), ("down_h", time.down), ("unobserved_h", time.gap), ("maintenance_h", time.maintenance),
        )
    }  # fmt: skip
    percent = time.percent
    return {
        "endpoint": name, "uptime_pct": None if percent is None else round(percent, 4), "outages": time.outages, **hours
    }  # fmt: skip


def order(row: Row) -> tuple[bool, float, str]:
    """Lowest uptime first, the unknown last."""
    percent = row["uptime_pct"]
    return (percent is None, float(str(percent or 0)), str(row["endpoint"]).casefold())


def build() -> Uptime:
    """The plugin entry."""
    return Uptime()
