"""Hours and days of a metric's history, made of its samples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rmm.core.trends import rolled, widened
from rmm.model.rollup import Rollup

__all__ = ["Rollup", "rollups"]


def rollups(
    history: Callable[..., list[tuple[datetime, float]]],
    endpoint: str,
    metric: str,
    *,
    since: datetime,
    until: datetime,
    step: str,
) -> list[Rollup]:
    """The whole hours or days that a span touches; see `ports.HistoryReader.rollups`. `history` reads the samples."""
    begin, end = widened(since, until, step)
    return list(rolled(history(endpoint, metric, since=begin, until=end), step))
