"""Audit log: what people decided, and what was told to whom, over the report's time."""

from __future__ import annotations

from collections import Counter

from rmm.model.report import Asked, Document, Figure, Figures, Table, Text
from rmm.reports.making import column, counted, document
from rmm.reports.sources import Sources, command, scope, span

COLUMNS = (
    column("at", "At", "time"),
    column("who", "Who"),
    column("what", "What"),
    column("about", "About"),
    column("why", "Why, and what became of it"),
)


class Audit:
    """`sources.Report`."""

    name = "audit"
    title = "Audit log"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Newest first."""
        rows = fleet.audit(asked.since, asked.until)
        how = command("audit", *span(asked), *scope(asked), "--output", "json")
        return document(
            self, asked,
            Figures(items=(
                Figure(label="entries", value=len(rows), command=how),
                Figure(label="by people", value=sum(row["who"] != "rmm" for row in rows), command=how),
            )),
            counted("Entries by kind", Counter(row["what"] for row in rows), how),
            Table(title="Entries, newest first", columns=COLUMNS, command=how, main=True,
                  rows=tuple(tuple(row[one.key] for one in COLUMNS) for row in reversed(rows))),
            Text(text="What rmm keeps of this: machines that were accepted for an endpoint, alerts that were "
                      "acknowledged or resolved, and silences (by whom and why), and what was told to which channel. "
                      "Changes of rmm.yaml and of the vault are not recorded by rmm."),
        )  # fmt: skip


def build() -> Audit:
    """The plugin entry."""
    return Audit()
