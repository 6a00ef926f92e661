"""The fleet at a moment, as the live view and the metrics see it: `Board`."""

from __future__ import annotations

from typing import NamedTuple

import msgspec


class Line(NamedTuple):
    """The newest of one endpoint. Times are seconds since 1970; `reasons` and `facts` are JSON, not decoded yet."""

    id: str
    name: str
    site: str
    status: str  # empty: never polled
    fault: str
    at: float  # of its newest observation; 0: never polled
    duration_s: float
    score: int
    health: str
    reasons: str = "[]"
    facts: str = "{}"


class LiveAlert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert that is pending, firing or acknowledged. `first_at`, `last_at`: ISO 8601."""

    rule: str
    endpoint: str
    name: str
    site: str
    severity: str
    summary: str
    first_at: str
    last_at: str
    count: int = 1
    number: int = 0
    state: str = ""


class Waiting(NamedTuple):
    """Notifications that a channel has not taken. `held`: they wait for their group, their digest or an inhibition."""

    channel: str
    held: bool
    number: int
    oldest: str  # ISO 8601
    attempts: int  # of the one that was tried most often


class Board(NamedTuple):
    """All of it. `cut`: there are more endpoints or alerts than are shown here."""

    endpoints: list[Line]
    alerts: list[LiveAlert]
    waiting: list[Waiting]
    refused: int = 0
    cut: bool = False
