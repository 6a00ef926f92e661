"""Every number of every report is what the command beside it prints."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from rmm.app import open_app
from rmm.cli.main import main
from rmm.model.report import Bars, Document, Figure, Figures, Lines, Table
from rmm.report_run import asked_for, compose
from rmm.settings.reports import report_names

SCOPED = [(name, site, group) for name in ("updates", "uptime") for site, group in (("berlin", ""), ("hq", 'k"iosk'))]
CASES = [*((name, "", "") for name in report_names()), *SCOPED]
Run = Callable[[str], Any]
WITHOUT = {"The same as bars"}  # what is a second look at numbers that have their commands


@pytest.fixture
def run(fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What a command prints, as data."""

    @cache
    def answer(command: str) -> Any:
        words = shlex.split(command)
        assert words[0] == "rmm"
        more = [] if "--output" in words else ["--output", "json"]
        monkeypatch.setattr("sys.argv", [*words, *more, "--config", str(fleet)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return json.loads(out) if out.strip() else []

    return answer


def document(folder: Path, name: str, site: str, group: str) -> Document:
    now = datetime.now(UTC)
    return compose(open_app(folder, lambda: ""), name, asked_for(now, now - timedelta(days=9), now, site, group))


@pytest.mark.parametrize(("name", "site", "group"), CASES)
def test_the_commands_give_the_numbers(fleet: Path, run: Run, name: str, site: str, group: str) -> None:
    made = document(fleet, name, site, group)
    checked = 0
    for block in made.blocks:
        match block:
            case Figures():
                checked += sum(figure(one, run, made, block.title) for one in block.items)
            case Table():
                checked += table(block, run, made)
            case Bars():
                checked += bars(block, run, made)
            case Lines():
                lines(block, run)
                checked += 1
    assert checked >= 3 or name == "audit"


def figure(one: Figure, run: Run, made: Document, title: str) -> int:
    told = run(one.command)
    kind = shlex.split(one.command)[1]
    if kind == "query":
        expected = told["endpoints"] if isinstance(told, dict) else len(told)
    else:
        expected = FIGURES[kind](f"{title}: {one.label}" if kind == "compliance" else one.label, told, made)
    assert one.value == pytest.approx(expected), (one.label, one.command)
    return 1


def of_uptime(label: str, rows: list[dict[str, Any]], made: Document) -> Any:
    known = sum(row["up_h"] + row["down_h"] for row in rows)
    every = sum(row["up_h"] + row["down_h"] + row["unobserved_h"] + row["maintenance_h"] for row in rows)
    if label.startswith("endpoints below"):
        return sum(row["uptime_pct"] is not None and row["uptime_pct"] < 99.5 for row in rows)
    return {
        "uptime of the time that was observed": pytest.approx(100 * sum(row["up_h"] for row in rows) / known, abs=0.01),
        "outages": sum(row["outages"] for row in rows),
        "of the time not observed": pytest.approx(100 * sum(row["unobserved_h"] for row in rows) / every, abs=0.01),
        "endpoints of which nothing is known": sum(row["uptime_pct"] is None for row in rows),
    }[label]


def of_alerts(label: str, rows: list[dict[str, Any]], made: Document) -> int:
    rows = [row for row in rows if concerns(row, made)]
    severe = {"critical": ("critical",), "warning": ("warning",)}
    if label == "resolved in this time":
        return sum(row["resolved_at"] >= made.asked.since.isoformat() for row in rows)
    if label == "acknowledged":
        return len(rows)
    return sum(row["severity"] in severe["critical" if label.startswith("critical") else "warning"] for row in rows)


def concerns(row: dict[str, Any], made: Document) -> bool:
    """The list of alerts is of the whole fleet."""
    number = int(row["endpoint"].rpartition("-")[2])
    return made.asked.site in ("", row["site"]) and (not made.asked.group or number % 3 == 2)


def of_changes(label: str, rows: list[dict[str, Any]], made: Document) -> int:
    if label == "endpoints with changes":
        return len({row["endpoint"] for row in rows})
    return len(rows) if label == "changes" else sum(row["what"] == label for row in rows)


def of_compliance(label: str, rows: list[dict[str, Any]], made: Document) -> Any:
    title, _, label = label.partition(": ")
    (row,) = [one for one in rows if one["title"] == title]
    return row[{"of the": "share", "checks failed": "failed", "checks not known": "unknown"}[
        "of the" if label.startswith("of the") else label]]  # fmt: skip


FIGURES: dict[str, Callable[[str, Any, Document], Any]] = {
    "health": lambda label, rows, made: rows[0]["score"],
    "uptime": of_uptime,
    "alerts": of_alerts,
    "changes": of_changes,
    "audit": lambda label, rows, made: sum(row["who"] != "rmm" for row in rows) if "people" in label else len(rows),
    "compliance": of_compliance,
    "history": lambda label, rows, made: sum(
        r["days_left"] is not None and r["days_left"] <= 30 and (r["endpoint"], r["metric"]) in present(made)
        for r in rows
    ),
}


def present(made: Document) -> set[tuple[str, str]]:
    """What the last readings have; a volume that has gone is in the history alone."""
    (block,) = [one for one in made.blocks if isinstance(one, Table)]
    return {(row[0], f"volumes.used_pct[{row[1]}]") for row in block.rows}


def table(block: Table, run: Run, made: Document) -> int:
    keys = [column.key for column in block.columns]
    if "command" in keys:
        for row in block.rows[::8]:
            assert run(row[keys.index("command")])["endpoints"] == row[keys.index("failed")]
        counts = ("passed", "failed", "unknown")
        mine = [(row[0], *(row[keys.index(one)] for one in counts)) for row in block.rows]
        assert mine == [(row["check"], *(row[one] for one in counts)) for row in run(block.command)]
        return len(block.rows)
    rows = told(block, keys, run, made)
    assert len(rows) >= len(block.rows), block.title
    for own, expected in zip(block.rows, rows, strict=False):
        for value, right in zip(own, expected, strict=True):
            same = value == pytest.approx(right) if isinstance(right, float) else json.loads(json.dumps(value)) == right
            assert same, (block.title, block.command, own, expected)
    return 1


def told(block: Table, keys: list[str], run: Run, made: Document) -> list[list[Any]]:
    kind = shlex.split(block.command)[1]
    if kind == "alerts" and made.name == "alerts":
        rows = [row for part in block.command.split("; ") for row in run(part) if concerns(row, made)]
        states = ("firing", "acknowledged", "resolved")
        rows.sort(key=lambda r: (states.index(r["state"]), r["severity"] != "critical", r["name"], r["key"]))
    else:
        rows = run(block.command)
    if kind == "alerts" and made.name == "executive":
        rows = sorted(
            (row for row in rows if concerns(row, made)),
            key=lambda r: (r["severity"] != "critical", r["first_at"], r["key"]),
        )
    elif kind in ("changes", "audit"):
        rows = rows[::-1]
    elif kind == "health" and "points" in keys:
        rows = [{**one, "what": one["what"].replace("_", " ")} for one in rows[0]["reasons"]]
    elif kind == "health":
        rows = [{**row, "offline": row["Offline"], "critical": row["Critical"]} for row in rows]
        rows.sort(key=lambda row: row["name"])
    elif kind == "history" and made.name == "capacity":
        return capacity(block, rows)
    return [[row.get(key) for key in keys] for row in rows]


def capacity(block: Table, rows: list[dict[str, Any]]) -> list[list[Any]]:
    """The forecasts by endpoint and volume, beside what the last readings have."""
    ahead = {(row["endpoint"], row["metric"]): row for row in rows}
    assert any(row["days_left"] is not None for row in rows) or len(rows) < 5
    found = []
    for own in block.rows:
        known = ahead.get((own[0], f"volumes.used_pct[{own[1]}]"), {})
        found.append([*own[:5], *(known.get(key) for key in ("per_day", "days_left", "fit"))])
    return found


def bars(block: Bars, run: Run, made: Document) -> int:
    if not block.command:
        assert block.title in WITHOUT
        return 0
    if made.name == "compliance":
        fails = [(row["endpoint"], row["failed"]) for row in run(block.command) if row["failed"]]
        assert [(bar.label, bar.value) for bar in block.bars] == fails[:10]
        return 1
    if shlex.split(block.command)[1] != "query":
        assert made.name in ("alerts", "executive", "uptime", "capacity", "changes", "audit")
        return 0  # counted of the rows of the table with the same command, which is compared
    rows = run(block.command)
    assert [bar.value for bar in block.bars[:10]] == [row["endpoints"] for row in rows[:10]]
    return 1


def lines(block: Lines, run: Run) -> None:
    rows = run(block.command)
    if "--trend" in block.command:
        expected = {row["day"]: row["score"] for row in rows}
        assert expected
        assert dict(known(block, 0)) == expected
        return
    days: dict[str, list[float]] = {}
    for row in rows:
        days.setdefault(row["at"][:10], []).append(row["mean"])
    assert days
    assert dict(known(block, 0)) == pytest.approx({day: fmean(values) for day, values in days.items()})


def known(block: Lines, number: int) -> Iterator[tuple[str, float]]:
    for day, value in zip(block.days, block.lines[number].values, strict=True):
        if value is not None:
            yield day, value
