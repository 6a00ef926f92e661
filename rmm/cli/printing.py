"""Tables for people, JSON and CSV for programs. rich is imported on a terminal only."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from math import fsum
from typing import Any

from rmm.core.harmless import clean as clean

_FORMULA = "=+-@\t\r"
_BARS = "▁▂▃▄▅▆▇█"
COLOURS = {
    "OK": "green", "Healthy": "green", "ok": "green", "PARTIAL": "yellow", "Warning": "yellow", "warning": "yellow",
    "Critical": "red", "critical": "red", "Offline": "red", "Unknown": "dim", "firing": "red", "fault": "red",
}  # fmt: skip

Rows = Sequence[Mapping[str, Any]]


def show(rows: Rows, columns: Mapping[str, str], output: str, *, empty: str = "nothing to show") -> None:
    """Print rows: as a table with these columns (key -> heading), or everything as json, ndjson or csv."""
    if output == "json":
        print(json.dumps(list(rows), default=str, ensure_ascii=False, indent=1))
    elif output == "ndjson":
        for row in rows:
            print(json.dumps(row, default=str, ensure_ascii=False))
    elif output == "csv":
        print(csv_text(rows, list(columns)), end="")
    elif not rows:
        print(empty)
    else:
        table(rows, columns)


def csv_text(rows: Rows, columns: Sequence[str]) -> str:
    """CSV with a guard against cells that a spreadsheet would take for formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = ["" if row.get(name) is None else row.get(name) for name in columns]
        shown = [cell if isinstance(cell, int | float) else clean(cell) for cell in cells]
        writer.writerow(
            [f"'{cell}" if isinstance(cell, str) and cell[:1] in _FORMULA and cell else cell for cell in shown]
        )
    return text.getvalue()


def table(rows: Rows, columns: Mapping[str, str]) -> None:
    """A table: rich on a terminal, aligned text in a pipe."""
    cells = [[clean(row.get(name)) for name in columns] for row in rows]
    if sys.stdout.isatty():
        _rich_table(cells, list(columns.values()))
        return
    widths = [max(len(line[n]) for line in [list(columns.values()), *cells]) for n in range(len(columns))]
    for line in [list(columns.values()), *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _rich_table(cells: list[list[str]], headings: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        made.add_column(heading, overflow="fold")
    for line in cells:
        made.add_row(*[Text(cell, style=COLOURS.get(cell, "")) for cell in line])
    Console().print(made)


def ago(text: str | None) -> str:
    """`3 min ago` for an ISO time."""
    if not text:
        return "never"
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds()
    except (ValueError, TypeError):
        return "?"
    if seconds < 90:
        return f"{max(0, seconds):.0f} s ago"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < 172_800 else f"{seconds / 86_400:.0f} d ago"


def figure(value: float) -> str:
    """A number for people: four digits at least, and no more behind the point than say something."""
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.1f}" if 1000 <= abs(value) < 1e15 else f"{value:.4g}"


def sparkline(values: Sequence[float], width: int) -> str:
    """A trend in characters, `width` of them at most; each is the mean of as many values as come to it."""
    bins = min(width, len(values))
    edges = [len(values) * n // bins for n in range(bins + 1)]
    # Halves, since the difference of two numbers may be none.
    means = [fsum(value / (b - a) / 2 for value in values[a:b]) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    range_of = high - low
    return "".join(_BARS[round((mean - low) / range_of * (len(_BARS) - 1)) if range_of else 0] for mean in means)


def lines(items: Iterable[str]) -> None:
    """Print cleaned lines."""
    for item in items:
        print(clean(item))
