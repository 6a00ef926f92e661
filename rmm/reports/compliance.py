"""Compliance: what became of the checks of each baseline, and who fails most of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rmm.core.baseline import SEVERITIES, Baseline, Verdict, conditions
from rmm.model.report import Asked, Bar, Bars, Document, Figure, Figures, Question, Table, Text
from rmm.reports.making import column, document
from rmm.reports.sources import Sources, query

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
        failed = [
            (
                one.title,
                names[endpoint],
                verdict.check.id,
                verdict.check.title,
                verdict.check.severity,
                verdict.check.fix,
            )
            for one, verdicts in told
            for verdict in verdicts
            for endpoint in verdict.failed
        ]
        failed.sort(key=lambda row: (str(row[1]).casefold(), SEVERITIES.index(row[4]), row[0], row[2]))
        return document(
            self, asked, *blocks,
            Table(title="What fails, by endpoint", columns=FAILED, rows=tuple(failed), main=True,
                  note="The command of each check is in the tables above; with --columns endpoint instead of --count "
                       "it lists the endpoints."),
            Text(text="Passed: the check's condition is true of the last readings. Not known: what it asks was not "
                      "read, or the system does not tell; such endpoints are in neither of the other numbers."),
        )  # fmt: skip


def _of(one: Baseline, verdicts: Sequence[Verdict], names: Mapping[str, str], asked: Asked) -> list[object]:
    passed, failed, unknown = (
        sum(len(getattr(verdict, word)) for verdict in verdicts) for word in ("passed", "failed", "unknown")
    )
    known = passed + failed
    share = round(100 * passed / known, 1) if known else None
    mood = "" if share is None else "good" if share >= 90 else "warn" if share >= 70 else "bad"
    concerned = {endpoint for verdict in verdicts for group in verdict[1:] for endpoint in group}
    all_of = query(asked, Question(condition=one.applies or "endpoint.id is not null"))
    worst: dict[str, int] = {}
    for verdict in verdicts:
        for endpoint in verdict.failed:
            worst[endpoint] = worst.get(endpoint, 0) + 1
    ordered = sorted(worst.items(), key=lambda item: (-item[1], names[item[0]].casefold()))
    sums = "the sums of the table's columns"
    return [
        Figures(title=one.title, items=(
            Figure(label=f"of the checks that could be made passed ({sums})", value=share, unit="%", mood=mood),
            Figure(label="endpoints that it applies to", value=len(concerned), command=all_of),
            Figure(label="checks failed", value=failed, mood="bad" if failed else "good"),
            Figure(label="checks not known", value=unknown, mood="warn" if unknown else ""),
        )),
        Text(text=one.description) if one.description else None,
        Table(title=f"{one.title}: checks", columns=CHECKS,
              rows=tuple(_row(one, verdict, asked) for verdict in verdicts)),
        Bars(title=f"{one.title}: endpoints that fail most", bars=tuple(
            Bar(label=names[endpoint], value=count, mood="bad") for endpoint, count in ordered[:MOST_BARS]
        ), unit="checks"),
    ]  # fmt: skip


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
