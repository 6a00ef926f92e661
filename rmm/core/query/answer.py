"""The answer of a query as rows: what `rmm query` prints and what reports show is made here, and so is the same."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from rmm.core.coerce import stamp
from rmm.core.query.compiled import Query
from rmm.model.endpoint import Endpoint

Line = tuple[Any, ...]
Found = Sequence[tuple[Endpoint, Line]]


def totals(found: Found) -> dict[str, int]:
    """How many lines of how many endpoints."""
    return {"rows": len(found), "endpoints": len({endpoint.id for endpoint, _ in found})}


def answer(query: Query, found: Found, *, count: bool = False, sorted_by: bool = False) -> list[dict[str, Any]]:
    """Rows by column name, in order.

    Args:
        query: what was asked.
        found: its lines, in any order.
        count: each line once, with the number of endpoints that have it as `endpoints`, the most first.
        sorted_by: the query has an order of its own.
    """
    ordered = sorted(found, key=lambda item: item[0].name.casefold())
    names = [column.name for column in query.columns]
    if count:
        ids: dict[Line, set[str]] = {}
        for endpoint, line in ordered:
            ids.setdefault(line, set()).add(endpoint.id)
        rows = [(line, len(own)) for line, own in ids.items()]
        if not sorted_by:
            rows.sort(key=lambda item: -item[1])
        rows = query.sorted(rows, lambda item: item[0])
        return [{**_row(names, line), "endpoints": many} for line, many in rows]
    lines = dict.fromkeys(line for _, line in ordered)  # each once, also where no column tells endpoints apart
    return [_row(names, line) for line in query.sorted(lines, lambda line: line)]


def _row(names: Sequence[str], line: Line) -> dict[str, Any]:
    return {name: stamp(one) if isinstance(one, datetime) else one for name, one in zip(names, line, strict=True)}
