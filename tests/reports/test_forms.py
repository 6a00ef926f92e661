"""Reports of a fleet whose every text is hostile: read back with the parsers that would be attacked."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pypdfium2
import pytest
from sampled import PAYLOADS, everywhere

from rmm.app import open_app
from rmm.model.report import Asked, Column, Document, Table
from rmm.report_run import asked_for, compose, render
from rmm.settings.reports import report_names

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORMULA = ("=", "+", "-", "@", "＝", "\t", "\r")
STEERING = {"\x00", "\x1b", "\x07", "\u202e"}


class Page(HTMLParser):
    ALLOWED = frozenset(
        {"html", "head", "meta", "title", "style", "body", "main", "header", "section", "div", "h1", "h2", "p", "code"}
        | {
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "svg",
            "text",
            "rect",
            "circle",
            "line",
            "polyline",
            "span",
            "wbr",
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.policy = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED, tag
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("src", "href", "xlink:href", "action", "style"), name
            if (name, value) == ("http-equiv", "Content-Security-Policy"):
                self.policy = dict(attrs)["content"] or ""


def check_html(data: bytes) -> None:
    text = data.decode()
    page = Page()
    page.feed(text)
    page.close()
    assert page.policy.startswith("default-src 'none'")
    assert text.count("<style>") == 1
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert not set(text) & STEERING


def check_csv(data: bytes) -> None:
    rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    assert rows and len({len(row) for row in rows}) == 1
    for cell in (cell for row in rows for cell in row):
        try:
            float(cell)
        except ValueError:
            assert not cell.startswith(FORMULA), cell
            assert not set(cell) & {*STEERING, "\n", "\r"}


def check_xlsx(data: bytes) -> None:
    book = openpyxl.load_workbook(io.BytesIO(data))
    for sheet in book.worksheets:
        for row in sheet.iter_rows():
            for cell in row:
                assert cell.data_type != "f" and cell.hyperlink is None
    book.close()


def check_pdf(data: bytes) -> pypdfium2.PdfDocument:
    document = pypdfium2.PdfDocument(data)
    for number in range(min(3, len(document))):
        pixels = bytes(document[number].render(scale=0.5).buffer)
        assert len(set(pixels)) > 20, "a blank page"
        assert not list(document[number].get_objects(filter=[3], max_depth=1)), "an image, and there is none of ours"
    return document


CHECKS: dict[str, Callable[[bytes], object]] = {
    "html": check_html,
    "csv": check_csv,
    "xlsx": check_xlsx,
    "pdf": check_pdf,
    "json": json.loads,
}


@pytest.mark.parametrize("form", CHECKS)
@pytest.mark.parametrize("name", report_names())
def test_hostile_machines(documents: Mapping[str, Document], name: str, form: str) -> None:
    CHECKS[form](render(documents[name], form))


@pytest.mark.parametrize("form", CHECKS)
@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_texts_in_every_place(payload: str, form: str) -> None:
    CHECKS[form](render(everywhere(payload), form))


def test_the_hostile_texts_are_in_the_reports(documents: Mapping[str, Document]) -> None:
    """Or the tests above would show nothing."""
    found = {
        name: sum(json.dumps(p)[1:9] in render(one, "json").decode() for p in PAYLOADS)
        for name, one in documents.items()
    }
    assert all(found[name] >= 5 for name in ("inventory", "software", "security", "updates", "changes", "alerts")), (
        found
    )


def test_markup_of_typst_stays_text() -> None:
    payload = '#eval(read("/etc/passwd")) $x$ *b* @ref <label>'
    words = check_pdf(render(everywhere(payload), "pdf"))[0].get_textpage().get_text_range()
    assert "#eval(" in words.replace("\u200b", "") and "root:" not in words


def test_values() -> None:
    one = Document(
        name="x", title="x", asked=Asked(now=NOW, since=NOW, until=NOW),
        blocks=(Table(title="t", main=True, rows=((2**30, True, 12.5, None),), columns=(
            Column(key="a", heading="a", kind="bytes"), Column(key="b", heading="b"),
            Column(key="c", heading="c", kind="number"), Column(key="d", heading="d", kind="number", paper=False),
        )),),
    )  # fmt: skip
    page = render(one, "html").decode()
    assert "1 GiB" in page and ">yes<" in page and "12.5" in page and "have also: d" in page
    assert render(one, "csv").decode("utf-8-sig").splitlines() == ["a,b,c,d", "1073741824,yes,12.5,"]
    book = openpyxl.load_workbook(io.BytesIO(render(one, "xlsx")))
    assert [cell.value for cell in book["t"][2]][:3] == [2**30, "yes", 12.5]


def test_long_tables_say_what_they_leave_out() -> None:
    rows = tuple((f"row{n}",) for n in range(777))
    one = Document(
        name="x", title="x", asked=Asked(now=NOW, since=NOW, until=NOW),
        blocks=(Table(title="t", columns=(Column(key="a", heading="a"),), rows=rows, main=True),),
    )  # fmt: skip
    page = render(one, "html").decode()
    assert "row499" in page and "row500" not in page and "277 more rows" in page
    assert len(render(one, "csv").splitlines()) == 778
    assert len(json.loads(render(one, "json"))["blocks"][0]["rows"]) == 777


def test_libreoffice_finds_no_formula(documents: Mapping[str, Document], tmp_path: Path) -> None:
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("no LibreOffice here: install libreoffice-calc-nogui")
    for name in ("inventory", "software", "security"):
        (tmp_path / f"{name}.xlsx").write_bytes(render(documents[name], "xlsx"))
        (tmp_path / f"{name}.csv").write_bytes(render(documents[name], "csv"))
    command = [office, f"-env:UserInstallation=file://{tmp_path}/profile", "--headless", "--convert-to", "fods"]
    for kind in ("xlsx", "csv"):
        out = tmp_path / f"from-{kind}"
        files = sorted(str(path) for path in tmp_path.glob(f"*.{kind}"))
        subprocess.run([*command, "--outdir", str(out), *files], check=True, capture_output=True, timeout=110)
        made = sorted(out.glob("*.fods"))
        assert len(made) == 3
        for path in made:
            text = path.read_text(encoding="utf-8")
            assert "table:formula" not in text and 'xlink:href="http://evil' not in text
            assert 'office:value-type="string"' in text


def test_the_figures_of_an_empty_fleet(tmp_path: Path) -> None:
    (tmp_path / "rmm.yaml").write_text("sites: [{id: hq, credential: c}]\n")
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\nPC-1,hq\n")
    app: Any = open_app(tmp_path, lambda: "")
    for name in report_names():
        made = compose(app, name, asked_for(NOW, NOW - timedelta(days=7), NOW, "", ""))
        for form, check in CHECKS.items():
            check(render(made, form))
