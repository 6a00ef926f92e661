"""What a visit keeps of an endpoint's identity."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rounds import Bench, Peer, Sleepy

from rmm.core.merge import merge
from rmm.loop import SystemClock
from rmm.model.endpoint import Endpoint
from rmm.model.state import EndpointState
from rmm.poller.visit import Visitor

BY_ADDRESS = Endpoint(id="e", name="192.0.2.7", site="hq")


def known() -> EndpointState:
    """An endpoint by address, of which a name and a session configuration have been learnt an hour ago."""
    at = datetime.now(UTC) - timedelta(hours=1)
    return EndpointState(
        endpoint="e", name=BY_ADDRESS.name, site="hq", observed_at=at, status="OK", fault=None, duration_s=0.1,
        epoch="a", seq=1, identity={"name": "PC1", "session": "Own", "session_at": at.isoformat()}, identity_at=at,
    )  # fmt: skip


@pytest.mark.parametrize("peer", [{}, {"netbios": "PC1"}, {"netbios": "SOMEBODY"}])
async def test_a_poll_that_learns_a_part_does_not_forget_the_rest(tmp_path: Path, peer: dict[str, str]) -> None:
    state = known()
    bench = Bench(tmp_path, Peer(peer), concurrency=1, timeout=5.0)
    visitor = Visitor(bench.kit("b", SystemClock()))
    seen = await visitor.visit(BY_ADDRESS, 0, 2, ("availability",), state)
    assert (seen.fault is not None) == ("SOMEBODY" in peer.values())
    assert merge(state, seen).identity["name"] == "PC1"


NAMES = ("availability", "self")


def visitor_of(tmp_path: Path, transport: Sleepy) -> Visitor:
    return Visitor(Bench(tmp_path, transport, concurrency=1, timeout=1.0).kit("b", SystemClock(), NAMES))


async def told(tmp_path: Path, transport: Sleepy, waited_s: float = 0.0) -> dict[str, Any]:
    """The reading of `self` after a visit over this transport."""
    seen = await visitor_of(tmp_path, transport).visit(BY_ADDRESS, 0, 2, NAMES, None, waited_s=waited_s)
    return dict(seen.collectors["self"].readings[0])


async def test_a_poll_tells_what_it_cost(tmp_path: Path) -> None:
    telemetry = {"open_ms": 4.0, "bytes_in": 700.0, "bytes_out": 300.0, "requests": 3.0}
    row = await told(tmp_path, Peer({}, telemetry), waited_s=0.25)
    assert (row["bytes_in"], row["bytes_out"], row["requests"], row["shells_opened"]) == (700, 300, 3, 1)
    assert (row["queue_wait_ms"], row["retries"], row["error_class"], row["faults"]) == (250.0, 0, None, 0)
    assert row["collectors"] == 1
    assert 0.0 < row["total_ms"] < 5000.0


async def test_a_poll_that_failed_tells_it_too(tmp_path: Path) -> None:
    row = await told(tmp_path, Sleepy(lambda _: None))
    assert (row["error_class"], row["bytes_in"], row["shells_opened"]) == ("timeout", 0, 0)
    assert row["total_ms"] >= 900.0
    assert row["period_exceeded"] is False


async def test_a_poll_of_another_machine_keeps_only_that(tmp_path: Path) -> None:
    visitor = visitor_of(tmp_path, Peer({"netbios": "SOMEBODY"}))
    seen = await visitor.visit(BY_ADDRESS, 0, 2, NAMES, known())
    assert set(seen.collectors) == {"self"}
    assert seen.collectors["self"].readings[0]["error_class"] == "identity"


async def test_a_visit_that_is_over_is_no_garbage_for_the_collector(tmp_path: Path) -> None:
    """What it holds (a state, readings, a session: 100 KB) goes at once, not after ten thousand more objects."""
    bench = Bench(tmp_path, Peer({"netbios": "PC1"}), concurrency=1, timeout=5.0)
    visitor = Visitor(bench.kit("b", SystemClock()))
    state = known()
    gc.collect()
    gc.disable()
    try:
        for seq in range(3):
            await visitor.visit(BY_ADDRESS, 0, seq, ("availability",), state)
        left = sys.getrefcount(state)
    finally:
        gc.enable()
    assert left == 2  # the variable here, and the argument of getrefcount
