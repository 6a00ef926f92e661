"""What an endpoint wrote, made harmless for the form it goes into."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

# C0 and C1 controls, the marks that reorder or hide text, and what XML cannot hold.
_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_FORMULA = "=+-@＝＋－＠"  # with their full-width forms, which some spreadsheets take as well


def text_of(value: Any) -> str:
    """One line of plain text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return _STEERING.sub(" ", str(value)).strip()


def csv_bytes(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """CSV in UTF-8 with a mark; a text that a spreadsheet would take for a formula gets an apostrophe."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([_guarded(heading) for heading in headings])
    for row in rows:
        writer.writerow([_guarded(cell) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def _guarded(cell: Any) -> Any:
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return cell
    text = text_of(cell)
    return f"'{text}" if text and text[0] in _FORMULA else text


def when(now: datetime) -> str:
    """A time for people."""
    return f"{now:%Y-%m-%d %H:%M} UTC"
