"""Alert summary: what is firing, and what was over the report's time."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from rmm.model.report import Asked, Document, Figure, Figures, Table
from rmm.reports.making import column, counted, document
from rmm.reports.sources import Sources, command

STATES = ("firing", "acknowledged", "resolved")
COLUMNS = (
    column("severity", "Severity", "mood"),
    column("state", "State"),
    column("name", "Endpoint"),
    column("site", "Site"),
    column("summary", "What"),
    column("count", "Seen", "number"),
    column("first_at", "First", "time"),
    column("last_at", "Last", "time"),
    column("resolved_at", "Resolved", "time", paper=False),
    column("rule", "Rule", paper=False),
    column("value", "Value", paper=False),
    column("number", "Number", "number", paper=False),
)
Row = dict[str, Any]


class Alerts:
    """`sources.Report`."""

    name = "alerts"
    title = "Alert summary"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Alerts that live, and those that were resolved in the report's time; critical and firing ones first."""
        rows = [row for row in fleet.alerts(STATES) if row["state"] != "resolved" or _within(row, asked)]
        rows.sort(key=lambda row: (STATES.index(row["state"]), row["severity"] != "critical", row["name"], row["key"]))
        by = {state: [row for row in rows if row["state"] == state] for state in STATES}
        note = "Resolved: those of the command whose resolved_at is within the report's time."
        every = "; ".join(_how(state) for state in STATES)
        return document(
            self, asked,
            Figures(items=(
                _figure("critical, firing", [r for r in by["firing"] if r["severity"] == "critical"], "firing", "bad"),
                _figure("warnings, firing", [r for r in by["firing"] if r["severity"] != "critical"], "firing", "warn"),
                _figure("acknowledged", by["acknowledged"], "acknowledged", ""),
                _figure("resolved in this time", by["resolved"], "resolved", ""),
            )),
            counted("Alerts by rule", Counter(row["rule"] for row in rows), every, mood="warn"),
            counted("Endpoints with the most alerts", Counter(row["name"] for row in rows if row["endpoint"]), every),
            Table(title="Alerts", columns=COLUMNS, command=every, note=note, main=True,
                  rows=tuple(tuple(row.get(one.key) for one in COLUMNS) for row in rows)),
        )  # fmt: skip


def _figure(label: str, rows: list[Row], state: str, mood: str) -> Figure:
    return Figure(label=label, value=len(rows), mood=mood and (mood if rows else "good"), command=_how(state))


def _how(state: str) -> str:
    return command("alerts", "list", "--state", state, "--output", "json")


def _within(row: Row, asked: Asked) -> bool:
    at = row["resolved_at"]
    return bool(at) and asked.since <= datetime.fromisoformat(at) <= asked.until


def build() -> Alerts:
    """The plugin entry."""
    return Alerts()
