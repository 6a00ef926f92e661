"""CSV: the table that the report is, or all of its numbers where it is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmm.model.report import Bars, Document, Figures, Lines, Table
from rmm.reports.forms.displayed import shown
from rmm.reports.safe import csv_bytes


def render(document: Document) -> bytes:
    """UTF-8 with a mark; texts that a spreadsheet would take for formulas get an apostrophe."""
    for block in document.blocks:
        if isinstance(block, Table) and block.main:
            return csv_bytes([c.heading for c in block.columns], [[plain(cell) for cell in row] for row in block.rows])
    return csv_bytes(("Part", "What", "Value", "Unit", "Command"), _numbers(document))


def plain(value: Any) -> Any:
    """A cell: numbers stay numbers, everything else is one text."""
    return value if isinstance(value, int | float) or value is None else shown(value)


def _numbers(document: Document) -> Iterator[tuple[Any, ...]]:
    for block in document.blocks:
        if isinstance(block, Figures):
            for one in block.items:
                yield block.title or document.title, one.label, plain(one.value), one.unit, one.command
        elif isinstance(block, Bars | Lines | Table):
            unit = "" if isinstance(block, Table) else block.unit
            yield from ((block.title, what, plain(value), unit, block.command) for what, value in _values(block))


def _values(block: Bars | Lines | Table) -> Iterator[tuple[str, Any]]:
    if isinstance(block, Bars):
        yield from ((bar.label, bar.value) for bar in block.bars)
    elif isinstance(block, Lines):
        for line in block.lines:
            yield from ((f"{line.name} {day}", value) for day, value in zip(block.days, line.values, strict=True))
    else:
        for row in block.rows:
            named = zip(block.columns[1:], row[1:], strict=True)
            yield from ((f"{shown(row[0])}: {column.heading}", value) for column, value in named)
