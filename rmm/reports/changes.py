"""Change report: what came, went and changed in inventories over the report's time."""

from __future__ import annotations

from collections import Counter

from rmm.model.report import Asked, Document, Figure, Figures, Table
from rmm.reports.making import column, counted, document
from rmm.reports.sources import Sources, command, scope, span

COLUMNS = (
    column("at", "At", "time"),
    column("endpoint", "Endpoint"),
    column("collector", "What"),
    column("what", "Change"),
    column("row", "Row"),
    column("field", "Field"),
    column("from", "From"),
    column("to", "To"),
)


WORDS = ("added", "removed", "changed", "accepted")


class Changes:
    """`sources.Report`."""

    name = "changes"
    title = "Change report"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Newest first."""
        rows = fleet.changes(asked.since, asked.until)
        how = command("changes", *span(asked), *scope(asked), "--output", "json")
        kinds = Counter(row["what"] for row in rows)
        return document(
            self, asked,
            Figures(items=(
                Figure(label="changes", value=len(rows), command=how),
                *(Figure(label=word, value=kinds[word], command=how) for word in WORDS),
                Figure(label="endpoints with changes", value=len({row["endpoint"] for row in rows}), command=how),
            )),
            counted("Changes by what has changed", Counter(row["collector"] for row in rows), how),
            counted("Endpoints with the most changes", Counter(row["endpoint"] for row in rows), how),
            Table(title="Changes, newest first", columns=COLUMNS, command=how, main=True,
                  rows=tuple(tuple(row[one.key] for one in COLUMNS) for row in reversed(rows))),
        )  # fmt: skip


def build() -> Changes:
    """The plugin entry."""
    return Changes()
