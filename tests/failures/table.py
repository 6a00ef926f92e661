"""How the catalogue's results are shown: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from logons import AbsentError
from runner import Scenario, problems

ROWS_OF_CATALOGUE = 102
WIDTHS = (3, 60, 46)
COLOURS = {"ok": "32", "not": "31"}

Results = Mapping[str, Any]


def records(chosen: Iterable[Scenario], results: Results) -> list[dict[str, Any]]:
    """One per scenario and round: row, scenario, file, expected, seen, wrong (what is not as expected), seconds."""
    return [record for scenario in chosen for record in _of(scenario, results[scenario.path])]


def _of(scenario: Scenario, result: Any) -> Iterator[dict[str, Any]]:
    common = {"row": scenario.row, "file": scenario.path}
    if isinstance(result, AbsentError):
        expected = _words(scenario.expect[0])
        seen = f"SKIPPED: {result}"
        yield common | {"scenario": scenario.title, "expected": expected, "seen": seen, "wrong": [], "seconds": 0.0}
        return
    if isinstance(result, Exception):
        wrong = [f"could not be run: {type(result).__name__}: {result}"]
        expected = _words(scenario.expect[0])
        yield common | {"scenario": scenario.title, "expected": expected, "seen": "", "wrong": wrong, "seconds": 0.0}
        return
    for number, seen in enumerate(result, start=1):
        title = scenario.title if len(result) == 1 else f"{scenario.title} (round {number})"
        yield common | {
            "scenario": title,
            "expected": _words(seen["expected"]),
            "seen": _words(seen),
            "wrong": problems(seen),
            "seconds": round(seen["duration_s"], 1),
        }


def _words(facts: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (str(facts.get(key, "")) for key in ("status", "code", "retry"))))


def lines(found: Iterable[dict[str, Any]], *, colour: bool) -> Iterator[str]:
    """The table; what is not as expected comes once more at the end, with why."""
    red = []
    yield _line("row", "scenario", "expected", "seen")
    for record in found:
        good = not record["wrong"]
        if not good:
            red.append(record)
        text = _line(record["row"], record["scenario"], record["expected"], record["seen"] or "-")
        yield _coloured(f"{text}{'' if good else '  <- not as expected'}", good=good, colour=colour)
    for record in red:
        yield ""
        yield _coloured(f"{record['row']:>3}  {record['scenario']} ({record['file']})", good=False, colour=colour)
        yield from (f"     {reason}" for reason in record["wrong"])


def _line(row: Any, scenario: str, expected: str, seen: str) -> str:
    narrow, wide, words = WIDTHS
    return f"{row:>{narrow}}  {_cut(scenario, wide):<{wide}}  {expected:<{words}}  {seen}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _coloured(text: str, *, good: bool, colour: bool) -> str:
    return f"\x1b[{COLOURS['ok' if good else 'not']}m{text}\x1b[0m" if colour else text


def coverage(shown: Iterable[Scenario], excused: Mapping[int, str]) -> tuple[int, list[int]]:
    """(rows with a scenario, rows with neither scenario nor reason)."""
    rows = {scenario.row for scenario in shown}
    return len(rows), sorted(set(range(1, ROWS_OF_CATALOGUE + 1)) - rows - set(excused))
