"""Compliance: what became of the checks of each baseline, and who fails most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rmm.core.baseline import (
    Baseline,
    Verdict,
    by_endpoint,
    concerned,
    conditions,
    failures,
    share,
    totals,
)
from rmm.model.report import Asked, Bar, Bars, Document, Figure, Figures, Question, Table, Text
from rmm.reports.making import column, document
from rmm.reports.sources import Sources, command, query, scope

CHECKS = (
    column("id", "Check"),
    column("title", "What is demanded"),
    column("severity", "Severity", "mood"),
    column("passed", "Passed", "number"),
    column("failed", "Failed", "number"),
    column("unknown", "Not known", "number"),
    column("command", "How many fail", "command"),
    column("reference", "From", paper=False),
    column("why", "Why", paper=False),
    column("fix", "What to do", paper=False),
)
FAILED = (
    column("baseline", "Baseline"),
    column("endpoint", "Endpoint"),
    column("check", "Check"),
    column("title", "What is demanded"),
    column("severity", "Severity", "mood"),
    column("fix", "What to do", paper=False),
)
MOST_BARS = 10


class Compliance:
    """`sources.Report`."""

    name = "compliance"
    title = "Compliance"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Baseline by baseline; what is not known of an endpoint is not counted as passed."""
        baselines, names = fleet.baselines(), fleet.names()
        told = list(zip(baselines, fleet.verdicts(baselines), strict=True))
        blocks = [block for one, verdicts in told for block in _of(one, verdicts, names, asked)]
        failed = tuple(
            (one.title, names[endpoint], check.id, check.title, check.severity, check.fix)
            for one, endpoint, check in failures(told, names)
        )
        return document(
            self, asked, *blocks,
            Table(title="What fails, by endpoint", columns=FAILED, rows=failed, main=True,
                  command=_command(asked, "--failed")),
            Text(text="Passed: the check's condition is true of the last readings. Not known: what it asks was not "
                      "read, or the system does not tell; such endpoints are in neither of the other numbers."),
        )  # fmt: skip


def _of(one: Baseline, verdicts: Sequence[Verdict], names: Mapping[str, str], asked: Asked) -> list[object]:
    passed, failed, unknown = totals(verdicts)
    passes = share(passed, failed)
    mood = "" if passes is None else "good" if passes >= 90 else "warn" if passes >= 70 else "bad"
    all_of = query(asked, Question(condition=one.applies or "endpoint.id is not null"))
    whole = _command(asked)
    return [
        Figures(title=one.title, items=(
            Figure(label="of the checks that could be made passed", value=passes, unit="%", mood=mood, command=whole),
            Figure(label="endpoints that it applies to", value=len(concerned(verdicts)), command=all_of),
            Figure(label="checks failed", value=failed, mood="bad" if failed else "good", command=whole),
            Figure(label="checks not known", value=unknown, mood="warn" if unknown else "", command=whole),
        )),
        Text(text=one.description) if one.description else None,
        Table(title=f"{one.title}: checks", columns=CHECKS, command=_command(asked, one.id),
              rows=tuple(_row(one, verdict, asked) for verdict in verdicts)),
        Bars(title=f"{one.title}: endpoints that fail most", bars=tuple(
            Bar(label=names[endpoint], value=counts[1], mood="bad")
            for endpoint, counts in by_endpoint(verdicts, names)[:MOST_BARS] if counts[1]
        ), unit="checks", command=_command(asked, one.id, "--endpoints")),
    ]  # fmt: skip


def _command(asked: Asked, *more: str) -> str:
    return command("compliance", *more, *scope(asked))


def _row(one: Baseline, verdict: Verdict, asked: Asked) -> tuple[object, ...]:
    check = verdict.check
    how = query(asked, Question(condition=conditions(one, check).failed))
    return (
        check.id, check.title, check.severity, len(verdict.passed), len(verdict.failed), len(verdict.unknown), how,
        check.reference, check.why, check.fix,
    )  # fmt: skip


def build() -> Compliance:
    """The plugin entry."""
    return Compliance()
