"""A document as people see it: every value a short text, every chart in shares of its place. For HTML and PDF."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rmm.model.report import Bars, Block, Column, Document, Figures, Lines, Table, Text
from rmm.reports.safe import text_of, when

TIGHT, WIDE, ROOM = 20, 40, 70  # characters of columns on paper
MOST_ROWS = 500
MOST_TEXT = 160  # characters in a cell
RIGHT = ("number", "bytes", "percent")
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_MOODS = {
    "Healthy": "good", "passed": "good", "OK": "good", "firing": "", "critical": "bad", "Critical": "bad",
    "Offline": "off", "failed": "bad", "high": "bad", "warning": "warn", "Warning": "warn", "medium": "warn",
}  # fmt: skip
Shown = dict[str, Any]


def displayed(document: Document) -> Shown:
    """All texts are plain ones of one line: whoever lays them out must still keep them from being markup."""
    asked = document.asked
    return {
        "title": text_of(document.title),
        "made": when(asked.now),
        "scope": text_of(asked.scope),
        "span": f"{asked.since:%Y-%m-%d %H:%M} to {asked.until:%Y-%m-%d %H:%M} UTC",
        "blocks": [_block(block) for block in document.blocks],
    }


def _block(block: Block) -> Shown:
    match block:
        case Figures():
            return {"type": "figures", "title": text_of(block.title), "items": [_figure(one) for one in block.items]}
        case Table():
            return _table(block)
        case Bars():
            return _bars(block)
        case Lines():
            return _lines(block)
        case Text():
            return {"type": "text", "text": text_of(block.text)}


def _figure(one: Any) -> Shown:
    unit = f" {text_of(one.unit)}" if one.unit else ""
    number = "–" if one.value is None else f"{shown(one.value, 'number')}{unit}"
    return {"label": text_of(one.label), "number": number, "mood": one.mood, "command": text_of(one.command)}


def _table(table: Table) -> Shown:
    places = [number for number, column in enumerate(table.columns) if column.paper]
    columns = [table.columns[place] for place in places]
    rows = [
        [_cell(row[place], column) for place, column in zip(places, columns, strict=True)]
        for row in table.rows[:MOST_ROWS]
    ]
    left = len(table.rows) - MOST_ROWS
    notes = [table.note] if table.note else []
    if left > 0:
        notes.append(f"{left} more rows are in the formats csv, xlsx and json.")
    if len(columns) < len(table.columns):
        missing = ", ".join(column.heading for column in table.columns if not column.paper)
        notes.append(f"The formats csv, xlsx and json have also: {missing}.")
    return {
        "type": "table", "title": text_of(table.title), "command": text_of(table.command),
        "note": text_of(" ".join(notes)),
        "columns": [
            {"heading": text_of(c.heading), "right": c.kind in RIGHT, "code": c.kind == "command", **share}
            for c, share in zip(columns, _shares(columns, rows), strict=True)
        ],
        "rows": rows,
    }  # fmt: skip


def _shares(columns: Sequence[Column], rows: Sequence[Sequence[Shown]]) -> list[Shown]:
    """How columns share the paper: `tight` ones are as wide as what is in them, the others in proportion to `width`.

    Numbers are tight, then the narrowest texts, as long as there is room for the others.
    """
    longest = [max([len(c.heading), *(len(row[n]["text"]) for row in rows)]) for n, c in enumerate(columns)]
    room = ROOM - sum(longest[n] for n, c in enumerate(columns) if c.kind in RIGHT)
    shares: list[Shown] = [{"width": WIDE, "tight": c.kind in RIGHT} for c in columns]
    for length, number in sorted((length, n) for n, length in enumerate(longest) if columns[n].kind not in RIGHT):
        if columns[number].kind != "command":
            room -= length
            shares[number] = {"width": min(WIDE, max(8, length)), "tight": length <= TIGHT and room >= 0}
    return shares


def _cell(value: Any, column: Column) -> Shown:
    text = shown(value, column.kind)
    mood = _MOODS.get(str(value), "") if column.kind == "mood" else ""
    if column.kind != "command":
        text = _short(text, MOST_TEXT)
    return {"text": text, "mood": mood}


def _bars(block: Bars) -> Shown:
    top = block.top or max((one.value for one in block.bars), default=0) or 1
    unit = f" {text_of(block.unit)}" if block.unit else ""
    bars = [
        {"label": _short(text_of(one.label), 34), "text": f"{shown(one.value, 'number')}{unit}",
         "share": round(min(1.0, max(0.0, one.value / top)), 4), "mood": one.mood}
        for one in block.bars
    ]  # fmt: skip
    return {"type": "bars", "title": text_of(block.title), "bars": bars, "command": text_of(block.command)}


def _lines(block: Lines) -> Shown:
    values = [value for line in block.lines for value in line.values if value is not None]
    top = block.top or max(values, default=0) or 1
    across = max(1, len(block.days) - 1)
    unit = f" {text_of(block.unit)}" if block.unit else ""
    lines = [
        {
            "name": _short(text_of(line.name), 34),
            "last": next((f"{shown(v, 'number')}{unit}" for v in reversed(line.values) if v is not None), "–"),
            "runs": _runs(line.values, across, top),
        }
        for line in block.lines
    ]
    return {
        "type": "lines", "title": text_of(block.title), "lines": lines, "command": text_of(block.command),
        "low": f"0{unit}", "high": f"{shown(top, 'number')}{unit}",
        "first": block.days[0] if block.days else "", "last": block.days[-1] if block.days else "",
    }  # fmt: skip


def _runs(values: Sequence[float | None], across: int, top: float) -> list[list[list[float]]]:
    """Pieces without a gap, each of [x, y] from 0 to 1, y upwards."""
    runs: list[list[list[float]]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append([round(number / across, 4), round(min(1.0, max(0.0, value / top)), 4)])
    return [run for run in runs if run]


def shown(value: Any, kind: str = "text") -> str:
    """A value as people read it."""
    if value is None:
        return "–" if kind in ("number", "bytes", "percent") else ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _bytes(float(value)) if kind == "bytes" else _number(value)
    if isinstance(value, dict):
        return ", ".join(f"{text_of(key)} {shown(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    if isinstance(value, datetime):
        return when(value)
    text = text_of(value)
    return text[:16].replace("T", " ") if kind == "time" else text


def _number(value: float) -> str:
    if isinstance(value, int) or float(value).is_integer():
        return f"{value:,.0f}" if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 10 else f"{value:.4g}"


def _bytes(value: float) -> str:
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.4g} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes everything")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
