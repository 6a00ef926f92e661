"""What a poll tells of itself: the raw document of the collector `self`. Pure.

It is made of every poll, also of one that failed, from what the poller measured; the endpoint is not asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rmm.model.observation import CollectorResult, Fault

NAME = "self"


def document(
    results: Iterable[CollectorResult],
    sessions: Sequence[Mapping[str, float]],
    fault: Fault | None,
    *,
    total_ms: float,
    queue_wait_ms: float,
    tries: int,
    shortest_s: int,
) -> dict[str, list[dict[str, Any]]]:
    """One instance of the source `poll`.

    Args:
        results: of the other collectors of this poll.
        sessions: the telemetry of every session that was opened.
        fault: of the whole poll.
        total_ms: how long the poll took.
        queue_wait_ms: how long it waited for a place after its turn had come.
        tries: how often a session was tried.
        shortest_s: the shortest interval of what was due.
    """
    found = list(results)

    def sent(name: str) -> int:
        return int(sum(telemetry.get(name, 0.0) for telemetry in sessions))

    poll = {
        "gather_ms": round(sum(result.gather_ms for result in found), 3),
        "total_ms": round(total_ms, 3),
        "queue_wait_ms": round(max(0.0, queue_wait_ms), 3),
        "bytes_in": sent("bytes_in"),
        "bytes_out": sent("bytes_out"),
        "requests": sent("requests"),
        "shells_opened": sum("open_ms" in telemetry for telemetry in sessions),
        "retries": max(0, tries - 1),
        "collectors": len(found),
        "faults": sum(result.outcome == "fault" for result in found),
        "error_class": fault.code.partition(".")[0] if fault is not None else None,
        "period_exceeded": total_ms > shortest_s * 1000.0,
    }
    return {"poll": [poll]}
