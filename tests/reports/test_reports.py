"""Reports of a fleet whose every text is hostile: read back with the parsers that would be attacked."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import openpyxl
import pytest

from rmm.app import build
from rmm.cli.report import names
from rmm.model.rollup import Rollup

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'-->]]><svg onload=alert(1)>",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1+1",
    "\r\n=1+1",
    " =1+1",
    "\u202egnp.exe",
    "\x00\x1b[31mred\x07",
    "{{ 7*7 }}{% raw %}",
    "http://evil.example/?a=1",
    "x" * 40_000,
    "＝1+1",
    '=HYPERLINK("http://evil.example")',
    "\ufeff=1+1",
    "\ud7ff\uffff\ufffe\ud800",
]


class Fleet:
    """`ports.FleetReader` with one text in every field."""

    def __init__(self, text: str, count: int = 3) -> None:
        self.text, self.count = text, count

    def endpoints(self, *, site: str = "") -> list[dict[str, Any]]:
        texts = dict.fromkeys(("name", "site", "status", "fault_code", "hint", "message", "observed_at"), self.text)
        facts = dict.fromkeys(
            (
                "os",
                "os_build",
                "domain",
                "manufacturer",
                "model",
                "serial",
                "uuid",
                "cpu_model",
                "memory_b",
                "uptime_s",
            ),
            self.text,
        )
        return [
            {
                **texts, "endpoint": self.text, "shard": 0, "duration_s": 1.0, "health": 50, "health_status": "Warning",
                "reasons": [self.text], "facts": {**facts, "cpu_pct": 50.0, "volumes_max_pct": 95.0},
            }
            for _ in range(self.count)
        ]  # fmt: skip

    def alerts(self, *, states: Sequence[str] = (), endpoint: str = "") -> list[dict[str, Any]]:
        names = ("key", "rule", "endpoint", "name", "site", "summary", "value", "row", "first_at", "last_at")
        texts = dict.fromkeys(names, self.text)
        return [
            {"number": 1, **texts, "severity": "critical", "state": "firing", "count": 2, "resolved_at": None}
        ] * self.count

    def readings(self, endpoint: str) -> dict[str, Any]:
        return {}

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        return []

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        return []

    def rollups(self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: str) -> list[Rollup]:
        return []

    def values(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, Any]]:
        return []


class Page(HTMLParser):
    ALLOWED = frozenset(
        {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "div", "h1", "h2", "p", "code"}
        | {"table", "thead", "tbody", "tr", "th", "td", "svg", "text", "rect", "circle"}
    )

    def __init__(self) -> None:
        super().__init__()
        self.policy = ""
        self.charts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED, tag
        self.charts += tag == "svg"
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("src", "href", "xlink:href", "action"), name
            if (name, value) == ("http-equiv", "Content-Security-Policy"):
                self.policy = dict(attrs)["content"] or ""


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["executive", "alerts"])
def test_html_holds_no_script_and_loads_nothing(name: str, text: str) -> None:
    data = build("reports", name).render(Fleet(text), "html", now=NOW).decode()
    page = Page()
    page.feed(data)
    page.close()
    assert page.policy.startswith("default-src 'none'")
    assert "url(" not in data and "@import" not in data
    assert not set(data) & {"\x00", "\x1b", "\x07", "\u202e"}
    assert "49" not in data or "7*7" not in text
    assert page.charts or name != "executive"


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", ["inventory", "alerts"])
def test_csv_holds_no_formula(name: str, text: str) -> None:
    data = build("reports", name).render(Fleet(text), "csv", now=NOW).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(data, newline="")))
    assert len(rows) == 4 and len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows[1:] for cell in row):
        assert not cell.lstrip("\ufeff \t\r\n").startswith(("=", "+", "-", "@", "＝", "\t", "\r")), cell
        assert not set(cell) & {"\x00", "\x1b", "\u202e", "\n", "\r"}


@pytest.mark.parametrize("text", HOSTILE)
def test_workbooks_hold_no_formula_and_no_link(text: str) -> None:
    data = build("reports", "inventory").render(Fleet(text), "xlsx", now=NOW)
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book.active
    assert sheet is not None and sheet.max_row == 4
    for row in sheet.iter_rows():
        for cell in row:
            assert cell.data_type != "f" and cell.hyperlink is None
    numbers = {cell.value for cell in sheet[2] if cell.data_type == "n"}
    assert {50, 95} <= numbers
    book.close()


def test_every_report_of_an_empty_fleet() -> None:
    assert names() == ["alerts", "executive", "inventory"]
    for name in names():
        report = build("reports", name)
        for form in report.formats:
            assert report.render(Fleet("x", 0), form, now=NOW)


def test_the_figures_are_the_fleets() -> None:
    page = build("reports", "executive").render(Fleet("SRV01", 7), "html", now=NOW).decode()
    assert '<div class="number">7</div>' in page
    assert "2026-03-01 12:00 UTC" in page
    assert "rmm status" in page and "rmm alerts" in page
