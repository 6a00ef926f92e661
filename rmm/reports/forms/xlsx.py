"""A workbook: a sheet of numbers with their commands, then one for each table and chart. Nothing in it is a formula."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from rmm.model.report import Bars, Document, Figures, Lines, Table
from rmm.reports.forms.displayed import shown
from rmm.reports.safe import text_of

MOST_TEXT = 32_000  # characters; a cell takes 32767
MOST_ROWS = 1_000_000  # a sheet takes 1048576
_NAME = re.compile(r"[\[\]:*?/\\']")
_OPTIONS = {
    "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False, "nan_inf_to_errors": False,
    "constant_memory": True,
}  # fmt: skip

Sheet = tuple[str, Sequence[str], Iterator[Sequence[Any]], str]  # name, headings, rows, command


def render(document: Document) -> bytes:
    """Numbers as numbers, everything else as text: nothing that an endpoint wrote is a formula or a link."""
    import xlsxwriter

    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, _OPTIONS)
    book.set_properties({"title": document.title, "created": document.asked.now.replace(tzinfo=None)})
    bold = book.add_format({"bold": True, "bottom": 1})
    used: set[str] = set()
    for name, headings, rows, command in _sheets(document):
        _write(book.add_worksheet(_unique(name, used)), headings, rows, command, bold)
    book.close()
    return data.getvalue()


def _sheets(document: Document) -> Iterator[Sheet]:
    asked = document.asked
    about = [
        ("Report", document.title), ("About", asked.scope), ("Since", asked.since.isoformat()),
        ("Until", asked.until.isoformat()), ("Made", asked.now.isoformat()),
    ]  # fmt: skip
    numbers = [
        (one.label, one.value, one.unit, one.command)
        for block in document.blocks
        if isinstance(block, Figures)
        for one in block.items
    ]
    yield "Summary", ("What", "Value", "Unit", "Command"), iter([*about, *numbers]), ""
    for block in document.blocks:
        match block:
            case Table():
                yield block.title, [c.heading for c in block.columns], iter(block.rows), block.command
            case Bars():
                yield (
                    block.title,
                    ("What", block.unit or "Value"),
                    ((b.label, b.value) for b in block.bars),
                    block.command,
                )
            case Lines():
                rows = zip(block.days, *(line.values for line in block.lines), strict=True)
                yield block.title, ("Day", *(line.name for line in block.lines)), rows, block.command
            case _:
                pass


def _write(sheet: Any, headings: Sequence[str], rows: Iterator[Sequence[Any]], command: str, bold: Any) -> None:
    sheet.set_column(0, max(0, len(headings) - 1), 20)
    sheet.freeze_panes(1, 1)
    for column, heading in enumerate(headings):
        sheet.write_string(0, column, text_of(heading)[:255], bold)
    if command:
        sheet.write_string(0, len(headings) + 1, text_of(command)[:MOST_TEXT])
    number = 0
    for number, row in enumerate(rows, start=1):
        if number > MOST_ROWS:
            sheet.write_string(number, 0, "There are more rows: the format json has all.")
            break
        for column, cell in enumerate(row):
            if isinstance(cell, int | float) and not isinstance(cell, bool) and abs(cell) < 1e300:
                sheet.write_number(number, column, cell)
            elif cell is not None and (text := shown(cell)[:MOST_TEXT]):
                sheet.write_string(number, column, text)
    if number:
        sheet.autofilter(0, 0, number, len(headings) - 1)


def _unique(name: str, used: set[str]) -> str:
    """A name for a sheet: 31 characters, without what Excel does not take, none twice."""
    short = _NAME.sub(" ", text_of(name))[:31].strip() or "Sheet"
    made, number = short, 1
    while made.casefold() in used or made.casefold() == "history":
        number += 1
        made = f"{short[:27]} {number}"
    used.add(made.casefold())
    return made
