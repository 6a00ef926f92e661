"""Baselines: what an endpoint should be like, as conditions of the query language; and what became of each. Pure.

A check is passed where its condition is true, failed where it is false, and unknown where nothing is known of what it
asks. It is about the endpoints for which `applies` is true (of the baseline, and of the check where it has its own).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from rmm.core.query.compiled import Query
from rmm.core.query.schema import ENDPOINT

SEVERITIES = ("high", "medium", "low")


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One demand. `id` is unique within its baseline; `why` and `fix` are for people."""

    id: str
    title: str
    condition: str
    applies: str = ""
    severity: str = "medium"
    why: str = ""
    fix: str = ""
    reference: str = ""  # where the demand comes from, such as a section of a benchmark


class Baseline(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of checks."""

    id: str
    title: str
    applies: str = ""
    description: str = ""
    checks: tuple[Check, ...] = ()


class Verdict(NamedTuple):
    """Ids of the endpoints that a check is about, by what became of it."""

    check: Check
    passed: frozenset[str]
    failed: frozenset[str]
    unknown: frozenset[str]


class Conditions(NamedTuple):
    """The queries of one check."""

    applies: str
    passed: str
    failed: str


def conditions(baseline: Baseline, check: Check) -> Conditions:
    """In the query language; what applies and is neither passed nor failed is unknown."""
    scope = " and ".join(f"({one})" for one in (baseline.applies, check.applies) if one) or "endpoint.id is not null"
    return Conditions(scope, f"{scope} and ({check.condition})", f"{scope} and not ({check.condition})")


def ambiguous(query: Query, keys: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Collectors with several rows that a condition asks outside any, all and count: it would be many answers."""
    for name in query.collectors:
        if name != ENDPOINT and keys.get(name):
            yield name


def share(passed: int, failed: int) -> float | None:
    """Per cent of the checks that could be made which are passed; None where none could."""
    return round(100 * passed / (passed + failed), 1) if passed + failed else None


def totals(verdicts: Iterable[Verdict]) -> tuple[int, int, int]:
    """How many checks are passed, failed and unknown, over all endpoints."""
    counts = [(len(one.passed), len(one.failed), len(one.unknown)) for one in verdicts]
    passed, failed, unknown = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
    return passed, failed, unknown


def concerned(verdicts: Iterable[Verdict]) -> set[str]:
    """The endpoints that any check is about."""
    return {endpoint for one in verdicts for group in one[1:] for endpoint in group}


def by_endpoint(verdicts: Sequence[Verdict], names: Mapping[str, str]) -> list[tuple[str, tuple[int, int, int]]]:
    """(endpoint, (passed, failed, unknown)), those that fail most first, then by name."""
    counts: dict[str, list[int]] = {}
    for one in verdicts:
        for number, group in enumerate(one[1:]):
            for endpoint in group:
                counts.setdefault(endpoint, [0, 0, 0])[number] += 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1][1], names[item[0]].casefold()))
    return [(endpoint, (passed, failed, unknown)) for endpoint, (passed, failed, unknown) in ordered]


def failures(
    told: Iterable[tuple[Baseline, Sequence[Verdict]]], names: Mapping[str, str]
) -> list[tuple[Baseline, str, Check]]:
    """Each check that an endpoint fails: by endpoint's name, then the worst first."""
    found = [
        (one, endpoint, verdict.check) for one, verdicts in told for verdict in verdicts for endpoint in verdict.failed
    ]
    return sorted(
        found,
        key=lambda row: (names[row[1]].casefold(), SEVERITIES.index(row[2].severity), row[0].title, row[2].id),
    )
