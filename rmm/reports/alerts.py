"""Alert summary: what is firing, and what was."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from rmm.ports import FleetReader
from rmm.reports.safe import csv_bytes, html_page, when

STATES = ("firing", "acknowledged", "resolved")
COLUMNS = (
    "severity",
    "state",
    "rule",
    "name",
    "endpoint",
    "site",
    "summary",
    "value",
    "count",
    "first_at",
    "last_at",
    "resolved_at",
)
MOST = 500


class Alerts:
    """`ports.Report`."""

    name = "alerts"
    title = "Alert summary"
    formats = ("html", "csv")

    def render(self, fleet: FleetReader, format: str, *, now: datetime) -> bytes:
        """Critical and firing ones first."""
        rows = fleet.alerts(states=STATES)
        rows.sort(key=lambda row: (STATES.index(row["state"]), row["severity"] != "critical", row["name"]))
        if format == "csv":
            return csv_bytes(COLUMNS, ([row.get(name) for name in COLUMNS] for row in rows))
        counts = Counter((row["severity"], row["state"]) for row in rows)
        tiles = [
            ("critical, firing", counts[("critical", "firing")]),
            ("warnings, firing", counts[("warning", "firing")]),
            ("resolved", counts[("critical", "resolved")] + counts[("warning", "resolved")]),
        ]
        return html_page(
            "alerts.html.j2", title=self.title, made=when(now), scope="", rows=rows[:MOST],
            left=max(0, len(rows) - MOST), counts=tiles,
        )  # fmt: skip


def build() -> Alerts:
    """The plugin entry."""
    return Alerts()
