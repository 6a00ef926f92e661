"""Keeps the rows that matter of a source with many: `highest`. Decided after rates are known, by the poller alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rmm.model.collector import Top
from rmm.model.observation import Row


def highest(rows: Sequence[Row], top: Top) -> list[Row]:
    """The rows that are among the `top.rows` highest of one of the fields, or always kept; in their order.

    A row without a value in a field is never among its highest. Of equal values the earlier row is kept.
    """
    kept = {place for place, row in enumerate(rows) if top.always and _is(row, top.always)}
    others = [place for place in range(len(rows)) if place not in kept]
    for field in top.by:
        known = [place for place in others if rows[place][field] is not None]
        kept.update(sorted(known, key=lambda place: -rows[place][field])[: top.rows])
    return [rows[place] for place in sorted(kept)]


def _is(row: Row, wanted: Mapping[str, Any]) -> bool:
    return all(row[field] in (value if isinstance(value, list) else [value]) for field, value in wanted.items())
