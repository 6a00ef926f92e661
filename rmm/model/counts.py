"""What all rounds of a data folder have come to since counting began: `Counts`."""

from __future__ import annotations

from datetime import datetime

import msgspec

BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
"""Seconds: the upper bounds, inclusive, of the buckets in which polls are counted by how long they took."""


class SiteCounts(msgspec.Struct, kw_only=True):
    """The polls of one site. `buckets`: one for each of BOUNDS and one for what took longer."""

    statuses: dict[str, int] = {}
    buckets: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0  # that all of them took together


class Counts(msgspec.Struct, kw_only=True):
    """Counters only grow, until their file is lost; what is of the last round alone says so."""

    schema: int = 1
    since: datetime | None = None  # when counting began
    rounds: dict[str, int] = {}  # how it ended (ok, some_failed, nothing, error, stopped) -> rounds
    round_seconds: float = 0.0
    cpu_seconds: float = 0.0  # of all processes of the rounds
    sites: dict[str, SiteCounts] = {}
    faults: dict[str, int] = {}  # code of the fault of a whole poll -> polls
    results: dict[str, dict[str, int]] = {}  # collector -> outcome -> its parts of polls
    ended_at: datetime | None = None  # the last round
    last_seconds: float = 0.0  # of the last round
    last_resident: int = 0  # bytes of memory, at most, of the process of the last round; 0: not known here
    last_version: str = ""  # of rmm, in the last round
