"""Blocks out of answers: every one takes its command from the question that it answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmm.model.report import Asked, Bar, Bars, Column, Document, Figure, Line, Question, Table
from rmm.reports.sources import Report, Sources, command, query, scope, span

EVERYONE = "endpoint.id is not null"
MOST_BARS = 10


class Asker:
    """Asks all questions of a report at once, and makes blocks of the answers by the names of the questions."""

    def __init__(self, fleet: Sources, asked: Asked, questions: Mapping[str, Question | str]) -> None:
        self.asked = asked
        self._questions = {
            name: Question(condition=one) if isinstance(one, str) else one for name, one in questions.items()
        }
        self._answers = dict(zip(self._questions, fleet.answers(list(self._questions.values())), strict=True))

    def how(self, name: str) -> str:
        """The command of a question."""
        return query(self.asked, self._questions[name])

    def count(self, name: str) -> int:
        """Of how many endpoints a condition is true."""
        return int(self._answers[name]["endpoints"])

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a question with columns."""
        found: list[dict[str, Any]] = self._answers[name]
        return found

    def figure(self, name: str, label: str, mood: str = "") -> Figure:
        """A count; `mood` is what it has where it is not 0, and it is good where it is."""
        value = self.count(name)
        return Figure(label=label, value=value, mood=mood and (mood if value else "good"), command=self.how(name))

    def table(
        self, name: str, title: str, columns: Sequence[Column], *, note: str = "", main: bool = False, most: int = 0
    ) -> Table:
        """The rows of a question; `most`: only the first of them, which is said."""
        rows = self.rows(name)
        left = len(rows) - most if most else 0
        notes = [note] * bool(note) + ([f"The first {most} of {len(rows)}."] if left > 0 else [])
        cells = tuple(tuple(row.get(column.key) for column in columns) for row in (rows[:most] if most else rows))
        return Table(
            title=title, columns=tuple(columns), rows=cells, command=self.how(name), note=" ".join(notes), main=main
        )

    def bars(self, name: str, title: str, key: str, moods: Mapping[str, str] | None = None) -> Bars:
        """How many endpoints have each value of a column, the most first."""
        rows = self.rows(name)
        bars = [
            Bar(label=_label(row[key]), value=row["endpoints"], mood=(moods or {}).get(str(row[key]), ""))
            for row in rows
        ]
        rest = sum(bar.value for bar in bars[MOST_BARS:])
        if rest:
            bars = [*bars[:MOST_BARS], Bar(label=f"{len(bars) - MOST_BARS} others", value=rest, mood="none")]
        return Bars(title=title, bars=tuple(bars), command=self.how(name))


def grouped(condition: str, *columns: str) -> Question:
    """On how many endpoints each line is."""
    return Question(condition=condition, columns=columns, count=True)


def listed(condition: str, *columns: str, sort: Sequence[str] = ()) -> Question:
    """A line for each row."""
    return Question(condition=condition, columns=columns, sort=tuple(sort))


def column(key: str, heading: str, kind: str = "text", *, paper: bool = True) -> Column:
    """A column."""
    return Column(key=key, heading=heading, kind=kind, paper=paper)


NAME = column("endpoint.name", "Endpoint")
SITE = column("endpoint.site", "Site")


def document(report: Report, asked: Asked, *blocks: Any) -> Document:
    """The report; None among the blocks is nothing."""
    return Document(
        name=report.name, title=report.title, asked=asked, blocks=tuple(block for block in blocks if block is not None)
    )


def counted(title: str, counts: Counter[str], how: str, *, unit: str = "", mood: str = "") -> Bars:
    """Bars of what was counted, the most first."""
    bars = tuple(Bar(label=name, value=count, mood=mood) for name, count in counts.most_common(MOST_BARS))
    return Bars(title=title, bars=bars, unit=unit, command=how)


def health_command(asked: Asked, *more: str) -> str:
    """`rmm health` for what was asked."""
    return command("health", *more, *scope(asked))


def days_command(asked: Asked) -> str:
    """`rmm health --trend` for what was asked."""
    return health_command(asked, "--trend", *span(asked))


def line(name: str, days: Sequence[str], values: Mapping[str, float]) -> Line:
    """A line over these days, with gaps where nothing is known."""
    return Line(name=name, values=tuple(values.get(day) for day in days))


def dates(asked: Asked) -> list[str]:
    """All days of UTC that the report's time touches."""
    from datetime import UTC, timedelta

    day, last = asked.since.astimezone(UTC).date(), asked.until.astimezone(UTC).date()
    found = []
    while day <= last:
        found.append(day.isoformat())
        day += timedelta(days=1)
    return found


def mean(values: Iterable[float]) -> float | None:
    """None of nothing."""
    found = list(values)
    return sum(found) / len(found) if found else None


def _label(value: Any) -> str:
    return "unknown" if value is None else str(value).replace("Microsoft Windows", "Windows", 1)
