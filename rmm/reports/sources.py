"""What reports see of the fleet, the Protocol `Sources`; and the commands that give the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from rmm.core.availability import Uptime
from rmm.core.baseline import Baseline, Verdict
from rmm.core.health import Summary
from rmm.model.report import Asked, Document, Question
from rmm.model.rollup import Rollup

Rows = list[dict[str, Any]]


class HealthOfDay(NamedTuple):
    """`score`: the mean of the endpoints of which something was known; `lowest`: the lowest of the day."""

    day: str
    endpoints: int
    score: int
    lowest: int


class Sources(Protocol):
    """The fleet, as far as a report was asked for: every answer is about its site and group."""

    def names(self) -> Mapping[str, str]:
        """Endpoint id -> name, of all that take part."""
        ...

    def answers(self, questions: Sequence[Question]) -> list[Any]:
        """For each question rows, or {rows, endpoints} where it names no columns; in one pass over the fleet."""
        ...

    def alerts(self, states: Sequence[str]) -> Rows:
        """Alerts of these states, newest first."""
        ...

    def health(self, by: str) -> list[tuple[str, Summary]]:
        """By `fleet`, `site` or `group`: the health of each."""
        ...

    def health_days(self, since: datetime, until: datetime) -> list[HealthOfDay]:
        """Day by day, oldest first; days on which nothing was observed are absent."""
        ...

    def days(self, metric: str, since: datetime, until: datetime) -> Mapping[str, Sequence[Rollup]]:
        """Days of one metric, by endpoint id."""
        ...

    def uptime(self, since: datetime, until: datetime, limit_s: int) -> Mapping[str, Uptime]:
        """How long each endpoint was up, by id."""
        ...

    def changes(self, since: datetime, until: datetime) -> Rows:
        """What changed in inventories, oldest first: at, endpoint, collector, what, row, field, from, to."""
        ...

    def audit(self, since: datetime, until: datetime) -> Rows:
        """What people did and what was told to whom, oldest first: at, who, what, about, why."""
        ...

    def baselines(self) -> Sequence[Baseline]:
        """The shipped ones and the configuration's own."""
        ...

    def verdicts(self, baselines: Sequence[Baseline]) -> list[list[Verdict]]:
        """Of each baseline what became of its checks, in one pass over the fleet."""
        ...

    @property
    def target_pct(self) -> float:
        """The uptime that is aimed at."""
        ...

    @property
    def gap_s(self) -> int:
        """After how many seconds without an observation nothing is known any more."""
        ...


class Report(Protocol):
    """One report: what it is called, and how it is made."""

    name: str
    title: str

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """Raises TierError where what it needs cannot be read."""
        ...


def scope(asked: Asked, *, group: bool = True) -> list[str]:
    """The options that restrict a command to what was asked for."""
    found = ["--site", asked.site] if asked.site else []
    return found + (["--group", asked.group] if asked.group and group else [])


def span(asked: Asked) -> list[str]:
    """The options for its time."""
    return ["--since", moment(asked.since), "--until", moment(asked.until)]


def moment(at: datetime) -> str:
    """A time as commands take it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def command(*words: str) -> str:
    """A command line for a POSIX shell."""
    return shlex.join(["rmm", *words])


def query(asked: Asked, question: Question) -> str:
    """The command that answers a question."""
    condition = question.condition
    if asked.group:
        named = asked.group.replace('"', '""')
        condition = f'({condition}) and endpoint.group == "{named}"'
    words = ["query", condition]
    for option, names in (("--columns", question.columns), ("--sort", question.sort)):
        if names:
            words += [f"{option}={','.join(names)}"]  # a value may begin with a minus
    if question.count or not question.columns:
        words.append("--count")
    return command(*words, *scope(asked, group=False))
