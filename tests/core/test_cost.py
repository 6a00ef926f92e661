"""What collectors cost, from what polls measured."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from rmm.core.cost import NOT_MEASURED, Declared, costs
from rmm.core.merge import merge
from rmm.model.observation import CollectorResult, Observation
from rmm.model.state import CollectorState, EndpointState

AT = datetime(2026, 1, 1, tzinfo=UTC)
DECLARED = {
    "cpu": Declared("C1", 60, session_free=False),
    "software": Declared("C3", 86_400, session_free=False),
    "new": Declared("C2", 300, session_free=False),
    "availability": Declared("C0", 60, session_free=True),
}


def state(name: str, **measured: tuple[float, int, int]) -> EndpointState:
    results = {
        key: CollectorResult(outcome="ok", gather_ms=ms, bytes=size, readings=({"a": 1},) * rows)
        for key, (ms, size, rows) in measured.items()
    }
    one = Observation(
        endpoint=name, name=name, site="hq", shard=0, observed_at=AT, duration_s=1.0, status="OK", fault=None,
        collectors=results, epoch="e", seq=1, telemetry={"requests": 7.0},
    )  # fmt: skip
    return merge(None, one)


def rows(*states: EndpointState) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in costs(DECLARED, states)}


def test_what_nobody_measured_says_so() -> None:
    assert {name: row["measured"] for name, row in rows().items()} == {
        "cpu": NOT_MEASURED, "software": NOT_MEASURED, "new": NOT_MEASURED, "availability": "C0",
    }  # fmt: skip
    assert all(row["share_pct"] is None for row in rows().values() if row["name"] != "availability")


def test_medians_extremes_and_shares_of_a_day() -> None:
    found = rows(
        state("a", cpu=(100.0, 1000, 9), software=(2000.0, 50_000, 80)),
        state("b", cpu=(120.0, 1200, 9), software=(9000.0, 70_000, 90)),
        state("c", cpu=(900.0, 1100, 5)),
    )
    cpu, software = found["cpu"], found["software"]
    assert (cpu["gather_ms"], cpu["max_ms"], cpu["bytes"], cpu["rows"]) == (120.0, 900.0, 1100, 9)
    assert (cpu["measured"], cpu["declared"], cpu["endpoints"]) == ("C2", "C1", 3)
    assert (software["gather_ms"], software["max_bytes"], software["measured"]) == (5500.0, 70_000, "C4")
    # 1,440 x 120 ms against one time 5.5 s
    assert (cpu["share_pct"], software["share_pct"]) == (96.9, 3.1)
    assert (found["new"]["measured"], found["new"]["share_pct"]) == (NOT_MEASURED, None)


def test_damage_and_nonsense_cost_themselves() -> None:
    broken = msgspec.structs.replace(
        state("d"), collectors={"cpu": CollectorState(attempted_at=AT, result=msgspec.Raw(b'{"gather_ms":"x"}'))}
    )
    hostile = state("e", cpu=(-5.0, 10, 1), software=(1e300, 10, 1))
    found = rows(broken, hostile)
    assert found["cpu"]["gather_ms"] == 0.0
    assert found["software"]["max_ms"] == 86_400_000.0


def test_the_last_poll_tells_what_it_cost() -> None:
    assert state("a").telemetry == {"requests": 7.0}
